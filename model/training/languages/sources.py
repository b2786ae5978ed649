"""The packages of the manifest: fetched by name with their registries' clients, opened, read.

Four kinds: a Debian source package, a Debian package, an npm package,
a Python package. What a package says of its own licence is checked before a file of it is used.
"""

from __future__ import annotations

import io
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from training.output import note
from training.paths import WORK

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

HOME = WORK / "languages"
MANIFEST = Path(__file__).parents[1] / "languages.toml"
MAX_FILE_BYTES = 400_000
FETCHED_AT_ONCE = 24
# The Debian release whose packages the manifest names.
RELEASE = "bookworm"


class Kind(StrEnum):
    """Which registry a package comes from, and in which form."""

    DEBIAN_SOURCE = "debian-source"
    DEBIAN = "debian"
    NPM = "npm"
    PYPI_SOURCE = "pypi-source"
    PYPI_WHEEL = "pypi-wheel"


@dataclass(frozen=True)
class Source:
    """One package of the manifest."""

    kind: Kind
    name: str
    version: str
    licence: str
    split: str

    @property
    def folder(self) -> Path:
        """Where archives of this kind are kept."""
        return HOME / self.kind.value


def read_manifest() -> list[Source]:
    """Every package of languages.toml."""
    values = tomllib.loads(MANIFEST.read_text(encoding="utf-8"))
    return [
        Source(Kind(p["kind"]), p["name"], p["version"], p["licence"], p["split"])
        for p in values["package"]
    ]


def archives_of(source: Source) -> list[Path]:
    """The fetched archives of a package; empty if it was not fetched."""
    plain = source.version.split(":", 1)[-1]
    if source.kind is Kind.DEBIAN_SOURCE:
        description = source.folder / f"{source.name}_{plain}.dsc"
        if not description.exists():
            return []
        text = description.read_text("utf-8", "replace").partition("Checksums-Sha256:")[2]
        names = re.findall(r"^ [0-9a-f]{64} \d+ (\S+)$", text.partition("Files:")[0], re.MULTILINE)
        found = [source.folder / n for n in names if ".tar." in n and not n.endswith(".asc")]
        return found if all(path.exists() for path in found) else []
    if source.kind is Kind.DEBIAN:
        # The client writes the epoch's colon as %3a.
        found = list(source.folder.glob(f"{source.name}_*.deb"))
        return [p for p in found if p.name.split("_")[1].split("%3a")[-1] == plain]
    if source.kind is Kind.NPM:
        path = source.folder / f"{source.name.lstrip('@').replace('/', '-')}-{plain}.tgz"
        return [path] if path.exists() else []
    wanted = re.sub(r"[-_.]+", "_", source.name).lower() + "-" + plain
    suffix = ".whl" if source.kind is Kind.PYPI_WHEEL else ".tar.gz"
    return [
        path
        for path in sorted(source.folder.glob(f"*{suffix}"))
        if re.sub(r"[-_]+", "_", path.name.lower()).startswith(
            re.sub(r"[-_]+", "_", wanted) + ("_" if suffix == ".whl" else ".tar")
        )
    ]


