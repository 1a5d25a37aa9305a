"""The reference of the command line, made from the commands themselves: for `docs/reference/cli.md` and its test."""

import inspect
from collections.abc import Iterator
from types import NoneType, UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

import typer.main
from msgspec import Struct

from ingest.cli import app
from ingest.errors import Exit

PROGRAM = "ingest"

_TYPES = {
    "str": "text",
    "int": "whole number",
    "float": "number",
    "Path": "path",
    "bool": "flag",
    "datetime": "time",
}


class Parameter(Struct, frozen=True):
    """An option (`names` are its spellings) or an argument (`names` is what usage calls it)."""

    kind: Literal["argument", "option"]
    names: tuple[str, ...]
    type: str
    default: str  # "required", "" for none, else as it is typed
    help: str


class Command(Struct, frozen=True):
    """One command. `name` is what follows the program's name, `db up` for example; "" for the program itself."""

    name: str
    help: str
    parameters: tuple[Parameter, ...]
    passes_arguments_on: bool

    @property
    def usage(self) -> str:
        """The line that a user types."""
        words = [PROGRAM, self.name, "[OPTIONS]" if any(p.kind == "option" for p in self.parameters) else ""]
        for parameter in self.parameters:
            if parameter.kind == "argument":
                word = parameter.names[0] + ("..." if parameter.type.startswith("list") else "")
                words.append(word if parameter.default == "required" else f"[{word}]")
        words += ["" if self.name else "COMMAND", "[ARGS]..." if self.passes_arguments_on or not self.name else ""]
        return " ".join(word for word in words if word)


def commands() -> tuple[Command, ...]:
    """The program itself, then every command in the order of `--help`; `--help`, which each has, is left out."""
    return tuple(_walk(typer.main.get_command(app), ""))


def _walk(command: Any, name: str) -> Iterator[Command]:
    """Any: typer's commands are click's in some of its versions and its own in others, with the same attributes."""
    inner = getattr(command, "commands", {})
    if command.params or not inner:
        yield _command(command, name)
    for word, below in inner.items():
        yield from _walk(below, f"{name} {word}".strip())


def _command(command: Any, name: str) -> Command:
    hints = get_type_hints(inspect.unwrap(command.callback), include_extras=True)
    return Command(
        name,
        command.help,
        tuple(_parameter(parameter, hints.get(parameter.name, bool)) for parameter in command.params),
        passes_arguments_on=command.context_settings.get("allow_extra_args", False),
    )


def _parameter(parameter: Any, hint: Any) -> Parameter:
    argument = parameter.param_type_name == "argument"
    default = "" if parameter.default in (None, False) else str(parameter.default)
    return Parameter(
        "argument" if argument else "option",
        (parameter.name.upper(),)
        if argument
        else tuple(sorted((*parameter.opts, *parameter.secondary_opts), key=len, reverse=True)),
        _type(hint) + _range(hint),
        "required" if parameter.required else default,
        parameter.help or "",
    )


def _type(hint: Any) -> str:
    if hasattr(hint, "__metadata__"):  # Annotated
        return _type(get_args(hint)[0])
    if get_origin(hint) is UnionType:
        return _type(next(part for part in get_args(hint) if part is not NoneType))
    if get_origin(hint) is list:
        return f"list of {_type(get_args(hint)[0])}"
    return _TYPES[hint.__name__]


def _range(hint: Any) -> str:
    info = getattr(hint, "__metadata__", (None,))[0]
    least, most = getattr(info, "min", None), getattr(info, "max", None)
    return "" if least is None else f" {least} to {most}"


def command_reference() -> str:
    """A Markdown section for each command: its usage, what it does, its arguments and options."""
    return "\n".join(_section(command) for command in commands())


def _section(command: Command) -> str:
    title = f"{PROGRAM} {command.name}".strip()
    lines = [f"### `{title}`", "", command.help, "", f"    {command.usage}", ""]
    if command.parameters:
        lines += ["| argument or option | type | default | meaning |", "|---|---|---|---|"]
        for parameter in command.parameters:
            names = ", ".join(f"`{name}`" for name in parameter.names)
            plain = parameter.default in ("", "required")
            default = parameter.default if plain else f"`{parameter.default}`"
            lines.append(f"| {names} | {parameter.type} | {default} | {parameter.help} |")
        lines.append("")
    return "\n".join(lines)


def exit_codes() -> str:
    """The Markdown table of exit codes."""
    rows = [f"| {code.value} | `{code.name}` | {code.meaning} |" for code in Exit]
    return "\n".join(["| code | name | meaning |", "|--:|---|---|", *rows]) + "\n"
