"""Joins what a model says of a line with what its text says by itself."""

import re
from collections.abc import Iterator, Sequence

from gpt_bigcode.labeling.rules.addresses import EMAIL, IP_ADDRESS, addresses, is_public, is_routed
from gpt_bigcode.labeling.rules.mark import Mark
from gpt_bigcode.labeling.rules.numbers import numbers
from gpt_bigcode.labeling.rules.places import NAME, Value, full_names, values
from gpt_bigcode.labeling.rules.providers import keys
from gpt_bigcode.labeling.rules.secret_shapes import KEY, PASSWORD, USERNAME, refused, unlikely
from gpt_bigcode.labeling.rules.stock_values import is_stock_secret, is_stock_user

_LOOK_BACK = 32
SURE, SUSPECTED = 0.95, 0.5
"""The scores of what its place makes sure, and of what the model only suspected."""
_SECRETS = frozenset({KEY, PASSWORD, USERNAME})
# Before four numbers: they are a version.
_VERSION = re.compile(
    r"(?i)(?:version|release|revision|build|assembly|tag|image|\bver|\brev|\boid|section)\W{0,4}(?:\w{1,8}\W{1,4})?$"
    r"|(?:\bv|chrome/|safari/|[A-Za-z_]-|[=<>~^]=|[<>~^])$"
)
_MORE = re.compile(r"[-.+_]?[A-Za-z]")  # after them: of a version or a file's name
_DOMAINS = frozenset(
    [
        "com",
        "org",
        "net",
        "edu",
        "gov",
        "mil",
        "int",
        "info",
        "biz",
        "io",
        "dev",
        "app",
        "ai",
        "cloud",
        "tech",
        "online",
        "site",
        "store",
        "blog",
        "me",
        "tv",
        "co",
        "de",
        "uk",
        "fr",
        "nl",
        "se",
        "no",
        "fi",
        "dk",
        "pl",
        "cz",
        "at",
        "ch",
        "it",
        "es",
        "pt",
        "be",
        "ie",
        "ru",
        "ua",
        "jp",
        "cn",
        "kr",
        "in",
        "br",
        "au",
        "nz",
        "ca",
        "us",
        "eu",
        "mx",
        "ar",
        "za",
        "il",
        "tr",
        "gr",
        "hu",
        "ro",
        "bg",
        "hr",
        "si",
        "sk",
        "lt",
        "lv",
        "ee",
        "is",
        "lu",
        "li",
    ]
)
_RESERVED = re.compile(
    r"(?i)@(?:[\w-]+\.)*(?:example(?:\.\w+)*|test|invalid|localhost|local|domain\.com|email\.com)$"
    r"|^(?:git|hg|svn)@"
)
_USER_PART = re.compile(r"://[^\s/@]*$")  # of a URL: the rest is its host
_RANDOM = re.compile(r"(?=[^\d]*\d)(?=[^A-Za-z]*[A-Za-z])[\w.~+/=-]{20,}")


def judge(
    text: str, spans: Sequence[Mark], suspected: Sequence[Mark], named: frozenset[str]
) -> list[Mark]:
    """What is found in a line.

    Args:
        text: the line.
        spans: what the model found.
        suspected: tokens that may belong to something, by the model.
        named: the labels that were asked for by name, for those that are off else.

    Returns:
        Marks in order that do not overlap.
    """
    own = [mark for mark in spans if _stays(text, mark)]
    ranked = [
        *keys(text, asked=any(one.label == KEY for one in spans)),
        *_placed(text, own, suspected),
        *_addresses(text, suspected),
        *sorted(_whole_names(text, own, suspected), key=lambda mark: -mark.score),
        *numbers(text, named),
    ]
    kept: list[Mark] = []
    for mark in ranked:
        if not any(mark.overlaps(other) for other in kept):
            kept.append(mark)
    return sorted(kept, key=lambda mark: mark.start)


