"""The commands on models that need no network; each is one function.

What a command needs is imported when it runs, so that `bigcode --help` does not wait for it.
"""

import os
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from bigcode_cli.commands.models.options import Available, CachedName, DefaultName, ModelName
from bigcode_cli.commands.models.remote import convert_model, pull_model, update_models
from bigcode_cli.framework.options import Format, OutputFormat, Yes

if TYPE_CHECKING:
    from bigcode_cli.models.resolve import Found


def list_models(
    *,
    available: Available = False,
    format: Format = OutputFormat.TEXT,  # noqa: A002  # --format
) -> None:
    """List the models on this machine, and the commands that each can run.

    These are the built-in models, complete downloads, and the models in the folders that
    model-folders in config.toml names. Repositories of other architectures are left out.
    """
    from bigcode_cli.commands.models import views
    from bigcode_cli.framework.output import write_document, write_table
    from bigcode_cli.models.inventory import available_models, installed_models

    if available:
        entries = [
            views.available_entry(model, is_here=is_here) for model, is_here in available_models()
        ]
        rows, headings = [views.available_row(entry) for entry in entries], views.AVAILABLE_HEADINGS
    else:
        models = list(installed_models())
        entries = [views.list_entry(model) for model in models]
        rows, headings = [views.list_row(model) for model in models], views.LIST_HEADINGS
    if format is OutputFormat.TEXT:
        write_table(headings, rows)
    else:
        write_document({"models": entries}, format)


def show_model(name: ModelName, *, format: Format = OutputFormat.TEXT) -> None:  # noqa: A002
    """Show what a model is, what it can do and how much memory it needs.

    The memory is an estimate for the weights and a full context.
    """
    from bigcode_cli.commands.models.views import converted_from, facts_of, shown_facts
    from bigcode_cli.framework.output import write_document, write_facts
    from bigcode_cli.hub.cache_reader import file_sizes
    from bigcode_cli.models import describe

    found = _find(name)
    facts = describe.describe(found.directory)
    document = facts_of(found, facts)
    document["precision"] = describe.stored_precision(found.directory)
    document["licence"] = describe.licence(found.directory)
    document["converted_from"] = converted_from(found)
    document["files"] = [
        {"name": path, "bytes": size} for path, size in file_sizes(found.directory).items()
    ]
    if format is not OutputFormat.TEXT:
        write_document(document, format)
        return
    write_facts(shown_facts(document))


def _find(name: str) -> "Found":
    """Find a model, and note what the user should know about the choice."""
    from bigcode_cli.framework.output import Notes
    from bigcode_cli.models.resolve import find_model

    found = find_model(name, option="NAME")
    if found.note is not None:
        Notes().note(found.note)
    return found


def path_of_model(name: ModelName, *, format: Format = OutputFormat.TEXT) -> None:  # noqa: A002
    """Print the folder of a model."""
    from bigcode_cli.framework.output import Result, write_document

    found = _find(name)
    if format is not OutputFormat.TEXT:
        place = str(found.directory.absolute())
        document = {"name": found.name, "revision": found.revision, "path": place}
        write_document(document, format)
        return
    Result().write_bytes(os.fsencode(found.directory.absolute()) + b"\n")


def verify_model(name: ModelName, *, format: Format = OutputFormat.TEXT) -> None:  # noqa: A002
    """Check every byte of a model.

    Compares downloaded files with their published hashes, and weights and tokenizer with the
    configuration.
    """
    from bigcode_cli.commands.models.views import shown_verification
    from bigcode_cli.framework.output import write_document, write_facts
    from bigcode_cli.hub import verify

    found = _find(name)
    verify.require_model(found.directory)
    files = list(verify.checked_files(found.directory))
    verify.require_right(files, found)
    verify.require_consistent(found.directory)
    hashed = [file for file in files if file.expected is not None]
    size = sum(file.bytes for file in hashed)
    if format is not OutputFormat.TEXT:
        document = {
            "name": found.name,
            "revision": found.revision,
            "status": "ok",
            "hashed_files": len(hashed),
            "hashed_bytes": size,
            "files": [{"name": file.name, "digest": file.digest} for file in files],
        }
        write_document(document, format)
        return
    write_facts([(found.name, shown_verification(found, len(hashed), len(files), size))])


def remove_model(
    name: CachedName,
    *,
    yes: Yes = False,
    format: Format = OutputFormat.TEXT,  # noqa: A002
) -> None:
    """Delete a downloaded model.

    Deletes the whole repository or one revision of it, with its conversion and what bigcode
    cached for it, and prints how much space that freed. Other tools that share the Hugging Face
    cache lose the model too. Nothing outside the caches is ever deleted.
    """
    from bigcode_cli.framework.confirm import confirm
    from bigcode_cli.framework.errors import Failure
    from bigcode_cli.framework.output import shown_bytes, write_document, write_facts
    from bigcode_cli.hub import remove
    from bigcode_cli.hub.cache_reader import CachedRepository, cache_root
    from bigcode_cli.models.repository_names import repository_and_revision

    repository, revision = repository_and_revision(name, None, option="NAME")
    cached = CachedRepository(repository, cache_root())
    commit = None if revision is None else cached.commit(revision)
    if revision is not None and commit is None:
        raise Failure("model-missing", f"{name}: not in the local cache {cached.root}")
    plan = remove.plan_removal(cached, commit)
    confirm(f"Delete {name} ({shown_bytes(plan.bytes)}) from the cache?", yes=yes)
    remove.remove(cached, plan)
    if format is not OutputFormat.TEXT:
        write_document({"name": repository, "revision": commit, "freed_bytes": plan.bytes}, format)
        return
    write_facts([(name, f"deleted, {shown_bytes(plan.bytes)} freed")])


