"""ccxt's numbers with the exchange's own digits.

ccxt reads JSON numbers as floats and makes floats of texts (`safe_float`), also where the exchange sends texts. Here
JSON's fractions are read as texts, and whatever ccxt makes a number of becomes `Digits`: a float to all who compute
with it, and the exchange's text to who stores it. What ccxt has computed is a plain float again, and never stored.
"""

import functools
import json
from collections.abc import Callable, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, Self

from ingest.digits import plain

_PLACES_MAX = 60
"""Of a number in scientific notation: more zeros are no price."""


class Digits(float):
    """A number that remembers its text. Compared with one of its kind it is exact: books are sorted by it.

    Raises ValueError for anything but a text or a whole number: a float has lost its digits already.
    """

    __slots__ = ("text",)
    text: str

    def __new__(cls, value: object) -> Self:
        if type(value) is cls:
            return value
        if type(value) is not str and type(value) is not int:
            raise ValueError(f"{value!r} is not the exchange's text")
        number = super().__new__(cls, value)
        number.text = str(value)
        return number

    def __str__(self) -> str:
        return self.text

    __repr__ = __str__
    __hash__ = float.__hash__

    def __neg__(self) -> "Digits":
        return Digits(self.text[1:] if self.text.startswith("-") else f"-{self.text}")

    def __abs__(self) -> "Digits":
        return -self if self.text.startswith("-") else self

    def __eq__(self, other: object) -> bool:
        same = float.__eq__(self, other)  # NotImplemented for what is no number
        return bool(same is True and (not isinstance(other, Digits) or self._exact() == other._exact()))

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __lt__(self, other: float) -> bool:
        if float.__eq__(self, other) and isinstance(other, Digits):
            return self._exact() < other._exact()
        return float.__lt__(self, other)

    def __gt__(self, other: float) -> bool:
        return not self <= other

    def __le__(self, other: float) -> bool:
        return self < other or self == other

    def __ge__(self, other: float) -> bool:
        return not self < other

    def _exact(self) -> Decimal:
        return Decimal(self.text)


def text_of(value: object) -> str:
    """The plain decimal text of what ccxt gives as a number: exact, without an exponent.

    Raises ValueError for a float, which ccxt has computed or taken from somewhere else, and for what is no number.
    """
    text = value if type(value) is str else Digits(value).text
    if "e" not in text and "E" not in text:
        return text
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise ValueError(f"{text[:40]!r} is not a number") from None
    if not number.is_finite() or abs(number.adjusted()) > _PLACES_MAX:
        raise ValueError(f"{text[:40]!r} is not a number of a size that prices have")
    return format(number, "f")


def optional_text(value: object) -> str | None:
    """The same, None for what is missing or was computed."""
    try:
        return None if value is None else text_of(value)
    except ValueError:
        return None


_SURE_DIGITS = 15
"""Of a float, so many significant digits are those that it was made of."""


def step_text(value: object) -> str | None:
    """The same of a step or a limit, which ccxt may have written down itself as a float: 1e-05 is 0.00001.

    None also for what is no number, and for a float whose digits show that it was computed.
    """
    if type(value) is float:
        value = repr(value)
        if len(value.partition("e")[0].replace(".", "").strip("0")) > _SURE_DIGITS:
            return None
    text = optional_text(value)
    return text if text is not None and plain(text) else None


decode_json = functools.partial(json.loads, parse_float=str)
"""Whole numbers stay what they are: Python's have all their digits, and handlers compare them (codes, ids)."""


def exact(client: type[Any]) -> type[Any]:
    """The exchange's class of ccxt, reading and making numbers as above. ccxt itself is not changed."""
    return type(client.__name__, (_Exact, client), {})


def _found(container: Any, keys: Sequence[Any]) -> Any:
    """The first value that is there, as ccxt's `safe_…` functions see it: neither None nor an empty text."""
    for key in keys:
        try:
            value = container[key]
        except (KeyError, IndexError, TypeError):
            continue
        if value is not None and value != "":
            return value
    return None


def _text(container: Any, keys: Sequence[Any], default: Any) -> Any:
    for key in keys:
        value = _found(container, (key,))
        if type(value) is str:
            return value
        if type(value) in (int, float, Digits):
            return str(value)
    return default


def _number(container: Any, keys: Sequence[Any], default: Any) -> Any:
    for key in keys:
        try:
            return Digits(_found(container, (key,)))
        except ValueError:
            continue
    return default


def _product(container: Any, keys: Sequence[Any], factor: Any, default: Any) -> Any:
    """In decimals: a time in seconds must give the same millisecond whoever sends it."""
    for key in keys:
        try:
            return int(Decimal(str(_found(container, (key,)))) * Decimal(str(factor)))
        except (InvalidOperation, ValueError, OverflowError):
            continue
    return default


def _upper(value: Any) -> Any:
    return value.upper() if isinstance(value, str) else value


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


def _of_one(read: Callable[..., Any], then: Callable[[Any], Any] = lambda value: value) -> Any:
    return staticmethod(lambda container, key, *rest: then(read(container, (key,), *_rest(read, rest))))


def _of_two(read: Callable[..., Any], then: Callable[[Any], Any] = lambda value: value) -> Any:
    return staticmethod(lambda container, one, two, *rest: then(read(container, (one, two), *_rest(read, rest))))


def _of_many(read: Callable[..., Any], then: Callable[[Any], Any] = lambda value: value) -> Any:
    return staticmethod(lambda container, keys, *rest: then(read(container, keys, *_rest(read, rest))))


def _rest(read: Callable[..., Any], given: tuple[Any, ...]) -> tuple[Any, ...]:
    """The arguments that follow the keys: ccxt leaves the default away."""
    wanted = 2 if read is _product else 1
    return given if len(given) == wanted else (*given, None)


def _seconds(container: Any, keys: Sequence[Any], default: Any) -> Any:
    return _product(container, keys, 1000, default)


class _Exact:
    """Stands before ccxt's class of an exchange, whose methods call these by `self`."""

    number = Digits

    safe_string, safe_string_2, safe_string_n = _of_one(_text), _of_two(_text), _of_many(_text)
    safe_string_lower, safe_string_lower_2, safe_string_lower_n = (
        _of_one(_text, _lower),
        _of_two(_text, _lower),
        _of_many(_text, _lower),
    )
    safe_string_upper, safe_string_upper_2, safe_string_upper_n = (
        _of_one(_text, _upper),
        _of_two(_text, _upper),
        _of_many(_text, _upper),
    )
    safe_float, safe_float_2, safe_float_n = _of_one(_number), _of_two(_number), _of_many(_number)
    safe_integer_product, safe_integer_product_2, safe_integer_product_n = (
        _of_one(_product),
        _of_two(_product),
        _of_many(_product),
    )
    safe_timestamp, safe_timestamp_2, safe_timestamp_n = _of_one(_seconds), _of_two(_seconds), _of_many(_seconds)

    def on_json_response(self, body: str) -> Any:
        return decode_json(body)
