"""`docs/reference/cli.md` says what the commands say: one that is changed and not documented fails here.

After a change, `make reference` writes it anew.
"""

import re
from pathlib import Path

import pytest

from ingest.config.source import OTHER_VARIABLES
from ingest.errors import Exit
from ingest.reference import Command, Parameter, command_reference, commands, exit_codes

ROOT = Path(__file__).parents[2]
REFERENCE = (ROOT / "docs" / "reference" / "cli.md").read_text()

COMMANDS = commands()
PARAMETERS = [(command.name, parameter) for command in COMMANDS for parameter in command.parameters]


def test_the_reference_holds_every_command_and_no_other() -> None:
    assert REFERENCE.endswith(f"## Commands\n\n{command_reference()}")


def test_the_reference_holds_every_exit_code() -> None:
    assert f"## Exit codes\n\n{exit_codes()}\n" in REFERENCE
    assert exit_codes().splitlines()[2:] == [f"| {code:d} | `{code.name}` | {code.meaning} |" for code in Exit]


def test_the_commands_are_those_of_the_program() -> None:
    assert [command.name for command in COMMANDS if not command.name.startswith("db ")] == [
        *("", "run", "reload", "migrate", "check-config", "status", "health", "demo", "record", "probe", "replay"),
        *("exchanges", "symbols", "gaps"),
        *("policies", "maintain", "doctor", "backup", "restore", "import", "sql", "export"),
        "instruments refresh",
        *("backfill run", "backfill all", "backfill status", "backfill cancel", "backfill retry"),
        *("spool status", "spool drain", "spool export", "rejected list", "rejected show", "rejected retry"),
    ]
    assert [command.name for command in COMMANDS if command.name.startswith("db ")] == [
        *("db up", "db down", "db status", "db psql", "db destroy"),
    ]


def test_a_command_is_read_with_all_that_it_takes() -> None:
    config = Parameter(
        "option",
        ("--config", "-c"),
        "path",
        "",
        "The configuration; default: $INGEST_CONFIG, else ./ingest.toml if it is there.",
    )
    (record,) = (command for command in COMMANDS if command.name == "record")
    assert record == Command(
        "record",
        "Save an exchange's raw traffic, websocket and REST, for `replay` and for tests.",
        (
            Parameter("argument", ("EXCHANGE",), "text", "required", "The exchange's name: binance."),
            Parameter(
                "argument", ("SYMBOLS",), "list of text", "required", "Unified symbols or globs: BTC/USDT '*/EUR'."
            ),
            Parameter("option", ("--seconds",), "number 1 to 86400", "30", "How long to record."),
            Parameter("option", ("--output", "-o"), "path", "recordings", "The folder for the files."),
            config,
        ),
        passes_arguments_on=False,
    )
    assert record.usage == "ingest record [OPTIONS] EXCHANGE SYMBOLS..."


@pytest.mark.parametrize(
    ("name", "usage"),
    [
        ("", "ingest [OPTIONS] COMMAND [ARGS]..."),
        ("run", "ingest run [OPTIONS]"),
        ("probe", "ingest probe [OPTIONS] EXCHANGE [SYMBOLS...]"),
        ("replay", "ingest replay [OPTIONS] FILES..."),
        ("db psql", "ingest db psql [OPTIONS] [ARGS]..."),
    ],
)
def test_usage(name: str, usage: str) -> None:
    assert [command.usage for command in COMMANDS if command.name == name] == [usage]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_every_command_says_what_it_does(command: Command) -> None:
    assert command.help.endswith(".")


@pytest.mark.parametrize(("command", "parameter"), PARAMETERS)
def test_every_argument_and_option_says_what_it_does(command: str, parameter: Parameter) -> None:
    assert parameter.help.endswith("."), command


def test_every_variable_that_the_program_reads_is_documented() -> None:
    read = re.compile(r'environ(?:\.get\(|\[)["\']([A-Z_]+)|"([A-Z_]+)" in os\.environ')
    found = {
        first or second for path in (ROOT / "ingest").rglob("*.py") for first, second in read.findall(path.read_text())
    }
    assert found > {"INGEST_CONFIG", "DATABASE_URL", "INGEST_DATA_DIR", "NOTIFY_SOCKET"}
    environment = REFERENCE.partition("## Environment")[2].partition("\n## ")[0]
    assert [name for name in sorted(found | OTHER_VARIABLES) if name not in environment] == []
