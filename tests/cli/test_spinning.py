"""PyTorch's threads wait without spinning for long, unless the user says how they wait."""

import os
import re
import subprocess
import sys

import pytest

CODE = """
from bigcode_cli.framework.process_safety import make_process_safe
make_process_safe()
import torch
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("given", "count"),
    [({}, "1000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "passive"}, "0")],
)
def test_what_pytorch_has_read(given: dict[str, str], count: str) -> None:
    plain = {name: value for name, value in os.environ.items() if name != "GOMP_SPINCOUNT"}
    environment = {**plain, **given, "OMP_DISPLAY_ENV": "verbose"}
    done = subprocess.run(
        [sys.executable, "-c", CODE], env=environment, capture_output=True, text=True, check=True
    )
    assert re.findall(r"GOMP_SPINCOUNT = '(\d+)'", done.stderr) == [count]
