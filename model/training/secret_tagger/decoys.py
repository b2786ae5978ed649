"""Made-up values that are no findings but look like some; knows no text around them.

Hashes, identifiers, versions, reserved addresses, stock usernames, placeholders for secrets.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from training.secret_tagger.keys import fill
from training.secret_tagger.values import username
from training.secret_tagger.words import COMPANY

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from random import Random

    from training.secret_tagger.vocabulary import Vocabulary

HASHES = (
    *("{hex:7}", "{hex:12}", "{hex:32}", "{hex:40}", "{hex:40}", "{hex:64}", "{hex:64}"),
    *("sha256:{hex:64}", "sha1={hex:40}", "md5:{hex:32}", "sha512-{b64:86}==", "sha256-{b64:43}="),
    *("h1:{b64:43}=", "{hex:128}"),
)
_STOCK_USERS = (
    *(
        "admin",
        "root",
        "user",
        "postgres",
        "ubuntu",
        "guest",
        "test",
        "nobody",
        "www-data",
        "deploy",
    ),
    *(
        "username",
        "ec2-user",
        "runner",
        "app",
        "mysql",
        "foo",
        "me",
        "default",
        "vagrant",
        "jovyan",
    ),
    *("node", "git", "builder", "jenkins", "docker", "<user>", "$USER", "{user}", "your_username"),
)
_STOCK_PASSWORDS = (
    *(
        "password",
        "secret",
        "changeme",
        "admin",
        "test",
        "foo",
        "bar",
        "pass",
        "********",
        "xxxxxx",
    ),
    *("<password>", "your-password", "your_password_here", "${DB_PASSWORD}", "$PASSWORD", "hunter"),
    *("{{ password }}", "...", "postgres", "example", "passwd", "PASSWORD", "REDACTED", "none", ""),
    *("wrong", "invalid", "mysecret", "$(cat /run/secrets/db)", "%(password)s", "placeholder"),
)
_STOCK_KEYS = (
    *("<your-api-key>", "YOUR_API_KEY", "your-api-key-here", "xxxxxxxxxxxxxxxx", "sk-xxxxxxxxxxxx"),
    *(
        "changeme",
        "${API_KEY}",
        "$TOKEN",
        "{{ secrets.TOKEN }}",
        "INSERT_TOKEN_HERE",
        "...",
        "token",
    ),
    *("dummy", "fake-key", "test-token", "abc123", "REPLACE_ME", "none", "secret", "my-secret-key"),
    *("AKIAXXXXXXXXXXXXXXXX", "ghp_xxxxxxxxxxxxxxxxxxxx", "0000000000000000", "key", "TODO", ""),
    *("<KEY>", "***", "${{ secrets.GITHUB_TOKEN }}", "%(api_key)s", "eyJ...", "insecure", "dev"),
)
_STOCK_ADDRESSES = (
    *("127.0.0.1", "127.0.0.1", "0.0.0.0", "255.255.255.0", "255.255.255.255", "::1", "::"),  # noqa: S104
    *("fe80::1", "224.0.0.1", "127.0.1.1", "ff02::1", "2001:db8::1", "2001:db8::8a2e:370:7334"),
)
_EXAMPLE_HOSTS = (
    *("example.com", "example.org", "example.net", "example.com", "localhost", "test.example"),
    *("foo.example.com", "host.invalid", "server.local", "mail.test", "example.co.uk"),
)

_LOOKALIKE_SHARE, _PERSONAL_UP_TO, _OPEN_TITLE_SHARE = 0.12, 0.4, 0.4
_TITLES = (
    *(
        "Visual Studio",
        "Hello World",
        "New York",
        "San Francisco",
        "Machine Learning",
        "Google Chrome",
    ),
    *("Stack Overflow", "Internet Explorer", "Mozilla Firefox", "Random Forest", "United States"),
    *("Red Hat", "Raspberry Pi", "Monte Carlo", "Nelder-Mead", "Gauss-Newton", "Hong Kong"),
    *("Open Source", "Linux Mint", "Windows Server", "Amazon Linux", "Unit Test", "Home Assistant"),
    *("Main Menu", "Sign In", "Living Room", "Blue Sky", "Default User", "Test User", "John Doe"),
    *(
        "Jane Doe",
        "Your Name",
        "First Last",
        "Foo Bar",
        "Ada",
        "Anonymous",
        "Unknown",
        "Example Inc",
    ),
)
_ORGANISATIONS = (
    *("The {} Authors", "{} Inc.", "{} Corporation", "{} GmbH", "{} Ltd", "the {} developers"),
    *("{} Software Foundation", "The {} Project", "{} contributors", "University of {}", "{} Labs"),
    *("{} Team", "{} Development Team", "{} Systems, LLC", "Institute for {} Research", "{}"),
)


def digest(generator: Random) -> str:
    """A hash in one of the ways of writing one."""
    return fill(generator.choice(HASHES), generator)


def identifier(generator: Random) -> str:
    """A UUID."""
    return str(uuid.UUID(int=generator.getrandbits(128), version=4))


def version(generator: Random) -> str:
    """A version number, often of four parts."""
    parts = generator.choice([3, 4, 4, 4])
    limit = generator.choice([10, 30, 120])
    tail = generator.choice(["", "", "", "rc1", ".post1", "-beta.2", "+build5"])
    return ".".join(str(generator.randrange(limit)) for _ in range(parts)) + tail


def reserved_ip(generator: Random) -> str:
    """Loopback, private, documentation and other addresses that are not routed globally."""
    octet = generator.randrange
    forms = [
        generator.choice(_STOCK_ADDRESSES),
        f"10.{octet(256)}.{octet(256)}.{octet(256)}",
        f"192.168.{octet(256)}.{octet(256)}",
        f"192.168.{octet(2)}.{octet(256)}",
        f"172.{16 + octet(16)}.{octet(256)}.{octet(256)}",
        f"169.254.{octet(256)}.{octet(256)}",
        f"{generator.choice(['192.0.2', '198.51.100', '203.0.113'])}.{octet(256)}",
        f"fd{octet(256):02x}:{octet(65536):x}::{octet(65536):x}",
    ]
    return generator.choice(forms)


def example_email(generator: Random, vocabulary: Vocabulary) -> str:
    """An address in a reserved domain, or what only looks like an address."""
    draw = generator.random()
    if draw < _LOOKALIKE_SHARE:
        return generator.choice(["git@github.com", "git@gitlab.com", "user@host", "<email>", "a@b"])
    local = generator.choice(["user", "jane.doe", "john", "test", "foo", "me", "you", "admin"])
    if draw < _PERSONAL_UP_TO:
        local = username(generator, vocabulary)
    return f"{local}@{generator.choice(_EXAMPLE_HOSTS)}"


def blob(generator: Random) -> str:
    """Base64 or hex of an asset."""
    low, high = generator.choice([(20, 60), (60, 160), (150, 300)])
    head = generator.choice(
        ["", "iVBORw0KGgoAAAANSUhEUg", "R0lGODlhAQABAIAAAAAAAP", "PHN2ZyB4bWxucz0"]
    )
    shape = generator.choice(["{b64:%d}", "{b64:%d}==", "{hex:%d}", "{b64:%d}="])
    return head + fill(shape % generator.randint(low, high), generator)


def long_name(generator: Random, vocabulary: Vocabulary) -> str:
    """A long identifier of code."""
    parts = generator.choices(vocabulary.words, k=generator.randint(3, 7))
    joint = generator.choice(["_", "-", "", "."])
    text = joint.join(part.title() if not joint else part for part in parts)
    return text + generator.choice(["", "", str(generator.randrange(1000))])


def organisation(generator: Random, vocabulary: Vocabulary) -> str:
    """Authors who are no person."""
    if vocabulary.open:
        word = generator.choice(vocabulary.words).title()
    else:
        word = generator.choice([*COMPANY, *vocabulary.words]).title()
    return generator.choice(_ORGANISATIONS).format(word)


def title(generator: Random, vocabulary: Vocabulary) -> str:
    """Capitalised words that name no person."""
    if vocabulary.open and generator.random() < _OPEN_TITLE_SHARE:
        chosen = generator.choices(vocabulary.words, k=generator.randint(1, 3))
        return " ".join(word.title() for word in chosen)
    return generator.choice([*_TITLES, organisation(generator, vocabulary)])


def _alone(make: Callable[[Random], str]) -> Callable[[Random, Vocabulary], str]:
    return lambda generator, _: make(generator)


def _stock(entries: Sequence[str]) -> Callable[[Random, Vocabulary], str]:
    return lambda generator, _: generator.choice(entries)


DECOYS: dict[str, Callable[[Random, Vocabulary], str]] = {
    "hash": _alone(digest),
    "uuid": _alone(identifier),
    "version": _alone(version),
    "reserved_ip": _alone(reserved_ip),
    "example_email": example_email,
    "stock_user": _stock(_STOCK_USERS),
    "stock_password": _stock(_STOCK_PASSWORDS),
    "stock_key": _stock(_STOCK_KEYS),
    "title": title,
    "organisation": organisation,
    "blob": _alone(blob),
    "long_name": long_name,
    "number": lambda generator, _: str(generator.randrange(10 ** generator.randint(1, 9))),
    "word": lambda generator, vocabulary: generator.choice(vocabulary.words),
}
