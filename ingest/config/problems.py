"""What is wrong with a configuration, where, and what to do: the words of a ConfigError, without any secret."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from difflib import get_close_matches

import msgspec
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from ingest.config.fields import quoted
from ingest.config.keys import Key, keys
from ingest.config.lines import join
from ingest.config.model import ExchangeSettings, RepeatedStreamError
from ingest.config.secret import redact_dsn

_BRIEF = 12
"""A list of choices longer than this is not printed whole."""
_WORD = 3
"""Letters that a part of a key must have to say which is meant."""


class Problem(msgspec.Struct, frozen=True):
    """One line of the message."""

    where: str  # "ingest.toml:12", "environment INGEST_…", "flag --…"; "" when unknown
    key: str  # dotted; "" when it is the file or the variable itself
    what: str
    remedy: str

    def __str__(self) -> str:
        text = ": ".join(part for part in (self.where, self.key, self.what) if part)
        return f"{text}; {self.remedy}" if self.remedy else text


def report(problems: Iterable[Problem]) -> str:
    """One message that lists all of them."""
    lines = [redact_dsn(str(problem)) for problem in sorted(problems, key=_place)]
    if len(lines) == 1:
        return f"the configuration is refused: {lines[0]}"
    return f"the configuration is refused, {len(lines)} problems:\n" + "\n".join(f"  {line}" for line in lines)


def _place(problem: Problem) -> tuple[bool, str, int]:
    """The file's problems first, by line."""
    name, _, line = problem.where.rpartition(":")
    elsewhere = problem.where.startswith(("credential ", "environment ", "flag "))
    return (elsewhere, name, int(line)) if line.isdecimal() else (elsewhere, problem.where, 0)


def unknown_exchange(where: str, key: str, name: str, known: Collection[str]) -> Problem:
    near = get_close_matches(name.lower(), known, n=1)
    choices = ", ".join(sorted(known)) if len(known) <= _BRIEF else f"{len(known)} are known"
    hint = f'did you mean "{near[0]}"?' if near else f"known: {choices}"
    return Problem(where, key, f"unknown exchange {quoted(name)}", hint)


def unknown_variable(name: str) -> Problem:
    near = get_close_matches(name.upper(), [key.environment for key in keys()], n=1, cutoff=0.7)
    remedy = f"did you mean {near[0]}?" if near else "unset it, or see docs/reference/configuration.md"
    return Problem(f"environment {name}", "", "sets no key of the configuration", remedy)


def explain_validation(error: ValidationError, origins: Mapping[str, str]) -> Iterator[Problem]:
    """One problem for each of pydantic's, told in the file's own words."""
    details = [(_key(detail), detail) for detail in error.errors(include_url=False)]
    for key, detail in details:
        if detail["type"] == "too_short" and any(other.startswith(f"{key}[") for other, _ in details):
            continue  # pydantic counts only the valid items; theirs are the problems
        what, remedy = _words(detail, key)
        yield Problem(_where(key, origins), key, what, remedy)


def _key(detail: ErrorDetails) -> str:
    cause = detail.get("ctx", {}).get("error")
    return f"collect[{cause.index}]" if isinstance(cause, RepeatedStreamError) else _dotted(detail["loc"])


def _dotted(loc: tuple[int | str, ...]) -> str:
    key = ""
    for part in loc:
        key = f"{key}[{part}]" if isinstance(part, int) else join(key, part)
    return key


def _where(key: str, origins: Mapping[str, str]) -> str:
    while key:
        if key in origins:
            return origins[key]
        key = key[: max(key.rfind("."), key.rfind("["), 0)]
    return ""


def _known(key: str) -> Key | None:
    general = _general(key)
    return next((known for known in keys() if known.name == general), None)


def _general(key: str) -> str:
    """`collect[1].symbols[0]` → `collect[].symbols`."""
    block, bracket, rest = key.partition("[")
    inside = rest.partition("]")[2].partition("[")[0]
    return f"{block}[]{inside}" if bracket and inside else block


