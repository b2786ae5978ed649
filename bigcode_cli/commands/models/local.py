"""`bigcode models`: what is here, without network; each command is one function.

Knows nothing of how options are parsed or how errors are shown. Everything that a command needs is
imported when it runs, so that `bigcode --help` does not wait for it.
"""

import os
from collections.abc import Callable, Mapping
from types import MappingProxyType

from bigcode_cli.commands.models.options import CachedName, DefaultName, Format, ModelName, Yes
from bigcode_cli.commands.models.remote import convert_model, pull_model, update_models
from bigcode_cli.framework.options import OutputFormat


def list_models(*, format: Format = OutputFormat.TEXT) -> None:  # noqa: A002  # --format
    """List the models that can be used without network.

    The built-in models, the repositories of the cache that are whole, and the models in the
    folders that model-folders in config.toml names, each with the commands that it can run.
    Repositories of other architectures are left out.
    """
    from bigcode_cli.commands.models.views import list_entry, shown_revision
    from bigcode_cli.framework.output import (
        Notes,
        shown_bytes,
        shown_count,
        write_document,
        write_table,
    )
    from bigcode_cli.models.inventory import installed_models

    models = list(installed_models())
    if format is not OutputFormat.TEXT:
        write_document({"models": [list_entry(model) for model in models]}, format)
        return
    if not models:
        Notes().note("no models here yet; bigcode models pull tiny_starcoder_py fetches one")
    rows = [
        (
            model.name,
            shown_revision(model),
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
    from bigcode_cli.commands.models.views import converted_from, facts_of, shown_facts
    from bigcode_cli.framework.output import write_document, write_facts
    from bigcode_cli.hub.cache_reader import file_sizes
    from bigcode_cli.models import describe
    from bigcode_cli.models.resolve import find_model

    found = find_model(name, option="NAME")
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


def path_of_model(name: ModelName, *, format: Format = OutputFormat.TEXT) -> None:  # noqa: A002
    """Print the folder that holds a model's files."""
    from bigcode_cli.framework.output import Result, write_document
    from bigcode_cli.models.resolve import find_model

    found = find_model(name, option="NAME")
    if format is not OutputFormat.TEXT:
        place = str(found.directory.absolute())
        document = {"name": found.name, "revision": found.revision, "path": place}
        write_document(document, format)
        return
    Result().write_bytes(os.fsencode(found.directory.absolute()) + b"\n")


def verify_model(name: ModelName, *, format: Format = OutputFormat.TEXT) -> None:  # noqa: A002
    """Check every byte of a model that is here.

    Contents of the cache are compared with their published hashes. Headers and shapes of the
    weights and the tokenizer are compared with the configuration.
    """
    from bigcode_cli.framework.output import shown_bytes, write_document, write_facts
    from bigcode_cli.hub import verify
    from bigcode_cli.models.resolve import find_model

    found = find_model(name, option="NAME")
    verify.require_model(found.directory)
    files = list(verify.checked_files(found.directory))
    verify.require_right(files, found.name)
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
    counted = f"{len(hashed)} of {len(files)} files hashed, {shown_bytes(size)}"
    write_facts([(found.name, f"ok: {counted}; weights and tokenizer fit the configuration")])


def remove_model(
    name: CachedName,
    *,
    yes: Yes = False,
    format: Format = OutputFormat.TEXT,  # noqa: A002
) -> None:
    """Remove a model from the cache.

    The whole repository, or one revision of it; how much that freed is printed.
    Other tools that share the cache lose it too. Nothing outside the cache is ever removed.
    """
    from bigcode_cli.commands.models.confirm import confirm
    from bigcode_cli.framework.errors import Failure
    from bigcode_cli.framework.output import shown_bytes, write_document, write_facts
    from bigcode_cli.hub import remove
    from bigcode_cli.hub.cache_reader import CachedRepository, cache_root
    from bigcode_cli.hub.repo_id import repository_and_revision

    repository, revision = repository_and_revision(name, None, option="NAME")
    cached = CachedRepository(repository, cache_root())
    commit = None if revision is None else cached.commit(revision)
    if revision is not None and commit is None:
        raise Failure("model-missing", f"{name}: not in the local cache {cached.root}")
    plan = remove.plan_removal(cached, commit)
    confirm(f"Remove {name} ({shown_bytes(plan.bytes)}) from the cache?", yes=yes)
    remove.remove(cached, plan)
    if format is not OutputFormat.TEXT:
        write_document({"name": repository, "revision": commit, "freed_bytes": plan.bytes}, format)
        return
    write_facts([(name, f"removed, {shown_bytes(plan.bytes)} freed")])


def prune_models(*, yes: Yes = False, format: Format = OutputFormat.TEXT) -> None:  # noqa: A002
    """Remove from the cache what nothing refers to.

    Revisions at which no branch or tag stands any more, and contents and parts of downloads that
    belong to no revision and are older than a day. Conversions of what is no longer there.
    """
    from bigcode_cli.commands.models.confirm import confirm
    from bigcode_cli.framework.output import shown_bytes, write_document, write_facts
    from bigcode_cli.hub import remove
    from bigcode_cli.hub.cache_reader import cache_root, repositories

    root = cache_root()
    own = [cached for cached in repositories(root) if not cached.folder.is_symlink()]
    plans = [(cached, remove.plan_pruning(cached)) for cached in own]
    plans = [(cached, plan) for cached, plan in plans if plan.paths]
    loose = remove.plan_pruning_of_conversions(root)
    size = loose.bytes + sum(plan.bytes for _, plan in plans)
    names = [cached.name for cached, _ in plans] + ["conversions"] * bool(loose.conversions)
    if names:
        confirm(f"Remove {shown_bytes(size)} of {', '.join(names)} from the cache?", yes=yes)
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
    """Choose the model that is used where none is named.

    Without NAME, the present choice is shown. A new one is written into config.toml, whose
    other lines stay as they are. A classifier becomes the default of the command that it is for.
    """
    from bigcode_cli.framework.output import Result, write_document
    from bigcode_cli.framework.settings import config_path
    from bigcode_cli.io import config_file
    from bigcode_cli.models.aliases import full_name
    from bigcode_cli.models.resolve import BUILT_IN, BUILT_IN_PACKAGES, find_model, setting_of

    if name is not None:
        from bigcode_cli.models.describe import describe

        found = find_model(name, option="NAME")
        setting = setting_of(describe(found.directory).tasks)
        is_folder = found.revision is None and found.name not in BUILT_IN_PACKAGES
        chosen = str(found.directory.absolute()) if is_folder else full_name(name)
        config_file.write_setting(setting, chosen)
    else:
        setting = setting_of(())
        chosen = config_file.read_setting(setting) or BUILT_IN
    if format is not OutputFormat.TEXT:
        document = {"model": chosen, "setting": setting, "config": str(config_path())}
        write_document(document, format)
        return
    Result().write_bytes(os.fsencode(chosen) + b"\n")


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
    $ bigcode models pull --convert bigcode/santacoder
    """,
        "update": """
    \b
    Examples:
    $ bigcode models update
    $ bigcode models update tiny_starcoder_py --format json
    """,
        "convert": """
    \b
    Examples:
    $ bigcode models convert bigcode/starcoder
    $ bigcode models convert ./my-finetune ./my-finetune-safetensors
    """,
        "show": """
    \b
    Examples:
    $ bigcode models show pocket-coder
    $ bigcode models show bigcode/tiny_starcoder_py --format json
    """,
        "verify": """
    \b
    Examples:
    $ bigcode models verify tiny_starcoder_py
    """,
        "remove": """
    \b
    Examples:
    $ bigcode models remove tiny_starcoder_py
    $ bigcode models remove --yes tiny_starcoder_py@main
    """,
        "prune": """
    \b
    Examples:
    $ bigcode models prune
    """,
        "default": """
    \b
    Examples:
    $ bigcode models default tiny_starcoder_py
    $ bigcode models default
    """,
        "path": """
    \b
    Examples:
    $ bigcode models path tiny_starcoder_py
    """,
    }
)
