"""A real git repository for tests."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

ENVIRONMENT = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_AUTHOR_NAME": "Ada",
    "GIT_AUTHOR_EMAIL": "ada@example.org",
    "GIT_COMMITTER_NAME": "Ada",
    "GIT_COMMITTER_EMAIL": "ada@example.org",
}


@dataclass(frozen=True)
class Repository:
    """A repository in a folder, made by `git init`."""

    folder: Path

    @classmethod
    def create(cls, folder: Path) -> "Repository":
        folder.mkdir(parents=True, exist_ok=True)
        repository = cls(folder)
        repository.git("init", "--quiet", "--initial-branch=main")
        return repository

    def git(self, *arguments: str | bytes, data: bytes = b"") -> bytes:
        done = subprocess.run(
            ["git", *arguments],
            cwd=self.folder,
            env={"PATH": os.environ["PATH"], "HOME": str(self.folder), **ENVIRONMENT},
            input=data,
            capture_output=True,
            check=True,
            timeout=60,
        )
        return done.stdout

    def write(self, name: str | bytes, data: str | bytes) -> None:
        path = self.folder / os.fsdecode(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.encode() if isinstance(data, str) else data)

    def stage(self, name: str | bytes, data: str | bytes) -> None:
        self.write(name, data)
        self.git("add", "--", name)

    def commit(self) -> None:
        self.git("commit", "--quiet", "--message=change")

    def state(self) -> tuple[bytes, bytes, int]:
        """What must not change: git's own view, and the index to the byte and the nanosecond."""
        index = self.folder / ".git" / "index"
        before = (index.read_bytes(), index.stat().st_mtime_ns) if index.exists() else (b"", 0)
        shown = self.git("--no-optional-locks", "status", "--porcelain=v2", "-z")
        return (shown, *before)
