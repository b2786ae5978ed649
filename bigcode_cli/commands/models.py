"""`bigcode models`: what is in the cache, without network; each command is one function.

Knows nothing of how options are parsed or how errors are shown.
"""

import os
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from bigcode_cli import parsing
from bigcode_cli.catalog import Found, find_model
from bigcode_cli.failures import UsageFailure
from bigcode_cli.hub.cache import (
    BRANCH,
    CachedRepository,
    cache_root,
    file_sizes,
    is_repository,
    validate_revision,
)
from bigcode_cli.hub.family import full_name
from bigcode_cli.options import GENERAL, OutputFormat, ReportOptions
from bigcode_cli.output import Notes, Result
from bigcode_cli.tables import shown_bytes, shown_count, write_document, write_facts, write_table

if TYPE_CHECKING:
    from bigcode_cli.hub.description import Description
    from bigcode_cli.hub.inventory import Installed

_SHORT_COMMIT, _LONGEST_NAME = 8, 200
HELP = "See, fetch, check and remove models."

ModelName: TypeAlias = Annotated[
    str,
    typer.Argument(
        metavar="NAME",
        show_default=False,
        parser=parsing.text,
        help="A built-in name, a folder, or a repository OWNER/NAME[@REVISION] of the cache.",
    ),
]
Format: TypeAlias = Annotated[
    OutputFormat,
    typer.Option(
        "--format",
        parser=parsing.one_of(OutputFormat),
        rich_help_panel=GENERAL,
        help="How the result is written.",
    ),
]

Repository: TypeAlias = Annotated[
    str,
    typer.Argument(
        metavar="REPO",
        show_default=False,
        parser=parsing.text,
        help="OWNER/NAME[@REVISION] on the hub, or the short name of a published model.",
    ),
]
Revision: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--revision",
        metavar="REVISION",
        parser=parsing.text,
        help="The branch, tag or commit to fetch (default: main).",
    ),
]


def list_models(*, format: Format = OutputFormat.TEXT) -> None:  # noqa: A002  # --format
    """List the models that can be used without network.

    The built-in model and the repositories of the cache that are whole, each with the commands
    that it can run. Repositories of other architectures are left out.
    """
    from bigcode_cli.hub.inventory import installed_models

    models = list(installed_models())
    if format is not OutputFormat.TEXT:
        write_document({"models": [_entry(model) for model in models]}, format)
        return
    rows = [
        (
            model.name,
            _shown_revision(model),
            shown_bytes(model.bytes),
            shown_count(model.description.parameters),
            ", ".join(model.description.tasks),
        )
        for model in models
    ]
    write_table(("NAME", "REVISION", "SIZE", "PARAMETERS", "TASKS"), rows)


def show_model(name: ModelName, *, format: Format = OutputFormat.TEXT) -> None:  # noqa: A002
    """Show what a model is, what it can do and what it needs.

    Memory is estimated for the weights and one text as long as the context.
    """
    from bigcode_cli.hub import description

    found = find_model(name, option="NAME")
    facts = description.describe(found.directory)
    document = _facts(found, facts)
    document["precision"] = description.stored_precision(found.directory)
    document["licence"] = description.licence(found.directory)
    document["files"] = [
        {"name": path, "bytes": size} for path, size in file_sizes(found.directory).items()
    ]
    if format is not OutputFormat.TEXT:
        write_document(document, format)
        return
    write_facts(_shown_facts(document))


def path_of_model(name: ModelName, *, format: Format = OutputFormat.TEXT) -> None:  # noqa: A002
    """Print the folder that holds a model's files."""
    found = find_model(name, option="NAME")
    if format is not OutputFormat.TEXT:
        place = str(found.directory.absolute())
        document = {"name": found.name, "revision": found.revision, "path": place}
        write_document(document, format)
        return
    Result().write_bytes(os.fsencode(found.directory.absolute()) + b"\n")


