"""Keys that their providers made recognizable: where they are, and whose they are.

The shapes are those of detect-secrets, which is imported where a line holds a beginning of one or
the model found a key; a few providers that it lacks are below.
"""

import re
from collections.abc import Iterator
from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple

from gpt_bigcode.labeling.rules.mark import Mark
from gpt_bigcode.labeling.rules.secret_shapes import KEY
from gpt_bigcode.labeling.rules.stock_values import is_stock_secret

if TYPE_CHECKING:
    from detect_secrets.plugins.base import RegexBasedDetector


class _Rule(NamedTuple):
    """A detector of detect-secrets.

    Attributes:
        module: its module among the plug-ins.
        detector: its class.
        name: what its keys are called.
        plain: its shape needs no context, so that a line is searched for it.
    """

    module: str
    detector: str
    name: str
    plain: bool = True


_RULES = (
    _Rule("aws", "AWSKeyDetector", "AWS access key"),
    _Rule("github_token", "GitHubTokenDetector", "GitHub token"),
    _Rule("gitlab_token", "GitLabTokenDetector", "GitLab token"),
    _Rule("slack", "SlackDetector", "Slack token"),
    _Rule("stripe", "StripeDetector", "Stripe key"),
    _Rule("pypi_token", "PypiTokenDetector", "PyPI token"),
    _Rule("jwt", "JwtTokenDetector", "JSON web token"),
    _Rule("openai", "OpenAIDetector", "OpenAI key"),
    _Rule("sendgrid", "SendGridDetector", "SendGrid key"),
    _Rule("square_oauth", "SquareOAuthDetector", "Square token"),
    _Rule("twilio", "TwilioKeyDetector", "Twilio key"),
    _Rule("discord", "DiscordBotTokenDetector", "Discord bot token", plain=False),
    _Rule("telegram_token", "TelegramBotTokenDetector", "Telegram bot token", plain=False),
    _Rule("mailchimp", "MailchimpDetector", "Mailchimp key", plain=False),
    _Rule("private_key", "PrivateKeyDetector", "private key", plain=False),
)
# Without these no rule can match, nor any of the shapes below.
_HINT = re.compile(
    r"A3T|A[KS]IA|AB[I]A|ACCA|gh[opsur]_|github_pat_|gl[a-z]{2,5}-|xox[a-z]-|xapp-|hooks\.slack\.com"
    r"|[sr]k_(?:live|test)_|whsec_|pypi-|eyJ|T3BlbkFJ|(?<![A-Za-z])sk-|SG\.|sq0|AC[a-z0-9]{32}|SK[a-z0-9]{32}"
    r"|npm_|AIza|ya29\.|hf_|dop_v1_|shp[a-z]{2}_|gsk_"
)
# Shapes that providers document and detect-secrets does not know.
_OTHERS = {
    "GitHub token": r"github_pat_\w{22,255}",
    "npm token": r"npm_[A-Za-z0-9]{36}",
    "Google API key": r"AIza[\w-]{35}",
    "Google OAuth token": r"ya29\.[\w-]{20,}",
    "Hugging Face token": r"hf_[A-Za-z]{34}",
    "DigitalOcean token": r"dop_v1_[a-f0-9]{64}",
    "Shopify token": r"shp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}",
    "Anthropic key": r"sk-ant-[\w-]{20,}",
    "OpenAI key": r"sk-(?:proj-|svcacct-)?[A-Za-z0-9]{40,}",
    "Slack webhook": r"T[A-Z0-9]{8,11}/B[A-Z0-9]{8,11}/[A-Za-z0-9]{24}",
    "Slack app token": r"xapp-\d-[A-Z0-9]+-\d+-[a-z0-9]+",
    "Stripe test key": r"[sr]k_test_[A-Za-z0-9]{20,}",
    "Stripe webhook secret": r"whsec_[A-Za-z0-9+/=]{24,}",
    "Groq key": r"gsk_[A-Za-z0-9]{52}",
}
_OTHER = re.compile(
    "|".join(
        rf"(?P<k{place}>(?<![\w-]){shape}(?![\w-]))" for place, shape in enumerate(_OTHERS.values())
    )
)
_NAMES = tuple(_OTHERS)
_FINE = {  # what a beginning says beyond the detector's name
    "ASIA": "AWS temporary access key",
    "gho_": "GitHub OAuth token",
    "ghu_": "GitHub app token",
    "ghs_": "GitHub app token",
    "xoxb-": "Slack bot token",
    "xoxp-": "Slack user token",
    "https://hooks.slack.com/": "Slack webhook",
    "rk_live_": "Stripe restricted key",
}
_LONGEST = 4096
_LEAST_GROUP = 16
_REST = re.compile(r"[\w-]*(?:\.[\w-]+)*")  # detectors match as little as shows what a key is


def keys(text: str, *, asked: bool = False) -> Iterator[Mark]:
    """The keys in a line whose shape tells what they are.

    Args:
        text: the line.
        asked: search it although it has no beginning of a known key.
    """
    if not (_HINT.search(text) or asked):
        return
    for found in _OTHER.finditer(text):
        yield from _mark(text, found.start(), found.end())
    for rule, detector in _detectors():
        if rule.plain:
            for start, end in _matches(rule, detector, text):
                yield from _mark(text, start, end)


def provider_of(text: str) -> str | None:
    """The provider of a key, by its shape; None if it is unknown."""
    if text.startswith("-----BEGIN "):
        return "private key"
    found = _OTHER.fullmatch(text)
    if found is not None:
        return _NAMES[int(str(found.lastgroup)[1:])]
    return _known(text[:_LONGEST])


@lru_cache(maxsize=1024)
def _known(text: str) -> str | None:
    for rule, detector in _detectors():
        if any(2 * (end - start) > len(text) for start, end in _matches(rule, detector, text)):
            fine = (name for start, name in _FINE.items() if text.startswith(start))
            return next(fine, rule.name)
    return None


def _matches(rule: _Rule, detector: "RegexBasedDetector", text: str) -> Iterator[tuple[int, int]]:
    """Whole words that a detector matches the beginning of, or what it takes out of its match."""
    for pattern in detector.denylist:
        for found in pattern.finditer(text):
            if found[0].startswith("https://hooks."):
                continue  # the secret is its path, which has a shape of its own
            part = found.lastindex or 0
            start, end = found.span(part if len(found[part] or "") >= _LEAST_GROUP else 0)
            rest = _REST.match(text, end)
            end = rest.end() if rest is not None else end
            inside = start > 0 and text[start - 1].isalnum() and text[start].isalnum()
            if not inside and (rule.module != "jwt" or _is_jwt(detector, text[start:end])):
                yield start, end


def _is_jwt(detector: "RegexBasedDetector", token: str) -> bool:
    return bool(detector.is_formally_valid(token.rstrip(".")))  # type: ignore[attr-defined]


def _mark(text: str, start: int, end: int) -> Iterator[Mark]:
    if not is_stock_secret(text[start:end]):
        yield Mark(KEY, start, end, 1.0)


@lru_cache(maxsize=1)
def _detectors() -> "list[tuple[_Rule, RegexBasedDetector]]":
    made = []
    for rule in _RULES:
        module = import_module(f"detect_secrets.plugins.{rule.module}")
        made.append((rule, getattr(module, rule.detector)()))
    return made
