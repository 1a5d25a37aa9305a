"""The house rules that a machine can hold us to: imports point down the way of the data, modules stay small."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "ingest"

# A layer may import itself and what stands before it. Simulator and audit stand apart: they judge the rest.
LAYERS = [
    {"errors", "clock", "digits", "records", "retry"},
    {"config"},
    {"log", "events", "terminal", "embedded", "estimate"},
    {"exchanges"},
    {"store"},
    {"pipeline"},
    {"repair"},
    {"collect"},
    {"operate", "venues", "recording", "spooled"},
    {"maintain"},
    {"backfill", "daemon", "observe", "replay", "record", "probe", "status", "plan", "check_config", "instruments"}
    | {
        "backup",
        "doctor",
        "gaps",
        "rejected",
        "rejected_retry",
        "policies",
        "analyst",
        "parquet",
        "export",
        "importing",
        "page",
    }
    | {"directory"},
    {"simulator", "demo"},
    {"cli", "__main__", "__init__"},
    {"reference"},
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}


def modules() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py"))


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" if node.module == "ingest" else node.module for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            parts = name.split(".")
            if parts[0] == "ingest" and len(parts) > 1 and parts[1] in LEVEL:
                assert LEVEL[parts[1]] <= LEVEL[room(path)], f"{path.name} imports {name}, which is above it"


def test_no_module_outgrows_the_house() -> None:
    assert [f"{path}: {n}" for path in modules() if (n := len(path.read_text().splitlines())) > 400] == []


def test_no_module_is_named_after_nothing() -> None:
    assert {path.stem for path in modules()}.isdisjoint({"utils", "helpers", "common", "manager", "misc"})
