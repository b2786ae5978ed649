"""Builds the corpus of languages: fetch, label, filter, drop near-duplicates, write the splits.

Run as `python -m training.languages.corpus`; a second run continues where the first ended. Split by
package: no package is in two splits.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import re
import textwrap
import time
from collections import Counter
from dataclasses import astuple, replace
from multiprocessing import Pool
from typing import Any

from gpt_bigcode.labeling.languages import UNKNOWN
from training import filters
from training.corpus import SPLITS, Document, sketch, without_near_duplicates
from training.documents import read_records
from training.languages import fences, labels, licences, sources
from training.languages.sources import HOME, Kind, Source
from training.output import note

SEED = 20240301
# Raise it when reading changes: what was read with other rules is then read again.
READING = 4
# Bytes of one language that one package may give, and of one language in all.
PACKAGE_BYTES = {"train": 250_000, "validation": 80_000, "test": 100_000}
LANGUAGE_BYTES = {"train": 2_000_000, "validation": 120_000, "test": 300_000}
OTHER_BYTES = {"train": 100_000, "validation": 30_000, "test": 60_000}
FILE_BYTES = (60, 100_000)
MAX_LINE_CHARACTERS = 2000
MAX_MEAN_LINE_CHARACTERS = 160
_DROPPED_FOLDERS = re.compile(
    r"(?:^|/)(?:deps|external|subprojects|dist|esm|cjs|umd|_esm|_cjs|_types|lib\.(?:esm|commonjs)"
    r"|min|minified|generated|gen|__snapshots__|Pods|autom4te\.cache|lib/zh|i18n|translations"
    r"|locale|locales|\.?pc|[\w.-]+\.(?:egg|dist)-info)/"
    # Translations: a folder of languages with files that are named by a locale.
    r"|(?:^|/)(?:lang|langs|languages)/[a-z]{2}(?:[-_]\w+)?\.\w+$"
)
# No tool writes these: where they lie does not matter.
_SOURCES_ONLY = (".svelte", ".vue", ".scss", ".less", ".sol", ".graphql", ".po", ".tf", ".jl")
_DROPPED_NAMES = re.compile(
    r"(?:[.-]min|\.bundle|\.pack|\.pb|_generated|\.generated|\.g|\.designer|\.umd)\.\w+$"
    r"|(?:^|/)(?:config\.guess|config\.sub|install-sh|ltmain\.sh|depcomp|missing|aclocal\.m4"
    r"|package-lock\.json|composer\.lock|yarn\.lock|Makefile\.in|COPYING[\w.]*)$|\.d\.[mc]ts$",
    re.IGNORECASE,
)
_WORDS = 6  # of a translated sentence; shorter ones are names of menus
_PLACEHOLDER = re.compile(r"%[-\d.]*\w|\{|<\w|\$|@")
_GENERATED = re.compile(
    r"auto-?\s?generated|generated (?:by|from|with|automatically)|do not edit|@generated"
    r"|<!-- Generated|automatically created",
    re.IGNORECASE,
)


def main() -> None:
    """Reads the options, runs every stage, prints the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--no-fetch", action="store_true", help="use the archives that are there")
    options = parser.parse_args()
    manifest = sources.read_manifest()
    if not options.no_fetch:
        missing = sources.fetch([one for one in manifest if not sources.archives_of(one)])
        if missing:
            names = ", ".join(f"{one.name} {one.version}" for one in missing)
            raise SystemExit(f"corpus: not to be had: {names}")
    print(json.dumps(build(manifest, options.processes), indent=1))


def verdict_of(source: Source) -> licences.Verdict:
    """The licence that a package states; of the files it names, the permissive ones."""
    for path, raw in sources.members(source, last_first=True):
        text = raw.decode("utf-8", "replace")
        name = path.rsplit("/", 1)[-1]
        if source.kind in (Kind.DEBIAN, Kind.DEBIAN_SOURCE):
            if path == "debian/copyright" or path.endswith(f"doc/{source.name}/copyright"):
                return licences.of_debian(text)
        elif source.kind is Kind.NPM:
            if path == "package.json":
                return licences.of_npm(text)
        elif name in ("METADATA", "PKG-INFO"):
            return licences.of_python(text)
    return licences.Verdict(allowed=False, refused=None, said="nothing")


