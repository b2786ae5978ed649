"""Addresses are found as wholes, and what is code or a number is no secret."""

import ipaddress
import random
from pathlib import Path

import pytest

from gpt_bigcode.labeling.results import Span
from gpt_bigcode.labeling.rules.addresses import EMAIL, IP_ADDRESS, addresses
from gpt_bigcode.labeling.rules.secret_shapes import refused
from gpt_bigcode.labeling.shapes import Line, shaped
from gpt_bigcode.labeling.spans import Suspicion
from gpt_bigcode.labeling.text_tagger import TextTagger

MODEL = Path(__file__).parents[2] / "model" / "pocket_secrets"
NAMES = ("anna", "bjorn", "clara", "dmitri", "elena", "farid", "greta", "hanna", "ivan", "jana")
FAMILIES = ("berg", "lindqvist", "okoro", "nakamura", "silva", "novak", "petersen", "dubois")
HOSTS = ("kontor", "bluebox", "uni-kassel", "nordwind", "stadtwerke", "brightpath", "helio-labs")
ENDS = ("de", "se", "dev", "io", "com", "org", "net", "co.uk", "fr", "it")


@pytest.fixture(scope="module")
def tagger() -> TextTagger:
    return TextTagger.load(MODEL)


def _public(drawn: random.Random) -> str:
    while True:
        address = ipaddress.IPv4Address(drawn.getrandbits(32))
        if address.is_global and not address.is_multicast and not address.is_reserved:
            return str(address)


def _mail(drawn: random.Random) -> str:
    name, family = drawn.choice(NAMES), drawn.choice(FAMILIES)
    local = drawn.choice(
        [
            *(f"{name}.{family}", f"{name[0]}{family}{drawn.randint(1, 99)}", f"{name}+news"),
            *(family, f"{name}_{family}", f"{name[0]}.van-{family}"),
        ]
    )
    return f"{local}@{drawn.choice(HOSTS)}.{drawn.choice(ENDS)}"


def _log(drawn: random.Random, count: int) -> tuple[str, list[str], list[str]]:
    """Lines of six kinds in any order, and what must be found in them."""
    ips, mails = [_public(drawn) for _ in range(count)], [_mail(drawn) for _ in range(count)]
    lines = []
    for n, ip in enumerate(ips):
        second, port = n % 60, drawn.randint(20000, 65000)
        lines += [
            f"2024-03-12T06:25:{second:02}Z INFO worker-{n} request from {ip} took {n} ms",
            f"Mar 12 06:25:{second:02} web sshd[{n}]: Failed password for root from {ip} port 5144",
            f'{ip} - - [12/Mar/2024:06:25:{second:02} +0000] "GET / HTTP/1.1" 200 {port}',
        ][n % 3 : n % 3 + 1]
    for n, mail in enumerate(mails):
        lines += [
            f"2024-03-12 06:{n % 60:02}:01 INFO mailer: sent welcome mail to {mail}",
            f"Mar 12 06:{n % 60:02}:14 mx1 postfix/smtp[{n}]: to=<{mail}>, status=deferred",
            f'level=info msg="login ok" user={mail} session={drawn.getrandbits(48):x}',
        ][n % 3 : n % 3 + 1]
    drawn.shuffle(lines)
    return "".join(line + "\n" for line in lines), ips, mails


def test_every_address_in_a_log_is_redacted_whole(tagger: TextTagger) -> None:
    text, ips, mails = _log(random.Random(11), 90)
    data, spans = text.encode(), tagger.tag(text).spans
    for span in spans:
        assert data[span.start : span.end].decode() == span.text
    found = [(span.label, span.text) for span in spans if span.label in (EMAIL, IP_ADDRESS)]
    assert sorted(found) == sorted(
        [*((IP_ADDRESS, ip) for ip in ips), *((EMAIL, mail) for mail in mails)]
    )


@pytest.mark.parametrize(
    "text",
    [
        'password = os.environ["DB_PASSWORD"]',
        'password = os.getenv("DB_PASSWORD")',
        'DB_PASSWORD = os.environ.get("DB_PASSWORD")',
        "password: !vault |\n  $ANSIBLE_VAULT;1.1;AES256",
        '"left-pad": "left-pad@^1.3.0"',
        "npm i typescript@5.4.2",
        "yarn add react@^18.2.0",
        "const password = process.env.DB_PASSWORD;",
        "password=${DB_PASSWORD}",
        "pages 75-174",
        "x = 0.6666666666666666",
        'AssemblyVersion("1.0.24.3")',
        "Mozilla/5.0 AppleWebKit/537.36 Chrome/120.0.0.0 Safari/537.36",
        "git@github.com:acme/app.git",
    ],
)
def test_code_numbers_and_versions_are_no_secrets(tagger: TextTagger, text: str) -> None:
    assert tagger.tag(text + "\n").spans == ()


