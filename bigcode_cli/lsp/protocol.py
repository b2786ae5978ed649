"""The protocol's border: a message that is not what it should be is answered, and told in a log."""

import logging
from typing import Any

from lsprotocol import types
from pygls.exceptions import JsonRpcException
from pygls.lsp.server import LanguageServer
from pygls.protocol import LanguageServerProtocol

from bigcode_cli import __version__


class _Protocol(LanguageServerProtocol):
    """Answers requests whose fields are wrong: a client waits for ever where no answer comes."""

    def structure_message(self, data: dict[str, Any]) -> Any:
        """Read a message, or a part of one.

        Raises:
            JsonRpcException: it has wrong fields; a request has been answered with that.
        """
        try:
            return super().structure_message(data)
        except JsonRpcException as error:
            if "id" in data and "method" in data:
                self._send_response(data["id"], error=error.to_response_error())
            raise


class EditorServer(LanguageServer):
    """A language server that tells of errors in the editor's log, without a window or on stderr."""

    def __init__(self) -> None:
        super().__init__("bigcode", __version__, protocol_cls=_Protocol)
        # Without a handler Python writes a library's warnings, with tracebacks, to stderr.
        logging.getLogger().addHandler(logging.NullHandler())

    def report_server_error(self, error: Exception, source: Any) -> None:
        """Tell of an error; the requests among them have been answered."""
        self.log_error(f"{source.__name__}: {type(error).__name__}")

    def log_error(self, text: str) -> None:
        """Write a line to the editor's log."""
        self.window_log_message(types.LogMessageParams(types.MessageType.Error, f"bigcode: {text}"))
