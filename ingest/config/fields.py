"""The kinds of values that keys take: what each accepts, and the words where it does not.

No message repeats a value that may hold a secret.
"""

import re
from datetime import date, datetime, timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from ingest.config.secret import check_address, check_dsn

_SYMBOL = re.compile(r"[^\s/:,]+/[^\s/:,]+(:[^\s/:,]+)?")
_TOKEN = re.compile(r"[A-Za-z0-9._~-]{16,256}")
_AGO = re.compile(r"(\d{1,5}) *(day|hour)s?")
_MAX_DAYS = 36_500
_QUOTES = ("USDT", "USDC", "FDUSD", "TUSD", "USD1", "USD", "EUR", "GBP", "JPY", "TRY", "BRL", "BTC", "ETH", "BNB")


def _not_a_boolean(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("must be a number, not true or false")  # noqa: TRY004  pydantic takes ValueError
    return value


def lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def _empty_is_none(value: object) -> object:
    text = value.get_secret_value() if isinstance(value, SecretStr) else value
    return None if isinstance(text, str) and not text.strip() else value


def _check_dsn(value: SecretStr | None) -> SecretStr | None:
    if value is not None:
        check_dsn(value.get_secret_value())
    return value


def _check_proxy(value: SecretStr | None) -> SecretStr | None:
    if value is not None:
        check_address(value.get_secret_value(), ("http", "https"), credentials=True)
    return value


def _check_token(value: SecretStr | None) -> SecretStr | None:
    if value is not None and not _TOKEN.fullmatch(value.get_secret_value()):
        raise ValueError("must be 16 to 256 letters, digits, . _ ~ or -; make one with: openssl rand -hex 24")
    return value


def _check_rest_url(value: str | None) -> str | None:
    if value is not None:
        check_address(value, ("https", "http"))
    return value


def _check_ws_url(value: str | None) -> str | None:
    if value is not None:
        check_address(value, ("wss", "ws"))
    return value


def check_symbol(text: str) -> str:
    """A unified symbol or a glob over them; raises ValueError with the likely spelling."""
    if _SYMBOL.fullmatch(text) and text != text.lower():
        return text
    if _SYMBOL.fullmatch(text) and not any(character.isalpha() for character in text):
        return text  # `*/*`, and bases written in digits
    nearest = _nearest_symbol(text)
    hint = f"; did you mean {nearest}?" if nearest else "; for example BTC/USDT, BTC/USDT:USDT or */EUR"
    raise ValueError(f"{quoted(text)} is neither BASE/QUOTE nor a glob of that form{hint}")


def _nearest_symbol(text: str) -> str | None:
    upper = text.strip().upper()
    if _SYMBOL.fullmatch(upper):
        return upper
    if set(upper) == {"*"}:
        return "*/*"
    base, separator, quote = upper.replace("_", "-").partition("-")
    if separator and base.isalnum() and quote.isalnum():
        return f"{base}/{quote}"
    for quote in _QUOTES:
        base = upper.removesuffix(quote)
        if base and base != upper and base.replace("*", "").isalnum() | (base == "*"):
            return f"{base}/{quote}"
    return f"{upper}/USDT" if upper in ("BTC", "ETH", "SOL", "BNB", "XRP") else None


def _check_days(value: object, otherwise: str, remedy: str) -> object:
    """A number of days, or the word `otherwise`; whatever it is not is said with both forms."""
    word = value.strip().lower() if isinstance(value, str) else ""
    if word == otherwise:
        return otherwise
    days = int(word) if word.isascii() and word.isdigit() else value
    if isinstance(days, bool) or not isinstance(days, int):
        raise ValueError(f'must be whole days, or "{otherwise}"; write 30, for example')  # noqa: TRY004  as above
    if not 1 <= days <= _MAX_DAYS:
        raise ValueError(f'{days} is outside 1 to {_MAX_DAYS} days; to {remedy}, write "{otherwise}"')
    return days


def quoted(text: str) -> str:
    # A text that may be an address is not repeated: it may hold a password.
    return f'"{text}"' if len(text) <= 40 and "@" not in text and "://" not in text else "this value"


def span_of(text: str) -> datetime | timedelta:
    """A day or a time as ISO 8601 writes it, or so long ago: `30 days`, `12 hours`. Raises ValueError."""
    ago = _AGO.fullmatch(text.strip().lower())
    if ago:
        return timedelta(**{f"{ago[2]}s": int(ago[1])})
    try:
        return datetime.fromisoformat(text.strip())
    except ValueError:
        raise ValueError(
            f"{quoted(text)} is no time; write 2024-01-31, 2024-01-31 12:00, 30 days or 12 hours"
        ) from None


def _as_moment(value: object) -> object:
    """TOML has dates and times of its own."""
    return value.isoformat() if isinstance(value, date) else value


def _check_moment(text: str) -> str:
    span_of(text)
    return text


FOREVER: Literal["forever"] = "forever"
NEVER: Literal["never"] = "never"

Whole = Annotated[int, BeforeValidator(_not_a_boolean)]
Number = Annotated[float, BeforeValidator(_not_a_boolean)]
Symbol = Annotated[str, AfterValidator(check_symbol)]
Dsn = Annotated[SecretStr | None, BeforeValidator(_empty_is_none), AfterValidator(_check_dsn)]
Proxy = Annotated[SecretStr | None, BeforeValidator(_empty_is_none), AfterValidator(_check_proxy)]
Token = Annotated[SecretStr | None, BeforeValidator(_empty_is_none), AfterValidator(_check_token)]
Text = Annotated[str | None, BeforeValidator(_empty_is_none)]
Moment = Annotated[str, BeforeValidator(_as_moment), AfterValidator(_check_moment)]
"""A day or a time in UTC, or so long before now."""
MomentOrNone = Annotated[Moment | None, BeforeValidator(_empty_is_none)]
RestUrl = Annotated[str | None, BeforeValidator(_empty_is_none), AfterValidator(_check_rest_url)]
WsUrl = Annotated[str | None, BeforeValidator(_empty_is_none), AfterValidator(_check_ws_url)]
Days = Annotated[
    Annotated[int, Field(ge=1, le=_MAX_DAYS)] | Literal["forever"],
    BeforeValidator(lambda value: _check_days(value, FOREVER, "delete nothing")),
]
"""How long something is kept: whole days, or `FOREVER`."""
DaysOrNever = Annotated[
    Annotated[int, Field(ge=1, le=_MAX_DAYS)] | Literal["never"],
    BeforeValidator(lambda value: _check_days(value, NEVER, "compress nothing")),
]
"""When something is done: after whole days, or `NEVER`."""
