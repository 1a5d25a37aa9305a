"""Addresses that may hold a password: how they are checked, and how they are shown without it."""

import re
from difflib import get_close_matches
from urllib.parse import parse_qsl, urlsplit

MASK = "***"

_FORM = "postgresql://USER:PASSWORD@HOST:5432/DATABASE"

_ALONE = re.compile(r"\A\s*([a-z][a-z0-9+.-]*://)(.*)@", re.IGNORECASE | re.DOTALL)
_IN_TEXT = re.compile(r"([a-z][a-z0-9+.-]*://)([^\s@\"'<>]*(?:@[^\s@\"'<>]*)*)@", re.IGNORECASE)
_PASSWORD_FIELD = re.compile(r"((?:ssl)?password\s*=\s*)('(?:[^'\\]|\\.)*'|[^\s&'\"]+)", re.IGNORECASE)


def redact_dsn(text: str) -> str:
    """Returns the text with every password in it masked: `postgresql://ingest:***@host/db`.

    Takes a bare address, an address inside a longer message, or libpq's `password=…`. In doubt (an `@` or
    a space inside the password) it hides more rather than less.
    """
    text = _ALONE.sub(_mask_credentials, text, count=1)
    text = _IN_TEXT.sub(_mask_credentials, text)
    return _PASSWORD_FIELD.sub(rf"\g<1>{MASK}", text)


def _mask_credentials(match: re.Match[str]) -> str:
    scheme, credentials = match.group(1), match.group(2)
    user, colon, _ = credentials.partition(":")
    if credentials == "USER:PASSWORD":
        return match.group()  # nobody's: the form that messages give
    if colon:
        return f"{scheme}{user}:{MASK}@"
    if scheme.lower().startswith("postgres") and "@" not in credentials:
        return f"{scheme}{user}@"
    return f"{scheme}{MASK}@"  # a token in the place of the user's name, as some proxies take it


def check_dsn(url: str) -> None:
    """Returns when libpq would understand this URL; raises ValueError, whose text never quotes it."""
    if not url.startswith(("postgresql://", "postgres://")):
        raise ValueError(f"is not a PostgreSQL URL; write {_FORM}")
    stray = _has_stray_at(url)
    ports = None if stray else _dsn_ports(url)
    if ports is None:
        if not stray and (unknown := _unknown_parameter(url)):
            raise ValueError(unknown)
        raise ValueError(
            "cannot be read by libpq; percent-encode special characters of the password (@ is %40, / is %2F, "
            f"% is %25, a space is %20): {_FORM}"
        )
    for port in ports:
        if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
            raise ValueError(
                "has a port that is not a number from 1 to 65535; when the password holds : / or @, "
                "percent-encode it (%3A, %2F, %40)"
            )


def _dsn_ports(url: str) -> list[str] | None:
    # psycopg is slow to import and libpq's own message quotes parts of the password: the error is
    # swallowed here, so that it is not even the context of the one that the user sees.
    from psycopg import ProgrammingError  # noqa: PLC0415  only when there is a URL to check
    from psycopg.conninfo import conninfo_to_dict  # noqa: PLC0415

    try:
        parameters = conninfo_to_dict(url)
    except (ProgrammingError, ValueError):
        return None
    return [port for port in str(parameters.get("port") or "").split(",") if port]


def _unknown_parameter(url: str) -> str | None:
    """What to say of a name behind the `?` that is no parameter of libpq's; None where all are.

    The name is not repeated: behind an unencoded & it may be the end of a password.
    """
    from psycopg.pq import Conninfo  # noqa: PLC0415

    query = url.partition("?")[2]
    if "@" in query:
        return None  # the ? is the password's
    known = [option.keyword.decode() for option in Conninfo.get_defaults()]
    names = [name for name, _ in parse_qsl(query, keep_blank_values=True)]
    unknown = next((name for name in names if name not in known), None)
    if unknown is None:
        return None
    near = get_close_matches(unknown.lower(), known, n=1)
    hint = f'did you mean "{near[0]}"?' if near else "known are sslmode, sslrootcert, application_name and so on"
    return f"has a parameter behind the ? that libpq does not know; {hint}"


def _has_stray_at(url: str) -> bool:
    """An unencoded @ or / in the password: libpq would take its rest for a host or a database's name."""
    credentials, at, rest = url.partition("://")[2].partition("?")[0].partition("@")
    return bool(at) and ("@" in rest or "/" in credentials)


def check_address(url: str, schemes: tuple[str, ...], *, credentials: bool = False) -> None:
    """Returns when the URL has one of the schemes and a host; raises ValueError, which never quotes it."""
    forms = " or ".join(f"{scheme}://" for scheme in schemes)
    scheme, host, has_credentials = _parts(url)
    if scheme not in schemes:
        raise ValueError(f"must begin with {forms}")
    if not host:
        raise ValueError(f"has no readable host and port; write {schemes[0]}://HOST[:PORT]")
    if has_credentials and not credentials:
        raise ValueError("must hold no user name or password; a proxy's go into `proxy`")


def _parts(url: str) -> tuple[str, str, bool]:
    try:
        parts = urlsplit(url)
        _ = parts.port  # reading it is what checks it
    except ValueError:
        return url.partition("://")[0], "", "@" in url
    host = "" if any(character.isspace() for character in url) else parts.hostname or ""
    return parts.scheme, host, "@" in parts.netloc
