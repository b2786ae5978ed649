"""What the text of a line says by itself of keys, passwords, addresses and numbers."""

import ipaddress
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from gpt_bigcode.errors import OptionError
from gpt_bigcode.labeling.options import TagOptions
from gpt_bigcode.labeling.rules.judge import judge
from gpt_bigcode.labeling.rules.mark import Mark
from gpt_bigcode.labeling.rules.numbers import NUMBER_LABELS
from gpt_bigcode.labeling.rules.providers import provider_of
from gpt_bigcode.labeling.text_tagger import TextTagger

FOLDER = Path(__file__).resolve().parents[2] / "model" / "pocket_secrets"
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
ADDRESSES = 90
SEEDS = (1, 2)


@pytest.fixture(scope="module")
def tagger() -> TextTagger:
    return TextTagger.load(FOLDER)


def drawn(count: int, letters: str = LETTERS, seed: int = 5) -> str:
    """Letters that no scanner of this file takes for a key of somebody."""
    return "".join(random.Random(seed).choices(letters, k=count))


def found(text: str, *spans: Mark, named: frozenset[str] = frozenset()) -> list[tuple[str, str]]:
    return [(one.label, text[one.start : one.end]) for one in judge(text, spans, (), named)]


WEBHOOK = "T1B2C3D4E/B1C2D3E4F/" + drawn(24)
GITHUB, STRIPE = "ghp_" + drawn(36), "sk_live_" + drawn(24)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (f"git clone https://{GITHUB}@github.com/a/b.git", [("KEY", GITHUB)]),
        (
            "git clone https://hberg:Tr0ub4dor@host.io/a.git",
            [("USERNAME", "hberg"), ("PASSWORD", "Tr0ub4dor")],
        ),
        ("postgres://postgres:changeme@db:5432/x", []),
        ("https://user:12345@www.example.com/ and https://hberg:x12y@example.org", []),
        ("see https://docs.python.org/3/", []),
        ("curl -u admin:Xy7kLm29QpRt https://x.io/", [("PASSWORD", "Xy7kLm29QpRt")]),
        ("curl -s -u 'hberg:p4ss!word' x.io", [("USERNAME", "hberg"), ("PASSWORD", "p4ss!word")]),
        ("mysql -h db -uroot -pTr0ub4dor shop", [("PASSWORD", "Tr0ub4dor")]),
        ("mysqldump --password=Tr0ub4dor shop", [("PASSWORD", "Tr0ub4dor")]),
        ("mysql -p shop < dump.sql", []),
        ("sshpass -p Tr0ub4dor ssh x", [("PASSWORD", "Tr0ub4dor")]),
        ("PGPASSWORD=Tr0ub4dor psql", [("PASSWORD", "Tr0ub4dor")]),
        ("PGPASSWORD=$PASSWORD psql", []),
        ("echo 'hberg:Tr0ub4dor' | chpasswd", [("USERNAME", "hberg"), ("PASSWORD", "Tr0ub4dor")]),
        ("Server=db;User Id=sa;Password=Tr0ub4dor;", [("PASSWORD", "Tr0ub4dor")]),
        ('db_password = "tuna7Kettle!"', [("PASSWORD", "tuna7Kettle!")]),
        ('password = "password1"', []),
        ('password = "db/path/to/7secret"', []),
        ('"INTERNAL_PASS": "Drizzle6735%",', [("PASSWORD", "Drizzle6735%")]),
        ("https://hooks.slack.com/services/" + WEBHOOK, [("KEY", WEBHOOK)]),
        (f"key {STRIPE} here", [("KEY", STRIPE)]),
        ("key AKIAIOSFODNN7EXAMPLE", []),
    ],
)
def test_places_of_secrets(line: str, expected: list[tuple[str, str]]) -> None:
    assert found(line) == expected


