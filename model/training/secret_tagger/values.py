"""Made-up values that are findings: addresses, usernames, passwords; knows no text around them.

What counts: an e-mail address unless its domain is reserved for examples; an IP address that is
routed globally; a username or password of a person or service, not a stock word such as `admin`.
"""

from __future__ import annotations

import ipaddress
import string
import unicodedata
from typing import TYPE_CHECKING

from training.secret_tagger.vocabulary import CLOSED, TEST, Vocabulary
from training.secret_tagger.words import COMPANY

if TYPE_CHECKING:
    from random import Random

    Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_DOMAINS = ("com", "org", "net", "io", "dev", "de", "fr", "co.uk", "edu", "nl", "eu", "ch", "jp")
_MAIL_HOSTS = (
    *("gmail.com", "outlook.com", "yahoo.com", "hotmail.com", "proton.me", "gmx.de", "mail.ru"),
    *("icloud.com", "web.de", "qq.com", "163.com", "posteo.de", "fastmail.com"),
)
_MAIL_HOST_SHARE, _SUFFIX_SHARE, _SUBDOMAIN_SHARE, _VERSION_6_SHARE = 0.4, 0.3, 0.2, 0.2
# Roles, tags, numbers before the name and capitals: the share up to each.
_UP_TO = (0.12, 0.17, 0.22, 0.30)
# A middle initial, an initial alone, two family names: the share up to each.
_NAME_UP_TO = (0.08, 0.12, 0.15)
# Of an open vocabulary: values composed of any pieces, names with particles, rare domains.
_COMPOSED_SHARE, _PARTICLE_SHARE, _RARE_DOMAIN_SHARE = 0.6, 0.06, 0.3
_PARTICLES = ("van", "von", "de", "del", "da", "dos", "al", "bin", "el", "la", "der", "zu", "af")
_RARE_DOMAINS = (
    *("info", "biz", "co", "app", "ai", "me", "us", "ca", "it", "es", "se", "no", "fi", "dk", "pl"),
    *("cz", "at", "be", "com.au", "com.br", "co.jp", "ac.uk", "in", "cn", "kr", "ru", "ua", "tech"),
)
_SYMBOLS = "!@#$%^&*-_=+?."
_LEET = str.maketrans({"a": "4", "e": "3", "i": "1", "o": "0", "s": "5"})


def person(generator: Random, vocabulary: Vocabulary = CLOSED) -> tuple[str, str]:
    """A given and a family name, from any two cultures."""
    return generator.choice(vocabulary.given), generator.choice(vocabulary.family)


def full_name(generator: Random, vocabulary: Vocabulary = CLOSED) -> str:
    """A name as authors write it: mostly in full, sometimes with initials."""
    given, family = person(generator, vocabulary)
    draw = generator.random()
    if draw < _NAME_UP_TO[0]:
        return f"{given} {generator.choice('ABCDEFGHJKLMPRST')}. {family}"
    if draw < _NAME_UP_TO[1]:
        return f"{given[0]}. {family}"
    if draw < _NAME_UP_TO[2]:
        return f"{given} {person(generator, vocabulary)[1]}-{family}"
    if vocabulary.open and generator.random() < _PARTICLE_SHARE:
        return f"{given} {generator.choice(_PARTICLES)} {family}"
    return f"{given} {family}"


def plain(text: str) -> str:
    """Lower-case ASCII letters of a name."""
    decomposed = unicodedata.normalize("NFKD", text.lower().replace("ø", "o").replace("ł", "l"))
    return "".join(letter for letter in decomposed if letter in string.ascii_lowercase)


def username(generator: Random, vocabulary: Vocabulary = CLOSED) -> str:
    """The login name of a person."""
    given, family = (plain(part) or "x" for part in person(generator, vocabulary))
    word = generator.choice(vocabulary.words)
    number = generator.choice([str(generator.randint(1, 99)), str(generator.randint(1950, 2012))])
    forms = [
        *(given, family, given[0] + family, given[0] + family, given + family[0]),
        *(f"{given}.{family}", f"{given}_{family}", f"{given}-{family}", given + family),
        *(given + number, given[0] + family + number, word + number, f"{word}{family[:4]}"),
        *(
            f"{word}-{given}",
            f"{word}_{word[::-1][:3]}{number}",
            f"{given}{word}",
            given[:3] + family[:3],
        ),
    ]
    if vocabulary.open:
        other = generator.choice(vocabulary.words)
        forms += [word + other, f"{word}{other.title()}", f"{word}_{other}", f"{family}{given[0]}"]
        forms += [f"{given}{generator.choice('-_.')}{word}", family[:6] + given[:2], f"_{word}_"]
        forms += [word.title() + other.title(), f"{given[0]}{family[:7]}", f"{word}-{other}"]
    return generator.choice(forms)


