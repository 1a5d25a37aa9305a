"""Debian 13's packages: where a machine's sources say they are, and which of them the server needs."""

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path

from msgspec import Struct

SUITE = "trixie"
ROOTS = ("postgresql-17", "postgresql-client-17", "postgresql-17-timescaledb")
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
DEBIAN_SUITES = frozenset(
    {"bookworm", "trixie", "forky", "duke", "sid", "oldstable", "stable", "testing", "unstable"},
)

STANZA = """\
Types: deb
URIs: {uri}
Suites: {suites}
Components: main
Architectures: {architecture}
Targets: Packages
Signed-By: {keyring}
"""


class Mirror(Struct, frozen=True):
    """Addresses of a Debian archive and, where configured, of its security archive, as apt's configuration has them."""

    archive: str
    security: str | None = None


class Package(Struct, frozen=True):
    name: str
    version: str
    architecture: str
    section: str
    depends: tuple[str, ...]  # names only, alternatives included
    size_bytes: int
    sha256: str

    @property
    def file_name(self) -> str:
        return f"{self.name}_{self.version.replace(':', '%3a')}_{self.architecture}.deb"


def mirrors(index_targets: str) -> tuple[Mirror, ...]:
    """The Debian archives among apt's sources, likeliest first, from lines of `type|address|suite|component`.

    Other vendors use Debian's suite names too, so this is a guess; Debian's signature decides.
    """
    suites: dict[str, set[str]] = {}
    security: list[str] = []
    for line in index_targets.splitlines():
        match line.split("|"):
            case ["Packages", uri, suite, "main"] if not uri.startswith("cdrom:"):
                if suite.endswith(("-security", "/updates")):
                    security.append(uri)
                else:
                    suites.setdefault(uri, set()).add(suite)
            case _:
                continue

    def unlikely(uri: str) -> tuple[bool, bool]:
        return not any(suite.endswith("-updates") for suite in suites[uri]), not uri.rstrip("/").endswith("debian")

    archives = sorted((uri for uri, names in suites.items() if names & DEBIAN_SUITES), key=unlikely)
    return tuple(Mirror(uri, security[0] if security else None) for uri in archives)


def sources(mirror: Mirror, arch: str, *, updates: bool) -> str:
    """Apt's deb822 source entries for Debian 13 at this mirror; `updates` adds its updates and security suites."""
    archive = STANZA.format(
        uri=mirror.archive,
        suites=f"{SUITE} {SUITE}-updates" if updates else SUITE,
        architecture=arch,
        keyring=KEYRING,
    )
    if not updates or mirror.security is None:
        return archive
    security = STANZA.format(uri=mirror.security, suites=f"{SUITE}-security", architecture=arch, keyring=KEYRING)
    return f"{archive}\n{security}"


def stanzas(text: str) -> tuple[Package, ...]:
    """Packages from `apt-cache show`."""
    return tuple(_package(block) for block in re.split(r"\n{2,}", text.strip()) if block.startswith("Package:"))


def _package(block: str) -> Package:
    fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line and not line.startswith(" "))
    relations = ",".join(filter(None, (fields.get("Pre-Depends"), fields.get("Depends"))))
    names = (re.split(r"[\s(:]", word.strip(), maxsplit=1)[0] for word in re.split(r"[,|]", relations))
    return Package(
        name=fields["Package"],
        version=fields["Version"],
        architecture=fields["Architecture"],
        section=fields.get("Section", ""),
        depends=tuple(name for name in names if name),
        size_bytes=int(fields["Size"]),
        sha256=fields["SHA256"],
    )


def needed(closure: Iterable[Package], roots: Iterable[str]) -> tuple[Package, ...]:
    """Of apt's closure, the roots and the libraries they lead to, sorted by name.

    Perl, debconf and their like serve Debian's own scripts, which are not run; LLVM serves the JIT compiler,
    which is left out and is two thirds of what would remain.
    """
    known = {package.name: package for package in closure}
    found: dict[str, Package] = {}
    waiting = [name for name in roots if name in known]
    while waiting:
        package = known[waiting.pop()]
        if package.name in found:
            continue
        found[package.name] = package
        waiting += [name for name in package.depends if name in known and _is_library(known[name])]
    return tuple(found[name] for name in sorted(found))


def _is_library(package: Package) -> bool:
    return package.section == "libs" and not package.name.startswith("libllvm")


def is_whole(file: Path, package: Package) -> bool:
    """Whether `file` is there with the size and SHA-256 that the signed list states."""
    if not file.is_file() or file.stat().st_size != package.size_bytes:
        return False
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest() == package.sha256
