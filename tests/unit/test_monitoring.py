"""Dashboards, alerts and runbooks name metrics, labels and commands that exist."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer

from ingest.cli import app
from ingest.operate.catalogue import METRICS

ROOT = Path(__file__).parents[2]
ALERTS = ROOT / "deploy" / "prometheus" / "alerts.yml"
DASHBOARDS = sorted((ROOT / "deploy" / "grafana" / "dashboards").glob("*.json"))
RUNBOOKS = sorted((ROOT / "docs" / "runbooks").glob("*.md"))

# What Prometheus adds to each target, and what it calls a target that answers.
_TARGET = {"job", "instance"}
_OTHER_METRICS = {"up": _TARGET}
_METRIC = re.compile(r"\b(up|ingest_\w+|process_\w+)(?:\{([^}]*)\})?")
_MATCHER = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"")


def alerts() -> dict[str, dict[str, str]]:
    """The fields of each rule by its name; each field stands on a line of its own."""
    rules = ALERTS.read_text().split("- alert: ")[1:]
    return {rule.split("\n")[0]: dict(re.findall(r"^ +(\w+): \"?(.+?)\"?$", rule, re.MULTILINE)) for rule in rules}


def panels(path: Path) -> list[dict[str, Any]]:
    read: list[dict[str, Any]] = json.loads(path.read_text())["panels"]
    return read


def expressions() -> list[str]:
    asked = [
        target["expr"]
        for path in DASHBOARDS
        for panel in panels(path)
        for target in panel["targets"]
        if "expr" in target
    ]
    return [*asked, *(alert["expr"] for alert in alerts().values())]


def labels_of(name: str) -> set[str] | None:
    """The labels that samples of this name have; None where there is no such metric."""
    if name in _OTHER_METRICS:
        return _OTHER_METRICS[name]
    if name in METRICS and METRICS[name].kind != "histogram":
        return {*METRICS[name].labels, *_TARGET}
    stem, _, part = name.rpartition("_")
    if stem in METRICS and METRICS[stem].kind == "histogram" and part in ("bucket", "sum", "count"):
        return {*METRICS[stem].labels, *_TARGET, *(["le"] if part == "bucket" else [])}
    return None


@pytest.mark.parametrize("expression", sorted(set(expressions())))
def test_every_metric_and_label_exists(expression: str) -> None:
    found = _METRIC.findall(expression)
    assert found
    for name, matchers in found:
        labels = labels_of(name)
        assert labels is not None, f"there is no metric {name}"
        assert set(_MATCHER.findall(matchers)) <= labels, name
        for grouped in re.findall(r"by \(([^)]*)\)", expression):
            assert set(re.split(r",\s*", grouped)) <= labels, name


def test_every_label_in_a_legend_is_one_that_the_answer_has() -> None:
    for path in DASHBOARDS:
        for panel in panels(path):
            for target in panel["targets"]:
                names = set(re.findall(r"\{\{(\w+)\}\}", target.get("legendFormat", "")))
                grouped = re.search(r"by \(([^)]*)\)", target.get("expr", ""))
                given = set(re.split(r",\s*", grouped[1])) if grouped else _TARGET
                assert names <= given, (panel["title"], target)


def test_every_alert_has_its_runbook_and_every_runbook_its_alert() -> None:
    found = alerts()
    assert len(found) >= 6
    assert sorted(ROOT / alert["runbook"] for alert in found.values()) == RUNBOOKS
    listed = (ROOT / "docs" / "how-to" / "monitoring.md").read_text()
    for name, alert in found.items():
        runbook = (ROOT / alert["runbook"]).read_text()
        assert f"Alert `{name}`, {alert['severity']}: `{alert['expr']}` for {alert['for']}." in runbook
        assert "\n## Look\n" in runbook
        assert "\n## Do\n" in runbook
        assert f"[{name}](../{alert['runbook'].removeprefix('docs/')}) | {alert['severity']} |" in listed


@pytest.mark.parametrize("path", RUNBOOKS, ids=lambda path: path.stem)
def test_a_runbook_names_what_there_is(path: Path) -> None:
    text = path.read_text()
    commands: Any = typer.main.get_command(app)
    for name in re.findall(r"`ingest ([a-z-]+)", text):
        assert name in commands.commands
    for name in re.findall(r"`((?:ingest|process)_\w+)`", text):
        assert name in METRICS
    for link in re.findall(r"\]\(([^)]+)\)", text):
        assert (path.parent / link).exists(), link


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_a_dashboard_is_whole(path: Path) -> None:
    """Panels have ids of their own, do not lie over one another, and read sources that are provisioned."""
    found = panels(path)
    assert len({panel["id"] for panel in found}) == len(found)
    cells = [
        (x, y)
        for panel in found
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24
    sources = (ROOT / "deploy" / "grafana" / "provisioning" / "datasources" / "ingest.yaml").read_text()
    for panel in found:
        for each in (panel, *panel["targets"]):
            assert f"uid: {each['datasource']['uid']}\n    type: {each['datasource']['type']}\n" in sources


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not on this machine")
def test_prometheus_takes_the_rules() -> None:
    checked = subprocess.run(["promtool", "check", "rules", str(ALERTS)], check=False, capture_output=True, text=True)  # noqa: S607
    assert checked.returncode == 0, checked.stderr