def domain(generator: Random, vocabulary: Vocabulary = CLOSED) -> str:
    """The domain of a mail host or of a company."""
    if generator.random() < _MAIL_HOST_SHARE:
        return generator.choice(_MAIL_HOSTS)
    if vocabulary.open:
        family = plain(generator.choice(vocabulary.family)) or "x"
        name = generator.choice([generator.choice(vocabulary.words), family])
    else:
        name = generator.choice([*COMPANY, *vocabulary.words, plain(person(generator)[1])])
    if generator.random() < _SUFFIX_SHARE:
        name += generator.choice(["-", ""]) + generator.choice(["labs", "soft", "tech", "systems"])
    if generator.random() < _SUBDOMAIN_SHARE:
        name = f"{generator.choice(['mail', 'corp', 'cs', 'physics', 'eng', 'users'])}.{name}"
    rare = vocabulary.open and generator.random() < _RARE_DOMAIN_SHARE
    return f"{name}.{generator.choice(_RARE_DOMAINS if rare else _DOMAINS)}"


def email(generator: Random, vocabulary: Vocabulary = CLOSED) -> str:
    """An address of a person or a role."""
    local = username(generator, vocabulary)
    draw = generator.random()
    if draw < _UP_TO[0]:
        local = generator.choice(["support", "info", "dev", "security", "admin", "team", "contact"])
    elif draw < _UP_TO[1]:
        local += f"+{generator.choice(vocabulary.words)}"
    elif draw < _UP_TO[2]:
        local = f"{generator.randint(10**6, 10**8)}+{local}"
    elif draw < _UP_TO[3]:
        given, family = person(generator, vocabulary)
        local = f"{plain(given).title()}.{plain(family).title()}"
    return f"{local}@{domain(generator, vocabulary)}"


def password(generator: Random, vocabulary: Vocabulary = CLOSED, *, in_url: bool = False) -> str:
    """A password as people or generators make them; `in_url` leaves out what a URL would escape."""
    symbols = "!*-_." if in_url else _SYMBOLS
    if vocabulary.open and generator.random() < _COMPOSED_SHARE:
        return _composed(generator, vocabulary, symbols)
    first, second = (generator.choice(vocabulary.words) for _ in range(2))
    mark, number = generator.choice(symbols), generator.randint(1, 9999)
    letters = string.ascii_letters + string.digits
    count = generator.randint(8, 20)
    forms = [
        f"{first.title()}{number}{mark}",
        f"{first}{number}",
        f"{first.title()}{second.title()}{number}{mark if number % 2 else ''}",
        (first + second).translate(_LEET) + (mark if number % 3 == 0 else ""),
        f"{mark}{first.title()}{mark}{number}",
        f"{first}-{second}-{generator.choice(vocabulary.words)}-{number % 100}",
        "".join(generator.choices(letters, k=count)),
        "".join(generator.choices(letters + symbols, k=count)),
        "".join(generator.choices(string.ascii_lowercase + string.digits, k=count)),
        "".join(generator.choices(letters + symbols, k=count)),
    ]
    if vocabulary is TEST:
        forms.append(f"{first}.{second}.{number}")
        forms.append(f"{number}{first.upper()}{mark}{second}")
    return generator.choice(forms)


def _composed(generator: Random, vocabulary: Vocabulary, symbols: str) -> str:
    """Two to four words, names, numbers and random pieces in any order; one has a digit or mark."""

    def piece() -> str:
        word = generator.choice(
            [generator.choice(vocabulary.words), username(generator, vocabulary)]
        )
        return generator.choice(
            [
                *(word, word.title(), word.title(), word.upper(), word.translate(_LEET)),
                *(str(generator.randint(0, 99)), str(generator.randint(100, 99_999))),
                *(generator.choice(symbols), generator.choice(symbols) * generator.randint(1, 3)),
                "".join(generator.choices(string.ascii_letters + string.digits, k=5)),
            ]
        )

    joint = generator.choice(["", "", "", generator.choice(symbols)])
    text = joint.join(piece() for _ in range(generator.randint(2, 4)))
    plain_word = text.isalpha() and text.islower()
    return text + str(generator.randint(1, 999)) if plain_word or len(text) < 6 else text


def ip_address(generator: Random) -> str:
    """An address of version 4 or 6 that is routed globally."""
    make = _version_6 if generator.random() < _VERSION_6_SHARE else _version_4
    address = make(generator)
    return str(address) if address.is_global else ip_address(generator)


def _version_6(generator: Random) -> Address:
    prefix = generator.choice([0x2001, 0x2600, 0x2A00, 0x2A01, 0x2606, 0x2404]) << 112
    subnet = generator.getrandbits(44) << 68
    host = generator.choice([generator.getrandbits(64), generator.getrandbits(12)])
    return ipaddress.IPv6Address(prefix | subnet | host)


def _version_4(generator: Random) -> Address:
    while True:
        address = ipaddress.IPv4Address(generator.getrandbits(32))
        if address.is_global and not address.is_multicast:
            return address