def pull_model(
    repository: Repository,
    *,
    revision: Revision = None,
    report: ReportOptions,
) -> None:
    """Fetch a model from the hub into the cache, and print the folder that holds it.

    Only the files that are needed are fetched: configuration, tokenizer, card, and weights in
    safetensors files. Every file's hash is checked, and nothing is visible before all of it is
    there. HF_ENDPOINT, HF_TOKEN, HF_HOME and the proxy variables are honoured.
    """
    from bigcode_cli.hub.pull import pull

    name, at = _repository_and_revision(repository, revision)
    notes = Notes(quiet=report.quiet, verbose=report.verbose)
    cached = CachedRepository(name, cache_root())
    pulled = pull(cached, at, offline=report.offline, notes=notes)
    if report.format is OutputFormat.TEXT:
        Result().write_bytes(os.fsencode(pulled.directory.absolute()) + b"\n")
        return
    document = {
        "name": name,
        "revision": pulled.commit,
        "path": str(pulled.directory.absolute()),
        "bytes": pulled.total_bytes,
        "fetched_bytes": pulled.fetched_bytes,
    }
    write_document(document, report.format)


def _repository_and_revision(text: str, revision: str | None) -> tuple[str, str]:
    """Take REPO[@REVISION] and --revision apart.

    Raises:
        UsageFailure: no repository can have that name, or the two revisions differ.
    """
    name, at, after = text.partition("@")
    name = full_name(name)
    if not is_repository(name):
        shown = text if len(text) <= _LONGEST_NAME else f"{text[:_LONGEST_NAME]}…"
        hint = "a repository is OWNER/NAME of letters, digits, '-', '_' and '.'"
        raise UsageFailure(f"REPO: {shown!r} is not a repository's name", hint=hint)
    if at and revision is not None and revision != after:
        raise UsageFailure("REPO@REVISION and --revision name different revisions")
    if at:
        return name, validate_revision(after, option="REPO")
    at_revision = BRANCH if revision is None else revision
    return name, validate_revision(at_revision, option="--revision")


def _entry(model: "Installed") -> dict[str, Any]:
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


def _shown_revision(model: "Installed") -> str:
    if model.revision is None:
        return "-"
    commit = model.revision[:_SHORT_COMMIT]
    return f"{commit} ({', '.join(model.references)})" if model.references else commit


def _facts(found: Found, facts: "Description") -> dict[str, Any]:
    from bigcode_cli.hub.description import BYTES_PER_NUMBER
    from bigcode_cli.hub.inventory import source_of, total_bytes

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
        "cache_bytes_per_token": {p: facts.cache_bytes_per_token(p) for p in BYTES_PER_NUMBER},
        "memory_bytes": {p: facts.memory_bytes(p) for p in BYTES_PER_NUMBER},
    }


def _shown_facts(document: dict[str, Any]) -> list[tuple[str, str]]:
    cache = {p: shown_bytes(count) for p, count in document["cache_bytes_per_token"].items()}
    memory = {p: shown_bytes(count) for p, count in document["memory_bytes"].items()}
    files = [f"{entry['name']} {_shown_size(entry['bytes'])}" for entry in document["files"]]
    revision = () if document["revision"] is None else (("revision", document["revision"]),)
    return [
        ("name", document["name"]),
        *revision,
        ("folder", document["path"]),
        ("architecture", document["architecture"]),
        ("parameters", shown_count(document["parameters"])),
        ("stored as", document["precision"]),
        ("context", f"{document['context_tokens']:,} tokens"),
        ("tasks", ", ".join(document["tasks"]) or "none: no tokenizer.json"),
        ("infill tokens", " ".join(document["infill_tokens"]) or "none"),
        ("licence", document["licence"] or "not stated"),
        ("cache per token", ", ".join(f"{size} {p}" for p, size in cache.items())),
        ("memory, full context", ", ".join(f"{size} {p}" for p, size in memory.items())),
        ("disk", shown_bytes(document["bytes"])),
        *(("file" if not place else "", line) for place, line in enumerate(files)),
    ]


def _shown_size(count: int | None) -> str:
    return "(missing)" if count is None else shown_bytes(count)


COMMANDS: Mapping[str, Callable[..., None]] = MappingProxyType(
    {"list": list_models, "pull": pull_model, "show": show_model, "path": path_of_model}
)
EXAMPLES = MappingProxyType(
    {
        "list": """
    \b
    Examples:
    $ bigcode models list
    $ bigcode models list --format json
    """,
        "pull": """
    \b
    Examples:
    $ bigcode models pull tiny_starcoder_py
    $ bigcode models pull ibm-granite/granite-20b-code-base --revision main
    """,
        "show": """
    \b
    Examples:
    $ bigcode models show pocket-coder
    $ bigcode models show bigcode/tiny_starcoder_py --format json
    """,
        "path": """
    \b
    Examples:
    $ bigcode models path tiny_starcoder_py
    """,
    }
)
