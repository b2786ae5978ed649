"""Runs `bigcode infill` on a file and a checkpoint that writes a known text. Knows no test."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from program import Outcome, Run
from scripted_models import encode, write_checkpoint

SENTINELS = 3


@dataclass(frozen=True)
class Infill:
    """`infill("x = |\\n", "1")`: the answer of a model that writes `1` where the bar is."""

    run: Run

    def __call__(
        self, text: str | bytes, written: str, *arguments: str | Path, **options: Any
    ) -> Outcome:
        data = text.encode() if isinstance(text, str) else text
        name = self.write(data.replace(b"|", b"", 1))
        where = f"--offset={data.index(b'|')}" if b"|" in data else "--no-trim"
        model = self.model(written, name.read_bytes())
        return self.run("infill", "-m", model, where, *arguments, name.name, **options)

    def write(self, data: bytes, name: str = "a.py") -> Path:
        """A file in the folder of the run."""
        path = self.run.folder / name
        path.write_bytes(data)
        return path

    def model(self, written: str, around: bytes, *, extra: int = 0, **options: Any) -> Path:
        """A checkpoint that writes a text after a prompt of `around` and `extra` more tokens."""
        read = around.removeprefix(b"\xef\xbb\xbf")
        if 2 * read.count(b"\r\n") > read.count(b"\n"):
            read = read.replace(b"\r\n", b"\n")
        at = len(read) + SENTINELS + extra - 1
        folder = self.run.folder.parent / f"model-{len(list(self.run.folder.parent.iterdir()))}"
        return write_checkpoint(folder, script=encode(written), at=at, **options)
