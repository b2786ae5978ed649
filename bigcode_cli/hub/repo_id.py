"""Names of repositories as users write them, with or without a revision.

Knows nothing of which repositories are here.
"""

from bigcode_cli.framework.errors import UsageFailure
from bigcode_cli.hub.cache_reader import LONGEST_NAME, is_repository, validate_revision
from bigcode_cli.models.aliases import full_name


def repository_and_revision(
    text: str, revision: str | None, *, option: str
) -> tuple[str, str | None]:
    """Take REPO[@REVISION] apart, and settle it with a revision given elsewhere.

    Raises:
        UsageFailure: no repository can have that name, or the two revisions differ.
    """
    short, at, after = text.partition("@")
    name = full_name(short)
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
