"""TLS to the database: a server with a certificate of its own, and whom a client then believes."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from shutil import rmtree

import psycopg
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from ingest.errors import DatabaseUnavailable, Retryable
from ingest.records import Instrument
from ingest.store import database
from ingest.store.copy_writer import CopyWriter, Written
from tests.conftest import Fetch, TestServer
from tests.db.traffic import trades

ENCRYPTED = "SELECT ssl, version FROM pg_stat_ssl WHERE pid = pg_backend_pid()"


class Authority:
    """Signs certificates; `certificate` is its own, which a client is to trust."""

    def __init__(self, name: str) -> None:
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = (
            self._builder(self._name, self._key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(self._key, hashes.SHA256())
            .public_bytes(serialization.Encoding.PEM)
        )

    def sign(self, *names: x509.GeneralName) -> tuple[bytes, bytes]:
        """A certificate for these names, and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "database")])
        builder = self._builder(subject, key).add_extension(x509.SubjectAlternativeName(names), critical=False)
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM), private

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
        )


@pytest.fixture(scope="module")
def roots(database_server: TestServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    """The server speaks TLS with a certificate for `localhost` and 127.0.0.2; `right` is who signed it, `wrong` not."""
    if database_server.embedded is None:
        pytest.skip("only the embedded server can be given a certificate")
    right, wrong = Authority("right"), Authority("wrong")
    folder = database_server.embedded.status().data_dir / "tls"
    folder.mkdir(mode=0o755)
    owner = (folder.parent / "pgdata").stat()
    names = (x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.2")))
    for name, content in zip(("server.crt", "server.key"), right.sign(*names), strict=True):
        (folder / name).write_bytes(content)
        (folder / name).chmod(0o600)
        if os.geteuid() == 0:
            os.chown(folder / name, owner.st_uid, owner.st_gid)
    settings = {"ssl_cert_file": folder / "server.crt", "ssl_key_file": folder / "server.key", "ssl": "on"}
    with psycopg.connect(database_server.url, autocommit=True) as connection:
        for name, value in settings.items():
            connection.execute(f"ALTER SYSTEM SET {name} = '{value}'")
        connection.execute("SELECT pg_reload_conf()")
        _wait_until(lambda: _speaks_tls(database_server.url))
        made = tmp_path_factory.mktemp("roots")
        files = {name: made / f"{name}.crt" for name in ("right", "wrong")}
        for authority, file in zip((right, wrong), files.values(), strict=True):
            file.write_bytes(authority.certificate)
        yield files
        for name in settings:
            connection.execute(f"ALTER SYSTEM RESET {name}")
        connection.execute("SELECT pg_reload_conf()")
    _wait_until(lambda: not _speaks_tls(database_server.url))
    rmtree(folder)


def _speaks_tls(url: str) -> bool:
    try:
        psycopg.connect(url, sslmode="require").close()
    except psycopg.OperationalError:
        return False
    return True


def _wait_until(met: Callable[[], bool]) -> None:
    """The server reads its settings again at its own pace."""
    for _ in range(5_000):
        if met():
            return
    pytest.fail("the server did not take over its settings")


def dsn(url: str, root: Path, *, mode: str = "verify-full", host: str = "localhost") -> str:
    return f"{url.replace('127.0.0.1', host)}?sslmode={mode}&sslrootcert={root}"


@pytest.mark.parametrize("mode", ["verify-ca", "verify-full"])
def test_with_the_right_root_the_connection_is_encrypted(database_url: str, roots: dict[str, Path], mode: str) -> None:
    with database.connect_sync(dsn(database_url, roots["right"], mode=mode), role="test") as connection:
        row = connection.execute(ENCRYPTED).fetchone()
    assert row is not None
    assert row[0] is True
    assert row[1] in ("TLSv1.2", "TLSv1.3")


async def test_the_writer_stores_over_it(database_url: str, roots: dict[str, Path], fetch: Fetch) -> None:
    url = dsn(database_url, roots["right"])
    instruments = {1: Instrument("binance", "BTC/USDT", "BTCUSDT", "spot", "BTC", "USDT")}
    writer = CopyWriter(url, role="test", instruments=instruments)
    try:
        assert await writer.write(list(trades(50))) == Written(50, 0, 0)
        assert writer._connection is not None
        encrypted = await (await writer._connection.execute(ENCRYPTED)).fetchone()
    finally:
        await writer.close()
    assert encrypted is not None
    assert encrypted[0] is True
    assert fetch("SELECT count(*) FROM ingest.trades") == [(50,)]


@pytest.mark.parametrize(
    ("root", "host", "reason"),
    [("wrong", "localhost", "certificate verify failed"), ("right", "127.0.0.1", "does not match host name")],
)
def test_a_server_that_cannot_prove_who_it_is_gets_no_password(
    database_url: str, roots: dict[str, Path], root: str, host: str, reason: str
) -> None:
    with pytest.raises(DatabaseUnavailable) as refused:
        database.connect_sync(dsn(database_url, roots[root], host=host), role="test")
    said = str(refused.value)
    assert reason in said
    assert "With sslmode=verify-full, sslrootcert must hold the certificate that signed the server's" in said
    assert psycopg.conninfo.conninfo_to_dict(database_url)["password"] not in said  # type: ignore[operator]


async def test_a_running_daemon_waits_for_a_certificate_that_is_mended(
    database_url: str, roots: dict[str, Path]
) -> None:
    with pytest.raises(Retryable, match="certificate verify failed"):
        await database.connect(dsn(database_url, roots["wrong"]), role="test")


@pytest.mark.parametrize(("root", "code"), [("right", 0), ("wrong", 3)])
def test_commands_say_it(database_url: str, roots: dict[str, Path], tmp_path: Path, root: str, code: int) -> None:
    kept = {name: text for name, text in os.environ.items() if not name.startswith(("INGEST_", "PG"))}
    result = subprocess.run(
        [sys.executable, "-m", "ingest", "migrate"],
        cwd=tmp_path,
        env=kept | {"DATABASE_URL": dsn(database_url, roots[root])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode, "certificate verify failed" in result.stderr) == (code, code != 0), result.stderr