def _stays(text: str, mark: Mark) -> bool:
    """Whether a span of the model has a shape that its label may have."""
    if mark.label in (EMAIL, IP_ADDRESS):
        return False  # found by their grammar
    value, before, after = text[mark.start : mark.end], text[: mark.start], text[mark.end :]
    if unlikely(mark.label, value, before):
        return False
    if mark.label == USERNAME:
        return not is_stock_user(value)
    if mark.label in (KEY, PASSWORD):
        return not (refused(value, after) or is_stock_secret(value))
    return True


def _share(label: frozenset[str], start: int, end: int, marks: Sequence[Mark]) -> float:
    """The highest probability of one of these labels in a part of the line."""
    return max(
        (one.score for one in marks if one.label in label and one.start < end and start < one.end),
        default=0.0,
    )


def _placed(text: str, own: Sequence[Mark], suspected: Sequence[Mark]) -> Iterator[Mark]:
    """Values whose places have borders; what kind of secret it is may be the model's to say."""
    for value in values(text):
        start, end = value.start, value.end
        if value.label == PASSWORD and refused(text[start:end], text[end:]):
            continue
        group = frozenset({USERNAME}) if value.label == USERNAME else _SECRETS
        share = max(_share(group, start, end, own), _share(group, start, end, suspected))
        if value.sure or share:
            floor = SURE if value.sure else SUSPECTED
            yield Mark(_label(text, value, own), start, end, max(share, floor))


def _label(text: str, value: Value, own: Sequence[Mark]) -> str:
    is_key = _share(frozenset({KEY}), value.start, value.end, own) > 0
    alone = value.label == USERNAME and text[value.end : value.end + 1] == "@"
    if is_key or (alone and _RANDOM.fullmatch(text, value.start, value.end)):
        return KEY
    return value.label


def _addresses(text: str, suspected: Sequence[Mark]) -> Iterator[Mark]:
    """Whole addresses: those that can be nothing else, and those that the model suspects."""
    for label, is_sure in ((EMAIL, _is_mail), (IP_ADDRESS, _is_host)):
        for start, end in addresses(label, text):
            if label == IP_ADDRESS and not is_routed(text[start:end]):
                continue
            share = _share(frozenset({label}), start, end, suspected)
            value = text[start:end]
            if label == EMAIL and _USER_PART.search(text[:start]):
                continue
            sure = is_sure(value, text[:start], text[end:])
            suspected_enough = SUSPECTED if _is_other(label, value, text[:start]) else 0.0
            if sure or (share and share >= suspected_enough):
                yield Mark(label, start, end, max(share, SURE if sure else SUSPECTED))


def _is_other(label: str, address: str, before: str) -> bool:
    """Whether it only looks like an address: a placeholder or a version."""
    if label == EMAIL:
        return _RESERVED.search(address) is not None
    return not is_public(address) or _VERSION.search(before[-_LOOK_BACK:]) is not None


def _is_mail(address: str, before: str, _after: str) -> bool:
    domain = address.rpartition(".")[2].lower()
    is_code = before.endswith((".", "(", "[")) and address.partition("@")[0].isidentifier()
    return domain in _DOMAINS and not _RESERVED.search(address) and not is_code


def _is_host(address: str, before: str, after: str) -> bool:
    return not (_is_other(IP_ADDRESS, address, before) or _MORE.match(after))


def _whole_names(text: str, own: Sequence[Mark], suspected: Sequence[Mark]) -> Iterator[Mark]:
    """The model's spans; a name of which it found a part, and suspects the rest, as a whole."""
    runs = full_names(text) if any(one.label == NAME for one in own) else ()
    only = frozenset({NAME})
    for mark in own:
        start, end = mark.start, mark.end
        if mark.label == NAME:
            for first, last in runs:
                if first < end and start < last and _share(only, first, last, suspected):
                    start, end = _joined(text, mark, first, last, suspected)
        yield Mark(mark.label, start, end, mark.score)


def _joined(
    text: str, mark: Mark, first: int, last: int, suspected: Sequence[Mark]
) -> tuple[int, int]:
    """A name with the words of its run around it that the model suspects, too."""
    start, end = mark.start, mark.end
    for word in re.finditer(r"\S+", text[first:last]):
        low, high = first + word.start(), first + word.end()
        if _share(frozenset({NAME}), low, high, suspected):
            start, end = min(start, low), max(end, high)
    return start, end