def read_package(source: Source) -> tuple[list[Document], Counter[str]]:
    """As `sift_package`; a package that was read before with the same limits is taken from disk."""
    rules = repr((source, READING, PACKAGE_BYTES[source.split], FILE_BYTES)).encode()
    key = hashlib.sha256(rules).hexdigest()[:16]
    part = HOME / "parts" / f"{source.kind}-{source.name.replace('/', '-')}-{key}.json"
    if not part.exists():
        documents, counts = sift_package(source)
        saved = {"documents": [astuple(document) for document in documents], "counts": counts}
        part.parent.mkdir(parents=True, exist_ok=True)
        partial = part.with_suffix(".partial")
        partial.write_text(json.dumps(saved), encoding="utf-8")
        partial.replace(part)
    saved = json.loads(part.read_text(encoding="utf-8"))
    return [Document(*fields) for fields in saved["documents"]], Counter(saved["counts"])


def sift_package(source: Source) -> tuple[list[Document], Counter[str]]:
    """The kept files of one package, in seeded random order up to its limit for a language.

    A document's path begins with its label and a colon.
    """
    verdict = verdict_of(source)
    if not verdict.allowed:
        raise SystemExit(f"corpus: {source.name}: licence not allowed: {verdict.said!r}")
    counts: Counter[str] = Counter()
    candidates = [
        (path, raw) for path, raw in sources.members(source) if labels.group_of(path) is not None
    ]
    random.Random(f"{SEED}/{source.name}").shuffle(candidates)
    documents: list[Document] = []
    used: Counter[str] = Counter()
    for path, raw in candidates:
        group = str(labels.group_of(path))
        if used[group] > PACKAGE_BYTES[source.split]:
            counts["over the package's share"] += 1
            continue
        reason, text = judge(path, raw)
        label = None if reason else labels.certain_label_of(path, text)
        if label is None or not verdict.permits(path):
            counts[reason or ("no label" if label is None else "licence of the file")] += 1
            continue
        used[group] += len(text)
        text = filters.redact(text)
        documents.append(Document(source.name, source.split, f"{label}:{path}", text, None))
    counts["kept"] += len(documents)
    return documents, counts


def judge(path: str, raw: bytes) -> tuple[str | None, str]:
    """Why a file is dropped, or None and its text."""
    built = _DROPPED_FOLDERS.search(path) and not path.endswith(_SOURCES_ONLY)
    if built or _DROPPED_NAMES.search(path):
        return "dropped folder or name", ""
    if filters.path_reason(path) is not None:
        return "dropped folder or name", ""
    if not FILE_BYTES[0] <= len(raw) <= FILE_BYTES[1]:
        return "size", ""
    try:
        text = raw.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError:
        return "encoding", ""
    if path.endswith(labels.TRANSLATIONS):
        text = translated_text(text)
    return shape_reason(text), text


def translated_text(catalogue: str) -> str:
    """The sentences of a translator's catalogue (.po), as a text in the language they are in."""
    found = re.findall(r'^msgstr(?:\[\d\])? ((?:"(?:\\.|[^"\\])*"\s*)+)', catalogue, re.MULTILINE)
    parts = ["".join(re.findall(r'"((?:\\.|[^"\\])*)"', one)) for one in found[1:]]
    plain = [re.sub(r"\\n|\\t", " ", part).replace('\\"', '"').strip() for part in parts]
    kept = [part for part in plain if part.count(" ") >= _WORDS and not _PLACEHOLDER.search(part)]
    return "\n".join(textwrap.fill(part, 78) for part in kept)


def shape_reason(text: str) -> str | None:
    """Why a text is dropped for what it looks like, or None."""
    lengths = [len(line) for line in text.split("\n")]
    if max(lengths) > MAX_LINE_CHARACTERS or sum(lengths) / len(lengths) > MAX_MEAN_LINE_CHARACTERS:
        return "line length"
    if "\x00" in text:
        return "binary"
    return "generated" if _GENERATED.search(text[:1500]) else None


def python_documents() -> list[Document]:
    """Python comes from the corpus of the Python model, with the same splits."""
    documents = []
    for split in SPLITS:
        records = read_records(split)
        random.Random(SEED).shuffle(records)
        used = 0
        for record in records:
            if used < LANGUAGE_BYTES[split] and len(record["text"]) <= FILE_BYTES[1]:
                used += len(record["text"])
                named = f"Python:{record['path']}"
                text = record["text"]
                documents.append(Document(record["package"], split, named, text, None))
    return documents


