"""The caches that make later calls faster, one folder each."""

from collections.abc import Collection
from dataclasses import dataclass
from types import MappingProxyType

from bigcode_cli.framework.settings import cache_folder
from gpt_bigcode.storage.disk_cache import CacheEntry, DiskCache


@dataclass(frozen=True, kw_only=True)
class CacheKind:
    """One kind of cache entry.

    Attributes:
        suffix: how the names of its files end.
        content: a description for people.
        by_model: whether the names of entries begin with the `weights_id` of a model.
    """

    suffix: str
    content: str
    by_model: bool = True


CACHES = MappingProxyType(
    {
        "prefixes": CacheKind(suffix=".kv", content="prefilled prompts"),
        "weights": CacheKind(suffix=".safetensors", content="int8 and int4 weights"),
        "results": CacheKind(
            suffix=".json", content="results of score and classify", by_model=False
        ),
    }
)
"""Name -> kind; the name is that of the folder too."""


def open_cache(name: str) -> DiskCache:
    """Open a cache for listing or clearing; only its writers know its limits."""
    return DiskCache(path=cache_folder(name), suffix=CACHES[name].suffix, limit_bytes=0)


def entries_of_models(weights_ids: Collection[str]) -> dict[str, list[CacheEntry]]:
    """List the entries of some models by cache."""
    starts = tuple(f"{name}-" for name in weights_ids)
    return {
        name: [entry for entry in open_cache(name).entries() if entry.name.startswith(starts)]
        for name, kind in CACHES.items()
        if kind.by_model and cache_folder(name).is_absolute()
    }


def free_models(weights_ids: Collection[str]) -> int:
    """Remove the entries of some models; return the number of bytes freed."""
    return sum(
        open_cache(name).remove(entry.name)
        for name, entries in entries_of_models(weights_ids).items()
        for entry in entries
    )
