"""Fills slots and plants values in real text.

A planted text is (text, findings): character spans with labels, in order, disjoint.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from training.secret_tagger import keys, values
from training.secret_tagger.decoys import DECOYS
from training.secret_tagger.variables import variable
from training.secret_tagger.vocabulary import CLOSED, TEST, Vocabulary

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

LABELS = ("EMAIL", "IP_ADDRESS", "KEY", "PASSWORD", "NAME", "USERNAME")
SLOT = re.compile(r"<<(\w+)(\?)?>>")
# How often a slot with a question mark holds its harmless stand-in, and a key an unseen shape.
STAND_IN_SHARE = 0.35
PROVIDER_SHARE = 0.55
UNSEEN_PROVIDER_SHARE = 0.5
# What a line for a file is: an assignment (nearly always in formats of settings), a comment, code.
ASSIGNMENT_SHARE, SETTING_SHARE, COMMENT_SHARE, UNSEEN_LINE_SHARE = 0.4, 0.85, 0.12, 0.5
# What an open vocabulary, which trains, takes from more.toml.
MORE_SHARE = 0.3
_SETTINGS = frozenset({"json", "xml", "toml", "ini", "yaml", "docker", "env"})
_STAND_INS = {
    "KEY": "stock_key",
    "PASSWORD": "stock_password",
    "URL_PASSWORD": "stock_password",
    "USERNAME": "stock_user",
    "EMAIL": "example_email",
    "IP_ADDRESS": "reserved_ip",
    "NAME": "title",
}
_MONTHS = ("January", "Feb", "March", "April", "May", "Jun", "July", "Aug", "September", "Oct")


@dataclass(frozen=True, order=True)
class Finding:
    """Characters `start` to `end` of a text are a value of a label."""

    start: int
    end: int
    label: str


@dataclass(frozen=True)
class Planted:
    """A text with all its findings; `doubtful` character ranges teach and measure nothing."""

    text: str
    findings: tuple[Finding, ...]
    doubtful: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class Draw:
    """Where values come from: a generator, and the names and words that they are composed of."""

    generator: Random
    vocabulary: Vocabulary = CLOSED

    @property
    def held_out(self) -> bool:
        """Whether shapes, lines and files that are never trained on may be drawn."""
        return self.vocabulary is TEST

    @property
    def decoys(self) -> Vocabulary:
        """What values that are no findings are composed of."""
        return self.vocabulary if self.vocabulary.open else CLOSED


@cache
def templates() -> dict[str, Any]:
    """The sections of places.toml, documents.toml and more.toml."""
    sections: dict[str, Any] = {}
    for name in ("places", "documents", "more"):
        path = Path(__file__).with_name(f"{name}.toml")
        sections |= tomllib.loads(path.read_text(encoding="utf-8"))
    return sections


def key(draw: Draw) -> str:
    """Any key."""
    generator = draw.generator
    if generator.random() < PROVIDER_SHARE:
        unseen = draw.held_out and generator.random() < UNSEEN_PROVIDER_SHARE
        return keys.provider_key(generator, held_out=unseen)
    return keys.context_key(generator)


def _shape(text: str) -> Callable[[Draw], str]:
    return lambda draw: keys.fill(text, draw.generator)


def _of(table: str, place: int = 0) -> Callable[[Draw], str]:
    return lambda draw: keys.fill(keys.TRAINED[table][place], draw.generator)


def _htpasswd(draw: Draw) -> str:
    shape = draw.generator.choice(["$apr1${alnum:8}${alnum:22}", "{{SHA}}{b64:27}="])
    return keys.fill(shape, draw.generator).replace("{{SHA}}", "{SHA}")


def _certificate(draw: Draw) -> str:
    lines = draw.generator.randint(3, 9)
    return keys.fill("MI" + "{b64:62}" + "\n{b64:64}" * lines + "\n{b64:43}=", draw.generator)


# Slot -> (label, how to make the value).
FINDINGS: dict[str, tuple[str, Callable[[Draw], str]]] = {
    "EMAIL": ("EMAIL", lambda d: values.email(d.generator, d.vocabulary)),
    "IP_ADDRESS": ("IP_ADDRESS", lambda d: values.ip_address(d.generator)),
    "KEY": ("KEY", key),
    "PROVIDER_KEY": ("KEY", lambda d: keys.provider_key(d.generator)),
    "CONTEXT_KEY": ("KEY", lambda d: keys.context_key(d.generator)),
    "aws_id": ("KEY", _of("aws_id")),
    "aws_secret": ("KEY", _of("aws_secret")),
    "JWT": ("KEY", _of("jwt")),
    "WEBHOOK": ("KEY", _shape("T{upper:8-10}/B{upper:8-10}/{alnum:24}")),
    "PEM": ("KEY", lambda d: keys.private_key(d.generator)),
    "PEM_ESCAPED": ("KEY", lambda d: keys.private_key(d.generator).replace("\n", "\\n") + "\\n"),
    "PASSWORD": ("PASSWORD", lambda d: values.password(d.generator, d.vocabulary)),
    "URL_PASSWORD": (
        "PASSWORD",
        lambda d: values.password(d.generator, d.vocabulary, in_url=True),
    ),
    "HTPASSWD": ("PASSWORD", _htpasswd),
    "NAME": ("NAME", lambda d: values.full_name(d.generator, d.vocabulary)),
    "GIVEN": ("NAME", lambda d: values.person(d.generator, d.vocabulary)[0]),
    "FAMILY": ("NAME", lambda d: values.person(d.generator, d.vocabulary)[1]),
    "USERNAME": ("USERNAME", lambda d: values.username(d.generator, d.vocabulary)),
}
HARMLESS: dict[str, Callable[[Draw], str]] = {
    "key_var": lambda d: variable("KEY", d.generator).replace("-", "_").replace(".", "_"),
    "hash_var": lambda d: variable("hash", d.generator).replace("-", "_").replace(".", "_"),
    "year": lambda d: str(d.generator.randint(1988, 2027)),
    "date": lambda d: f"{d.generator.randint(1, 28)} {d.generator.choice(_MONTHS)} 2021",
    "host": lambda d: values.domain(d.generator, d.vocabulary),
    "hash40": _shape("{hex:40}"),
    "hash64": _shape("{hex:64}"),
    "b64_86": _shape("{b64:86}"),
    "b64_43": _shape("{url:43}"),
    "certificate": _certificate,
    "initial": lambda d: d.generator.choice("ABCDEFGHJKLMPRST"),
    "FAMILY_O": lambda d: values.person(d.generator, d.vocabulary)[1],
}


def fill(template: str, draw: Draw) -> Planted:
    """A template with a fresh value in every slot."""
    text, findings, done = "", [], 0
    for match in SLOT.finditer(template):
        text += template[done : match.start()]
        done = match.end()
        value, label = slot_value(match[1], draw, optional=bool(match[2]))
        if label and value:
            findings.append(Finding(len(text), len(text) + len(value), label))
        text += value
    return Planted(text + template[done:], tuple(findings))


def slot_value(slot: str, draw: Draw, *, optional: bool) -> tuple[str, str | None]:
    """A value and its label; None if it is not a finding."""
    if slot in FINDINGS and not (optional and draw.generator.random() < STAND_IN_SHARE):
        label, make = FINDINGS[slot]
        return make(draw), label
    if slot in FINDINGS:
        return DECOYS[_STAND_INS[slot]](draw.generator, draw.decoys), None
    if slot in HARMLESS:
        return HARMLESS[slot](draw), None
    return DECOYS[slot](draw.generator, draw.decoys), None


def assignment(form: str, draw: Draw) -> Planted:
    """One variable with a value, finding or not, as the format writes it."""
    generator = draw.generator
    kinds = ("KEY", "KEY", "PASSWORD", "PASSWORD", "USERNAME", "IP_ADDRESS", "EMAIL", "NAME")
    kind = generator.choice([*kinds, "hash", "hash", "version", "word", "decoy", "decoy", "decoy"])
    if kind == "decoy":
        kind = generator.choice(sorted(_STAND_INS.keys() & {*kinds}))
        value, label = DECOYS[_STAND_INS[kind]](generator, draw.decoys), None
    elif kind in LABELS:
        value, label = slot_value(kind, draw, optional=False)
    else:
        choices = {"hash": ("hash", "uuid"), "version": ("version",), "word": ("word", "long_name")}
        value, label = DECOYS[generator.choice(choices[kind])](generator, draw.decoys), None
    pattern = generator.choice(templates()["assignments"][form])
    text, findings = "", []
    for piece in re.split(r"\b([VX])\b", pattern):
        if piece == "V":
            text += variable(kind, generator)
        elif piece == "X":
            if label:
                findings.append(Finding(len(text), len(text) + len(value), label))
            text += value
        else:
            text += piece
    return Planted(text, tuple(findings))


def document(draw: Draw) -> Planted:
    """A small configuration file."""
    sections = ["documents", *(["documents_held_out"] if draw.held_out else [])]
    section = draw.generator.choice(sections)
    if draw.vocabulary.open and draw.generator.random() < MORE_SHARE:
        section = "documents_more"
    return fill(draw.generator.choice(templates()[section]["files"]).strip("\n") + "\n", draw)


COMMENT_MARKS = {
    **dict.fromkeys(("python", "yaml", "toml", "shell", "docker", "env"), "# "),
    **dict.fromkeys(("javascript", "other"), "// "),
    "ini": "; ",
    "markdown": "",
    "json": "",
    "xml": "",
}


def line(form: str, draw: Draw) -> Planted:
    """One line for a file of a format."""
    generator = draw.generator
    wanted = generator.random() < ASSIGNMENT_SHARE or form in _SETTINGS
    if wanted and generator.random() < SETTING_SHARE:
        return assignment(form, draw)
    family = form if form in ("python", "shell") else "comment"
    if generator.random() < COMMENT_SHARE:
        family = "comment"
    held_out = draw.held_out and generator.random() < UNSEEN_LINE_SHARE
    more = draw.vocabulary.open and generator.random() < MORE_SHARE
    section = templates()["lines_held_out" if held_out else "lines_more" if more else "lines"]
    filled = fill(generator.choice(section[family]), draw)
    if family != "comment":
        return filled
    return joined(Planted(COMMENT_MARKS[form], ()), filled)


def joined(*parts: Planted) -> Planted:
    """The texts one after the other."""
    text, findings, doubtful = "", [], []
    for part in parts:
        shift = len(text)
        findings += [Finding(f.start + shift, f.end + shift, f.label) for f in part.findings]
        doubtful += [(start + shift, end + shift) for start, end in part.doubtful]
        text += part.text
    return Planted(text, tuple(findings), tuple(doubtful))


def cut(planted: Planted, start: int, end: int) -> Planted:
    """The part between two places; findings that are cut become shorter."""
    findings = [
        Finding(max(f.start, start) - start, min(f.end, end) - start, f.label)
        for f in planted.findings
        if f.start < end and f.end > start
    ]
    doubtful = [
        (max(low, start) - start, min(high, end) - start)
        for low, high in planted.doubtful
        if low < end and high > start
    ]
    return Planted(planted.text[start:end], tuple(findings), tuple(doubtful))


def plant(host: Planted, addition: Planted, place: int) -> Planted:
    """`addition` as a line of its own at a line border of the host, with the depth found there."""
    rest = host.text[place:]
    depth = re.match(r"[ \t]*", rest)
    indent = depth[0] if depth else ""
    before, after = cut(host, 0, place), cut(host, place, len(host.text))
    return joined(before, Planted(indent, ()), addition, Planted("\n", ()), after)
