"""The systemd unit, its installation and the containers: what a release must not break."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ingest import daemon
from ingest.config.operation import Shutdown
from ingest.errors import Exit

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "deploy" / "ingest.service"
COMPOSE = ROOT / "deploy" / "compose.yaml"
COMPOSE_SECRETS = ROOT / "deploy" / "compose.secrets.yaml"
COMPOSE_ROLES = ROOT / "deploy" / "compose.roles.yaml"
MOST_EXPOSED = 1.5  # of 10, by `systemd-analyze security`
LONGEST_STOP_SECONDS = Shutdown().deadline_seconds + daemon._CLOSE_SECONDS

# Stands in for an interpreter: `-m venv FOLDER` makes one that takes `-m pip` and a script that names it.
PYTHON = """#!/bin/sh
[ "$1 $2" = "-m venv" ] || exit 0
mkdir -p "$3/bin"
cp "$0" "$3/bin/python"
printf '#!%s/bin/python\\n' "$3" > "$3/bin/ingest"
chmod +x "$3/bin/ingest"
"""


def settings(text: str) -> dict[str, list[str]]:
    """The lines of a unit by name; those that repeat keep their order."""
    found: dict[str, list[str]] = {}
    for name, value in re.findall(r"^(\w+)=(.*)$", text, flags=re.MULTILINE):
        found.setdefault(name, []).append(value)
    return found


def seconds(text: str) -> float:
    number = re.fullmatch(r"(\d+)s", text)
    assert number is not None
    return float(number[1])


# make


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
@pytest.mark.parametrize("named", [None, "", "/etc/other.toml"])
def test_all_targets_read_one_configuration(named: str | None) -> None:
    """`make run` migrates by the file by which it then collects."""
    environment = {name: value for name, value in os.environ.items() if name != "INGEST_CONFIG"}
    if named is not None:
        environment["INGEST_CONFIG"] = named
    echo = ["make", "--dry-run", "--always-make", "run", "check-config", "backfill-all", "db-up", "doctor"]
    found = subprocess.run(echo, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout
    calls = re.findall(r"bin/ingest (.*)", found)
    assert calls == ["migrate", "run", "check-config", "backfill all ", "db up", "doctor"]
    assert ("cp ingest.example.toml ingest.toml" in found) is (not named)


# The unit


def test_the_unit_agrees_with_the_daemon() -> None:
    unit = settings(UNIT.read_text())
    assert unit["Type"] == ["notify"]
    assert unit["Restart"] == ["always"]
    assert unit["RestartPreventExitStatus"] == [str(int(Exit.USAGE))]
    assert seconds(unit["TimeoutStopSec"][0]) > LONGEST_STOP_SECONDS
    assert seconds(unit["WatchdogSec"][0]) >= 30
    assert unit["LoadCredential"] == ["database_url:/etc/ingest/database_url"]
    assert unit["AssertFileNotEmpty"] == ["/etc/ingest/database_url"]
    assert unit["ExecStart"] == ["/opt/ingest/bin/ingest run --config /etc/ingest/ingest.toml"]


@pytest.fixture
def python(tmp_path: Path) -> Path:
    path = tmp_path / "python"
    path.write_text(PYTHON)
    path.chmod(0o755)
    return path


def install(folder: Path, python: Path, prefix: str = "/opt/ingest") -> str:
    """`make install-service` into `folder`; what it printed."""
    variables = {"DESTDIR": str(folder), "PYTHON": str(python), "PREFIX": prefix}
    return subprocess.run(
        ["make", "--no-print-directory", "install-service"],  # noqa: S607 - the user's own make
        cwd=ROOT,
        env={**os.environ, **variables},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout


def test_an_installation(tmp_path: Path, python: Path) -> None:
    said = install(tmp_path / "root", python, prefix="/srv/ingest")
    assert "/srv/ingest/bin/ingest migrate --config /etc/ingest/ingest.toml" in said
    root = tmp_path / "root"
    modes = {str(path.relative_to(root)): path.stat().st_mode & 0o777 for path in root.rglob("*") if path.is_file()}
    assert modes == {
        "srv/ingest/bin/python": 0o755,
        "srv/ingest/bin/ingest": 0o755,
        "srv/ingest/share/doc/ingest/run-as-a-service.md": 0o644,
        "etc/systemd/system/ingest.service": 0o644,
        "etc/ingest/ingest.toml": 0o644,
        "etc/ingest/database_url": 0o600,
        "etc/ingest/environment": 0o600,
    }
    assert (root / "srv/ingest/bin/ingest").read_text() == "#!/srv/ingest/bin/python\n"
    unit = (root / "etc/systemd/system/ingest.service").read_text()
    assert settings(unit)["ExecStart"] == ["/srv/ingest/bin/ingest run --config /etc/ingest/ingest.toml"]
    assert "/opt/ingest" not in unit
    assert (root / "etc/ingest/ingest.toml").read_bytes() == (ROOT / "ingest.example.toml").read_bytes()


def test_a_second_installation_keeps_settings_and_replaces_the_rest(tmp_path: Path, python: Path) -> None:
    install(tmp_path, python)
    own = {"ingest.toml": "# mine\n", "database_url": "postgresql://u@h/d\n", "environment": "A=1\n"}
    for name, text in own.items():
        (tmp_path / "etc/ingest" / name).write_text(text)
    unit = tmp_path / "etc/systemd/system/ingest.service"
    unit.write_text("old")
    install(tmp_path, python)
    assert {name: (tmp_path / "etc/ingest" / name).read_text() for name in own} == own
    assert unit.read_text() == UNIT.read_text()


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not on this machine")
def test_systemd_understands_the_unit_and_finds_it_hardened(tmp_path: Path, python: Path) -> None:
    prefix = tmp_path / "opt"
    subprocess.run([python, "-m", "venv", prefix], check=True)
    unit = tmp_path / "ingest.service"
    unit.write_text(UNIT.read_text().replace("/opt/ingest", str(prefix)))
    verified = _systemd_analyze("verify", "--man=no", str(unit))
    assert (verified.returncode, verified.stdout) == (0, "")
    judged = _systemd_analyze("security", "--offline=true", "--no-pager", "--json=off", str(unit))
    level = re.search(r"Overall exposure level for ingest.service: ([\d.]+)", judged.stdout)
    assert level is not None, judged.stdout
    assert float(level[1]) <= MOST_EXPOSED


def _systemd_analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", *arguments],  # noqa: S607 - the machine's own systemd
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


# The image


def test_the_image_is_built_of_what_the_context_lets_through() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    allowed = {line.removeprefix("!") for line in ignored if line.startswith("!")}
    copied = re.findall(r"^COPY (?!--from)(.*) \S+$", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    sources = {source for sources in copied for source in sources.split()}
    assert sources == allowed
    assert all((ROOT / source).exists() for source in sources)


def test_the_image_runs_as_nobody_special_and_says_how_it_is() -> None:
    last_stage = (ROOT / "Dockerfile").read_text().rpartition("\nFROM ")[2]
    instructions = dict(re.findall(r"^([A-Z]+) (.*)$", last_stage, flags=re.MULTILINE))
    assert instructions["USER"] == "10001:10001"
    assert instructions["STOPSIGNAL"] == "SIGTERM"
    assert instructions["HEALTHCHECK"].endswith('CMD ["ingest", "health"]')
    assert instructions["ENTRYPOINT"] == '["ingest"]'
    assert "SHELL" not in instructions


# The Compose files


def compose(*arguments: str, **variables: str) -> dict[str, Any]:
    """What Compose makes of the files."""
    command = ["docker", "compose", *arguments, "config", "--format", "json"]
    kept = {name: text for name, text in os.environ.items() if not name.startswith(("INGEST_", "COMPOSE_"))}
    result = subprocess.run(command, check=False, env=kept | variables, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    read: dict[str, Any] = json.loads(result.stdout)
    return read


def _has_compose() -> bool:
    if shutil.which("docker") is None:
        return False
    probe = subprocess.run(["docker", "compose", "version"], check=False, capture_output=True)  # noqa: S607
    return probe.returncode == 0


needs_compose = pytest.mark.skipif(not _has_compose(), reason="docker compose is not on this machine")


def test_the_page_lists_every_service_with_its_profiles() -> None:
    text = COMPOSE.read_text().partition("\nservices:\n")[2].partition("\nconfigs:")[0]
    parts = re.split(r"^  (\w+):.*\n", text, flags=re.MULTILINE)[1:]
    profiles = {
        service: " or ".join(re.findall(r"\w+", found[1])) if (found := re.search(r"profiles: \[(.*)\]", body)) else ""
        for service, body in zip(parts[::2], parts[1::2], strict=True)
    }
    page = (ROOT / "docs" / "how-to" / "run-in-containers.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| .* \| (?:always|`--profile (\w+)`(?: or `(\w+)`)?) \|$", page, re.MULTILINE)
    assert {service: " or ".join(filter(None, names)) for service, *names in rows} == profiles
    assert len(profiles) == 6


@needs_compose
def test_the_database_alone_is_what_the_program_expects() -> None:
    services = compose("--file", str(COMPOSE), INGEST_CONTAINER_PASSWORD="p@ss", INGEST_CONTAINER_PORT="6000")[
        "services"
    ]
    assert list(services) == ["database"]
    database = services["database"]
    assert database["environment"]["POSTGRES_PASSWORD"] == "p@ss"
    (port,) = database["ports"]
    assert (port["host_ip"], port["published"], port["target"]) == ("127.0.0.1", "6000", 5432)
    assert database["healthcheck"]["test"]


@needs_compose
def test_the_daemon_runs_after_the_migration_and_with_nothing_to_spare() -> None:
    services = compose("--file", str(COMPOSE), "--profile", "collect")["services"]
    assert set(services) == {"database", "migrate", "ingest"}
    collecting = services["ingest"]
    assert {name: need["condition"] for name, need in collecting["depends_on"].items()} == {
        "database": "service_healthy",
        "migrate": "service_completed_successfully",
    }
    for service in (collecting, services["migrate"]):
        assert service["read_only"]
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert service["environment"]["DATABASE_URL"] == "postgresql://ingest@database:5432/ingest"
    assert collecting["stop_grace_period"] == "1m0s"
    assert LONGEST_STOP_SECONDS < 60  # the engine cannot be asked for more, as systemd can
    assert "healthcheck" not in collecting  # the image's own


@needs_compose
def test_monitoring_brings_up_all_of_it_on_this_machine_alone() -> None:
    read = compose("--file", str(COMPOSE), "--profile", "monitoring", INGEST_HTTP_TOKEN="a-token-of-24-characters")
    services = read["services"]
    assert set(services) == {"database", "migrate", "ingest", "prometheus", "analyst", "grafana"}
    published = [port for service in services.values() for port in service.get("ports", ())]
    assert {port["target"] for port in published} == {5432, 9464, 9090, 3000}
    assert {port["host_ip"] for port in published} == {"127.0.0.1"}
    assert services["ingest"]["environment"]["INGEST_HTTP__TOKEN"] == "a-token-of-24-characters"
    assert read["configs"]["http_token"]["content"] == "a-token-of-24-characters"
    for name in ("prometheus", "grafana"):
        assert services[name]["read_only"]
        assert services[name]["cap_drop"] == ["ALL"]


@needs_compose
def test_secrets_in_files_leave_none_in_the_environment() -> None:
    files = ("--file", str(COMPOSE), "--file", str(COMPOSE_SECRETS), "--profile", "collect")
    read = compose(*files, INGEST_CONTAINER_PASSWORD="pl4nted")
    services = read["services"]
    assert "pl4nted" not in json.dumps(services)
    assert services["database"]["environment"]["POSTGRES_PASSWORD_FILE"] == "/run/secrets/database_password"
    for name in ("migrate", "ingest"):
        given = services[name]["environment"]
        assert (given["DATABASE_URL"], given["PGPASSWORD"]) == ("", "")
        assert given["DATABASE_URL_FILE"] == "/run/secrets/database_url"
        assert [secret["source"] for secret in services[name]["secrets"]] == ["database_url"]
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    assert {Path(secret["file"]).parent for secret in read["secrets"].values()} == {ROOT / "deploy" / "secrets"}
    assert "/deploy/secrets/" in ignored


@needs_compose
def test_the_daemon_may_have_a_login_of_its_own() -> None:
    files = ("--file", str(COMPOSE), "--file", str(COMPOSE_ROLES), "--profile", "collect")
    services = compose(*files, COLLECTOR_PASSWORD="pl4nted")["services"]
    collecting, migrating = services["ingest"]["environment"], services["migrate"]["environment"]
    assert (collecting["DATABASE_URL"], collecting["PGPASSWORD"]) == (
        "postgresql://collector@database:5432/ingest",
        "pl4nted",
    )
    assert migrating["DATABASE_URL"] == "postgresql://ingest@database:5432/ingest"
    assert "pl4nted" not in json.dumps(migrating)
