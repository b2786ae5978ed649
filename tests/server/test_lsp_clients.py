"""`bigcode lsp` with pygls' client: types of the protocol on both sides, in every encoding."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from lsprotocol import types
from pygls.lsp.client import LanguageClient

from program import BIGCODE
from served import Server

CODE = "def first(path):\n    with open(path) as stream:\n        'ß😀'; return st\n"
MAIL = "jane.doe@acme-widgets.com"
PRIVATE = f'width = "ß😀"; mail = "{MAIL}"; more = "😀"\nx = 1\n'
ENCODINGS = tuple(kind.value for kind in types.PositionEncodingKind)
URI = "file:///a.py"
Session = Callable[[Any], Awaitable[None]]


def _play(server: Server, folder: Path, session: Session, *, encoding: Any = None) -> Any:
    """Run a session of an editor; what the server says without being asked is kept."""

    async def run() -> Any:
        client: Any = LanguageClient("test", "1")
        client.found, client.logged, client.told = {}, [], asyncio.Event()

        def found(params: types.PublishDiagnosticsParams) -> None:
            client.found[params.uri] = list(params.diagnostics)
            client.told.set()

        def logged(params: types.LogMessageParams) -> None:
            client.logged.append(params.message)

        client.feature(types.TEXT_DOCUMENT_PUBLISH_DIAGNOSTICS)(found)
        client.feature(types.WINDOW_LOG_MESSAGE)(logged)
        await client.start_io(BIGCODE, "lsp", env=server.environment, cwd=str(folder))
        try:
            wanted = None if encoding is None else [encoding]
            general = types.GeneralClientCapabilities(position_encodings=wanted)
            asked = types.InitializeParams(types.ClientCapabilities(general=general))
            said = await client.initialize_async(asked)
            assert said.capabilities.position_encoding == (encoding or "utf-16")
            client.initialized(types.InitializedParams())
            await session(client)
            await client.shutdown_async(None)
            client.exit(None)
        except BaseException:
            client._server.kill()  # `stop` would wait for it
            raise
        finally:
            await client.stop()
        return client

    return asyncio.run(asyncio.wait_for(run(), 120))


async def _next_findings(client: Any) -> Any:
    await client.told.wait()
    client.told.clear()
    return client.found[URI]


def _open(client: Any, text: str) -> None:
    document = types.TextDocumentItem(URI, types.LanguageKind.Python, 1, text)
    client.text_document_did_open(types.DidOpenTextDocumentParams(document))


def _at(line: int, character: int) -> Any:
    document = types.TextDocumentIdentifier(URI)
    return {"text_document": document, "position": types.Position(line, character)}


def _units(text: str, encoding: str) -> int:
    """The length of a text as the protocol counts it."""
    size = {"utf-8": 1, "utf-16": 2, "utf-32": 4}[encoding]
    return len(text.encode(f"{encoding}-le" if size > 1 else encoding)) // size


@pytest.mark.parametrize("encoding", [None, *ENCODINGS])
def test_typing_and_completing(server: Server, folder: Path, encoding: Any) -> None:
    sides = {"prefix": CODE[:-1], "suffix": "\n", "max_tokens": 64}
    wanted = server.ask("POST", "/bigcode/v1/infill", sides)[1]["choices"][0]["text"]
    *_, last = CODE.splitlines()
    before = _units(last.removesuffix(" st"), encoding or "utf-16")
    row = CODE.count("\n") - 1

    async def session(client: Any) -> None:
        _open(client, CODE.replace(" st\n", "\n"))
        here = types.Position(row, before)
        change = types.TextDocumentContentChangePartial(types.Range(here, here), " st")
        document = types.VersionedTextDocumentIdentifier(2, URI)
        client.text_document_did_change(types.DidChangeTextDocumentParams(document, [change]))
        at = _at(row, before + len(" st"))
        menu = await client.text_document_completion_async(types.CompletionParams(**at))
        (entry,) = menu.items
        assert entry.text_edit.new_text == "st" + wanted
        assert entry.text_edit.range.start.character == before + 1
        automatic = types.InlineCompletionContext(types.InlineCompletionTriggerKind.Automatic)
        asked = types.InlineCompletionParams(automatic, **at)
        ghost = await client.text_document_inline_completion_async(asked)
        assert [item.insert_text for item in ghost.items] == [wanted]

    assert _play(server, folder, session, encoding=encoding).logged == []


@pytest.mark.parametrize("encoding", [None, *ENCODINGS])
def test_a_warning_and_its_actions(server: Server, folder: Path, encoding: Any) -> None:
    line = PRIVATE.splitlines()[0]
    before, after = (_units(part, encoding or "utf-16") for part in line.split(MAIL))

    async def session(client: Any) -> None:
        _open(client, PRIVATE)
        (warning,) = await _next_findings(client)
        length = _units(line, encoding or "utf-16")
        assert warning.range == types.Range(
            types.Position(0, before), types.Position(0, length - after)
        )
        asked = types.CodeActionParams(
            types.TextDocumentIdentifier(URI), warning.range, types.CodeActionContext([warning])
        )
        allow, redact = await client.text_document_code_action_async(asked)
        (edit,) = allow.edit.changes[URI]
        assert (edit.new_text, edit.range.start.character) == ("  # bigcode: allow", length)
        (edit,) = redact.edit.changes[URI]
        assert (edit.new_text, edit.range) == ("<EMAIL>", warning.range)
        document = types.TextDocumentIdentifier(URI)
        client.text_document_did_close(types.DidCloseTextDocumentParams(document))
        assert await _next_findings(client) == []

    assert _play(server, folder, session, encoding=encoding).logged == []


def test_the_newest_request_counts(server: Server, folder: Path) -> None:
    async def session(client: Any) -> None:
        _open(client, CODE)
        *before, last = CODE.splitlines()
        wanted = types.CompletionParams(**_at(len(before), _units(last, "utf-16")))
        requests = [client.text_document_completion_async(wanted) for _ in range(3)]
        menus = await asyncio.gather(*requests)
        assert [bool(menu.items) for menu in menus] == [False, False, True]

    _play(server, folder, session)
    server.await_idle()
