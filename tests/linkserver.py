"""A real HTTPS server on loopback that behaves as badly as it is told to.

The names ``maps.example.org`` and ``other.example.org`` lead to it by the :class:`Network` that
it hands out; that network, made here and nowhere else, is what lets a test connect to loopback.
"""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpcore
import trustme

from mmcoord.fetching import Network, Policy

HOST, OTHER = "maps.example.org", "other.example.org"
POLICY = Policy(hosts=frozenset({HOST, OTHER}), timeout_s=5.0)


class Handler(BaseHTTPRequestHandler):
    """Hands each request to the function for its path; 404 without one."""

    protocol_version = "HTTP/1.1"
    server: Any

    def do_GET(self) -> None:
        self.server.seen.append((self.path, dict(self.headers.items())))
        answer = self.server.answers.get(self.path)
        try:
            if answer is None:
                self.reply(404, b"no such file")
            elif isinstance(answer, bytes):
                self.reply(200, answer)
            else:
                answer(self)
        except OSError:
            pass  # the client has had enough
        self.close_connection = True

    def reply(self, status: int, body: bytes = b"", **headers: str) -> None:
        """A whole answer with its length."""
        self.begin(status, **{"Content-Length": str(len(body)), **headers})
        self.wfile.write(body)

    def begin(self, status: int, **headers: str) -> None:
        """The head of an answer; ``_`` stands for ``-``."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


Answer = bytes | Callable[[Handler], None]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is no error here."""


@dataclass
class LinkServer:
    """A running server: what it answers, and what it was asked."""

    port: int
    tls: ssl.SSLContext
    """Trusts the server's own authority."""
    answers: dict[str, Answer] = field(default_factory=dict)
    seen: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    dialled: list[tuple[str, int]] = field(default_factory=list)
    """Addresses and ports that a client connected to; port 443 leads here."""

    def network(
        self,
        resolve: Callable[[str, int], Sequence[str]] = lambda host, port: ["127.0.0.1"],
        is_public: Callable[[Any], bool] = lambda address: address.is_loopback,
    ) -> Network:
        """A network in which every name is this server."""

        def connect(address: str, port: int, timeout_s: float) -> httpcore.NetworkStream:
            self.dialled.append((address, port))
            return httpcore.SyncBackend().connect_tcp("127.0.0.1", self.port, timeout_s)

        return Network(resolve, connect, is_public, self.tls)


@contextmanager
def running() -> Iterator[LinkServer]:
    """The server, as long as the block lasts."""
    authority = trustme.CA()
    server = _Server(("127.0.0.1", 0), Handler)
    ours = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(HOST, OTHER).configure_cert(ours)
    server.socket = ours.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    theirs = ssl.create_default_context()
    authority.configure_trust(theirs)
    found = LinkServer(server.server_address[1], theirs)
    server.answers, server.seen = found.answers, found.seen  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
