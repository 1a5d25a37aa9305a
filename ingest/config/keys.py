"""Every key of the configuration, read from the models: for the reference, for hints and for tests."""

from collections.abc import Iterator
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from ingest.config.model import Config

ENVIRONMENT_PREFIX = "INGEST_"


class Key(msgspec.Struct, frozen=True):
    """One key. `name` is dotted, with `[]` for a block that may repeat: `collect[].symbols`."""

    name: str
    type: str
    unit: str  # "" where it has none
    default: object  # None: empty; REQUIRED: there is none
    environment: str  # the variable that sets it
    meaning: str
    secret: bool


REQUIRED: Literal["required"] = "required"


def keys() -> tuple[Key, ...]:
    """All keys in the order of the models."""
    return tuple(_walk(Config, ""))


def _walk(model: type[BaseModel], prefix: str) -> Iterator[Key]:
    for name, field in model.model_fields.items():
        dotted = f"{prefix}{name}"
        inner = _model_of(field.annotation)
        if inner is None:
            yield _key(dotted, field)
        elif get_origin(field.annotation) is tuple:
            yield from _walk(inner, f"{dotted}[].")
        else:
            yield from _walk(inner, f"{dotted}.")


def _model_of(annotation: Any) -> type[BaseModel] | None:
    inner = get_args(annotation)[0] if get_origin(annotation) is tuple else annotation
    return inner if isinstance(inner, type) and issubclass(inner, BaseModel) else None


def _key(dotted: str, field: FieldInfo) -> Key:
    extra = field.json_schema_extra
    stated = extra.get("unit") if isinstance(extra, dict) else None
    unit = str(stated) if stated else _unit(dotted)
    return Key(
        name=dotted,
        type=_type(field.annotation) + _range(field),
        unit=unit,
        default=REQUIRED if field.is_required() else field.default,
        environment=environment_name(dotted),
        meaning=field.description or "",
        secret=SecretStr in (field.annotation, *get_args(field.annotation)),
    )


def environment_name(dotted: str) -> str:
    """`log.level` → `INGEST_LOG__LEVEL`; a repeated block is one variable that holds JSON."""
    block, repeated, _ = dotted.partition("[")
    return ENVIRONMENT_PREFIX + (block if repeated else dotted).replace(".", "__").upper()


def _unit(dotted: str) -> str:
    for unit in ("seconds", "rows", "bytes"):
        if dotted.endswith(f"_{unit}"):
            return unit
    return ""


def _type(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        rules = [rule for rule in arguments[1:] if isinstance(rule, FieldInfo)]
        return _type(arguments[0]) + "".join(_range(rule) for rule in rules)
    if origin in (Union, UnionType):
        return " or ".join(_type(argument) for argument in arguments if argument is not NoneType)
    if origin is tuple:
        return f"list of {_type(arguments[0])}"
    if origin is Literal:
        return ", ".join(f"`{argument}`" for argument in arguments)
    return {str: "text", SecretStr: "text", int: "whole number", float: "number", bool: "`true`, `false`"}[annotation]


def _range(field: FieldInfo) -> str:
    low, high = bounds(field)
    return f" {low} to {high}" if low is not None and high is not None else ""


def bounds(field: FieldInfo) -> tuple[float | None, float | None]:
    """The least and the greatest value that the field takes."""
    low = next((rule.ge for rule in field.metadata if hasattr(rule, "ge")), None)
    high = next((rule.le for rule in field.metadata if hasattr(rule, "le")), None)
    return low, high


def shown_default(default: object) -> str:
    """A default as TOML writes it; "" for an empty one."""
    if default is None:
        return ""
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, tuple):
        return "[" + ", ".join(shown_default(item) for item in default) + "]"
    return f'"{default}"' if isinstance(default, str) else str(default)


def reference_table() -> str:
    """The Markdown table of `docs/reference/configuration.md`."""
    rows = ["| key | type | unit | default | environment | meaning |", "|---|---|---|---|---|---|"]
    for key in keys():
        default = "empty" if key.default is None else f"`{shown_default(key.default)}`"
        cells = (
            f"`{key.name}`",
            key.type,
            key.unit,
            REQUIRED if key.default is REQUIRED else default,
            f"`{key.environment}`",
            key.meaning,
        )
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"