def _words(detail: ErrorDetails, key: str) -> tuple[str, str]:
    kind, context, known = detail["type"], detail.get("ctx", {}), _known(key)
    match kind:
        case "extra_forbidden":
            return _unknown_key(key)
        case "missing":
            return "is missing", f"add {_example(key)}"
        case "value_error":
            return str(context["error"]), ""
        case "literal_error":
            return _not_a_choice(detail)
        case "tuple_type" if key in ("collect", "backfill"):
            return "must be blocks", f"write [[{key}]], with double brackets (in the environment: a JSON list)"
        case "tuple_type":
            return "must be a list", f"write {_example(key)}"
        case "too_short" | "string_too_short":
            return "is empty", f"write {_example(key)}"
        case "greater_than_equal" | "less_than_equal" | "finite_number":
            return _out_of_range(detail, known)
        case "int_from_float":
            return "must be a whole number", "remove the fraction"
        case "int_type" | "int_parsing" | "float_type" | "float_parsing":
            number = "a whole number" if kind.startswith("int") else "a number"
            unit = f" of {known.unit}" if known and known.unit else ""
            return f"must be {number}{unit}, without quotes or unit", f"write {_example(key)}"
        case "bool_type" | "bool_parsing":
            return "must be true or false", ""
        case "string_type":
            return "must be text", "put it into double quotes"
        case "model_type":
            table = "its keys and values" if key.endswith("]") else f"[{key}] and its keys below"
            return "must be a table", f"write {table}"
    return detail["msg"][:1].lower() + detail["msg"][1:], "see docs/reference/configuration.md"


def _example(key: str) -> str:
    name = key.rpartition(".")[2].partition("[")[0]
    known = _known(key)
    examples = {
        "symbols": '["BTC/USDT", "*/EUR"]',
        "channels": '["trades", "candles", "book"]',
        "exchange": '"binance"',
        "since": '"2024-01-01"',
    }
    return f"{name} = {examples.get(name) or (known.default if known else '…')}"


def _unknown_key(key: str) -> tuple[str, str]:
    parent, _, name = _general(key).rpartition(".")
    siblings = _children(parent)
    near = _nearest(name, siblings)
    if near:
        return "unknown key", f'did you mean "{near}"?'
    elsewhere = [known.name for known in keys() if known.name.rpartition(".")[2] == name]
    if elsewhere:
        return "unknown key here", f"it belongs to {elsewhere[0]}"
    return "unknown key", f"remove it; known here: {', '.join(sorted(siblings))}" if siblings else "remove it"


def _nearest(name: str, siblings: Collection[str]) -> str | None:
    """The key that was meant: one that contains the word (`books`: order_books), else one that is spelled nearly so."""
    containing = [sibling for sibling in siblings if len(name) >= _WORD and name in sibling]
    near = get_close_matches(name, containing, n=1, cutoff=0) or get_close_matches(name, siblings, n=1)
    return near[0] if near else None


def _children(parent: str) -> set[str]:
    """Names of the keys of a table, which `parent` gives in the general form: `collect[]`; "" is the top."""
    prefix = f"{parent}." if parent else ""
    children = {
        known.name.removeprefix(prefix).partition(".")[0].removesuffix("[]")
        for known in keys()
        if known.name.startswith(prefix)
    }
    foreign = parent.startswith("exchanges.") and not children  # a venue without keys of its own
    return set(ExchangeSettings.model_fields) if foreign else children


def _not_a_choice(detail: ErrorDetails) -> tuple[str, str]:
    choices = _literals(detail)
    given = detail["input"]
    near = get_close_matches(given.lower(), choices, n=1, cutoff=0.5) if isinstance(given, str) else []
    what = f"{quoted(given)} is not one of {', '.join(choices)}" if isinstance(given, str) else "must be text"
    return what, f'did you mean "{near[0]}"?' if near else f'write "{choices[0]}", for example'


def _literals(detail: ErrorDetails) -> list[str]:
    expected: str = detail["ctx"]["expected"]
    return [part.strip("'") for part in expected.replace(" or ", ", ").split(", ")]


def _out_of_range(detail: ErrorDetails, known: Key | None) -> tuple[str, str]:
    given = detail["input"]
    unit = f" {known.unit}" if known and known.unit else ""
    limits = known.type.split("number ", 1)[-1] if known else ""
    default = f"the default is {known.default}" if known else ""
    shown = quoted(given) if isinstance(given, str) else given
    return f"{shown} is outside {limits}{unit}", default
