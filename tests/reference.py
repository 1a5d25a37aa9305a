"""`make reference`: write the generated parts of `docs/reference/` anew. Tests compare them."""

import re
from pathlib import Path

from ingest.config.keys import reference_table
from ingest.operate import catalogue
from ingest.reference import command_reference, exit_codes

FOLDER = Path(__file__).parents[1] / "docs" / "reference"


def main() -> None:
    commands = FOLDER / "cli.md"
    text = commands.read_text()
    text = f"{text.partition('## Commands')[0]}## Commands\n\n{command_reference()}"
    commands.write_text(re.sub(r"(## Exit codes\n\n)(\|.*\n)+", lambda found: f"{found[1]}{exit_codes()}", text))
    _write_table(FOLDER / "configuration.md", reference_table())
    _write_table(FOLDER / "metrics.md", catalogue.reference_table())


def _write_table(file: Path, table: str) -> None:
    """In place of the one with the same head."""
    old = re.compile(re.escape(table.splitlines()[0]) + r"\n(\|.*\n)+")
    file.write_text(old.sub(lambda _: table, file.read_text()))


if __name__ == "__main__":
    main()
