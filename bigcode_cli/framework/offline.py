"""`--offline` and HF_HUB_OFFLINE: when the network must not be used, and the error for that."""

import os

from bigcode_cli.framework.errors import Failure

SLUG = "offline"
_VARIABLES = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
_TRUE = frozenset({"1", "true", "yes", "on"})


def is_hub_off(*, offline: bool) -> bool:
    """Tell whether requests to the hub are forbidden.

    Args:
        offline: the value of --offline; the variables of the hub's own tools mean the same.
    """
    return offline or any(os.environ.get(name, "").strip().lower() in _TRUE for name in _VARIABLES)


def offline_failure(what: str = "") -> Failure:
    """Describe work that would need the network.

    Args:
        what: what would need it.
    """
    found = next((name for name in _VARIABLES if os.environ.get(name)), None)
    hint = f"{found} is set" if is_hub_off(offline=False) and found else None
    return Failure(SLUG, f"{what}: the network is off" if what else "the network is off", hint=hint)
