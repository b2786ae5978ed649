"""Made-up values that are findings: addresses, usernames, passwords; knows no text around them.

What counts: an e-mail address unless its domain is reserved for examples; an IP address that is
routed globally; a username or password of a person or service, not a stock word such as `admin`.
"""

from __future__ import annotations

import ipaddress
import string
import unicodedata
from typing import TYPE_CHECKING

from training.secret_tagger.people import person

if TYPE_CHECKING:
    from random import Random

    Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_WORDS = """
sun moon river stone cloud forest tiger falcon panda coffee pixel rocket garden winter summer silver
golden purple dragon wizard shadow thunder maple cedar harbor bridge castle planet comet orbit
quartz copper velvet breeze meadow canyon island lantern puzzle marble pepper ginger walnut cherry
monkey turtle rabbit spider eagle dolphin penguin cobra lucky happy crazy clever quiet brave swift
"""
_HELD_OUT_WORDS = """
anchor beacon cactus domino ember fossil glacier hazel indigo jasmine kettle lagoon mango nectar
opal parrot quiver raven saddle tulip umbra violet willow yonder zephyr bamboo cricket otter
"""
_COMPANY = """
acme globex initech umbra northwind contoso tailspin bluepeak redwood brightside datawise netforge
cloudnine openfield deepblue softline hyperion lumina vertex nimbus quantia polaris zenith aurora
"""
_DOMAINS = ("com", "org", "net", "io", "dev", "de", "fr", "co.uk", "edu", "nl", "eu", "ch", "jp")
_MAIL_HOSTS = (
    *("gmail.com", "outlook.com", "yahoo.com", "hotmail.com", "proton.me", "gmx.de", "mail.ru"),
    *("icloud.com", "web.de", "qq.com", "163.com", "posteo.de", "fastmail.com"),
)
WORDS, HELD_OUT_WORDS, COMPANY = _WORDS.split(), _HELD_OUT_WORDS.split(), _COMPANY.split()
_MAIL_HOST_SHARE, _SUFFIX_SHARE, _SUBDOMAIN_SHARE, _VERSION_6_SHARE = 0.4, 0.3, 0.2, 0.2
# Roles, tags, numbers before the name and capitals: the share up to each.
_UP_TO = (0.12, 0.17, 0.22, 0.30)
_SYMBOLS = "!@#$%^&*-_=+?."
_LEET = str.maketrans({"a": "4", "e": "3", "i": "1", "o": "0", "s": "5"})


def words(*, held_out: bool) -> list[str]:
    """The words that values are composed of."""
    return HELD_OUT_WORDS if held_out else WORDS


def plain(text: str) -> str:
    """Lower-case ASCII letters of a name."""
    decomposed = unicodedata.normalize("NFKD", text.lower().replace("ø", "o").replace("ł", "l"))
    return "".join(letter for letter in decomposed if letter in string.ascii_lowercase)


def username(generator: Random, *, held_out: bool = False) -> str:
    """The login name of a person."""
    given, family = (plain(part) for part in person(generator, held_out=held_out))
    word = generator.choice(words(held_out=held_out))
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
    return generator.choice(forms)


def domain(generator: Random, *, held_out: bool = False) -> str:
    """The domain of a mail host or of a company."""
    if generator.random() < _MAIL_HOST_SHARE:
        return generator.choice(_MAIL_HOSTS)
    name = generator.choice([*COMPANY, *words(held_out=held_out), plain(person(generator)[1])])
    if generator.random() < _SUFFIX_SHARE:
        name += generator.choice(["-", ""]) + generator.choice(["labs", "soft", "tech", "systems"])
    if generator.random() < _SUBDOMAIN_SHARE:
        name = f"{generator.choice(['mail', 'corp', 'cs', 'physics', 'eng', 'users'])}.{name}"
    return f"{name}.{generator.choice(_DOMAINS)}"


def email(generator: Random, *, held_out: bool = False) -> str:
    """An address of a person or a role."""
    local = username(generator, held_out=held_out)
    draw = generator.random()
    if draw < _UP_TO[0]:
        local = generator.choice(["support", "info", "dev", "security", "admin", "team", "contact"])
    elif draw < _UP_TO[1]:
        local += f"+{generator.choice(words(held_out=held_out))}"
    elif draw < _UP_TO[2]:
        local = f"{generator.randint(10**6, 10**8)}+{local}"
    elif draw < _UP_TO[3]:
        given, family = person(generator, held_out=held_out)
        local = f"{plain(given).title()}.{plain(family).title()}"
    return f"{local}@{domain(generator, held_out=held_out)}"


def password(generator: Random, *, held_out: bool = False, in_url: bool = False) -> str:
    """A password as people or generators make them; `in_url` leaves out what a URL would escape."""
    first, second = (generator.choice(words(held_out=held_out)) for _ in range(2))
    symbols = "!*-_." if in_url else _SYMBOLS
    mark, number = generator.choice(symbols), generator.randint(1, 9999)
    letters = string.ascii_letters + string.digits
    count = generator.randint(8, 20)
    forms = [
        f"{first.title()}{number}{mark}",
        f"{first}{number}",
        f"{first.title()}{second.title()}{number}{mark if number % 2 else ''}",
        (first + second).translate(_LEET) + (mark if number % 3 == 0 else ""),
        f"{mark}{first.title()}{mark}{number}",
        f"{first}-{second}-{generator.choice(words(held_out=held_out))}-{number % 100}",
        "".join(generator.choices(letters, k=count)),
        "".join(generator.choices(letters + symbols, k=count)),
        "".join(generator.choices(string.ascii_lowercase + string.digits, k=count)),
        "".join(generator.choices(letters + symbols, k=count)),
    ]
    if held_out:
        forms.append(f"{first}.{second}.{number}")
        forms.append(f"{number}{first.upper()}{mark}{second}")
    return generator.choice(forms)


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
