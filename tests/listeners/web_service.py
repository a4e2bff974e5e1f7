"""A real HTTP server on this machine that answers what a test tells it to."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit


@dataclass
class Asked:
    """One request as the server saw it."""

    method: str
    path: str
    query: list[tuple[str, str]]
    headers: Mapping[str, str]
    body: bytes

    def get(self, key: str) -> str:
        """The first value of a parameter."""
        return dict(reversed(self.query))[key]


@dataclass
class Reply:
    """What the server sends. ``pieces`` are written one by one, with ``between`` called first."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    pieces: Iterator[bytes] | None = None


Answering = Callable[[Asked], Reply]


@dataclass
class Service:
    """The running server."""

    url: str
    asked: list[Asked] = field(default_factory=list)


@contextmanager
def serving(answer: Answering) -> Iterator[Service]:
    """Serve ``answer`` on a free port until the end of the block."""
    service = Service("")

    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            parts = urlsplit(self.path)
            length = int(self.headers.get("content-length", 0))
            asked = Asked(
                self.command,
                parts.path,
                parse_qsl(parts.query, keep_blank_values=True),
                {k.lower(): v for k, v in self.headers.items()},
                self.rfile.read(length),
            )
            service.asked.append(asked)
            reply = answer(asked)
            self.send_response(reply.status)
            for key, value in reply.headers.items():
                self.send_header(key, value)
            if reply.pieces is None:
                self.send_header("content-length", str(len(reply.body)))
            self.end_headers()
            try:
                self.wfile.write(reply.body)
                for piece in reply.pieces or ():
                    self.wfile.write(piece)
            except OSError:
                pass  # the client has had enough, which is what some tests are about

        do_GET = do_POST = _serve

        def log_message(self, *args: object) -> None:
            """Nothing on standard error."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    service.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield service
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Waits(threading.Event):
    """An event that notes how long it was asked to wait, does not wait, and ends a loop."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.waited: list[float] = []
        self._most = most

    def wait(self, timeout: float | None = None) -> bool:
        self.waited.append(timeout or 0.0)
        if len(self.waited) >= self._most:
            self.set()
        return self.is_set()
