"""The snippets of docs/editors.md in real editors: they insert what `bigcode` writes."""

import contextlib
import os
import pty
import re
import shutil
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from program import BIGCODE, Run, read_terminal
from served import Server

PAGE = Path(__file__).resolve().parents[2] / "docs" / "editors.md"
CODE = """\
import os


def first(path):
    größe = 3; with open(path) as stream:
        return st
"""
SECONDS = 120
pytestmark = pytest.mark.slow


def snippet(heading: str, language: str) -> str:
    """The code of a language below a heading of the page."""
    part = PAGE.read_text("utf-8").split(f" {heading}\n", 1)[1]
    found = re.search(rf"```{language}\n(.*?)```", part, re.DOTALL)
    assert found, (heading, language)
    return found[1]


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


class Editors:
    """Runs an editor on `a.py` with a snippet, in a folder where a server is running."""

    def __init__(self, server: Server, folder: Path) -> None:
        path = os.pathsep.join([str(Path(BIGCODE).parent), os.environ["PATH"]])
        self.environment = {**server.environment, "PATH": path, "TERM": "xterm"}
        self.folder = folder

    def on_terminal(self, command: Sequence[str]) -> None:
        """For an editor that wants a terminal, and one that does not."""
        master, slave = pty.openpty()
        process = subprocess.Popen(
            command, env=self.environment, cwd=self.folder, stdin=slave, stdout=slave, stderr=slave
        )
        os.close(slave)
        timer = threading.Timer(SECONDS, process.kill)  # an editor that asks a question
        timer.start()
        said = read_terminal(master)
        timer.cancel()
        assert process.wait(SECONDS) == 0, said

    def vim(self, keys: str, name: str = "vim") -> None:
        rc = self.folder / "vimrc"
        rc.write_text(snippet("Vim and Neovim", "vim"), "utf-8")
        quiet = ["--headless"] if name == "nvim" else ["--not-a-term", "-N"]
        press = f'execute "normal {keys}"'
        start = [_program(name), *quiet, "-i", "NONE", "-n", "-u", str(rc)]
        self.on_terminal([*start, "-c", press, "-c", "wq", "-c", "cquit!", "a.py"])

    def neovim(self, keys: str) -> None:
        self.vim(keys, "nvim")

    def emacs(self, form: str) -> None:
        init = self.folder / "init.el"
        init.write_text(snippet("Emacs", "elisp"), "utf-8")
        start = [_program("emacs"), "--batch", "--quick", "-l", str(init), "a.py"]
        self.on_terminal([*start, "--eval", f"(progn {form} (save-buffer))"])

    def kakoune(self, keys: str) -> None:
        rc = self.folder / "snippet.kak"
        rc.write_text(snippet("Kakoune", "kak"), "utf-8")
        todo = f"source snippet.kak; execute-keys '{keys}'; write; quit"
        self.on_terminal([_program("kak"), "-n", "-e", todo, "a.py"])


@pytest.fixture
def editors(server: Server, folder: Path) -> Editors:
    return Editors(server, folder)


COMPLETE = {  # the third and fourth line are selected
    "vim": r"3GVj\\c",
    "neovim": r"3GVj\\c",
    "emacs": "(bigcode-complete-region (progn (goto-char 1) (forward-line 2) (point))"
    " (progn (forward-line 2) (point)))",
    "kakoune": "3gxJx<space>c",
}
INFILL = {  # at the end of the fifth line
    "vim": r"5GA\<C-x>\<C-g>\<Esc>",
    "neovim": r"5GA\<C-x>\<C-g>\<Esc>",
    "emacs": "(goto-char 1) (forward-line 4) (end-of-line) (bigcode-infill)",
    "kakoune": "5ggll<space>f",
}
MARKER = {
    "vim": r"\\m",
    "neovim": r"\\m",
    "emacs": "(bigcode-replace-marker)",
    "kakoune": "<space>m",
}


@pytest.mark.parametrize("name", COMPLETE)
def test_the_selection_is_continued(editors: Editors, warm: Run, name: str) -> None:
    file = warm.write("a.py", CODE)
    lines = CODE.splitlines(keepends=True)
    selected = "".join(lines[2:4])
    wanted = warm("complete", "-q", "--until", "block", input=selected.encode()).stdout.decode()
    assert wanted
    getattr(editors, name)(COMPLETE[name])
    line_wise = "vim" in name and not wanted.endswith("\n")
    after = "\n" * line_wise + "".join(lines[4:])
    assert file.read_text("utf-8") == "".join(lines[:4]) + wanted + after


