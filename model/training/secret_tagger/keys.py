"""Made-up keys in the shapes that providers give theirs; knows no text around them.

A shape is literal text with fields `{class:count}` or `{class:low-high}`; every drawn key is random
and opens nothing. Shapes of HELD_OUT are never trained on: they measure what is new.
"""

from __future__ import annotations

import base64
import re
import string
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from random import Random

_LETTERS = string.ascii_letters
CLASSES = {
    "alnum": _LETTERS + string.digits,
    "upper": string.ascii_uppercase + string.digits,
    "lower": string.ascii_lowercase + string.digits,
    "hex": "0123456789abcdef",
    "HEX": "0123456789ABCDEF",
    "url": _LETTERS + string.digits + "_-",
    "b64": _LETTERS + string.digits + "+/",
    "digit": string.digits,
    "b32": string.ascii_uppercase + "234567",
}
_FIELD = re.compile(r"\{(\w+):(\d+)(?:-(\d+))?\}")

# Prefixes are written in two pieces where a scanner of repositories would stop at the whole.
TRAINED: dict[str, tuple[str, ...]] = {
    "aws_id": ("AK" + "IA{upper:16}", "AS" + "IA{upper:16}"),
    "aws_secret": ("{b64:40}",),
    "google": ("AI" + "za{url:35}", "ya29.{url:60-90}", "GOC" + "SPX-{url:28}"),
    "github": (
        *("gh" + "p_{alnum:36}", "gh" + "o_{alnum:36}", "gh" + "s_{alnum:36}"),
        "github" + "_pat_{alnum:22}_{alnum:59}",
    ),
    "gitlab": ("gl" + "pat-{url:20}", "gl" + "dt-{url:20}", "gl" + "rt-{url:20}"),
    "slack": (
        "xo" + "xb-{digit:11-13}-{digit:11-13}-{alnum:24}",
        "xo" + "xp-{digit:11-13}-{digit:11-13}-{digit:12}-{hex:32}",
        "xap" + "p-1-A{upper:10}-{digit:13}-{hex:64}",
    ),
    "stripe": (
        *("sk" + "_live_{alnum:24}", "rk" + "_live_{alnum:24}", "sk" + "_test_{alnum:24}"),
        "wh" + "sec_{alnum:32}",
    ),
    "openai": ("sk-{alnum:20}T3Blbk" + "FJ{alnum:20}", "sk-" + "proj-{url:48-80}"),
    "anthropic": ("sk-" + "ant-api03-{url:60-93}AA",),
    "hugging_face": ("hf" + "_{alnum:34}",),
    "npm": ("np" + "m_{alnum:36}",),
    "pypi": ("py" + "pi-AgEIcHlwaS5vcmc{url:60-100}",),
    "twilio": ("S" + "K{hex:32}", "{hex:32}"),
    "sendgrid": ("S" + "G.{url:22}.{url:43}",),
    "azure": ("{b64:86}==", "{alnum:3}8Q~{url:34}"),
    "telegram": ("{digit:9-10}:AA{url:33}",),
    "mailgun": ("key" + "-{hex:32}",),
    "discord": ("{alnum:24}.{alnum:6}.{url:27-38}",),
    "jwt": ("ey" + "JhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.ey" + "J{url:40-90}.{url:43}",),
    "digest_hex": ("{hex:32}", "{hex:40}", "{hex:64}", "{HEX:32}", "{hex:48}"),
    "random_text": ("{alnum:20-44}", "{url:22-64}", "{b64:43}=", "{b64:22}==", "{b64:64}"),
    "dashed": ("{hex:8}-{hex:4}-4{hex:3}-a{hex:3}-{hex:12}", "{upper:5}-{upper:5}-{upper:5}"),
    "prefixed": ("tok_{alnum:24}", "pk_{hex:40}", "api_{lower:32}", "secret-{alnum:32}"),
}
HELD_OUT: dict[str, tuple[str, ...]] = {
    "digitalocean": ("do" + "p_v1_{hex:64}", "do" + "o_v1_{hex:64}"),
    "shopify": ("shp" + "at_{hex:32}", "shp" + "ss_{hex:32}"),
    "square": ("sq0" + "atp-{url:22}", "sq0" + "csp-{url:43}"),
    "databricks": ("da" + "pi{hex:32}",),
    "linear": ("lin" + "_api_{alnum:40}",),
    "grafana": ("gl" + "sa_{alnum:32}_{hex:8}",),
    "vault": ("hv" + "s.{url:24-90}",),
    "postman": ("PM" + "AK-{hex:24}-{hex:34}",),
    "doppler": ("dp." + "pt.{alnum:43}",),
    "notion": ("nt" + "n_{digit:11}{alnum:35}",),
    "new_relic": ("NR" + "AK-{upper:27}",),
    "dropbox": ("sl.{url:130-152}",),
    "groq": ("gs" + "k_{alnum:52}",),
}
# Where the context alone says that it is a key.
NEEDS_CONTEXT = ("aws_secret", "twilio", "azure", "digest_hex", "random_text", "dashed")


def fill(shape: str, generator: Random) -> str:
    """A random text of a shape."""

    def drawn(match: re.Match[str]) -> str:
        letters, low, high = match[1], int(match[2]), int(match[3] or match[2])
        return "".join(generator.choices(CLASSES[letters], k=generator.randint(low, high)))

    return _FIELD.sub(drawn, shape)


def provider_key(generator: Random, *, held_out: bool = False) -> str:
    """A key with a shape of its own, of any trained (or held-out) provider."""
    table = HELD_OUT if held_out else TRAINED
    names = [name for name in table if name not in NEEDS_CONTEXT]
    return fill(generator.choice(table[generator.choice(names)]), generator)


def context_key(generator: Random) -> str:
    """A key that looks like any random text."""
    return fill(generator.choice(TRAINED[generator.choice(NEEDS_CONTEXT)]), generator)


def private_key(generator: Random) -> str:
    """A block between the lines that begin and end a private key; random inside."""
    kind, low, high = generator.choice(
        [("EC ", 118, 160), ("OPENSSH ", 290, 400), ("", 160, 1200), ("RSA ", 600, 1200)]
    )
    raw = bytes(generator.getrandbits(8) for _ in range(generator.randint(low, high) * 3 // 4))
    body = "MI" + base64.b64encode(raw).decode()
    lines = [body[start : start + 64] for start in range(0, len(body), 64)]
    dashes = "-" * 5
    return "\n".join(
        [
            f"{dashes}BEGIN {kind}PRIVATE KEY{dashes}",
            *lines,
            f"{dashes}END {kind}PRIVATE KEY{dashes}",
        ]
    )
