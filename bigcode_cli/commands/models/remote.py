"""`bigcode models pull`, `update` and `convert`."""

import os
from typing import TYPE_CHECKING, Any

import typer

from bigcode_cli.commands.models.options import (
    Convert,
    Repository,
    Revision,
    SourceName,
    Target,
    UpdatedNames,
)
from bigcode_cli.framework import errors
from bigcode_cli.framework.errors import Failure
from bigcode_cli.framework.options import Format, OutputFormat, ReportOptions
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
    """Download a model from the Hugging Face hub into the cache.

    Prints the folder of the model. Only the files that are needed are downloaded: configuration,
    tokenizer, model card, and weights as safetensors. Every file is checked against its published
    hash, and the model appears only when it is complete. HF_ENDPOINT, HF_TOKEN, HF_HOME and the
    proxy variables are honoured.
    """
    from bigcode_cli.framework.output import Notes
    from bigcode_cli.hub.cache_reader import CachedRepository, cache_root
    from bigcode_cli.hub.pull import PullRequest, pull
    from bigcode_cli.models.repository_names import repository_and_revision, require_known_owner

    name, at = repository_and_revision(repository, revision, option="REPO")
    require_known_owner(name, option="REPO")
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
    """Update downloaded models, and show what changed.

    Compares each model that was pulled by a branch or tag with the hub. If the branch has moved,
    the new files are downloaded and checked as by pull. The old revision stays until `bigcode
    models prune`.
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
    """Convert pickled weights, or the layout of bigcode/santacoder, to safetensors.

    Prints the folder of the result. Pickles can run code, so they are opened in a sandbox: a
    process without network and with little memory, which reads tensors and nothing else.
    Downloaded files are checked against their hashes first. Values and number formats do not
    change, nothing is overwritten, and the result appears only when it is complete and checked.
    """
    from bigcode_cli.conversion.cached import convert_folder, convert_snapshot
    from bigcode_cli.framework.output import Notes
    from bigcode_cli.hub.cache_reader import CachedRepository, cache_root
    from bigcode_cli.models.inventory import total_bytes
    from bigcode_cli.models.resolve import find_source

    found = find_source(name, option="NAME")
    notes = Notes()
    if target is None and found.revision is None:
        hint = "bigcode models convert FOLDER NEW_FOLDER"
        raise errors.UsageFailure("PATH: name the folder to create", hint=hint)
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
