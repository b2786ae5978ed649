"""`bigcode models pull`, `update` and `convert`: what brings models here; only they may fetch.

Knows nothing of how options are parsed or how errors are shown.
"""

import os
from typing import TYPE_CHECKING, Any

import typer

from bigcode_cli.commands.models.options import (
    Convert,
    Format,
    Repository,
    Revision,
    SourceName,
    Target,
    UpdatedNames,
)
from bigcode_cli.framework import errors
from bigcode_cli.framework.errors import Failure
from bigcode_cli.framework.options import OutputFormat, ReportOptions
from gpt_bigcode.errors import GPTBigCodeError

if TYPE_CHECKING:
    from pathlib import Path


def pull_model(
    repository: Repository,
    *,
    revision: Revision = None,
    convert: Convert = False,
    report: ReportOptions,
) -> None:
    """Fetch a model from the hub into the cache.

    The folder that holds it is printed.
    Only the files that are needed are fetched: configuration, tokenizer, card, and weights in
    safetensors files. Every file's hash is checked, and nothing is visible before all of it is
    there. HF_ENDPOINT, HF_TOKEN, HF_HOME and the proxy variables are honoured.
    """
    from bigcode_cli.framework.output import Notes
    from bigcode_cli.hub.cache_reader import CachedRepository, cache_root
    from bigcode_cli.hub.pull import PullRequest, pull
    from bigcode_cli.hub.repo_id import repository_and_revision

    name, at = repository_and_revision(repository, revision, option="REPO")
    request = PullRequest(revision=at, convert=convert, offline=report.offline)
    notes = Notes(quiet=report.quiet, verbose=report.verbose)
    pulled = pull(CachedRepository(name, cache_root()), request, notes)
    document = {
        "name": name,
        "revision": pulled.commit,
        "path": str(pulled.directory.absolute()),
        "bytes": pulled.total_bytes,
        "fetched_bytes": pulled.fetched_bytes,
    }
    _write_place(pulled.directory, document, report.format)


def _write_place(folder: "Path", document: dict[str, Any], output_format: OutputFormat) -> None:
    from bigcode_cli.framework.output import Result, write_document

    if output_format is OutputFormat.TEXT:
        Result().write_bytes(os.fsencode(folder.absolute()) + b"\n")
    else:
        write_document(document, output_format)


def update_models(names: UpdatedNames = None, *, report: ReportOptions) -> None:
    """Bring models of the cache up to date, and say what changed.

    A model that was pulled by a branch or tag is compared with the hub; where that has moved, the
    new files are fetched and checked as by pull. The old revision stays until prune removes it.
    """
    from bigcode_cli.commands.models.views import failed_update, shown_update, update_entry
    from bigcode_cli.framework.output import Notes, write_document, write_facts
    from bigcode_cli.hub.update import chosen_refs, open_hub, update

    notes = Notes(quiet=report.quiet, verbose=report.verbose)
    chosen = chosen_refs(names or [])
    hub = open_hub(notes, offline=report.offline)
    entries: list[dict[str, Any]] = []
    for ref in chosen:
        try:
            entry = update_entry(update(hub, ref, notes))
        except (Failure, GPTBigCodeError) as error:
            errors.report(error)
            entry = failed_update(ref, error)
        if report.format is OutputFormat.TEXT:
            write_facts(shown_update(entry))
        entries.append(entry)
    if report.format is not OutputFormat.TEXT:
        write_document({"models": entries}, report.format)
    elif not chosen:
        notes.note("no downloaded model tracks a branch; nothing to update")
    if any(entry["status"] == "error" for entry in entries):
        raise typer.Exit(errors.ExitStatus.FAILED)


def convert_model(
    name: SourceName,
    target: Target = None,
    *,
    format: Format = OutputFormat.TEXT,  # noqa: A002
) -> None:
    """Turn weights that are pickles, or of the layout of bigcode/santacoder, into safetensors.

    The folder of the result is printed. Pickles can run code, so they are opened in a process of
    its own without network and with little memory, which takes tensors from them and nothing
    else; contents of the cache are compared with their hashes first. Numbers and their types stay
    as they are. Nothing is replaced, and nothing is visible before all of it is there and checked.
    """
    from bigcode_cli.conversion.cached import convert_folder, convert_snapshot
    from bigcode_cli.framework.output import Notes
    from bigcode_cli.hub.cache_reader import CachedRepository, cache_root
    from bigcode_cli.models.inventory import total_bytes
    from bigcode_cli.models.resolve import find_source

    found = find_source(name, option="NAME")
    notes = Notes()
    if target is None and found.revision is None:
        raise errors.UsageFailure("PATH: where should the converted model go?")
    if target is None:
        folder = convert_snapshot(
            CachedRepository(found.name, cache_root()), str(found.revision), notes
        )
    else:
        folder = target
        convert_folder(found, target, notes)
    document = {
        "name": found.name,
        "revision": found.revision,
        "path": str(folder.absolute()),
        "bytes": total_bytes(folder),
    }
    _write_place(folder, document, format)
