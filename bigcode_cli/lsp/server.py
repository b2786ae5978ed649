"""The language server: inline completion, completion, diagnostics and code actions."""

import asyncio
import re
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from lsprotocol import types
from pygls.lsp.server import LanguageServer
from pygls.workspace import TextDocument

from bigcode_cli import __version__
from bigcode_cli.lsp.findings import SOURCE, actions, secrets, surprises
from bigcode_cli.lsp.models import CancelledWorkError, Models, message_of

COMPLETION_DELAY_SECONDS = 0.075
DIAGNOSTICS_DELAY_SECONDS = 0.4
_LONGEST_LABEL = 60
_LONGEST_WORD = 200
_LAST_WORD = re.compile(r"(?<!\w)\w*\Z")
_MOST_CHARACTERS = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Features:
    """What the language server offers.

    Attributes:
        max_tokens: the most tokens of a completion.
        secrets: warn of personal data and secrets.
        surprises: hint at the lines that surprise the model.
    """

    max_tokens: int = 64
    secrets: bool = True
    surprises: bool = False


def build_server(models: Models, features: Features) -> LanguageServer:
    """A language server; it runs by `start_io`."""
    server = LanguageServer("bigcode", __version__)
    completer = _Completer(server, models, features)
    inspector = _Inspector(server, models, features)

    @server.feature(types.TEXT_DOCUMENT_INLINE_COMPLETION, types.InlineCompletionOptions())
    async def inline(params: types.InlineCompletionParams) -> types.InlineCompletionList:
        """Offer what belongs at the cursor as ghost text."""
        text = await completer.text(params)
        here = types.Range(params.position, params.position)
        items = [types.InlineCompletionItem(insert_text=text, range=here)] if text else []
        return types.InlineCompletionList(items=items)

    @server.feature(types.TEXT_DOCUMENT_COMPLETION)
    async def completion(params: types.CompletionParams) -> types.CompletionList:
        """Offer the same as an entry of a menu."""
        word, place = completer.word(params)
        text = await completer.text(params)
        items = [_item(word, place, text)] if text.strip() else []
        return types.CompletionList(is_incomplete=True, items=items)

    @server.feature(types.TEXT_DOCUMENT_DID_OPEN)
    async def opened(params: types.DidOpenTextDocumentParams) -> None:
        """Look at a document."""
        await inspector.inspect(params.text_document.uri)

    @server.feature(types.TEXT_DOCUMENT_DID_CHANGE)
    async def changed(params: types.DidChangeTextDocumentParams) -> None:
        """Look at it again, when nothing was typed for a while."""
        await inspector.inspect(params.text_document.uri)

    @server.feature(types.TEXT_DOCUMENT_DID_CLOSE)
    def closed(params: types.DidCloseTextDocumentParams) -> None:
        """Forget what was found."""
        inspector.forget(params.text_document.uri)

    @server.feature(
        types.TEXT_DOCUMENT_CODE_ACTION,
        types.CodeActionOptions(code_action_kinds=[types.CodeActionKind.QuickFix]),
    )
    def code_action(params: types.CodeActionParams) -> list[types.CodeAction]:
        """Allow or redact what was found."""
        document = server.workspace.get_text_document(params.text_document.uri)
        language = document.language_id or ""
        return actions(params, language, document.lines, server.workspace.position_codec)

    return server


def _item(word: str, place: types.Range, text: str) -> types.CompletionItem:
    """An entry of a menu; it begins with the word before the cursor, by which editors filter."""
    first, *rest = (word + text).split("\n")
    shown = first if text.split("\n", 1)[0].strip() else text
    return types.CompletionItem(
        label=shown.strip().split("\n", 1)[0][:_LONGEST_LABEL],
        kind=types.CompletionItemKind.Snippet if rest else types.CompletionItemKind.Text,
        detail=SOURCE,
        documentation=word + text if rest else None,
        insert_text_format=types.InsertTextFormat.PlainText,
        text_edit=types.TextEdit(place, word + text),
        filter_text=first,
        sort_text="~",
    )


