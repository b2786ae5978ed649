"""E-mail and IP addresses by their grammar."""

import ipaddress
import re
from collections.abc import Iterator
from itertools import chain

EMAIL, IP_ADDRESS = "EMAIL", "IP_ADDRESS"
_EMAIL = re.compile(r"[\w.+%-]{1,64}@(?:[\w-]{1,63}\.){1,8}[^\W\d_]{2,24}(?![\w-])")
_IPV4 = re.compile(r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?!\w|\.\d)")
_IPV6 = re.compile(
    r"(?<![\w:.])(?=[0-9A-Fa-f]*:[0-9A-Fa-f:]*:)[0-9A-Fa-f:]{2,39}(?:\.\d{1,3}){0,3}"
)


def addresses(label: str, text: str) -> Iterator[tuple[int, int]]:
    """Where a text holds whole addresses of a kind."""
    if label == EMAIL:
        for match in _EMAIL.finditer(text) if "@" in text else ():
            start = match.start() + len(match[0]) - len(match[0].lstrip(".%+-"))
            if text[start] != "@":
                yield start, match.end()
        return
    end = 0
    for match in sorted(chain(_IPV6.finditer(text), _IPV4.finditer(text)), key=re.Match.start):
        stop = match.end() - (match[0].endswith(":") and not match[0].endswith("::"))
        if match.start() >= end and _is_ip(text[match.start() : stop]):
            end = stop
            yield match.start(), end


def _is_ip(text: str) -> bool:
    """Whether a text is an address; one without a digit is a name of two parts."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return any(map(str.isdigit, text))


def is_routed(address: str) -> bool:
    """Whether an address is one of the public internet."""
    return ipaddress.ip_address(address).is_global


def is_public(address: str) -> bool:
    """Whether an address is one of the public internet, and no version such as 1.2.3.4."""
    return len(address) > len("1.2.3.4") and is_routed(address)
