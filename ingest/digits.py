"""What counts as a price or an amount: plain decimal digits, as text.

No sign, exponent, blank, underscore or foreign digit: such text reads as a number in Python or in PostgreSQL or in
both, but it is not what an exchange writes, and it must not reach COPY unexamined. `float` is used here to judge
the size only; the text itself goes on.
"""

DIGITS = "0123456789."
_INFINITY = float("inf")


def positive(*texts: str) -> bool:
    """True when each text is a plain decimal above zero and of a size that a number can have."""
    try:
        return not "".join(texts).strip(DIGITS) and all(0.0 < float(text) < _INFINITY for text in texts)
    except ValueError:
        return False


def not_negative(*texts: str) -> bool:
    """The same, zero included."""
    try:
        return not "".join(texts).strip(DIGITS) and all(0.0 <= float(text) < _INFINITY for text in texts)
    except ValueError:
        return False
