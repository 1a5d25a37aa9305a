"""What Kraken calls its pairs: by websocket, in its listing, and in REST."""

import msgspec
from msgspec import Struct

from ingest.records import Instrument

_NAMES = {"XBT": "BTC", "XDG": "DOGE"}  # of the listing, as the websocket calls them


class _Listed(Struct):
    wsname: str = ""


def websocket_name(instrument: Instrument) -> str:
    """`BTC/USD`: the listing's `wsname`, which still says XBT and XDG.

    Not the unified symbol, which ccxt gives other names where coins share one (Kraken's LUNA is its LUNC).
    """
    try:
        name = msgspec.json.decode(instrument.info, type=_Listed).wsname or instrument.symbol
    except msgspec.DecodeError:
        name = instrument.symbol
    return "/".join(_NAMES.get(part, part) for part in name.split("/"))


def rest_names(key: str) -> set[str]:
    """What REST may call the pair: `BTC/USD` is XXBTZUSD, and `DOT/USD` DOTUSD."""
    old = {new: name for name, new in _NAMES.items()}
    base, _, quote = ("/".join(old.get(part, part) for part in key.split("/"))).partition("/")
    names = {f"{a}{base}{b}{quote}" for a in ("", "X", "Z") for b in ("", "X", "Z")}
    return {key, f"{base}/{quote}", *names}
