"""What counts as a price or an amount."""

import pytest

from ingest import digits

PLAIN = ["1", "0.10", "00.1", ".5", "5.", "123456789012345678.123456789012345678"]
ODD = [
    *("", ".", "1.2.3", "-1", "+1", "1e5", "1E-3", "1_0", " 1", "1 ", "1\t", "1\n", "1\r", "1\0", "\u00a01", "1,5"),
    *("NaN", "nan", "Infinity", "inf", "-Infinity", "0x1", "abc", "\\N", "١", "１", "½", "∞", "\ud800", "9" * 400),
]


@pytest.mark.parametrize("text", PLAIN)
def test_plain_decimals(text: str) -> None:
    assert digits.plain(text)
    assert digits.positive(text, "1")
    assert digits.not_negative("0", text)


@pytest.mark.parametrize("text", ODD, ids=ascii)
def test_all_else_is_refused(text: str) -> None:
    for texts in ((text,), ("1", text), (text, "1")):
        assert not digits.positive(*texts)
        assert not digits.not_negative(*texts)


@pytest.mark.parametrize("zero", ["0", "0.00000000", "00", ".0"])
def test_zero(zero: str) -> None:
    assert digits.not_negative(zero, "1")
    assert not digits.positive(zero)
    assert not digits.positive("1", zero)
