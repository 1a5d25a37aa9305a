"""The machine's own apt, with its mirror, its proxy and its keys, and with a private area for all of its state.

Nothing on the system changes and no privilege is needed. Apt verifies the lists by the Debian archive's key; files are
taken only with the SHA-256 that those lists state.
"""

import os
import platform
import pwd
import re
import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from subprocess import CompletedProcess

from ingest.embedded.account import ensure_folder
from ingest.embedded.command import Report, run, unavailable
from ingest.embedded.packages import KEYRING, ROOTS, SUITE, Package, is_whole, mirrors, needed, sources, stanzas

ARCHITECTURES = ("amd64", "arm64")
OLDEST_DEBIAN = 12

APT_CONF = """\
#clear APT::Architectures;
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Pre-Invoke;
#clear DPkg::Post-Invoke;
APT::Architecture "{architecture}";
APT::Architectures {{ "{architecture}"; }};
APT::Update::Error-Mode "any";
APT::Get::AllowUnauthenticated "false";
APT::Install-Recommends "false";
APT::Install-Suggests "false";
Acquire::AllowInsecureRepositories "false";
Acquire::AllowWeakRepositories "false";
Acquire::AllowDowngradeToInsecureRepositories "false";
Acquire::GzipIndexes "true";
Acquire::Languages "none";
Acquire::Retries "2";
Dir::State "{area}";
Dir::State::lists "{area}/lists";
Dir::State::status "{area}/status";
Dir::Cache "{area}";
Dir::Cache::archives "{area}/archives";
Dir::Cache::pkgcache "{area}/pkgcache.bin";
Dir::Etc::sourcelist "{area}/debian.sources";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Dir::Etc::trusted "/dev/null";
Dir::Etc::trustedparts "/dev/null";
"""


def fetch(root: Path, report: Report) -> tuple[Path, ...]:
    """The package files of the server and of every library it needs, below `root`; downloads what is not there yet.

    Without a network the lists and files of the last time serve, if they are whole.
    Raises DatabaseUnavailable, with the remedy, where this machine, its mirror or its keys cannot supply them.
    """
    apt = _Apt(root / "apt", architecture())
    apt.update(report)
    packages = needed(apt.solve(), ROOTS)
    absent = set(ROOTS) - {package.name for package in packages}
    if absent:
        raise unavailable(f"the mirror does not describe {', '.join(sorted(absent))}.")
    store = root / "debs"
    ensure_folder(store)
    missing = [package for package in packages if not is_whole(store / package.file_name, package)]
    if missing:
        report(f"fetching {len(missing)} packages, {sum(p.size_bytes for p in missing) / 1e6:.0f} MB")
        apt.download(missing, store)
    else:
        report(f"all {len(packages)} packages are here from the last time")
    wanted = {package.file_name for package in packages}
    for old in store.iterdir():
        if old.name not in wanted:
            old.unlink()
    apt.tidy()
    return tuple(store / package.file_name for package in packages)


def architecture() -> str:
    """The machine's architecture, as Debian names it. Raises DatabaseUnavailable where this way is not open."""
    missing = [name for name in ("apt-get", "apt-cache", "dpkg") if shutil.which(name) is None]
    if missing:
        raise unavailable(f"this machine has no {' and no '.join(missing)}.")
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        release = {}
    version = release.get("VERSION_ID", "")  # absent on testing and unstable, which are newer
    if release.get("ID") != "debian" or (version.isdecimal() and int(version) < OLDEST_DEBIAN):
        raise unavailable(f"this machine runs {release.get('PRETTY_NAME', platform.system())}.")
    name = run("dpkg", "--print-architecture", cwd=Path("/")).stdout.strip()
    if name not in ARCHITECTURES:
        raise unavailable(f"this machine is {name}.")
    return name


def configured_targets(area: Path, etc: Path = Path("/etc/apt")) -> str:
    """What apt's configuration would fetch, a line of `type|address|suite|component` each.

    Apt reads its own sources, so both of their formats and all of their options are understood.
    """
    elsewhere = (f"Dir::State={area}", f"Dir::State::status={area}/status", f"Dir::Cache={area}", f"Dir::Etc={etc}")
    options = [word for option in elsewhere for word in ("-o", option)]
    line = "$(CREATED_BY)|$(REPO_URI)|$(RELEASE)|$(COMPONENT)"
    return run("apt-get", "indextargets", *options, "--no-release-info", "--format", line, cwd=area).stdout