@pytest.mark.parametrize(
    ("label", "line", "value"),
    [
        ("PASSWORD", 'password = os.getenv("DB_PASSWORD")', "os.getenv"),
        ("PASSWORD", 'password = os.environ["DB_PASSWORD"]', "os."),
        ("PASSWORD", "password: !vault |", "!vault"),
        ("PASSWORD", "password: ${VAR}", "${VAR}"),
        ("PASSWORD", "pages 75-174", "75-174"),
        ("KEY", "x = 0.6666666666666666", "0.6666666666666666"),
        ("PASSWORD", '__all__ = ["BasicAuth", "Auth"]', "BasicAuth"),
        ("PASSWORD", "login ok user=anna session=1014", "1014"),
        ("PASSWORD", "login ok session=1014", "session="),
        ("PASSWORD", 'QueryParams("a=123&a=456&b=789")', "123&a=456&b=789"),
        ("KEY", "a.py,sha256=" + drawn(43) + ",10", drawn(43)),
        ("USERNAME", "# If a URI contains an authority component", "component"),
        ("USERNAME", "login ok session=1", "ok"),
        ("KEY", "SEC.NOAA.GOV/MIXEDCASE.HTML", "NOAA.GOV/MIXEDCASE"),
        ("PASSWORD", 'set("http://w3.org", "preserveAspectRatio", "xMidYMid")', "xMidYMid"),
        ("PASSWORD", "pp. 566\u2013579.", "579."),
        ("PASSWORD", "<https://www.purdue.edu/papers/Gleich%202005%20.pdf>", "Gleich%202005"),
        ("PASSWORD", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5", "ssh-ed25519"),
        ("KEY", "stripe('pk_test_" + drawn(24) + "')", "pk_test_" + drawn(24)),
        ("EMAIL", '"left-pad": "left-pad@^1.3.0"', "left-pad@^1.3.0"),
        ("EMAIL", "npm i typescript@5.4.2", "i typescript@5.4.2"),
    ],
)
def test_what_the_model_takes_for_a_secret_and_is_none(label: str, line: str, value: str) -> None:
    start = line.index(value)
    assert found(line, Mark(label, start, start + len(value), 0.99)) == []


@pytest.mark.parametrize(
    ("label", "line", "value"),
    [
        ("PASSWORD", "password: correcthorse", "correcthorse"),
        ("PASSWORD", "pin = 4711", "4711"),
        ("USERNAME", "user = 'hberg'", "hberg"),
        ("PASSWORD", 'server.login(me, "%Kqr7O#+ZX")', "%Kqr7O#+ZX"),
        ("KEY", "api_key = " + drawn(32), drawn(32)),
        ("NAME", "# Hanna Berg", "Hanna Berg"),
    ],
)
def test_what_the_model_finds_stays(label: str, line: str, value: str) -> None:
    start = line.index(value)
    mark = Mark(label, start, start + len(value), 0.9)
    assert found(line, mark) == [(label, value)]


def test_half_a_name_becomes_a_whole_one_where_the_model_suspects_the_rest() -> None:
    line = "# Author: Hanna Lindqvist, Stockholm"
    half, rest = Mark("NAME", 10, 15, 0.9), Mark("NAME", 16, 19, 0.2)
    (whole,) = judge(line, [half], [half, rest], frozenset())
    assert line[whole.start : whole.end] == "Hanna Lindqvist"


@pytest.mark.parametrize(
    ("key", "provider"),
    [
        ("AKIA" + "J4XQ2T7LMN3WQZPA", "AWS access key"),
        ("ASIA" + "J4XQ2T7LMN3WQZPA", "AWS temporary access key"),
        (GITHUB, "GitHub token"),
        ("github_pat_" + drawn(40), "GitHub token"),
        ("glpat-" + drawn(20), "GitLab token"),
        ("xoxb-123456789012-" + drawn(24).lower(), "Slack bot token"),
        ("T1B2C3D4E/B1C2D3E4F/" + drawn(24), "Slack webhook"),
        (STRIPE, "Stripe key"),
        ("rk_live_" + drawn(24), "Stripe restricted key"),
        ("sk_test_" + drawn(24), "Stripe test key"),
        ("AIza" + drawn(35), "Google API key"),
        ("npm_" + drawn(36), "npm token"),
        ("pypi-AgEIcHlwaS5vcmc" + drawn(80), "PyPI token"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0." + drawn(43), "JSON web token"),
        ("SG." + drawn(22) + "." + drawn(43), "SendGrid key"),
        ("sk-ant-" + drawn(40), "Anthropic key"),
        ("sk-proj-" + drawn(48), "OpenAI key"),
        ("hf_" + drawn(34, LETTERS[:52]), "Hugging Face token"),
        ("dop_v1_" + drawn(64, "0123456789abcdef"), "DigitalOcean token"),
        ("-----BEGIN RSA " + "PRIVATE KEY-----\nMII", "private key"),
        (drawn(40), None),
        ("hunter2", None),
    ],
)
def test_providers(key: str, provider: str | None) -> None:
    assert provider_of(key) == provider


def test_the_rule_library_is_imported_where_a_key_is(tmp_path: Path) -> None:
    """Neither to start nor to read lines without the beginning of a key."""
    program = (
        "import sys; from gpt_bigcode.labeling.rules.judge import judge;"
        "judge('x = task-1 0.0.0.0 a@b', (), (), frozenset());"
        "assert not {'detect_secrets', 'phonenumbers', 'stdnum'} & set(sys.modules);"
        f"judge('{GITHUB}', (), (), frozenset()); assert 'detect_secrets' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=tmp_path)


PHONE, CARD, IBAN = "+49 30 901820", "4111 1111 1111 1111", "GB82 WEST 1234 5698 7654 32"


def test_numbers_are_found_where_they_are_asked_for(tagger: TextTagger) -> None:
    line = f"call {PHONE} or pay with {CARD} to {IBAN} now"
    assert {span.label for span in tagger.tag(line).spans}.isdisjoint(NUMBER_LABELS)
    spans = tagger.tag(line, TagOptions(labels=frozenset(NUMBER_LABELS))).spans
    assert [(s.label, s.text) for s in spans] == [("PHONE", PHONE), ("CARD", CARD), ("IBAN", IBAN)]
    with pytest.raises(OptionError, match="PHONES"):
        tagger.tag(line, TagOptions(labels=frozenset({"PHONES"})))


@pytest.mark.parametrize(
    "line",
    [
        "id 4111 1111 1111 1112",  # the check digit is wrong
        "IBAN GB83 WEST 1234 5698 7654 32",
        "serial 0000000000000000, build 20240312062503",
        "sum = 3.1415926535897932 + 2718281828459045.2",
        "port 52144 pid 1014 at 2024-03-12T06:25:03Z",
        "sha1 da39a3ee5e6b4b0d3255bfef95601890afd80709",
    ],
)
def test_numbers_with_wrong_check_digits_are_none(line: str) -> None:
    assert found(line, named=frozenset(NUMBER_LABELS)) == []


def version_4(draw: random.Random) -> str:
    while True:
        address = ipaddress.IPv4Address(draw.getrandbits(32))
        if address.is_global and not address.is_multicast:
            return str(address)


def version_6(draw: random.Random) -> str:
    prefix = draw.choice([0x2001, 0x2600, 0x2A00, 0x2A01, 0x2606, 0x2404]) << 112
    rest = draw.getrandbits(60) << 52 | draw.getrandbits(draw.choice([8, 16, 48]))
    address = ipaddress.IPv6Address(prefix | rest)
    return str(address) if address.is_global else version_6(draw)


def mail(draw: random.Random) -> str:
    words = ("anna", "li", "okoro", "mueller", "x", "van-dijk", "jörg", "o_brien", "dev")
    local = draw.choice(words) + draw.choice(["", ".", "_", "-", "+"]) + draw.choice(words)
    local += draw.choice(["", str(draw.randint(1, 999)), "+news", "%tag"])
    domain = draw.choice(["bluebox", "kontor-lind", "uni-kassel", "my-shop24", "mail.corp"])
    ending = draw.choice(["io", "com", "de", "co.uk", "org", "museum", "travel", "app", "se"])
    return f"{local}@{domain}.{ending}"


_LINES: tuple[tuple[Callable[[random.Random], str], tuple[str, ...]], ...] = (
    (
        version_4,
        (
            "2024-03-12T06:25:03Z INFO request from {} took 12 ms",
            "Mar 12 06:25:13 web1 sshd[1091]: Failed password for root from {} port 52144 ssh2",
            '{} - - [12/Mar/2024:06:25:24 +0000] "GET /index.html HTTP/1.1" 200 5124',
            "client={}:443 ok",
            '{{"ip":"{}","status":200}}',
            "allow {}/32;",
            "http://{}:8080/x",
            "[{}] connected",
            "X-Forwarded-For: {}, 10.0.0.1",
            "blocked {}.",
        ),
    ),
    (
        version_6,
        (
            "request from {} took 12 ms",
            '{{"ip":"{}"}}',
            "http://[{}]:8080/x",
            "allow {}/64;",
            "{} - - [12/Mar/2024] GET",
        ),
    ),
    (
        mail,
        (
            "2024-03-12T06:26:00Z INFO login ok user={} session=1014",
            '{{"email":"{}","id":3}}',
            "mailto:{}",
            "From: Anna <{}>",
            "sent to {}, 250 OK",
            "to=<{}>, relay=mx[10.0.0.1]:25",
            "user '{}' not found",
            "email={}&x=1",
        ),
    ),
)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", range(len(_LINES)))
def test_g2_every_address_is_found_whole(tagger: TextTagger, kind: int, seed: int) -> None:
    make, lines = _LINES[kind]
    draw = random.Random(seed)
    missed = []
    for number in range(ADDRESSES):
        address = make(draw)
        line = lines[number % len(lines)].format(address)
        if address not in [span.text for span in tagger.tag(line).spans]:
            missed.append(line)
    assert missed == []


@pytest.mark.parametrize(
    "line",
    [
        'version = "20.28.6.4"',
        "swift-20.28.6.4.post1.tgz",
        "Chrome/115.30.20.10 Safari/137.36.15.12",
        "set `api_version` to `32.11.51.17-beta.2`",
        "10.1.2.3 192.168.1.77 127.0.0.1 203.0.113.9",
        "oid = 1.3.6.1.4.1.311",
        "git@github.com:a/b.git and anna@example.com",
    ],
)
def test_versions_and_reserved_addresses_are_none(tagger: TextTagger, line: str) -> None:
    labels = {span.label for span in tagger.tag(line).spans}
    assert labels.isdisjoint({"EMAIL", "IP_ADDRESS"})
