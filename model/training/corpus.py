"""Builds the training corpus: fetch, filter, redact, drop near-duplicates, write the splits.

Run as `python -m training.corpus`; a second run continues.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import re
import subprocess
import sys
import sysconfig
import time
import tomllib
import zipfile
import zlib
from collections import Counter
from dataclasses import astuple, dataclass
from multiprocessing import Pool
from pathlib import Path
from typing import TYPE_CHECKING, Any

from training import filters
from training.output import note
from training.paths import WORK

if TYPE_CHECKING:
    from collections.abc import Iterator

MANIFEST = Path(__file__).with_name("corpus.toml")
SPLITS = ("test", "validation", "train")
ALLOWED = re.compile(r"\b(MIT|BSD|Apache|PSF|Python Software Foundation|ISC|zlib)\b", re.IGNORECASE)
FORBIDDEN = re.compile(r"\b[AL]?GPL|\bMPL\b|Mozilla|EUPL|CeCILL|Affero", re.IGNORECASE)
PERMUTATIONS = 64
SIMILARITY = 0.7
SHINGLE_TOKENS = 5
SCHEME = "affine32"
MAX_SHINGLES = 4000
STANDARD_LIBRARY = "standard-library"


@dataclass(frozen=True)
class Source:
    """One package of the manifest."""

    name: str
    version: str
    licence: str
    split: str


@dataclass(frozen=True)
class Document:
    """One kept file with its MinHash values (None where it is too short to compare)."""

    package: str
    split: str
    path: str
    text: str
    signature: list[int] | None


def main() -> None:
    """Reads the options, runs every stage, prints the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--no-fetch", action="store_true", help="use the wheels that are there")
    options = parser.parse_args()
    manifest = tomllib.loads(MANIFEST.read_text(encoding="utf-8"))
    sources = [
        Source(p["name"], p["version"], p["licence"], p["split"]) for p in manifest["package"]
    ]
    if not options.no_fetch:
        fetch_all(sources)
    report = build(sources, manifest["settings"], options.processes)
    print(json.dumps(report, indent=1))


def wheel_of(source: Source) -> Path | None:
    """The fetched wheel of a source, if it is there."""
    wanted = re.sub(r"[-_.]+", "_", source.name).lower()
    for wheel in sorted((WORK / "wheels").glob("*.whl")):
        name, version = wheel.name.split("-")[:2]
        if re.sub(r"[-_.]+", "_", name).lower() == wanted and version == source.version:
            return wheel
    return None


def fetch_all(sources: list[Source]) -> None:
    """One sequential pass over the package index; what is there is not fetched again."""
    folder = WORK / "wheels"
    folder.mkdir(parents=True, exist_ok=True)
    for number, source in enumerate(sources, 1):
        if wheel_of(source) is None:
            note(f"fetch {number}/{len(sources)} {source.name} {source.version}")
            command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps"]
            command += ["--only-binary=:all:", "-d", str(folder)]
            subprocess.run([*command, f"{source.name}=={source.version}"], check=True)


