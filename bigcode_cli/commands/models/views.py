"""How models are described, as JSON and for people."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from bigcode_cli.framework.output import shown_bytes, shown_count
from bigcode_cli.hub.cache_reader import CachedRepository, cache_root
from bigcode_cli.models.aliases import PublishedModel
from bigcode_cli.models.describe import BYTES_PER_NUMBER, Description
from bigcode_cli.models.inventory import Installed, source_of, total_bytes
from bigcode_cli.models.resolve import Found
from gpt_bigcode.labeling.languages import identifiers_of

if TYPE_CHECKING:
    from bigcode_cli.hub.update import CachedRef, Updated

LIST_HEADINGS = ("NAME", "REVISION", "SIZE", "PARAMETERS", "TASKS")
AVAILABLE_HEADINGS = ("NAME", "REPOSITORY", "PARAMETERS", "ACCESS", "DOWNLOADED")
_SHORT_COMMIT = 8


def list_entry(model: Installed) -> dict[str, Any]:
    """Describe a model in a list, as JSON."""
    return {
        "name": model.name,
        "source": model.source,
        "revision": model.revision,
        "references": list(model.references),
        "bytes": model.bytes,
        "parameters": model.description.parameters,
        "architecture": model.description.architecture,
        "tasks": list(model.description.tasks),
    }


def list_row(model: Installed) -> tuple[str, ...]:
    """Describe a model in a list, for people."""
    facts = model.description
    parameters, tasks = shown_count(facts.parameters), ", ".join(facts.tasks)
    return model.name, shown_revision(model), shown_bytes(model.bytes), parameters, tasks


def available_entry(model: PublishedModel, *, is_here: bool) -> dict[str, Any]:
    """Describe a published model in a list, as JSON."""
    return {
        "name": model.name,
        "repository": model.repository,
        "parameters": model.parameters,
        "gated": model.is_gated,
        "downloaded": is_here,
    }


def available_row(entry: dict[str, Any]) -> tuple[str, ...]:
    """Describe a published model in a list, for people."""
    access = "licence to accept, HF_TOKEN" if entry["gated"] else "open"
    here = "yes" if entry["downloaded"] else "-"
    parameters = shown_count(entry["parameters"])
    return entry["name"], entry["repository"], parameters, access, here


def shown_verification(found: Found, hashed: int, files: int, size: int) -> str:
    """Describe for people what was checked of an intact model."""
    fits = "weights and tokenizer fit the configuration"
    if hashed:
        return (
            f"ok: {hashed} of {files} files have their published hash, {shown_bytes(size)}; {fits}"
        )
    source = "a built-in model" if source_of(found) == "builtin" else "a folder"
    return f"ok: {fits}; {source} has no published hashes to compare with"


def shown_revision(model: Installed) -> str:
    """Format a revision for people: the start of the commit, with its branches and tags."""
    if model.revision is None:
        return "-"
    commit = model.revision[:_SHORT_COMMIT]
    return f"{commit} ({', '.join(model.references)})" if model.references else commit


def facts_of(found: Found, facts: Description) -> dict[str, Any]:
    """Describe one model, as JSON."""
    return {
        "name": found.name,
        "source": source_of(found),
        "revision": found.revision,
        "path": str(found.directory.absolute()),
        "bytes": total_bytes(found.directory),
        "architecture": facts.architecture,
        "parameters": facts.parameters,
        "context_tokens": facts.config.n_positions,
        "vocabulary_tokens": facts.config.vocab_size,
        "tasks": list(facts.tasks),
        "infill_tokens": list(facts.infill_tokens),
        "labels": list(facts.labels),
        "label_aliases": identifiers_of(facts.labels),
        "cache_bytes_per_token": {p: facts.cache_bytes_per_token(p) for p in BYTES_PER_NUMBER},
        "memory_bytes": {p: facts.memory_bytes(p) for p in BYTES_PER_NUMBER},
    }


def update_entry(updated: "Updated") -> dict[str, Any]:
    """Describe what an update changed, as JSON."""
    moved = updated.before != updated.revision
    return {
        "name": updated.name,
        "reference": updated.reference,
        "status": "updated" if moved else "unchanged",
        "before": updated.before,
        "revision": updated.revision,
        "path": str(updated.directory.absolute()),
        "fetched_bytes": updated.fetched_bytes,
        "files": [asdict(change) for change in updated.files],
    }


def failed_update(ref: "CachedRef", error: Exception) -> dict[str, Any]:
    """Describe an update that failed, as JSON."""
    return {
        "name": ref.repository.name,
        "reference": ref.reference,
        "status": "error",
        "before": ref.commit,
        "revision": None,
        "reason": str(error),
    }


def shown_update(entry: dict[str, Any]) -> list[tuple[str, str]]:
    """Describe what an update changed, for people."""
    name = f"{entry['name']}@{entry['reference']}"
    before = entry["before"][:_SHORT_COMMIT]
    if entry["status"] != "updated":
        return [(name, f"{entry['status']}, {before}")]
    after, fetched = entry["revision"][:_SHORT_COMMIT], shown_bytes(entry["fetched_bytes"])
    facts = [(name, f"{before} -> {after}, {fetched} fetched")]
    for change in entry["files"]:
        sizes = [
            shown_bytes(size)
            for size in (change["bytes_before"], change["bytes"])
            if size is not None
        ]
        facts.append((f"  {change['change']}", f"{change['name']}  {' -> '.join(sizes)}"))
    return facts


def converted_from(found: Found) -> dict[str, Any] | None:
    """Describe what a model was converted from, which uses space too."""
    if found.revision is None:
        return None
    folder = CachedRepository(found.name, cache_root()).snapshots / found.revision
    if folder == found.directory:
        return None
    return {"path": str(folder.absolute()), "bytes": total_bytes(folder)}


def shown_facts(document: dict[str, Any]) -> list[tuple[str, str]]:
    """Format the description of one model for people."""
    cache = {p: shown_bytes(count) for p, count in document["cache_bytes_per_token"].items()}
    memory = {p: shown_bytes(count) for p, count in document["memory_bytes"].items()}
    files = [f"{entry['name']} {_shown_size(entry['bytes'])}" for entry in document["files"]]
    revision = () if document["revision"] is None else (("revision", document["revision"]),)
    before = document["converted_from"]
    source = []
    if before is not None:
        source = [("converted from", f"{before['path']}, {shown_bytes(before['bytes'])}")]
    return [
        ("name", document["name"]),
        *revision,
        ("folder", document["path"]),
        ("architecture", document["architecture"]),
        ("parameters", shown_count(document["parameters"])),
        ("stored as", document["precision"]),
        ("context", f"{document['context_tokens']:,} tokens"),
        ("tasks", ", ".join(document["tasks"]) or "none: no tokenizer"),
        *_known(document),
        ("licence", document["licence"] or "not stated"),
        ("cache per token", ", ".join(f"{size} {p}" for p, size in cache.items())),
        ("memory, full context", ", ".join(f"{size} {p}" for p, size in memory.items())),
        ("disk", shown_bytes(document["bytes"])),
        *source,
        *(("file" if not place else "", line) for place, line in enumerate(files)),
    ]


def _known(document: dict[str, Any]) -> list[tuple[str, str]]:
    """Return a model's labels, or its tokens for gaps."""
    if document["labels"]:
        labels, aliases = document["labels"], document["label_aliases"]
        known = [f"{', '.join(aliases[label])} = {label}" for label in labels if label in aliases]
        also = [("label aliases", "; ".join(known))] if known else []
        return [("labels", ", ".join(labels)), *also]
    return [("infill tokens", " ".join(document["infill_tokens"]) or "none")]


def _shown_size(count: int | None) -> str:
    return "(missing)" if count is None else shown_bytes(count)
