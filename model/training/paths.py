"""Where the recipe keeps what it fetches and makes: never in the repository."""

from __future__ import annotations

import os
from pathlib import Path

WORK = Path(os.environ.get("BIGCODE_TRAINING_HOME", "~/.cache/bigcode-training")).expanduser()
