"""`bigcode lsp` with pytest-lsp's client, which plays several editors and checks every message."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from lsprotocol import types

from program import BIGCODE
from served import Server

CODE = "import os\n\n\ndef first(path):\n    with open(path) as stream:\n        return st\n"
PRIVATE = 'mail = "jane.doe@acme-widgets.com"\n'
EDITORS = ("neovim@0.7", "neovim@0.11", "visual-studio-code@1.65", "emacs@29.1")
URI = "file:///a.py"
Session = Callable[[Any], Awaitable[None]]


def _play(server: Server, folder: Path, editor: str, session: Session) -> Any:
    """Run a session of an editor; a message that its capabilities rule out is an error."""
    from pytest_lsp import client_capabilities, make_test_lsp_client

    async def run() -> Any:
        capabilities = client_capabilities(editor)
        client: Any = make_test_lsp_client()
        await client.start_io(BIGCODE, "lsp", env=server.environment, cwd=str(folder))
        try:
            await client.initialize_session(types.InitializeParams(capabilities))
            await session(client)
            await client.shutdown_session()
        except BaseException:
            client._server.kill()  # `stop` would wait for it
            raise
        finally:
            await client.stop()
        return client

    return asyncio.run(asyncio.wait_for(run(), 120))


async def _open(client: Any, text: str) -> None:
    document = types.TextDocumentItem(URI, types.LanguageKind.Python, 1, text)
    client.text_document_did_open(types.DidOpenTextDocumentParams(document))
    await client.wait_for_notification(types.TEXT_DOCUMENT_PUBLISH_DIAGNOSTICS)


def _at(line: int, character: int) -> Any:
    return {
        "text_document": types.TextDocumentIdentifier(URI),
        "position": types.Position(line, character),
    }


@pytest.mark.parametrize("editor", EDITORS)
def test_typing_and_completing(server: Server, folder: Path, editor: str) -> None:
    sides = {"prefix": CODE[:-1], "suffix": "\n", "max_tokens": 64}
    wanted = server.ask("POST", "/bigcode/v1/infill", sides)[1]["choices"][0]["text"]

    async def session(client: Any) -> None:
        await _open(client, CODE.replace("return st", "return"))
        change = types.TextDocumentContentChangePartial(
            types.Range(types.Position(5, 14), types.Position(5, 14)), " st"
        )
        document = types.VersionedTextDocumentIdentifier(2, URI)
        changes = types.DidChangeTextDocumentParams(document, [change])
        client.text_document_did_change(changes)
        menu = await client.text_document_completion_async(types.CompletionParams(**_at(5, 17)))
        (entry,) = menu.items
        assert entry.text_edit.new_text == "st" + wanted
        automatic = types.InlineCompletionContext(types.InlineCompletionTriggerKind.Automatic)
        ghost = await client.text_document_inline_completion_async(
            types.InlineCompletionParams(automatic, **_at(5, 17))
        )
        assert [item.insert_text for item in ghost.items] == [wanted]

    assert _play(server, folder, editor, session).log_messages == []


@pytest.mark.parametrize("editor", EDITORS)
def test_a_warning_and_its_actions(server: Server, folder: Path, editor: str) -> None:
    async def session(client: Any) -> None:
        await _open(client, PRIVATE + CODE)
        (warning,) = client.diagnostics[URI]
        start, end = warning.range.start, warning.range.end
        assert PRIVATE[start.character : end.character] == "jane.doe@acme-widgets.com"
        asked = types.CodeActionParams(
            types.TextDocumentIdentifier(URI), warning.range, types.CodeActionContext([warning])
        )
        allow, redact = await client.text_document_code_action_async(asked)
        (edit,) = allow.edit.changes[URI]
        assert edit.new_text == "  # bigcode: allow"
        (edit,) = redact.edit.changes[URI]
        assert (edit.new_text, edit.range) == ("<EMAIL>", warning.range)
        document = types.TextDocumentIdentifier(URI)
        client.text_document_did_close(types.DidCloseTextDocumentParams(document))
        await client.wait_for_notification(types.TEXT_DOCUMENT_PUBLISH_DIAGNOSTICS)
        assert not client.diagnostics[URI]

    assert _play(server, folder, editor, session).log_messages == []


def test_the_newest_request_counts(server: Server, folder: Path) -> None:
    async def session(client: Any) -> None:
        await _open(client, CODE)
        wanted = types.CompletionParams(**_at(5, 17))
        requests = [client.text_document_completion_async(wanted) for _ in range(3)]
        menus = await asyncio.gather(*requests)
        assert [bool(menu.items) for menu in menus] == [False, False, True]

    _play(server, folder, EDITORS[1], session)
    server.await_idle(20)
