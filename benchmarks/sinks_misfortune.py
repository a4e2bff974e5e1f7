"""A real HTTP server that fails by a seed, and the way to it: for ``benchmarks.sinks_chaos``."""

from __future__ import annotations

import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx

__all__ = ["PATIENCE_S", "UNCLEAR", "Failing", "Misfortune", "Service", "serving"]

Service = Callable[[httpx.Request], httpx.Response]
PATIENCE_S = 1.0
"""After which a sink under trial gives up; a late answer comes later."""
_HEADER = "X-Misfortune"
_WEIGHTS = {
    "refused": 4.0,
    "cut off before": 4.0,
    "cut off after": 4.0,
    "500 before": 4.0,
    "500 after": 4.0,
    "429": 4.0,
    "half an answer": 4.0,
    "late before": 0.2,
    "late after": 0.2,
}
UNCLEAR = ("cut off before", "cut off after", "500 before", "500 after", "half an answer",
            "late before", "late after")  # fmt: skip
"""After these nobody can tell from the answer whether the message is there."""
_OF_THE_WAY = {"connection", "content-length", "transfer-encoding", "content-encoding"}


class Failing(ThreadingHTTPServer):
    """One service; what shall happen to a request stands in its header."""

    daemon_threads = True

    def __init__(self, service: Service, error_200: Mapping[str, Any] | None) -> None:
        super().__init__(("127.0.0.1", 0), _Conversation)
        self.service, self.error_200 = service, error_200
        self.lock = threading.Lock()


class _Conversation(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Failing

    def do_any(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        kind = self.headers.get(_HEADER, "")
        if kind == "500 before":
            self._say(httpx.Response(500, text="error"))
        elif kind == "429":
            self._say(httpx.Response(429, headers={"Retry-After": "1"}))
        elif kind == "200 with error":
            self._say(httpx.Response(200, json=self.server.error_200))
        elif kind.endswith(" before"):
            self._hang_up(kind)
        else:
            with self.server.lock:
                answer = self.server.service(self._request(content))
            if kind in ("cut off after", "late after"):
                self._hang_up(kind)
            elif kind == "500 after":
                self._say(httpx.Response(500, text="error"))
            else:
                self._say(answer, is_half=kind == "half an answer")

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_any

    def _request(self, content: bytes) -> httpx.Request:
        """As the sink meant it: to the service's own address."""
        headers = [(k, v) for k, v in self.headers.items() if k != _HEADER]
        url = f"https://{self.headers['Host']}{self.path}"
        return httpx.Request(self.command, url, headers=headers, content=content)

    def _hang_up(self, kind: str) -> None:
        if kind.startswith("late"):
            time.sleep(1.5 * PATIENCE_S)
        self.close_connection = True

    def _say(self, answer: httpx.Response, *, is_half: bool = False) -> None:
        content = answer.read()
        self.send_response(answer.status_code)
        for name, value in answer.headers.items():
            if name.lower() not in _OF_THE_WAY:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2] if is_half else content)
        if is_half:
            self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: failures are what it is for."""


class Misfortune(httpx.HTTPTransport):
    """Carries every request to the server, whatever its address, and draws what happens to it."""

    def __init__(self, server: Failing, rng: random.Random, rate: float) -> None:
        super().__init__()
        self._port, self._rng, self._rate = server.server_address[1], rng, rate
        self._weights = _WEIGHTS | ({"200 with error": 4.0} if server.error_200 else {})
        self.requests = 0
        self.happened: Counter[str] = Counter()
        with socket.socket() as nobody:  # a port where nobody listens
            nobody.bind(("127.0.0.1", 0))
            self._closed_port = nobody.getsockname()[1]

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.requests += 1
        port = self._port
        if self._rng.random() < self._rate:
            (kind,) = self._rng.choices(list(self._weights), list(self._weights.values()))
            self.happened[kind] += 1
            request.headers[_HEADER] = kind
            if kind == "refused":
                port = self._closed_port
        request.url = request.url.copy_with(scheme="http", host="127.0.0.1", port=port)
        return super().handle_request(request)


@contextmanager
def serving(server: Failing) -> Iterator[Failing]:
    """The server at work until the block ends."""
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
