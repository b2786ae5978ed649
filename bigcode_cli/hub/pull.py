"""Downloads a repository's model into the cache, safely, step by step."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

from bigcode_cli.conversion.folders import is_convertible
from bigcode_cli.framework.errors import Failure
from bigcode_cli.framework.offline import is_hub_off, offline_failure
from bigcode_cli.framework.output import Notes, shown_bytes
from bigcode_cli.hub import repo_files
from bigcode_cli.hub.cache_reader import BRANCH, CachedRepository
from bigcode_cli.hub.cache_writer import Store, storage_errors
from bigcode_cli.hub.client import Hub
from bigcode_cli.hub.download import Transfer
from bigcode_cli.hub.errors import RetryableError
from bigcode_cli.hub.network_settings import SLUG
from bigcode_cli.hub.progress import ByteProgress
from bigcode_cli.hub.repo_files import RemoteFile
from bigcode_cli.models.describe import describe
from bigcode_cli.models.resolve import find_cached, usable
from gpt_bigcode.checkpoint.santacoder_config import convert_config, is_santacoder
from gpt_bigcode.config import MAX_CONFIG_BYTES, GPTBigCodeConfig
from gpt_bigcode.errors import ConfigError, GPTBigCodeError, UnsupportedModelError
from gpt_bigcode.reading import parse_json

_UNREACHABLE = frozenset({"offline", "network", "hub-down", SLUG})


@dataclass(frozen=True, kw_only=True)
class PullRequest:
    """What to download of a repository.

    Attributes:
        revision: a branch, a tag or a commit; None: the main branch.
        convert: whether weights of another form are downloaded and converted.
        offline: whether the network must not be used.
    """

    revision: str | None = None
    convert: bool = False
    offline: bool = False


@dataclass(frozen=True, kw_only=True)
class PullResult:
    """A model that is now in the cache.

    Attributes:
        commit: its commit.
        directory: the folder with its files.
        fetched_bytes: how much was downloaded.
        total_bytes: the size of its files.
    """

    commit: str
    directory: Path
    fetched_bytes: int
    total_bytes: int


def pull(repository: CachedRepository, request: PullRequest, notes: Notes) -> PullResult:
    """Download what the cache lacks of a repository's model.

    If the hub cannot be reached, a complete cached copy of this revision is used.

    Raises:
        Failure: it cannot be completed.
    """
    if is_hub_off(offline=request.offline):
        return _from_cache(repository, request, offline_failure(), notes)
    try:
        hub = Hub(notes)
        commit = hub.commit(repository.name, request.revision or BRANCH)
        return fetch(hub, repository, commit, request, notes)
    except RetryableError as error:
        return _from_cache(repository, request, error.failure, notes)
    except Failure as error:
        if error.slug not in _UNREACHABLE:
            raise
        return _from_cache(repository, request, error, notes)


def fetch(
    hub: Hub, repository: CachedRepository, commit: str, request: PullRequest, notes: Notes
) -> PullResult:
    """Download all of one commit, and convert it if needed and asked for.

    Raises:
        RetryableError: the hub cannot be reached.
        Failure: it cannot be completed for another reason.
    """
    with storage_errors(repository.root):
        pulled = _fetch_all(hub, repository, commit, request, notes)
    directory = pulled.directory
    if request.convert and is_convertible(directory):
        from bigcode_cli.conversion.cached import convert_snapshot

        directory = convert_snapshot(repository, commit, notes)
    describe(directory)
    with storage_errors(repository.root):
        Store(repository, notes).refer(request.revision or BRANCH, commit)
    return replace(pulled, directory=directory)


def _fetch_all(
    hub: Hub, repository: CachedRepository, commit: str, request: PullRequest, notes: Notes
) -> PullResult:
    files, known = _choose(hub, repository.name, commit, convert=request.convert)
    total = sum(file.size for file in files)
    store = Store(repository, notes)
    missing = [file for file in files if not store.has_size(file)]
    size = shown_bytes(sum(file.size for file in missing))
    notes.remark(f"{repository.name} at {commit[:8]}: {size} of {shown_bytes(total)} to fetch")
    store.require_space(missing)
    with ByteProgress(repository.name, total, notes) as progress:
        store.say = progress.say
        transfer = Transfer(
            hub=hub, repository=repository.name, commit=commit, known=known, progress=progress
        )
        fetched = sum(_fetch(store, transfer, file) for file in files)
    directory = store.publish(commit, files)
    return PullResult(commit=commit, directory=directory, fetched_bytes=fetched, total_bytes=total)


def _choose(
    hub: Hub, name: str, commit: str, *, convert: bool
) -> tuple[list[RemoteFile], dict[str, bytes]]:
    """List the files to download, after reading the configuration and the index of the weights.

    Returns:
        The files, and hash -> content of those that were read.
    """
    files = hub.files(name, commit)
    first = repo_files.require_config(files, name)
    config = hub.content(name, commit, first, MAX_CONFIG_BYTES)
    _require_family(hub, config, name, convert=convert)
    form = repo_files.choose_form(files, name, convert=convert)
    repo_files.require_tokenizer(files, name)
    if form.single in files:
        return repo_files.files_to_fetch(files, form, None), {first.digest: config}
    index = files[form.index]
    content = hub.content(name, commit, index, repo_files.MAX_INDEX_BYTES)
    shards = repo_files.shard_names(content, form.index, form.suffix)
    hub.refuse_token(" ".join(shards), "the name of a file")
    chosen = repo_files.files_to_fetch(files, form, shards)
    return chosen, {first.digest: config, index.digest: content}


def _require_family(hub: Hub, config: bytes, repository: str, *, convert: bool) -> None:
    """Refuse another architecture before its weights are downloaded.

    Raises:
        GPTBigCodeError: it is named.
    """
    try:
        values = parse_json(config)
    except ValueError as error:
        raise ConfigError(f"{repository}: its config.json is {error}") from None
    hub.refuse_token(json.dumps(values, ensure_ascii=False), "a part of config.json")
    if not isinstance(values, dict):
        raise ConfigError(f"{repository}: its config.json is not an object")
    if is_santacoder(values) and not convert:
        message = f"{repository}: its weights have the layout of bigcode/santacoder"
        hint = f"bigcode models pull --convert {repository} converts them"
        raise UnsupportedModelError(message, hint=hint)
    try:
        GPTBigCodeConfig.from_dict(convert_config(values) if is_santacoder(values) else values)
    except GPTBigCodeError as error:
        raise type(error)(f"{repository}: {error}", hint=error.hint) from None


def _fetch(store: Store, transfer: Transfer, file: RemoteFile) -> int:
    """Download a file unless it is cached; return the number of bytes downloaded."""
    if store.holds(file):
        transfer.progress.advance(file.size)
        return 0
    store.prepare()
    with store.locked(file):
        if store.holds(file):  # another process downloaded it while we waited
            transfer.progress.advance(file.size)
            return 0
        store.note_damage(file)
        with store.new_content(file) as path:
            transfer.fetch(file, path)
    store.notes.detail(f"{file.name}: fetched, {shown_bytes(file.size)}, hash {file.digest}")
    return file.size


def _from_cache(
    repository: CachedRepository, request: PullRequest, reason: Failure, notes: Notes
) -> PullResult:
    """Fall back to the cache.

    Raises:
        Failure: the model is not there, or not complete.
    """
    found = find_cached(repository, request.revision)
    if found is None or found.revision is None:
        message = f"{repository.name} is not in the cache, and {reason}"
        raise Failure(reason.slug, message, hint=reason.hint) from None
    directory = usable(found).directory
    describe(directory)
    notes.note(f"{reason}; using the cached commit {found.revision[:8]}")
    total = sum(path.stat().st_size for path in directory.iterdir())
    return PullResult(
        commit=found.revision, directory=directory, fetched_bytes=0, total_bytes=total
    )