def prune_models(*, yes: Yes = False, format: Format = OutputFormat.TEXT) -> None:  # noqa: A002
    """Delete unreferenced revisions and downloads from the cache.

    These are revisions that no branch or tag refers to, files and partial downloads that belong
    to no revision and are older than a day, and conversions of models that are gone.
    """
    from bigcode_cli.framework.confirm import confirm
    from bigcode_cli.framework.output import shown_bytes, write_document, write_facts
    from bigcode_cli.hub import remove
    from bigcode_cli.hub.cache_reader import cache_root, repositories

    root = cache_root()
    own = [cached for cached in repositories(root) if not cached.folder.is_symlink()]
    plans = [(cached, remove.plan_pruning(cached)) for cached in own]
    plans = [(cached, plan) for cached, plan in plans if plan.paths]
    loose = remove.plan_pruning_of_conversions(root)
    size = loose.bytes + sum(plan.bytes for _, plan in plans)
    names = [cached.name for cached, _ in plans]
    if loose.conversions:
        names.append("conversions")
    if names:
        confirm(f"Delete {shown_bytes(size)} of {', '.join(names)} from the cache?", yes=yes)
    for cached, plan in plans:
        remove.remove(cached, plan)
    remove.remove_conversions(loose)
    if format is not OutputFormat.TEXT:
        entries = [{"name": cached.name, "freed_bytes": plan.bytes} for cached, plan in plans]
        write_document({"models": entries, "freed_bytes": size}, format)
        return
    rows = [(cached.name, f"{shown_bytes(plan.bytes)} freed") for cached, plan in plans]
    if loose.conversions:
        rows.append(("conversions", f"{shown_bytes(loose.bytes)} freed"))
    write_facts([*rows, ("total", f"{shown_bytes(size)} freed")])


def default_model(name: DefaultName = None, *, format: Format = OutputFormat.TEXT) -> None:  # noqa: A002
    """Set or show the models that are used without --model.

    Without NAME, shows the default of each command. Otherwise NAME becomes the default of the
    commands that it can run, in config.toml, whose other lines do not change.
    """
    from bigcode_cli.framework.output import Result, write_document, write_facts
    from bigcode_cli.framework.settings import config_path
    from bigcode_cli.models.defaults import default_models, set_default

    if name is not None:
        setting, chosen = set_default(name)
        if format is not OutputFormat.TEXT:
            document = {"model": chosen, "setting": setting, "config": str(config_path())}
            write_document(document, format)
            return
        Result().write_bytes(os.fsencode(chosen) + b"\n")
        return
    defaults = list(default_models())
    if format is not OutputFormat.TEXT:
        entries = [
            {"setting": default.setting, "commands": list(default.tasks), "model": default.model}
            for default in defaults
        ]
        write_document({"defaults": entries, "config": str(config_path())}, format)
        return
    write_facts([(", ".join(default.tasks), default.model) for default in defaults])


COMMANDS: Mapping[str, Callable[..., None]] = MappingProxyType(
    {
        "list": list_models,
        "pull": pull_model,
        "update": update_models,
        "show": show_model,
        "verify": verify_model,
        "remove": remove_model,
        "prune": prune_models,
        "path": path_of_model,
        "default": default_model,
        "convert": convert_model,
    }
)
EXAMPLES = MappingProxyType(
    {
        "list": (
            "bigcode models list",
            "bigcode models list --available",
            "bigcode models list --format json",
        ),
        "pull": (
            "bigcode models pull tiny_starcoder_py",
            "bigcode models pull ibm-granite/granite-20b-code-base --revision main",
            "bigcode models pull --convert bigcode/santacoder",
        ),
        "update": (
            "bigcode models update",
            "bigcode models update tiny_starcoder_py --format json",
        ),
        "convert": (
            "bigcode models convert bigcode/starcoder",
            "bigcode models convert ./my-finetune ./my-finetune-safetensors",
        ),
        "show": (
            "bigcode models show pocket-coder",
            "bigcode models show bigcode/tiny_starcoder_py --format json",
        ),
        "verify": ("bigcode models verify tiny_starcoder_py",),
        "remove": (
            "bigcode models remove tiny_starcoder_py",
            "bigcode models remove --yes tiny_starcoder_py@main",
        ),
        "prune": ("bigcode models prune",),
        "default": ("bigcode models default", "bigcode models default tiny_starcoder_py"),
        "path": ("bigcode models path tiny_starcoder_py",),
    }
)
