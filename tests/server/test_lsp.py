"""`bigcode lsp` as a process: what an editor says and what it hears."""

import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from queue import Empty, Queue
from typing import Any

import pytest

from program import BIGCODE, TIMEOUT_SECONDS
from served import Server

CODE = "import os\n\n\ndef first(path):\n    with open(path) as stream:\n        return st\n"
KEY = "sk_live_" + "4eC39HqLyjWDarjtT1zdp7dc"
PRIVATE = f'width = "😀😀"; mail = "jane.doe@acme-widgets.com"\nkey = "{KEY}"\n'


class Editor:
    """Speaks the protocol by hand."""

    def __init__(self, environment: dict[str, str], folder: Path, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [BIGCODE, "lsp", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            cwd=folder,
        )
        self._received: Queue[Any] = Queue()
        self._number = 0
        self.heard: list[Any] = []
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self.process.stdout
        while head := self.process.stdout.readline():
            size = int(head.partition(b":")[2])
            while self.process.stdout.readline().strip():
                pass
            self._received.put(json.loads(self.process.stdout.read(size)))

    def tell(self, method: str, **params: Any) -> None:
        bare = method == "exit"
        self._send({"method": method} if bare else {"method": method, "params": params})

    def start(self, method: str, **params: Any) -> int:
        """Send a request; its number."""
        self._number += 1
        given = {"params": params} if params else {}
        self._send({"id": self._number, "method": method, **given})
        return self._number

    def ask(self, method: str, **params: Any) -> Any:
        return self.answer(self.start(method, **params))

    def answer(self, number: int) -> Any:
        """The result of a request; its error in the place of it."""
        message = self.hear(lambda message: message.get("id") == number and "method" not in message)
        return message.get("result", message.get("error"))

    def hear(self, wanted: Any) -> Any:
        """The next message that is wanted."""
        for message in list(self.heard):
            if wanted(message):
                self.heard.remove(message)
                return message
        while True:
            try:
                message = self._received.get(timeout=TIMEOUT_SECONDS)
            except Empty:
                raise AssertionError(self.heard) from None
            if wanted(message):
                return message
            self.heard.append(message)

    def diagnostics(self, uri: str) -> Any:
        """The next diagnostics of a document."""
        method = "textDocument/publishDiagnostics"
        return self.hear(lambda one: one.get("method") == method and one["params"]["uri"] == uri)[
            "params"
        ]["diagnostics"]

    def open(self, uri: str, text: str, language: str = "python") -> None:
        document = {"uri": uri, "languageId": language, "version": 1, "text": text}
        self.tell("textDocument/didOpen", textDocument=document)

    def close(self) -> int:
        self.ask("shutdown")
        self.tell("exit")
        return self.process.wait(TIMEOUT_SECONDS)

    def end(self) -> None:
        """End the process, whatever it does."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert stream
            stream.close()

    def _send(self, message: Any) -> None:
        data = json.dumps({"jsonrpc": "2.0", **message}).encode()
        assert self.process.stdin
        self.process.stdin.write(b"Content-Length: %d\r\n\r\n%b" % (len(data), data))
        self.process.stdin.flush()


@pytest.fixture
def editor(server: Server, folder: Path) -> Iterator[Editor]:
    """An editor that has said hello; a server has the models."""
    editor = Editor(dict(server.environment), folder)
    said = editor.ask("initialize", processId=None, rootUri=None, capabilities={})
    assert said["capabilities"]["positionEncoding"] == "utf-16"
    assert "inlineCompletionProvider" in said["capabilities"]
    editor.tell("initialized")
    yield editor
    editor.end()


def _at(uri: str, line: int, character: int) -> dict[str, Any]:
    return {"textDocument": {"uri": uri}, "position": {"line": line, "character": character}}


def test_inline_completion_is_what_infill_writes(editor: Editor, server: Server) -> None:
    editor.open("file:///a.py", CODE)
    context = {"triggerKind": 1}
    at = _at("file:///a.py", 5, 17)
    (item,) = editor.ask("textDocument/inlineCompletion", **at, context=context)["items"]
    sides = {"prefix": CODE[:-1], "suffix": "\n", "max_tokens": 64}
    wanted = server.ask("POST", "/bigcode/v1/infill", sides)[1]["choices"][0]["text"]
    assert item["insertText"] == wanted
    menu = editor.ask("textDocument/completion", **at)
    assert menu["isIncomplete"] is True
    (entry,) = menu["items"]  # editors filter by the word before the cursor, so it is part of it
    start = {"line": 5, "character": 15}
    assert entry["textEdit"] == {"range": {"start": start, "end": at["position"]}} | {
        "newText": "st" + wanted
    }
    assert entry["filterText"] == ("st" + wanted).split("\n")[0]
    assert entry["label"].startswith("st")
    assert editor.close() == 0


def test_a_menu_entry_after_characters_of_two_units(editor: Editor) -> None:
    """The word that an entry replaces is where the editor counts it to be."""
    line = 'größe = "😀😀"; ret'
    editor.open("file:///u.py", f"def f():\n    {line}\n")
    end = len(f"    {line}".encode("utf-16-le")) // 2
    (entry,) = editor.ask("textDocument/completion", **_at("file:///u.py", 1, end))["items"]
    place = entry["textEdit"]["range"]
    assert place["end"] == {"line": 1, "character": end}
    assert place["start"] == {"line": 1, "character": end - len("ret")}
    assert entry["textEdit"]["newText"].startswith("ret")


def test_positions_are_utf_16(editor: Editor) -> None:
    editor.open("file:///s.py", PRIVATE)
    found = editor.diagnostics("file:///s.py")
    assert found
    assert KEY not in json.dumps(found)  # never the secret itself
    assert "jane.doe" not in json.dumps(found)
    lines = PRIVATE.split("\n")
    for diagnostic in found:
        start, end = diagnostic["range"]["start"], diagnostic["range"]["end"]
        line = lines[start["line"]].encode("utf-16-le")
        text = line[2 * start["character"] : 2 * end["character"]].decode("utf-16-le")
        assert text in ("jane.doe@acme-widgets.com", KEY)
        assert diagnostic["severity"] == 2
        assert diagnostic["source"] == "bigcode"


def test_code_actions_allow_or_redact(editor: Editor) -> None:
    uri = "file:///s.py"
    editor.open(uri, PRIVATE)
    found = editor.diagnostics(uri)
    (one, *_) = found
    offered = editor.ask(
        "textDocument/codeAction",
        textDocument={"uri": uri},
        range=one["range"],
        context={"diagnostics": [one]},
    )
    titles = [action["title"] for action in offered]
    assert titles == ["Allow this line", f"Replace by <{one['code']}>"]
    (edit,) = offered[0]["edit"]["changes"][uri]
    assert edit["newText"] == "  # bigcode: allow"
    lines = PRIVATE.split("\n")
    number = one["range"]["end"]["line"]
    lines[number] += edit["newText"]
    changed = {"textDocument": {"uri": uri, "version": 2}, "contentChanges": [{"text": ""}]}
    changed["contentChanges"] = [{"text": "\n".join(lines)}]
    editor.tell("textDocument/didChange", **changed)
    left = editor.diagnostics(uri)
    assert number not in [diagnostic["range"]["end"]["line"] for diagnostic in left]


def test_the_newest_request_counts(editor: Editor) -> None:
    editor.open("file:///a.py", CODE)
    at = _at("file:///a.py", 5, 17)
    numbers = [editor.start("textDocument/completion", **at) for _ in range(4)]
    answers = [editor.answer(number)["items"] for number in numbers]
    assert answers[:-1] == [[], [], []]
    assert answers[-1]


def test_a_request_can_be_cancelled(editor: Editor, server: Server) -> None:
    editor.open("file:///a.py", CODE)
    at = _at("file:///a.py", 3, 0)
    number = editor.start("textDocument/completion", **at)
    editor.tell("$/cancelRequest", id=number)
    assert editor.answer(number)["code"] == -32800
    server.await_idle()


def test_surprising_lines_without_a_server(server: Server, folder: Path) -> None:
    environment = {**server.environment, "BIGCODE_SERVER": "off"}
    editor = Editor(environment, folder, "--surprises", "--no-secrets")
    try:
        editor.ask("initialize", processId=None, rootUri=None, capabilities={})
        editor.tell("initialized")
        editor.open("file:///a.py", CODE + "qzxv_8812 = wqkj(zz)\n")
        found = editor.diagnostics("file:///a.py")
        assert {diagnostic["severity"] for diagnostic in found} == {4}
        assert 6 in [diagnostic["range"]["start"]["line"] for diagnostic in found]
        assert editor.close() == 0
        assert editor.process.stderr
        assert editor.process.stderr.read() == b""
    finally:
        editor.end()


@pytest.mark.parametrize("loudness", ["--quiet", "--verbose"])
def test_options(server: Server, folder: Path, loudness: str) -> None:
    model = ("--model", "pocket-coder", "--device", "cpu", "--precision", "float32")
    rest = ("--threads", "1", "--completion-tokens", "2", "--server", "off", loudness)
    editor = Editor(dict(server.environment), folder, *model, *rest)
    try:
        editor.ask("initialize", processId=None, rootUri=None, capabilities={})
        editor.tell("initialized")
        editor.open("file:///a.py", CODE)
        at = _at("file:///a.py", 5, 17)
        (item,) = editor.ask("textDocument/completion", **at)["items"]
        sides = {"prefix": CODE[:-1], "suffix": "\n", "max_tokens": 2}
        wanted = server.ask("POST", "/bigcode/v1/infill", sides)[1]["choices"][0]["text"]
        assert item["textEdit"]["newText"] == "st" + wanted
        assert editor.close() == 0
    finally:
        editor.end()


def test_in_neovim(server: Server, folder: Path) -> None:
    """A real editor with its own client: what was offered is inserted, nothing else is."""
    neovim = shutil.which("nvim")
    if neovim is None:
        pytest.skip("neovim is not installed")
    (folder / "a.py").write_text(CODE, "utf-8")
    script = folder / "test.lua"
    script.write_text(
        """
        vim.cmd("edit a.py")
        local id = vim.lsp.start_client({ name = "bigcode", cmd = { vim.env.PROGRAM, "lsp" } })
        vim.lsp.buf_attach_client(0, id)
        local client = vim.lsp.get_client_by_id(id)
        vim.wait(60000, function() return client.initialized end, 50)
        local position = { line = 5, character = 17 }
        local document = vim.lsp.util.make_text_document_params()
        local params = { textDocument = document, position = position }
        local reply = client.request_sync("textDocument/completion", params, 60000, 0)
        vim.lsp.util.apply_text_edits({ reply.result.items[1].textEdit }, 0, client.offset_encoding)
        vim.cmd("write")
        vim.cmd("quitall!")
        """,
        "utf-8",
    )
    environment = {**server.environment, "PROGRAM": BIGCODE, "TERM": "dumb"}
    done = subprocess.run(
        [neovim, "--clean", "--headless", "-c", "luafile test.lua", "-c", "cquit!"],
        env=environment,
        cwd=folder,
        capture_output=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    sides = {"prefix": CODE[:-1], "suffix": "\n", "max_tokens": 64}
    middle = server.ask("POST", "/bigcode/v1/infill", sides)[1]["choices"][0]["text"]
    assert (folder / "a.py").read_text("utf-8") == CODE[:-1] + middle + "\n"


@pytest.mark.parametrize(
    "params",
    [
        {"textDocument": {"uri": "file:///a.py"}, "position": {"line": -1, "character": 0}},
        {"textDocument": {"uri": "file:///a.py"}, "position": {"line": "x", "character": 0}},
        {"textDocument": {"uri": 5}, "position": {"line": 0, "character": 2**40}},
        {},
    ],
    ids=str,
)
def test_a_request_with_wrong_fields_is_answered(editor: Editor, params: dict[str, Any]) -> None:
    """Not by silence, nor by a traceback, nor by a window of the editor."""
    error = editor.ask("textDocument/completion", **params)
    assert error["code"] in (-32602, -32603)
    editor.tell("textDocument/didChange", textDocument={"uri": "file:///b.py", "version": "x"})
    editor.tell("textDocument/nothing", x=1)
    assert editor.close() == 0
    assert editor.process.stderr
    assert editor.process.stderr.read() == b""
    assert [one for one in editor.heard if one.get("method") == "window/showMessage"] == []


@pytest.mark.parametrize("kind", ["pipe", "device", "missing"])
def test_a_document_that_is_not_open_is_not_read(editor: Editor, folder: Path, kind: str) -> None:
    path = folder / "file"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    at = _at(path.as_uri(), 0, 0)
    assert editor.ask("textDocument/completion", **at)["items"] == []
    context = {"triggerKind": 1}
    assert editor.ask("textDocument/inlineCompletion", **at, context=context)["items"] == []
    span = {"start": {"line": 0, "character": 0}, "end": {"line": 9, "character": 9}}
    asked = {"textDocument": {"uri": path.as_uri()}, "range": span, "context": {"diagnostics": []}}
    assert editor.ask("textDocument/codeAction", **asked) == []


def test_an_edit_after_a_form_feed_is_where_the_editor_made_it(editor: Editor) -> None:
    """Editors end lines at LF, CR LF and CR alone."""
    text = f'a = 1\x0c\nb = "\u2028"; c = 2\nkey = "{KEY}"\n'
    editor.open("file:///a.py", text)
    (found,) = editor.diagnostics("file:///a.py")
    start = {"line": 2, "character": 7}
    assert found["range"] == {"start": start, "end": {"line": 2, "character": 7 + len(KEY)}}
    place = {"start": {"line": 2, "character": 0}, "end": {"line": 2, "character": 0}}
    editor.tell(
        "textDocument/didChange",
        textDocument={"uri": "file:///a.py", "version": 2},
        contentChanges=[{"range": place, "text": "my_"}],
    )
    (found,) = editor.diagnostics("file:///a.py")
    assert found["range"]["start"] == {"line": 2, "character": 10}