class _Newest:
    """Lets the newest request for a document run, after a pause, and cancels the older ones."""

    def __init__(self, delay_seconds: float) -> None:
        self._delay = delay_seconds
        self._latest: dict[str, threading.Event] = {}

    async def run(self, uri: str, work: Callable[[Callable[[], bool]], Any]) -> Any:
        """The result of some work in a thread; None if a newer request came.

        Raises:
            Exception: what the work raised.
        """
        older = self._latest.get(uri)
        if older is not None:
            older.set()
        mine = self._latest[uri] = threading.Event()
        try:
            await asyncio.sleep(self._delay)
            if mine.is_set():
                return None
            return await asyncio.to_thread(work, mine.is_set)
        except CancelledWorkError:
            return None
        finally:
            mine.set()  # a request that the client has cancelled ends its work too
            if self._latest.get(uri) is mine:
                del self._latest[uri]


class _Completer:
    """Fills in at the cursor."""

    def __init__(self, server: LanguageServer, models: Models, features: Features) -> None:
        self._server, self._models, self._features = server, models, features
        self._newest = _Newest(COMPLETION_DELAY_SECONDS)

    async def text(self, params: Any) -> str:
        """What belongs at the cursor; empty if there is nothing, or a newer request."""
        document = self._server.workspace.get_text_document(params.text_document.uri)
        offset = document.offset_at_position(params.position)
        prefix, suffix = document.source[:offset], document.source[offset:]
        tokens = self._features.max_tokens

        def work(cancelled: Callable[[], bool]) -> str:
            return self._models.fill(prefix, suffix, tokens, cancelled)

        async def run() -> Any:
            return await self._newest.run(params.text_document.uri, work)

        return await _guarded(self._server, run) or ""

    def word(self, params: types.CompletionParams) -> tuple[str, types.Range]:
        """The word before the cursor, and where it is."""
        workspace, end = self._server.workspace, params.position
        document = workspace.get_text_document(params.text_document.uri)
        before = document.source[: document.offset_at_position(end)]
        (word,) = _LAST_WORD.findall(before[-_LONGEST_WORD:])
        units = workspace.position_codec.client_num_units(word)
        return word, types.Range(types.Position(end.line, end.character - units), end)


class _Inspector:
    """Publishes what was found in documents."""

    def __init__(self, server: LanguageServer, models: Models, features: Features) -> None:
        self._server, self._models, self._features = server, models, features
        self._newest = _Newest(DIAGNOSTICS_DELAY_SECONDS)

    async def inspect(self, uri: str) -> None:
        """Look at a document when nothing was typed for a while."""
        features = self._features
        if not (features.secrets or features.surprises):
            return

        def work(_cancelled: Callable[[], bool]) -> tuple[TextDocument, str, Any, Any]:
            document = self._server.workspace.get_text_document(uri)
            text = document.source[:_MOST_CHARACTERS]
            spans = self._models.tag(text) if features.secrets else []
            scores = self._models.score(text) if features.surprises else []
            return document, text, spans, scores

        async def run() -> Any:
            return await self._newest.run(uri, work)

        found = await _guarded(self._server, run)
        if found is None:
            return
        document, text, spans, scores = found
        if document.source[:_MOST_CHARACTERS] != text:
            return  # changed meanwhile: the next look is on its way
        codec, lines = self._server.workspace.position_codec, document.lines
        self._publish(
            uri,
            [*secrets(text, spans, codec, lines), *surprises(scores, codec, lines)],
            document.version,
        )

    def forget(self, uri: str) -> None:
        """Show nothing any more."""
        self._publish(uri, [], None)

    def _publish(self, uri: str, found: list[types.Diagnostic], version: int | None) -> None:
        params = types.PublishDiagnosticsParams(uri=uri, diagnostics=found, version=version)
        self._server.text_document_publish_diagnostics(params)


async def _guarded(server: LanguageServer, work: Callable[[], Awaitable[Any]]) -> Any:
    """The result of some work; an error is told in the editor's log, never in a buffer."""
    try:
        return await work()
    except Exception as error:  # noqa: BLE001  # the border: an editor goes on
        message = types.LogMessageParams(types.MessageType.Error, f"bigcode: {message_of(error)}")
        server.window_log_message(message)
        return None
