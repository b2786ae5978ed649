"""The language server: inline completion, completion, diagnostics and code actions."""

import asyncio
import re
import threading
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from lsprotocol import types

from bigcode_cli.lsp.documents import Document, Documents
from bigcode_cli.lsp.findings import SOURCE, actions, secrets, surprises
from bigcode_cli.lsp.models import CancelledWorkError, Models, message_of
from bigcode_cli.lsp.protocol import EditorServer

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


def build_server(models: Models, features: Features) -> EditorServer:
    """A language server; it runs by `start_io`."""
    server = EditorServer()
    documents = Documents()
    completer = _Completer(server, documents, models, features)
    inspector = _Inspector(server, documents, models, features)

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
        documents.open(params.text_document, server.workspace.position_codec.encoding)
        await inspector.inspect(params.text_document.uri)

    @server.feature(types.TEXT_DOCUMENT_DID_CHANGE)
    async def changed(params: types.DidChangeTextDocumentParams) -> None:
        """Look at it again, when nothing was typed for a while."""
        documents.change(params)
        await inspector.inspect(params.text_document.uri)

    @server.feature(types.TEXT_DOCUMENT_DID_CLOSE)
    def closed(params: types.DidCloseTextDocumentParams) -> None:
        """Forget it, and what was found."""
        documents.pop(params.text_document.uri, None)
        inspector.forget(params.text_document.uri)

    @server.feature(
        types.TEXT_DOCUMENT_CODE_ACTION,
        types.CodeActionOptions(code_action_kinds=[types.CodeActionKind.QuickFix]),
    )
    def code_action(params: types.CodeActionParams) -> list[types.CodeAction]:
        """Allow or redact what was found."""
        document = documents.get(params.text_document.uri)
        return [] if document is None else actions(params, document)

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


class _DocumentWork:
    """Work on open documents; of each document only the newest request is answered."""

    delay_seconds: ClassVar[float]

    def __init__(
        self,
        server: EditorServer,
        documents: Mapping[str, Document],
        models: Models,
        features: Features,
    ) -> None:
        self._server, self._documents = server, documents
        self._models, self._features = models, features
        self._newest = _Newest(self.delay_seconds)


class _Completer(_DocumentWork):
    """Fills in at the cursor."""

    delay_seconds = COMPLETION_DELAY_SECONDS

    async def text(self, params: Any) -> str:
        """What belongs at the cursor; empty if there is nothing, or a newer request.

        A document that is not open is not read from the disk: its name may be that of anything.
        """
        document = self._documents.get(params.text_document.uri)
        if document is None:
            return ""
        offset = document.offset(params.position)
        prefix, suffix = document.text[:offset], document.text[offset:]
        tokens = self._features.max_tokens

        def work(cancelled: Callable[[], bool]) -> str:
            return self._models.fill(prefix, suffix, tokens, cancelled)

        async def run() -> Any:
            return await self._newest.run(params.text_document.uri, work)

        return await _guarded(self._server, run) or ""

    def word(self, params: types.CompletionParams) -> tuple[str, types.Range]:
        """The word before the cursor, and where it is."""
        document = self._documents.get(params.text_document.uri, Document(text=""))
        offset = document.offset(params.position)
        (word,) = _LAST_WORD.findall(document.text[max(offset - _LONGEST_WORD, 0) : offset])
        return word, types.Range(document.position(offset - len(word)), document.position(offset))


class _Inspector(_DocumentWork):
    """Publishes what was found in documents."""

    delay_seconds = DIAGNOSTICS_DELAY_SECONDS

    async def inspect(self, uri: str) -> None:
        """Look at a document when nothing was typed for a while."""
        features = self._features
        if not (features.secrets or features.surprises):
            return

        def work(_cancelled: Callable[[], bool]) -> tuple[Document, Any, Any] | None:
            document = self._documents.get(uri)
            if document is None:
                return None
            text = document.text[:_MOST_CHARACTERS]
            spans = self._models.tag(text) if features.secrets else []
            scores = self._models.score(text) if features.surprises else []
            return document, spans, scores

        async def run() -> Any:
            return await self._newest.run(uri, work)

        found = await _guarded(self._server, run)
        if found is None:
            return
        document: Document
        document, spans, scores = found
        if self._documents.get(uri) is not document:
            return  # changed meanwhile: the next look is on its way
        marks = [*secrets(document, spans), *surprises(document, scores)]
        self._publish(uri, marks, document.version)

    def forget(self, uri: str) -> None:
        """Show nothing any more."""
        self._publish(uri, [], None)

    def _publish(self, uri: str, found: list[types.Diagnostic], version: int | None) -> None:
        params = types.PublishDiagnosticsParams(uri=uri, diagnostics=found, version=version)
        self._server.text_document_publish_diagnostics(params)


async def _guarded(server: EditorServer, work: Callable[[], Awaitable[Any]]) -> Any:
    """The result of some work; an error is told in the editor's log, never in a buffer."""
    try:
        return await work()
    except Exception as error:  # noqa: BLE001  # the border: an editor goes on
        server.log_error(message_of(error))
        return None
