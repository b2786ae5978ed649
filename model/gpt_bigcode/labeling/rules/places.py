"""Where a line says what a value is: the user part of a URL, options of commands, settings.

In some places nothing but a secret can be. In others the model decides: a name is taken from there
if the model suspects it at all, and it ends where its place ends.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gpt_bigcode.labeling.rules.stock_values import is_stock_secret, is_stock_user

USERNAME, PASSWORD, NAME = "USERNAME", "PASSWORD", "NAME"
_VALUE = r"[^\s\"'`]"
_COMMAND = r"\b(?:{})\b[^|;&\n]{{0,200}}?\s"
_QUOTE = r"[\"']?"
_CREDENTIAL = r"(?:pass(?:word|wd|phrase|wort|code)?|passwd|pwd|kennwort)"
_OWNER = r"(?:user(?:_?name|_?id)?|login|uid|owner|assignee|account|reviewer|nick(?:name)?|handle)"
_SET = r"[\"'\]]{0,2}\s{0,4}(?:=>|:=|[:=])\s{0,4}"
_QUOTED = r"(?P<quote>[\"'])(?P<password>(?:(?!(?P=quote))[^\s]){4,128})(?P=quote)"
_UNQUOTED = r"(?P<password>[^\s\"'`,;&<>(){}\[\]]{4,128})(?=[\s;,&]|$)"
_CALL = r"(?i:(?:login|auth\w*|create_user|connect)(?:=|\(|\s){1,3}\(?)"
_USER = r"(?P<user>[A-Za-z_][\w.-]{1,31})"


@dataclass(frozen=True, slots=True)
class Value:
    """Characters start .. end - 1 of a line have a label.

    Attributes:
        label: their label.
        start: their first.
        end: the one after them.
        sure: nothing else can be in this place.
    """

    label: str
    start: int
    end: int
    sure: bool


def _command(names: str, options: str) -> str:
    return _COMMAND.format(names) + options


_URL = re.compile(
    r"\b[a-zA-Z][\w+.-]{1,30}://(?P<user>[^\s/@:'\"<>`]{0,128})"
    r"(?::(?P<password>[^\s/'\"<>`]{1,256}))?@(?=[\w.\[$%{-])"
    r"(?!(?:[\w-]+\.)*example\b)"
)


def _given(option: str, least: int = 2) -> str:
    """A password after what introduces it."""
    return rf"{option}{_QUOTE}(?P<password>{_VALUE}{{{least},128}})"


_SURE = tuple(
    re.compile(text)
    for text in (
        _command(r"curl|https?|xh", rf"(?:-u|--user|-a|--auth)[ =]?{_QUOTE}")
        + _given(r"(?P<user>[^\s:\"']{1,64}):", 1),
        _command(r"(?:mysql|mariadb)\w*", _given("-p")),
        _given(r"\bsshpass\s+-p\s*"),
        _given(r"\b(?:PGPASSWORD|MYSQL_PWD|REDISCLI_AUTH|SSHPASS)="),
        _command("redis-cli", _given("(?:-a|--pass)[ =]")),
        _command(
            r"(?:docker|podman|helm|oc|az)\s+(?:\w+\s+)?login", _given("(?:-p|--password)[ =]")
        ),
        _given(rf"\s--(?:http-)?{_CREDENTIAL}[ =]", 4),
        rf"[\"'](?P<user>[\w.-]{{1,64}}):(?P<password>{_VALUE}{{2,128}})[\"']\s*\|\s*chpasswd",
        r"(?i:;\s*(?:password|pwd)=)(?P<password>[^;\s\"']{2,128})(?=[;\"'])",
    )
)
_SUSPECTED = tuple(
    re.compile(text)
    for text in (
        rf"(?:/home/|[\\/]Users[\\/]{{1,2}}){_USER}(?=[/\\\"'\s:,;]|$)",
        rf"\b(?:TODO|FIXME|XXX|HACK)\s?\(@?{_USER}\)",
        _command(r"(?:mysql|mariadb)\w*|psql|pg_\w+|docker\s+login|wget|curl", "")
        + rf"(?:-u|-U|--user(?:name)?)[ =]?{_QUOTE}{_USER}(?=[\s\"']|$)",
        rf"^\s*(?i:login|user(?:name)?)\s+{_USER}\s*$",
        _command(r"ssh|scp|rsync|sftp", rf"{_USER}@(?=[\w.\[])"),
        rf"(?i:\b\w*{_OWNER}{_SET}){_QUOTE}{_USER}(?=[\s,;&\"'}})\]]|$)",
        rf"{_CALL}[\"']{_USER}[\"'],\s{{0,4}}{_QUOTED}",
        rf"(?i:\b\w*{_CREDENTIAL}\w*{_SET}){_QUOTED}",
        rf"(?i:(?:^|[\s{{,&?;])[\w.-]*{_CREDENTIAL}\s{{0,4}}[:=]\s{{0,4}}){_UNQUOTED}",
    )
)
# A string that is assigned to a password and looks like one, whatever the model says.
_STRONG = re.compile(
    r"(?=.*\d)(?=.*[A-Za-z])(?!.*%[(s])(?![A-Za-z]+[_-]?\d$)[^\s/{}()\[\]<>$]{8,64}"
)
_HINTS = re.compile(
    r"://|(?i:pass|pwd|user|login|auth|owner|uid)|/home/|\s-[aupU]|@"
    r"|TODO|FIXME|XXX|HACK|SSHPASS|(?i:assignee|account|review|author|nick|handle|member)"
)


def values(text: str) -> Iterator[Value]:
    """The values of a line that have a place of their own; what overlaps is left to the caller."""
    if not _HINTS.search(text):
        return
    for pattern in (_URL, *_SURE):
        for found in pattern.finditer(text) if pattern is not _URL or "://" in text else ():
            yield from _groups(found, sure=True)
    for pattern in _SUSPECTED:
        for found in pattern.finditer(text):
            yield from _groups(found, sure=False)


def _groups(found: re.Match[str], *, sure: bool) -> Iterator[Value]:
    groups = found.groupdict()
    if groups.get("password"):
        start, end = found.span("password")
        if not is_stock_secret(found["password"]):
            strong = "quote" in groups and _STRONG.fullmatch(found["password"]) is not None
            yield Value(PASSWORD, start, end, sure or strong)
    if groups.get("user") and not is_stock_user(found["user"]):
        yield Value(USERNAME, *found.span("user"), sure)


_PART = r"[A-ZÀ-ÖØ-Þ][\w'\u2019-]*\.?"
_PARTICLE = r"(?:van|von|de|der|den|di|da|dos|el|al|bin|la|le)"
_FULL_NAME = re.compile(
    rf"(?<![\w.-]){_PART}(?:[ ](?:{_PARTICLE}[ ]){{0,2}}{_PART}){{1,3}}(?![\w-])"
)
_MOST_NAMES = 64


def full_names(text: str) -> Sequence[tuple[int, int]]:
    """Runs of two to four capitalized words that may be the name of a person."""
    found = []
    for match in _FULL_NAME.finditer(text):
        found.append((match.start(), match.start() + len(match[0].rstrip(".'\u2019"))))
        if len(found) == _MOST_NAMES:
            break
    return found