class _Apt:
    """apt with a private area: it reads the system's configuration (proxy, credentials) and writes only here."""

    def __init__(self, area: Path, arch: str) -> None:
        self._area = area
        self._architecture = arch
        for folder in ("lists/partial", "archives/partial"):
            ensure_folder(area / folder)
        (area / "status").write_text("")  # an empty system: every dependency is a package to fetch, libc6 included
        self._conf = area / "apt.conf"
        self._conf.write_text(APT_CONF.format(area=area, architecture=arch))
        self._sources = area / "debian.sources"

    def update(self, report: Report) -> None:
        """Bring the lists up to date, from the first mirror that answers with Debian's signature."""
        if not KEYRING.exists():
            raise unavailable(f"{KEYRING} is missing. Install the package debian-archive-keyring and try again.")
        candidates = mirrors(configured_targets(self._area))
        if not candidates:
            raise unavailable("apt's sources name no Debian archive (see `apt-cache policy`, /etc/apt).")
        last_good = self._sources.read_text() if self._has_lists() else None
        report("asking this machine's package mirror for Debian 13's lists")
        failure = ""
        for mirror in candidates:
            for updates in (True, False):
                self._write_sources(sources(mirror, self._architecture, updates=updates))
                result = self._apt("apt-get", "update")
                if result.returncode == 0:
                    if not updates:
                        report("this mirror has no security updates for Debian 13: taking its last point release")
                    return
                failure = failure or result.stdout
        if last_good is None:
            raise unavailable(_why(failure))
        self._write_sources(last_good)
        report("the mirror does not answer: using the lists and packages of the last time")

    def solve(self) -> tuple[Package, ...]:
        """The closure that apt would install on an empty system, in the versions it would choose."""
        chosen = self._apt("apt-get", "install", "--print-uris", "-qq", "-y", *ROOTS)
        files = re.findall(r"^'\S+' (\S+?)_(\S+?)_\S+\.deb \d+", chosen.stdout, re.MULTILINE)
        if chosen.returncode or not files:
            raise unavailable(f"the mirror does not supply {', '.join(ROOTS)}:\n{_tail(chosen.stdout)}")
        words = [f"{name}={version.replace('%3a', ':')}" for name, version in files]
        return stanzas(self._apt("apt-cache", "show", *words).stdout)

    def download(self, packages: Iterable[Package], store: Path) -> None:
        """Each package into `store`, whole and verified, or DatabaseUnavailable."""
        chosen = tuple(packages)
        arrivals = self._area / "arrivals"
        shutil.rmtree(arrivals, ignore_errors=True)
        ensure_folder(arrivals)
        if os.geteuid() == 0:
            with suppress(KeyError):  # apt's own unprivileged account does the downloading
                os.chown(arrivals, pwd.getpwnam("_apt").pw_uid, -1)
        result = self._apt("apt-get", "download", *(f"{p.name}={p.version}" for p in chosen), cwd=arrivals)
        for package in chosen:
            copy = store / f"{package.file_name}.new"  # copied, then judged: apt's account could still change its own
            with suppress(FileNotFoundError):
                shutil.copyfile(arrivals / package.file_name, copy)
            if not is_whole(copy, package):
                raise unavailable(f"{package.file_name} did not arrive whole.\n{_why(result.stdout)}")
            copy.replace(store / package.file_name)
        shutil.rmtree(arrivals)

    def tidy(self) -> None:
        """Drop what apt can make again from its lists."""
        (self._area / "pkgcache.bin").unlink(missing_ok=True)

    def _apt(self, *words: str, cwd: Path | None = None) -> CompletedProcess[str]:
        return run(words[0], "-c", self._conf, "-q", *words[1:], cwd=cwd or self._area)

    def _has_lists(self) -> bool:
        return self._sources.exists() and any((self._area / "lists").glob(f"*_{SUITE}_main_binary-*_Packages*"))

    def _write_sources(self, text: str) -> None:
        self._sources.touch(0o600)  # an address may carry a password
        self._sources.write_text(text)


def _why(output: str) -> str:
    """What apt said, and what to do; apt tells its failures apart in words only."""
    if re.search("NO_PUBKEY|EXPKEYSIG|not signed|couldn't be verified", output):
        return (
            "apt does not know Debian 13's signing key. "
            f"Update it (`apt-get update && apt-get install debian-archive-keyring`) and try again.\n{_tail(output)}"
        )
    return f"this machine's package mirror could not be read; is the network up?\n{_tail(output)}"


def _tail(output: str) -> str:
    """Apt's last complaints, without passwords."""
    lines = [line for line in output.splitlines() if line.startswith(("E:", "W:", "Err:"))] or output.splitlines()
    return "\n".join(f"  {re.sub(r'//[^/@ ]*@', '//', line)}" for line in lines[-4:])