@pytest.mark.parametrize("name", INFILL)
def test_the_gap_at_the_cursor_is_filled(editors: Editors, warm: Run, name: str) -> None:
    file = warm.write("a.py", CODE)
    lines = CODE.splitlines(keepends=True)
    column = len(lines[4])
    wanted = warm("infill", "-q", "--at", f"5:{column}", "a.py").stdout.decode()
    assert wanted
    getattr(editors, name)(INFILL[name])
    lines[4] = lines[4][:-1] + wanted + "\n"
    assert file.read_text("utf-8") == "".join(lines)


@pytest.mark.parametrize("name", MARKER)
def test_the_marker_is_replaced(editors: Editors, warm: Run, name: str) -> None:
    file = warm.write("a.py", CODE.replace("stream:", "<HERE>:"))
    wanted = warm("infill", "-q", "--marker", "<HERE>", "--print", "file", "a.py").stdout.decode()
    assert "<HERE>" not in wanted
    getattr(editors, name)(MARKER[name])
    assert file.read_text("utf-8") == wanted


@pytest.mark.parametrize("name", MARKER)
def test_an_error_changes_nothing(editors: Editors, warm: Run, name: str) -> None:
    """The message never lands in the buffer."""
    file = warm.write("a.py", CODE)  # which has no marker
    with contextlib.suppress(AssertionError):  # the editor may end with an error of its own
        getattr(editors, name)(MARKER[name])
    assert file.read_text("utf-8") == CODE


NEOVIM = """
    vim.cmd("filetype on")
    dofile("snippet.lua")
    vim.cmd("edit a.py")
    local client
    vim.wait(60000, function()
      client = vim.lsp.buf_get_clients(0)[1]
      return client and client.initialized
    end, 50)
    local params = vim.lsp.util.make_text_document_params()
    local place = { line = 5, character = 17 }
    local asked = { textDocument = params, position = place }
    local reply = client.request_sync("textDocument/completion", asked, 60000, 0)
    local items = vim.lsp.util.text_document_completion_list_to_complete_items(reply.result, "st")
    local edit = items[1].user_data.nvim.lsp.completion_item.textEdit
    vim.lsp.util.apply_text_edits({ edit }, 0, client.offset_encoding)
    vim.cmd("wq")
"""
EMACS = """
    (setq eglot-sync-connect 60)
    (apply #'eglot (eglot--guess-contact))
    (goto-char (point-max))
    (forward-char -1)
    (completion-at-point)
    (save-buffer)
    (flymake-start nil)
    (while (not (flymake-diagnostics)) (accept-process-output nil 0.1))
"""


def _completed(warm: Run, code: str) -> str:
    """`a.py` with this code; what it is when its last line is completed."""
    warm.write("a.py", code)
    last = code.splitlines()[-1]
    at = f"{code.count(chr(10))}:{len(last) + 1}"
    return code[:-1] + warm("infill", "-q", "--at", at, "a.py").stdout.decode() + "\n"


def test_the_language_server_in_neovim(editors: Editors, warm: Run) -> None:
    """Its own client starts the server, and its menu keeps the entry for the word that is there."""
    wanted = _completed(warm, CODE)
    warm.write("snippet.lua", snippet("Language server", "lua"))
    warm.write("test.lua", NEOVIM)
    command = [_program("nvim"), "--headless", "--clean", "-c", "luafile test.lua", "-c", "cquit!"]
    editors.on_terminal(command)
    assert (editors.folder / "a.py").read_text("utf-8") == wanted


def test_the_language_server_in_emacs(editors: Editors, warm: Run) -> None:
    """Eglot completes at point, and Flymake shows the warning about an address."""
    start = [_program("emacs"), "--batch", "-q", "--eval", "(package-initialize)"]
    have = [*start, "--eval", "(unless (require 'eglot nil t) (kill-emacs 1))"]
    if subprocess.run(have, capture_output=True, check=False).returncode:
        pytest.skip("eglot is not installed")
    wanted = _completed(warm, CODE.replace("import os", 'mail = "jane.doe@acme-widgets.com"'))
    warm.write("init.el", snippet("Language server", "elisp"))
    warm.write("test.el", f"(require 'eglot) {EMACS}")
    editors.on_terminal([*start, "-l", "init.el", "a.py", "-l", "test.el"])
    assert (editors.folder / "a.py").read_text("utf-8") == wanted
