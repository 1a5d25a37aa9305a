"""No password leaves an address that is shown."""

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.config.secret import check_address, check_dsn, redact_dsn


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://ingest:pw@host/db", "postgresql://ingest:***@host/db"),
        ("postgresql://ingest@host/db", "postgresql://ingest@host/db"),
        ("postgresql:///db?host=/run/pg", "postgresql:///db?host=/run/pg"),
        ("postgresql://u:p@ss@host/db", "postgresql://u:***@host/db"),
        ("postgresql://u:p w@host/db", "postgresql://u:***@host/db"),
        (
            "postgresql://host/db?user=u&password=pw&sslmode=require",
            "postgresql://host/db?user=u&password=***&sslmode=require",
        ),
        ("host=h user=u password=pw dbname=d", "host=h user=u password=*** dbname=d"),
        ("host=h password='p w\\'x' dbname=d", "host=h password=*** dbname=d"),
        (
            "cannot reach postgresql://u:pw@h/d, nor http://t0ken@proxy:80",
            "cannot reach postgresql://u:***@h/d, nor http://***@proxy:80",
        ),
        ("http://u:pw@proxy:3128", "http://u:***@proxy:3128"),
        ("mail someone@example.org", "mail someone@example.org"),
    ],
)
def test_redact_dsn(text: str, shown: str) -> None:
    assert redact_dsn(text) == shown


PASSWORDS = st.text(st.characters(min_codepoint=32, max_codepoint=0x17F), min_size=1).map(lambda text: f"Se{text}ecreT")


@given(PASSWORDS)
def test_an_address_is_shown_without_its_password_however_it_is_written(password: str) -> None:
    assert redact_dsn(f"postgresql://u:{password}@h/d") == "postgresql://u:***@h/d"
    written = quote(password, safe="")
    assert redact_dsn(f"no answer from postgresql://u:{written}@h/d.") == "no answer from postgresql://u:***@h/d."


@given(PASSWORDS)
def test_a_refused_dsn_is_not_quoted(password: str) -> None:
    check_dsn(f"postgresql://u:{quote(password, safe='')}@h:5432/d")
    for url in (f"postgresql://u:{password}@h:port/d", f"mysql://u:{password}@h/d", f"postgresql://u:{password}@[h/d"):
        with pytest.raises(ValueError) as caught:
            check_dsn(url)
        assert password not in str(caught.value)
        assert caught.value.__context__ is None


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ingest:pw@host:5432/db",
        "postgres://ingest@host/db?sslmode=verify-full",
        "postgresql:///db?host=/run/postgresql",
        "postgresql://u:p%40%2F@h1:1,h2:2/db",
        "postgresql://u@[::1]:5432/db",
    ],
)
def test_good_dsns(url: str) -> None:
    check_dsn(url)


@pytest.mark.parametrize(
    "url",
    [
        "host=h password=pw",
        "postgresql:/h/d",
        "postgresql://u:pw@h:0/d",
        "postgresql://u:pw@h:65536/d",
        "postgresql://u:12/34@h/d",  # libpq would read host u, port 12
        "postgresql://u:p@ss@h/d",
        "postgresql://u:pw@h/d?nonsense=1",
        "postgresql://u:p%zz@h/d",
    ],
)
def test_bad_dsns(url: str) -> None:
    with pytest.raises(ValueError):
        check_dsn(url)


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("postgresql://u:pw@h/d?sslmod=require", 'that libpq does not know; did you mean "sslmode"?'),
        ("postgresql://h/d?user=u&password=a&bcd=1", "that libpq does not know; known are sslmode, sslrootcert"),
        ("postgresql://u:p?ss%w@h/d", "percent-encode special characters of the password"),
        ("postgresql://u:p%zz@h/d?sslmode=require", "percent-encode special characters of the password"),
    ],
)
def test_a_wrong_parameter_is_not_taken_for_a_password(url: str, what: str) -> None:
    with pytest.raises(ValueError) as caught:
        check_dsn(url)
    assert what in str(caught.value)
    assert "bcd" not in str(caught.value)  # it may be the end of a password
    assert caught.value.__context__ is None


def test_the_form_that_a_message_gives_is_not_masked() -> None:
    with pytest.raises(ValueError, match="write postgresql://USER:PASSWORD@HOST:5432/DATABASE") as caught:
        check_dsn("mysql://h/d")
    assert redact_dsn(str(caught.value)) == str(caught.value)


@pytest.mark.parametrize("url", ["ftp://h", "//h", "h", "https://", "https://h:x", "https://a b", "https://u:p@h", ""])
def test_bad_addresses(url: str) -> None:
    with pytest.raises(ValueError):
        check_address(url, ("https", "http"))


def test_good_addresses() -> None:
    check_address("https://data-api.binance.vision", ("https", "http"))
    check_address("ws://127.0.0.1:8080/stream", ("wss", "ws"))
    check_address("http://u:p@proxy:3128", ("http", "https"), credentials=True)
