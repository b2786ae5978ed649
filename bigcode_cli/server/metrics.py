"""What `/metrics` shows, in the text format of Prometheus."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Metrics:
    """The figures of one server."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "bigcode_requests",
            "Requests by endpoint and status.",
            ["endpoint", "status"],
            registry=self._registry,
        )
        self.prompt_tokens = Counter(
            "bigcode_prompt_tokens", "Tokens of prompts.", registry=self._registry
        )
        self.reused_tokens = Counter(
            "bigcode_reused_tokens",
            "Tokens of prompts that were taken from the prefix cache.",
            registry=self._registry,
        )
        self.written_tokens = Counter(
            "bigcode_completion_tokens", "Tokens written.", registry=self._registry
        )
        self.first_token = Histogram(
            "bigcode_first_token_seconds",
            "From the arrival of a request to its first text.",
            buckets=_SECONDS,
            registry=self._registry,
        )
        self.seconds = Histogram(
            "bigcode_request_seconds",
            "From the arrival of a request to its end.",
            buckets=_SECONDS,
            registry=self._registry,
        )

    def watch(self, name: str, help_text: str, read: Callable[[], float]) -> None:
        """Show a value that is read when it is asked for."""
        Gauge(name, help_text, registry=self._registry).set_function(read)

    def render(self) -> bytes:
        """The page."""
        return generate_latest(self._registry)