def licence_of(archive: zipfile.ZipFile) -> str:
    """The licence fields of a wheel's own metadata, in one line."""
    name = next(n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
    head = archive.read(name).decode("utf-8", "replace").split("\n\n")[0]
    found = re.findall(
        r"(?m)^(?:License-Expression: |License: |Classifier: License :: )(.{0,80})", head
    )
    return " | ".join(found)


def check_licence(source: Source, archive: zipfile.ZipFile) -> None:
    """Stops the build where the wheel does not say what the manifest says."""
    said = licence_of(archive)
    if FORBIDDEN.search(said) or not ALLOWED.search(said):
        raise SystemExit(f"corpus: {source.name}: licence not allowed: {said!r}")


def raw_files(source: Source) -> Iterator[tuple[str, bytes]]:
    """Every .py file of a source as (path, bytes), in sorted order."""
    if source.name == STANDARD_LIBRARY:
        root = Path(sysconfig.get_path("stdlib"))
        for path in sorted(root.rglob("*.py")):
            yield path.relative_to(root).as_posix(), path.read_bytes()
        return
    wheel = wheel_of(source)
    if wheel is None:
        raise SystemExit(f"corpus: {source.name} {source.version} was not fetched")
    with zipfile.ZipFile(wheel) as archive:
        check_licence(source, archive)
        for info in sorted(archive.infolist(), key=lambda item: item.filename):
            if info.filename.endswith(".py"):
                yield info.filename, archive.read(info)


def sketch(text: str) -> list[int] | None:
    """MinHash of the set of five-token shingles, or None for a text that has few of them."""
    from datasketch import MinHash

    tokens = re.findall(r"\w+", text)
    shingles = {
        "\0".join(tokens[start : start + SHINGLE_TOKENS]).encode()
        for start in range(len(tokens) - SHINGLE_TOKENS + 1)
    }
    if len(shingles) < SHINGLE_TOKENS:
        return None
    # The lowest hashes of a set are a fair sample of it: they bound the work for huge files.
    chosen = sorted(shingles, key=zlib.crc32)[:MAX_SHINGLES]
    sketched = MinHash(num_perm=PERMUTATIONS, hashfunc=zlib.crc32, scheme=SCHEME)
    sketched.update_batch(chosen)
    return [int(value) for value in sketched.hashvalues]


def read_package(job: tuple[Source, int, int]) -> tuple[list[Document], Counter[str]]:
    """As `sift_package`; a package that was read before with the same rules is taken from disk."""
    source, limit, seed = job
    rules = Path(filters.__file__).read_bytes() + repr((job, PERMUTATIONS, MAX_SHINGLES)).encode()
    key = hashlib.sha256(rules).hexdigest()[:16]
    part = WORK / "corpus" / "parts" / f"{source.name}-{key}.json"
    if not part.exists():
        documents, counts = sift_package(source, limit, seed)
        saved = {"documents": [astuple(document) for document in documents], "counts": counts}
        part.parent.mkdir(parents=True, exist_ok=True)
        partial = part.with_suffix(".partial")
        partial.write_text(json.dumps(saved), encoding="utf-8")
        partial.replace(part)
    saved = json.loads(part.read_text(encoding="utf-8"))
    return [Document(*fields) for fields in saved["documents"]], Counter(saved["counts"])


def sift_package(source: Source, limit: int, seed: int) -> tuple[list[Document], Counter[str]]:
    """The kept files of one package in seeded random order, up to its byte limit."""
    counts: Counter[str] = Counter()
    files = []
    for path, raw in raw_files(source):
        reason = filters.path_reason(path)
        if reason is None:
            files.append((path, raw))
        else:
            counts[reason] += 1
    random.Random(f"{seed}/{source.name}").shuffle(files)
    documents: list[Document] = []
    used = 0
    for path, raw in files:
        if used > limit:
            counts["over the package's share"] += 1
            continue
        verdict = filters.judge(raw)
        counts[verdict.reason] += 1
        if verdict.text is not None:
            used += len(verdict.text)
            signature = sketch(verdict.text)
            documents.append(Document(source.name, source.split, path, verdict.text, signature))
    return documents, counts


def without_near_duplicates(documents: list[Document]) -> list[Document]:
    """Keeps the first of each group of near-duplicates; the held-out splits come first."""
    from datasketch import MinHash, MinHashLSH

    index = MinHashLSH(threshold=SIMILARITY, num_perm=PERMUTATIONS)
    kept = []
    for number, document in enumerate(sorted(documents, key=lambda d: SPLITS.index(d.split))):
        if document.signature is not None:
            sketched = MinHash(hashvalues=document.signature, scheme=SCHEME)
            if index.query(sketched):
                continue
            index.insert(str(number), sketched)
        kept.append(document)
    return kept


def build(sources: list[Source], settings: dict[str, Any], processes: int) -> dict[str, Any]:
    """Reads every package, removes near-duplicates, writes the splits and their report."""
    started = time.monotonic()
    limits = dict.fromkeys(SPLITS, settings["max_heldout_bytes_per_package"])
    limits["train"] = settings["max_train_bytes_per_package"]
    everything = [*sources, Source(STANDARD_LIBRARY, sys.version.split()[0], "PSF-2.0", "train")]
    jobs = [(source, limits[source.split], settings["seed"]) for source in everything]
    documents: list[Document] = []
    counts: Counter[str] = Counter()
    with Pool(processes) as pool:
        for number, (found, reasons) in enumerate(pool.imap_unordered(read_package, jobs), 1):
            documents += found
            counts += reasons
            note(f"read {number}/{len(jobs)} packages, {len(documents)} files")
    # The pool answers in any order; the corpus must not depend on it.
    documents.sort(key=lambda d: (d.package, d.path))
    unique = without_near_duplicates(documents)
    counts["near-duplicate"] = len(documents) - len(unique)
    report = {
        "seed": settings["seed"],
        "python": sys.version.split()[0],
        "files": dict(counts.most_common()),
        "splits": {split: write_split(split, unique, settings) for split in SPLITS},
        "seconds": round(time.monotonic() - started, 1),
    }
    (WORK / "corpus" / "report.json").write_text(json.dumps(report, indent=1), encoding="utf-8")
    return report


def write_split(split: str, documents: list[Document], settings: dict[str, Any]) -> dict[str, Any]:
    """Writes one split as JSON lines in seeded random order; returns sizes and hash."""
    chosen = [document for document in documents if document.split == split]
    random.Random(settings["seed"]).shuffle(chosen)
    folder = WORK / "corpus"
    folder.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    packages: Counter[str] = Counter()
    partial = folder / f"{split}.jsonl.partial"
    with partial.open("wb") as stream:
        for document in chosen:
            record = {"package": document.package, "path": document.path, "text": document.text}
            line = json.dumps(record).encode() + b"\n"
            digest.update(line)
            stream.write(line)
            packages[document.package] += len(document.text.encode())
    partial.replace(folder / f"{split}.jsonl")
    total = sum(packages.values())
    share = max(packages.values()) / total
    if split == "train" and share > settings["max_package_share"]:
        raise SystemExit(f"corpus: one package is {share:.0%} of the training split")
    return {
        "files": len(chosen),
        "bytes": total,
        "largest_package_share": round(share, 4),
        "sha256": digest.hexdigest(),
        "packages": dict(packages.most_common()),
    }


if __name__ == "__main__":
    main()
