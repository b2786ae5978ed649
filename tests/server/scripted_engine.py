"""A remote engine that answers as a test tells it to."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = Callable[[dict[str, Any], int], tuple[int, dict[str, Any]]]


class _Listener(ThreadingHTTPServer):
    daemon_threads = True  # a request that is never answered must not block the test's end
    request_queue_size = 128


@contextmanager
def scripted_engine(answer: Answer) -> Iterator[tuple[str, list[Any]]]:
    """An engine that answers as it is told to; its address, and what it was asked.

    Args:
        answer: a request's body and its number, from 1 -> status and document. Status 0: the
            connection breaks.
    """
    asked: list[Any] = []
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._send(200, {"data": [{"id": "the-model"}]})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                asked.append({**body, "key": self.headers["Authorization"]})
                number = len(asked)
            status, document = answer(body, number)
            if status == 200 and body.get("stream"):
                self.send_response(200)
                self.end_headers()
                self.wfile.write(b"data: " + json.dumps(document).encode() + b"\n\n")
                self.wfile.write(b"data: [DONE]\n\n")
            elif status:
                self._send(status, document)

        def _send(self, status: int, document: Any) -> None:
            data = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            if status == 503:
                self.send_header("Retry-After", "1")
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            pass

    with _Listener(("127.0.0.1", 0), Handler) as listener:
        thread = threading.Thread(target=listener.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.server_port}", asked
        finally:
            listener.shutdown()
            thread.join()
