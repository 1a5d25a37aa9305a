"""OKX's REST replies: what they hold. Pure.

Each row is read by itself. Pages are named in `okx`.
"""

from collections.abc import Callable

import msgspec
from msgspec import Raw, Struct

from ingest.errors import Rejected, Retryable
from ingest.exchanges.adapter import Bad
from ingest.exchanges.okx_wire import BookRow, CandleRow, Row, TradeRow, levels, time_ns
from ingest.exchanges.pieces import Made, each
from ingest.records import BookState

# Each call has a limit of its own, within 2 s; here all share a bucket, of which a sixth of a minute's weight may be
# used at once. So at most 960 of 6,000 are used in 2 s, where 40 books or candles or 100 latest trades are allowed, and
# 560 by history, of which 20 are, since it leaves half of the bucket.
WEIGHT_PER_MINUTE = 6000
WEIGHT, LATEST_WEIGHT, HISTORY_WEIGHT = 24, 10, 30
BOOK_LEVELS, TRADES_PAGE, CANDLES_PAGE = 400, 100, 300
_TEMPORARY = frozenset(("50001", "50004", "50011", "50013", "50026", "50040"))


class Reply(Struct, gc=False):
    """What all REST replies come in; `code` is "0" for those that are none of a refusal."""

    code: str
    data: list[Raw] = []
    msg: str = ""


decode_trade = msgspec.json.Decoder(TradeRow, strict=False).decode
decode_candle = msgspec.json.Decoder(CandleRow, strict=False).decode
_decode_book = msgspec.json.Decoder(BookRow, strict=False).decode
_decode_reply = msgspec.json.Decoder(Reply).decode


def reply(body: bytes) -> list[Raw]:
    """The rows of a REST reply. Raises Rejected for a refusal, Retryable for one that will pass."""
    try:
        found = _decode_reply(body)
    except (ValueError, RecursionError) as error:
        raise Rejected(f"malformed reply: {error}") from error
    if found.code in _TEMPORARY:
        raise Retryable(f"okx: {found.code}: {found.msg[:200]}")
    if found.code != "0":
        raise Rejected(f"refused: {found.code[:20]}: {found.msg[:200]}")
    return found.data


def rows(body: bytes, decode: Callable[[Raw], Row], make: Callable[[Row], Made]) -> tuple[list[Made], list[Bad]]:
    """The rows of a REST reply, each by itself, so that an odd one costs only itself; oldest first."""
    return each(reversed(reply(body)), decode, make)  # the venue begins with the latest


def book_reply(body: bytes, instrument_id: int, limit: int, received_ns: int) -> BookState:
    data = reply(body)
    try:
        (row,) = map(_decode_book, data)
    except (ValueError, RecursionError) as error:
        raise Rejected(f"malformed reply: {error}") from error
    if row.seqId is None:
        raise Rejected("malformed reply: a book without an id")
    sides = levels(row.bids), levels(row.asks)
    at_ns = time_ns(row.ts, received_ns)
    return BookState(instrument_id, row.seqId, *sides, limit, received_ns, event_ns=at_ns)