def fetch(wanted: Sequence[Source]) -> list[Source]:
    """Asks the registries' own clients for packages at their versions, many in one call.

    Returns:
        Those that a registry does not have. One missing package costs no other: apt-get goes on
        with the rest by itself, and of the other clients a call that fails is halved.
    """
    missing: list[Source] = []
    for kind in Kind:
        group = [source for source in wanted if source.kind is kind]
        waiting = [group[at : at + FETCHED_AT_ONCE] for at in range(0, len(group), FETCHED_AT_ONCE)]
        while waiting:
            batch = waiting.pop()
            note(f"fetch {kind.value}: {len(batch)} packages, {batch[0].name} first")
            _fetch_at_once(kind, batch)
            batch = [source for source in batch if not archives_of(source)]
            if len(batch) <= 1 or kind in (Kind.DEBIAN, Kind.DEBIAN_SOURCE):
                missing += batch
            else:
                waiting += [batch[: len(batch) // 2], batch[len(batch) // 2 :]]
    return missing


def _fetch_at_once(kind: Kind, batch: list[Source]) -> None:
    """One call of a registry's client, which may fail."""
    batch[0].folder.mkdir(parents=True, exist_ok=True)
    join = {Kind.NPM: "@", Kind.PYPI_SOURCE: "==", Kind.PYPI_WHEEL: "=="}.get(kind, "=")
    pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", "."]
    command = {
        Kind.DEBIAN_SOURCE: lambda: [*_apt(), "source", "--download-only", "--only-source"],
        Kind.DEBIAN: lambda: ["apt-get", "-q", "download"],
        Kind.NPM: lambda: ["npm", "pack", "--silent"],
        Kind.PYPI_SOURCE: lambda: [*pip, "--no-binary=:all:"],
        Kind.PYPI_WHEEL: lambda: [*pip, "--only-binary=:all:"],
    }[kind]()
    names = [f"{source.name}{join}{source.version}" for source in batch]
    subprocess.run(
        [*command, *names],
        check=False,
        cwd=batch[0].folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _apt() -> list[str]:
    """apt-get with a list of source packages of our own: the system's lists stay as they are."""
    lists = HOME / "apt"
    if not (lists / "sources.list").exists():
        (lists / "lists" / "partial").mkdir(parents=True, exist_ok=True)
        (lists / "cache" / "archives" / "partial").mkdir(parents=True, exist_ok=True)
        asked = ["apt-get", "indextargets", "--format", "$(REPO_URI) $(CODENAME) $(COMPONENT)"]
        known = subprocess.run(
            [*asked, "Created-By: Packages"], check=True, capture_output=True, text=True
        ).stdout.splitlines()
        wanted = sorted({line for line in known if line.endswith(f" {RELEASE} main")})
        if not wanted:
            raise SystemExit(f"sources: the system's own list has no {RELEASE} main")
        text = "".join(f"deb-src {line}\n" for line in wanted)
        (lists / "sources.list").write_text(text, encoding="utf-8")
        subprocess.run([*_options(lists), "update"], check=True)
    return _options(lists)


def _options(lists: Path) -> list[str]:
    return [
        *("apt-get", "-q", "-o", f"Dir::Etc::sourcelist={lists}/sources.list"),
        *("-o", "Dir::Etc::sourceparts=/dev/null", "-o", f"Dir::State::lists={lists}/lists"),
        *("-o", f"Dir::Cache={lists}/cache"),
    ]


def members(source: Source, *, last_first: bool = False) -> Iterator[tuple[str, bytes]]:
    """Every small regular file of a package as (path inside the package, bytes).

    `last_first`: begin with the last archive, which in a Debian source package is Debian's own.
    """
    archives = archives_of(source)
    for archive in reversed(archives) if last_first else archives:
        if archive.suffix == ".whl":
            yield from _zip_members(archive)
        elif archive.suffix == ".deb":
            listing = subprocess.run(
                ["dpkg-deb", "--fsys-tarfile", str(archive)], check=True, capture_output=True
            )
            with tarfile.open(fileobj=io.BytesIO(listing.stdout), mode="r:") as opened:
                yield from _tar_members(opened)
        else:
            with tarfile.open(archive, mode="r|*") as opened:
                yield from _tar_members(opened, prefix=_component(archive.name))


def _component(name: str) -> str:
    """The debian folder keeps its name; the upstream's top folder does not matter."""
    return "debian/" if ".debian.tar." in name else ""


def _tar_members(opened: tarfile.TarFile, prefix: str = "") -> Iterator[tuple[str, bytes]]:
    for entry in opened:
        if not entry.isfile() or entry.size > MAX_FILE_BYTES:
            continue
        parts = entry.name.removeprefix("./").split("/")
        path = prefix + "/".join(parts[1:] if len(parts) > 1 else parts)
        reader = opened.extractfile(entry)
        if reader is not None:
            yield path, reader.read()


def _zip_members(archive: Path) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(archive) as opened:
        for info in sorted(opened.infolist(), key=lambda item: item.filename):
            if not info.is_dir() and info.file_size <= MAX_FILE_BYTES:
                yield info.filename, opened.read(info)
