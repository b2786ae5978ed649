"""`bigcode cache list` and `clear`: show and free the caches on disk."""

import time
from collections.abc import Callable, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Annotated, Any

from bigcode_cli.framework.option_types import argument, one_of
from bigcode_cli.framework.options import Format, OutputFormat, Yes


class Kind(StrEnum):
    """A cache."""

    PREFIXES = "prefixes"
    WEIGHTS = "weights"
    RESULTS = "results"


Kinds = Annotated[
    list[Kind] | None,
    argument(
        "Which caches: prefixes, weights, results; without any, all of them.",
        one_of(Kind),
        metavar="CACHE",
    ),
]
_AGES = ((86400, "day"), (3600, "hour"), (60, "minute"))


def list_caches(*, format: Format = OutputFormat.TEXT) -> None:  # noqa: A002  # --format
    """List the caches, their sizes and when they were last used.

    The caches contain prefilled prompts, int8 and int4 weights, and results of score and classify
    for unchanged files. bigcode can compute all of it again.
    """
    from bigcode_cli.framework.output import shown_bytes, write_document, write_table
    from bigcode_cli.io.caches import CACHES

    caches = [_described(name) for name in CACHES]
    total = sum(cache["bytes"] for cache in caches)
    if format is not OutputFormat.TEXT:
        write_document({"caches": caches, "bytes": total}, format)
        return
    rows = [
        (
            cache["name"],
            f"{cache['entries']:,}",
            shown_bytes(cache["bytes"]),
            _age(cache["oldest_seconds"]),
            _age(cache["newest_seconds"]),
            cache["path"],
        )
        for cache in caches
    ]
    rows.append(("total", "", shown_bytes(total), "", "", ""))
    write_table(("CACHE", "ENTRIES", "SIZE", "OLDEST", "LAST USED", "FOLDER"), rows)


def clear_caches(
    kinds: Kinds = None,
    *,
    yes: Yes = False,
    format: Format = OutputFormat.TEXT,  # noqa: A002
) -> None:
    """Delete the contents of the caches.

    bigcode computes them again when needed. Models stay; see `bigcode models remove`.
    """
    from bigcode_cli.framework.confirm import confirm
    from bigcode_cli.framework.output import shown_bytes, write_document, write_facts
    from bigcode_cli.framework.settings import cache_folder
    from bigcode_cli.io.caches import CACHES, open_cache

    names = [name for name in CACHES if not kinds or name in kinds]
    size = sum(_described(name)["bytes"] for name in names)
    if size:
        confirm(f"Delete {shown_bytes(size)} of cached {', '.join(names)}?", yes=yes)
    freed = {
        name: open_cache(name).remove() if cache_folder(name).is_absolute() else 0 for name in names
    }
    total = sum(freed.values())
    if format is not OutputFormat.TEXT:
        entries = [{"name": name, "freed_bytes": count} for name, count in freed.items()]
        write_document({"caches": entries, "freed_bytes": total}, format)
        return
    rows = [(name, f"{shown_bytes(count)} freed") for name, count in freed.items()]
    write_facts([*rows, ("total", f"{shown_bytes(total)} freed")])


def _described(name: str) -> dict[str, Any]:
    from bigcode_cli.framework.settings import cache_folder
    from bigcode_cli.io.caches import CACHES, open_cache

    folder = cache_folder(name)
    entries = open_cache(name).entries() if folder.is_absolute() else []
    used = [max(time.time() - entry.used_at, 0.0) for entry in entries]
    return {
        "name": name,
        "content": CACHES[name].content,
        "path": str(folder),
        "entries": len(entries),
        "bytes": sum(entry.size_bytes for entry in entries),
        "oldest_seconds": round(max(used)) if used else None,
        "newest_seconds": round(min(used)) if used else None,
    }


def _age(seconds: int | None) -> str:
    if seconds is None:
        return "-"
    for unit, name in _AGES:
        count = seconds // unit
        if count:
            return f"{count} {name}{'s' if count > 1 else ''} ago"
    return "now"


COMMANDS: Mapping[str, Callable[..., None]] = MappingProxyType(
    {"list": list_caches, "clear": clear_caches}
)
EXAMPLES = MappingProxyType(
    {
        "list": ("bigcode cache list", "bigcode cache list --format json"),
        "clear": ("bigcode cache clear", "bigcode cache clear --yes prefixes"),
    }
)
