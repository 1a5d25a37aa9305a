"""`make reference`: write the generated parts of `docs/reference/` anew. Tests compare them."""

import re
from pathlib import Path

from ingest.config.keys import reference_table
from ingest.reference import command_reference, exit_codes

FOLDER = Path(__file__).parents[1] / "docs" / "reference"


def main() -> None:
    commands = FOLDER / "cli.md"
    text = commands.read_text()
    text = f"{text.partition('## Commands')[0]}## Commands\n\n{command_reference()}"
    commands.write_text(re.sub(r"(## Exit codes\n\n)(\|.*\n)+", lambda found: f"{found[1]}{exit_codes()}", text))
    keys = FOLDER / "configuration.md"
    head = reference_table().splitlines()[0]
    table = re.compile(re.escape(head) + r"\n(\|.*\n)+")
    keys.write_text(table.sub(lambda _: reference_table().rstrip("\n") + "\n", keys.read_text()))


if __name__ == "__main__":
    main()
