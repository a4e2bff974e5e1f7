"""The limits of one request, on real sockets, and that secrets stay where they are."""

from __future__ import annotations

import contextlib
import json
import logging
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from followup.sinks import hermes, slack, tom
from followup.sinks._http import Trouble, call
from followup.sinks._settings import Secret, Settings
from followup.sinks.base import Outcome
from mmcoord.errors import ConfigError
from tests.sinks.sample import outgoing, row

SECRET = "S3cretOfThisTest0123456789abcdef"
PLAN = outgoing((row(1),))


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    seen: list[str]


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def _answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        self.rfile.read(length)
        self.server.seen.append(self.path)
        what = self.path.strip("/").split("/")[0]
        if what == "drip":
            self.send_response(200)
            self.end_headers()
            for _ in range(100):
                self.wfile.write(b" ")
                self.wfile.flush()
                time.sleep(0.05)
        elif what == "flood":
            self.send_response(200)
            self.end_headers()
            for _ in range(20):
                self.wfile.write(b" " * 1_000_000)
        elif what == "redirect":
            self.send_response(307)
            self.send_header("Location", "/elsewhere")
            self.end_headers()
        elif what == "cut":
            self.close_connection = True
        elif what == "echo":
            body = f"{self.path} {self.headers.get('Authorization')}".encode()
            self.send_response(400)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    def do_GET(self) -> None:
        with contextlib.suppress(OSError):  # the client has had enough
            self._answer()

    do_POST = do_PATCH = do_GET

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[_Server]:
    with _Server(("127.0.0.1", 0), _Handler) as server:
        server.seen = []
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def _url(server: _Server, path: str) -> str:
    return f"http://127.0.0.1:{server.server_port}/{path}"


@pytest.mark.parametrize(
    ("path", "trouble"),
    [
        ("drip", Trouble.NO_ANSWER),
        ("flood", Trouble.NO_ANSWER),
        ("cut", Trouble.NO_ANSWER),
    ],
)
def test_a_bad_answer_is_no_answer(server: _Server, path: str, trouble: Trouble) -> None:
    with httpx.Client() as client:
        reply = call(client, "GET", _url(server, path), timeout_s=0.5, secrets=())
    assert (reply.status, reply.trouble) == (0, trouble)


def test_nobody_there_is_not_reached() -> None:
    with httpx.Client() as client:
        reply = call(client, "GET", "http://127.0.0.1:9/", timeout_s=2.0, secrets=())
    assert reply.trouble is Trouble.NOT_REACHED


def test_a_redirect_is_not_followed_even_by_a_client_that_would(server: _Server) -> None:
    with httpx.Client(follow_redirects=True) as client:
        reply = call(client, "POST", _url(server, "redirect"), timeout_s=5, secrets=())
    assert reply.status == 307
    assert "/elsewhere" not in server.seen


def _sinks(base: str, client: httpx.Client) -> list[object]:
    return [
        slack.build("slack", {"webhook": f"{base}/{SECRET}"}, client),
        hermes.build("hermes", {"url": base, "token": SECRET, "submitter": "t"}, client),
        tom.build("tom", {"url": base, "token": SECRET}, client),
        tom.build("tom", {"url": base, "username": "bot", "password": SECRET}, client),
    ]


@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize("what", ["echo", "cut", "redirect", "nobody"])
def test_no_secret_in_payload_answer_log_or_repr(
    server: _Server, caplog: pytest.LogCaptureFixture, number: int, what: str
) -> None:
    caplog.set_level(logging.DEBUG)
    base = "http://127.0.0.1:9" if what == "nobody" else _url(server, what)
    with httpx.Client() as client:
        sink = _sinks(base, client)[number]
        payload = sink.payload(PLAN)
        answers = [
            sink.send(payload, key=PLAN.key),
            sink.lookup(payload, key=PLAN.key),
            sink.withdraw(payload, key=PLAN.key, remote_id="7"),
        ]
    written = "\n".join(
        [json.dumps(payload), *map(repr, answers), repr(sink), str(sink), caplog.text]
        + [str(record.args) for record in caplog.records]
    )
    assert answers[0].outcome is not Outcome.SENT
    assert SECRET not in written
    if number == 0 and what in ("echo", "redirect"):
        assert "HTTP Request: POST" in caplog.text  # the log line is there, without the secret


@pytest.mark.parametrize("module", [slack, hermes, tom])
def test_no_secret_in_a_configuration_error(module: object) -> None:
    table = {"webhook": f"ftp://{SECRET}", "token": SECRET, "url": f"ftp://{SECRET}", "x": SECRET}
    with httpx.Client() as client, pytest.raises(ConfigError) as caught:
        module.build("it", table, client)
    assert SECRET not in str(caught.value)


def test_a_secret_is_read_from_a_variable_or_a_file(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text(f"{SECRET}\n")
    environ = {"MY_TOKEN": SECRET}
    for table in ({"token": SECRET}, {"token_env": "MY_TOKEN"}, {"token_file": str(path)}):
        settings = Settings("x", table, environ)
        secret = settings.secret("token")
        settings.finish()
        assert secret is not None
        assert secret.reveal() == SECRET
        assert SECRET not in repr(secret)
    assert Settings("x", {}, environ).secret("token") is None
    assert isinstance(secret, Secret)


@pytest.mark.parametrize(
    ("table", "key"),
    [
        ({"token": "a", "token_file": "b"}, "token"),
        ({"token_env": "UNSET"}, "token_env"),
        ({"token_file": "/no/such"}, "token_file"),
        ({"token_env": "EMPTY"}, "token_env"),
        ({"token": 5}, "token"),
    ],
)
def test_a_secret_that_cannot_be_had_is_named(table: dict[str, object], key: str) -> None:
    with pytest.raises(ConfigError, match=f"sinks.x.{key}:"):
        Settings("x", table, {"EMPTY": " "}).secret("token")