def relabelled(documents: list[Document]) -> list[Document]:
    """By the rules as they are now: packages are read once, and rules change more often.

    Only of what may be drawn in its split.
    """
    kept = []
    for document in documents:
        label, _, path = document.path.partition(":")
        if split_of(label, document):
            label = labels.certain_label_of(path, document.text) or ""
        split = split_of(label, document) if label else None
        if split:
            kept.append(replace(document, path=f"{label}:{path}", split=split))
    return kept


def split_of(label: str, document: Document) -> str | None:
    """Where a file is used, if at all: its package's split, if its language has a label.

    Of the other languages some are trained on and never asked for, and the rest only asked for,
    wherever their files come from: here languages are what no two splits may share.
    """
    if labels.known_label(label) != UNKNOWN:
        return document.split
    if label.partition("/")[2] in labels.HALF_KNOWN:
        return None
    if label.partition("/")[2] in labels.UNSEEN:
        return "test" if document.split == "train" else document.split
    sample = labels.is_sample(document.path.partition(":")[2])
    return "train" if sample or document.split == "train" else None


def within_limits(documents: list[Document]) -> list[Document]:
    """A limited number of bytes per language and split, taken evenly from its packages."""
    groups: dict[tuple[str, str], dict[str, list[Document]]] = {}
    for document in documents:
        label = document.path.partition(":")[0]
        packages = groups.setdefault((document.split, label), {})
        packages.setdefault(document.package, []).append(document)
    kept: list[Document] = []
    for (split, label), packages in sorted(groups.items()):
        used = 0
        waiting = [packages[name][::-1] for name in sorted(packages)]
        most = (OTHER_BYTES if labels.known_label(label) == UNKNOWN else LANGUAGE_BYTES)[split]
        while waiting and used < most:
            for queue in waiting:
                document = queue.pop()
                used += len(document.text)
                kept.append(document)
            waiting = [queue for queue in waiting if queue]
    return kept


def build(manifest: list[Source], processes: int) -> dict[str, Any]:
    """Reads every package, removes near-duplicates, writes the splits and their report."""
    started = time.monotonic()
    documents: list[Document] = []
    counts: Counter[str] = Counter()
    with Pool(processes) as pool:
        for number, (found, reasons) in enumerate(
            pool.imap_unordered(read_package, manifest, chunksize=1), 1
        ):
            documents += found
            counts += reasons
            note(f"read {number}/{len(manifest)} packages, {len(documents)} files")
    documents = relabelled(documents)
    documents += [
        replace(block, split=split)
        for block in fences.blocks_of(documents)
        if (split := split_of(block.path.partition(":")[0], block))
    ]
    documents.sort(key=lambda d: (d.package, d.path))
    documents = within_limits(documents + python_documents())
    # Only now: nine of ten files are over the limits, and sketches are dear.
    with Pool(processes) as pool:
        sketches = pool.map(sketch, [document.text for document in documents], chunksize=64)
    documents = [
        replace(document, signature=found)
        for document, found in zip(documents, sketches, strict=True)
    ]
    unique = without_near_duplicates(documents)
    counts["near-duplicate"] = len(documents) - len(unique)
    report = {
        "seed": SEED,
        "files": dict(counts.most_common()),
        "splits": {split: write_split(split, unique) for split in SPLITS},
        "seconds": round(time.monotonic() - started, 1),
    }
    (HOME / "report.json").write_text(json.dumps(report, indent=1), encoding="utf-8")
    return report


def write_split(split: str, documents: list[Document]) -> dict[str, Any]:
    """Writes one split as JSON lines in seeded random order; returns sizes and hash."""
    chosen = [document for document in documents if document.split == split]
    random.Random(SEED).shuffle(chosen)
    digest = hashlib.sha256()
    sizes: dict[str, dict[str, Any]] = {}
    partial = HOME / f"{split}.jsonl.partial"
    with partial.open("wb") as stream:
        for document in chosen:
            label, _, path = document.path.partition(":")
            record = {
                "label": label,
                "package": document.package,
                "path": path,
                "text": document.text,
            }
            line = json.dumps(record).encode() + b"\n"
            digest.update(line)
            stream.write(line)
            entry = sizes.setdefault(label, {"files": 0, "bytes": 0, "packages": set()})
            entry["files"] += 1
            entry["bytes"] += len(document.text)
            entry["packages"].add(document.package)
    partial.replace(HOME / f"{split}.jsonl")
    table = {
        label: {**entry, "packages": len(entry["packages"])}
        for label, entry in sorted(sizes.items())
    }
    return {"files": len(chosen), "sha256": digest.hexdigest(), "languages": table}


if __name__ == "__main__":
    main()