@pytest.mark.parametrize(
    ("text", "label", "found"),
    [
        ("to=<r.van-dijk@uni-kassel.de>,", EMAIL, ["r.van-dijk@uni-kassel.de"]),
        ("mailto:anna+news@bluebox.io.", EMAIL, ["anna+news@bluebox.io"]),
        ("a@b.se,c@d.se", EMAIL, ["a@b.se", "c@d.se"]),
        ("größe@köln.de", EMAIL, ["größe@köln.de"]),
        ("left-pad@^1.3.0 typescript@5.4.2 react@18 @decorator.name a@b", EMAIL, []),
        ("from 41.36.71.227:8080.", IP_ADDRESS, ["41.36.71.227"]),
        (
            "[2001:db8::1]:443 and ::1 and fe80::1%eth0",
            IP_ADDRESS,
            ["2001:db8::1", "::1", "fe80::1"],
        ),
        ("::ffff:10.0.0.1", IP_ADDRESS, ["::ffff:10.0.0.1"]),
        ("1.2.3 1.2.3.4.5 256.1.1.1 v1.2.3.4 06:25:03 a::b std::vector 12:34", IP_ADDRESS, []),
    ],
)
def test_the_grammar_of_addresses(text: str, label: str, found: list[str]) -> None:
    assert [text[start:end] for start, end in addresses(label, text)] == found


@pytest.mark.parametrize(
    ("text", "after"),
    [
        ("os.", 'environ["X"]'),
        ("os.getenv", '("X")'),
        ("getpass(", ")"),
        ("config.secrets", '["db"]'),
        ("process.env.X", ";"),
        ("${DB_PASSWORD}", ""),
        ("$DB_PASSWORD", ""),
        ("!vault", " |"),
        ("75-174", ""),
        ("0.6666", ""),
        ("^1.3.0", ""),
        ("left-pad@^1.3.0", ""),
        ("2024-03-12T06:25:03Z", ""),
        ("12/Mar/2024:06:25:24", ""),
        ("session", "=44399e"),
        ("1", ""),
    ],
)
def test_what_is_refused(text: str, after: str) -> None:
    assert refused(text, after)


@pytest.mark.parametrize(
    ("text", "after"),
    [
        ("hunter2", ""),
        ("hunter2", " (temporary)"),
        ("hunter2(!x", ""),
        ("!hunter2", ""),
        ("$ecret1", ""),
        ("12345678", ""),
        ("AKIAJ4XQ2T7LMN3WQZPA", '"'),
        ("correct.horse.battery", ""),
        ("dGhpc2lzYXNlY3JldA", "=="),
        ("p4ss-2024-03-12", ""),
    ],
)
def test_what_is_kept(text: str, after: str) -> None:
    assert not refused(text, after)


def _span(label: str, text: str, start: int, end: int, score: float) -> Span:
    line = Line(text, 0, 1)
    return line.span(label, start, end, score)


def test_of_spans_that_overlap_the_surer_stays() -> None:
    """A password in a URL is no address, nor is a name in an address a name."""
    text = "postgres://app:s3cret@db.acme.com/x"
    password = _span("PASSWORD", text, 15, 21, 0.9)
    line = Line(text, 0, 1)
    doubt = [Suspicion(EMAIL, 22, 0.2)]
    assert shaped(line, [password], doubt, {EMAIL, "PASSWORD"}) == [password]
    text = "to anna.berg@acme.com"
    name = _span("NAME", text, 3, 7, 0.8)
    (address,) = shaped(Line(text, 0, 1), [name], [Suspicion(EMAIL, 8, 0.95)], {EMAIL, "NAME"})
    assert (address.label, address.text, address.score) == (EMAIL, "anna.berg@acme.com", 0.95)


def test_places_count_bytes_and_characters() -> None:
    text = "größer 日本 anna@köln.de!"
    byte = len("größer 日本 anna".encode())
    (span,) = shaped(Line(text, 100, 7, 5), [], [Suspicion(EMAIL, 100 + byte, 0.4)], {EMAIL})
    start = 100 + len("größer 日本 ".encode())
    assert (span.start, span.end) == (start, start + len("anna@köln.de".encode()))
    assert (span.start_line, span.start_column, span.end_column) == (7, 15, 27)
    assert span.score == 0.5


def test_only_public_addresses_are_found_on_suspicion() -> None:
    def found(address: str, share: float) -> list[str]:
        text = f"from {address} port"
        line = Line(text, 0, 1)
        return [s.text for s in shaped(line, [], [Suspicion(IP_ADDRESS, 6, share)], {IP_ADDRESS})]

    assert found("41.36.71.227", 0.02) == ["41.36.71.227"]
    assert found("10.0.0.5", 0.4) == []
    assert found("10.0.0.5", 0.6) == ["10.0.0.5"]
