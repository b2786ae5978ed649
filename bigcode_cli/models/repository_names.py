"""Names of repositories as users write them, with or without a revision."""

from bigcode_cli.framework.errors import UsageFailure
from bigcode_cli.hub.cache_reader import LONGEST_NAME, is_repository, validate_revision
from bigcode_cli.models.aliases import SHORT_NAMES, full_name, meant
from bigcode_cli.models.resolve import BUILT_IN_PACKAGES


def repository_and_revision(
    text: str, revision: str | None, *, option: str
) -> tuple[str, str | None]:
    """Split REPO[@REVISION], and reconcile it with --revision.

    Raises:
        UsageFailure: it is not a valid name, or the two revisions differ.
    """
    short, at, after = text.partition("@")
    name = full_name(short)
    if name in BUILT_IN_PACKAGES:
        message = f"{option}: {name} is built in: it comes with bigcode, and is not in the cache"
        raise UsageFailure(message)
    if not is_repository(name):
        shown = text if len(text) <= LONGEST_NAME else f"{text[:LONGEST_NAME]}…"
        hint = "a repository is OWNER/NAME of letters, digits, '-', '_' and '.'"
        raise UsageFailure(f"{option}: {shown!r} is not a repository's name", hint=hint)
    if at and revision not in (None, after):
        raise UsageFailure(f"{option}@REVISION and --revision name different revisions")
    if at:
        return name, validate_revision(after, option=option)
    if revision is None:
        return name, None
    return name, validate_revision(revision, option="--revision")


def require_known_owner(repository: str, *, option: str) -> None:
    """Refuse a name that has no owner and is not a short name.

    Raises:
        UsageFailure: with a suggestion.
    """
    if "/" in repository:
        return
    close = meant(repository, SHORT_NAMES)
    more = "bigcode models list --available lists the short names"
    hint = more if close is None else f"did you mean {close}? {more}"
    message = f"{option}: {repository!r} is not a short name; a repository is OWNER/NAME"
    raise UsageFailure(message, hint=hint)
