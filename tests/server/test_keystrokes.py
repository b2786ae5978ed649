"""What a key typed before a long suffix costs an editor, and in which order gaps are filled."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from program import Run
from served import Start

PREFIX = "def area(width, height):\n    ret"
SUFFIX = "\n\n\nclass Shape:\n    def __init__(self, sides):\n        self.sides = sides\n" * 2


def _saying(folder: Path, order: str | None) -> Path:
    """The checkpoint, with an order in its config.json."""
    path = folder / "config.json"
    values = json.loads(path.read_text("utf-8"))
    if order is not None:
        values["infilling"] = {"order": order}
    path.write_text(json.dumps(values), "utf-8")
    return folder


@pytest.mark.parametrize(("said", "kept"), [(None, True), ("spm", True), ("psm", False)])
def test_a_key_costs_what_is_new(
    make_checkpoint: Callable[..., Path],
    start: Start,
    folder: Path,
    *,
    said: str | None,
    kept: bool,
) -> None:
    """In SPM order the suffix comes first and is known; in PSM it follows what has changed."""
    model = _saying(make_checkpoint("typing", n_positions=512), said)
    server = start("--port", "0", "-m", str(model))

    def evaluated(prefix: str) -> Any:
        body = {"input_prefix": prefix, "input_suffix": SUFFIX, "n_predict": 2}
        return server.ask("POST", "/infill", body)[1]["timings"]["prompt_n"]

    whole = evaluated(PREFIX)
    typed = [evaluated(PREFIX + "urn"[:count]) for count in (1, 2, 3)]
    suffix = len(server.ask("POST", "/tokenize", {"content": SUFFIX})[1]["tokens"])
    assert whole > suffix > 40
    assert all((one < 40) == kept for one in typed), (whole, suffix, typed)

    file = folder / "a.py"  # the command keeps its own order, with and without a server
    file.write_text(PREFIX + SUFFIX, "utf-8")
    call = ("infill", "-m", str(model), "a.py", "--at", "2:8", "--max-tokens", "6")
    run = server.run(folder)
    plain = run(*call, "--server", "off")
    assert run(*call).stdout == plain.stdout
    order = said or "psm"
    assert Run(folder, server.environment)(*call, "--order", order).stdout == plain.stdout
