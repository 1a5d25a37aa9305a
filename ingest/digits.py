"""What counts as a price or an amount: plain decimal digits, as text.

No sign, exponent, blank, underscore or foreign digit: such text reads as a number in Python or in PostgreSQL or in
both, but it is not what an exchange writes, and it must not reach COPY unexamined. `float` is used here to judge
the size only; the text itself goes on.
"""

from collections.abc import Iterable

DIGITS = "0123456789."
_INFINITY = float("inf")


def plain(text: str) -> bool:
    """True when there is nothing but digits and points, and something. Raises ValueError for a lone surrogate.

    `str.strip(DIGITS)` says the same, but it searches `DIGITS` for every character: three to eight times the time.
    """
    return text.encode().replace(b".", b"0").isdigit()


def positive(*texts: str) -> bool:
    """True when each text is a plain decimal above zero and of a size that a number can have."""
    try:
        values = [*map(float, texts)]
        return plain("".join(texts)) and 0.0 < min(values) and max(values) < _INFINITY
    except ValueError:
        return False


def not_negative(*texts: str) -> bool:
    """The same, zero included."""
    try:
        return plain("".join(texts)) and max(map(float, texts)) < _INFINITY
    except ValueError:
        return False


def scaled(text: str, places: int) -> int:
    """A plain decimal times 10 to the power of `places`, which are not fewer than it has: for comparing and adding."""
    whole, _, fraction = text.partition(".")
    return int(whole + fraction.ljust(places, "0"))


def places(text: str) -> int:
    """How many digits stand behind its point."""
    return len(text.partition(".")[2])


def sum_of_products(terms: Iterable[tuple[str, ...]]) -> str:
    """Of plain decimals, to the last digit: each term is the product of its factors. "0" of no terms."""
    sums: dict[int, int] = {}  # by decimal places
    for factors in terms:
        product, behind = 1, 0
        for text in factors:
            digits_behind = places(text)
            product *= scaled(text, digits_behind)
            behind += digits_behind
        sums[behind] = sums.get(behind, 0) + product
    most = max(sums, default=0)
    text = str(sum(number * 10 ** (most - behind) for behind, number in sums.items())).rjust(most + 1, "0")
    return f"{text[:-most]}.{text[-most:]}".rstrip("0").rstrip(".") if most else text
