"""The polling loop against a real HTTP server: nothing is lost, and nothing runs for ever."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx
import pytest

from listeners.feed import Cursor, Feed, Page
from listeners.fields import json_object
from listeners.http import Answer, Request, ServiceError, checked_base, fetch, pause_s
from listeners.polling import HttpListener, PollSettings, content_offset
from listeners.settings import ListenerState
from mmcoord.errors import ConfigError
from mmcoord.records import Notice
from tests.listeners.web_service import Asked, Reply, Waits, serving

NOW = datetime(2026, 11, 24, 6, 0, tzinfo=UTC)
SECRET = "s3cret-0123456789"


class Store:
    """Keeps what is written, as a store does: notices and the place together."""

    def __init__(self, cursor: Cursor | None = None, broken: int = 0) -> None:
        self.notices: list[Notice] = []
        self.cursor = cursor
        self.broken = broken

    def write(self, notices: Sequence[Notice], cursor: Cursor | None) -> None:
        if self.broken:
            self.broken -= 1
            raise OSError("disk full")
        self.notices += notices
        self.cursor = cursor if cursor is not None else self.cursor

    @property
    def payloads(self) -> list[bytes]:
        return [notice.payload for notice in self.notices]


def paged(base: str, *, skip: bool = False) -> Feed:
    """A service with numbered pages: ``{"items": [...], "more": bool}``."""

    def request(cursor: Cursor, now: datetime) -> Request:
        return Request(
            f"{base}/list",
            "things",
            params=(("page", str(cursor["page"])),),
            headers={"Authorization": f"Bearer {SECRET}"},
            max_bytes=100_000,
            timeout_s=5.0,
        )

    def read(answer: Answer, cursor: Cursor, now: datetime) -> Page:
        document = json_object(answer.body)
        payloads = [json.dumps(item).encode() for item in document["items"]]
        further = {"page": cursor["page"] + document.get("step", 1)}
        return Page(payloads, further, more=document["more"])

    def past(cursor: Cursor, now: datetime) -> Cursor:
        return {"page": cursor["page"] + 1}

    return Feed(
        "example.org",
        lambda now: {"page": 1},
        request,
        read,
        skip=past if skip else None,
        poll_s=60,
    )


def listener(feed: Feed, store: Store, **settings: Any) -> HttpListener:
    return HttpListener(
        PollSettings("things", "source", **settings), feed, store.write, lambda: store.cursor
    )


def page_of(asked: Asked) -> int:
    return int(asked.get("page"))


def body(items: Sequence[Any], more: bool, **extra: Any) -> Reply:
    return Reply(body=json.dumps({"items": items, "more": more, **extra}).encode())


def test_a_round_reads_every_page_and_keeps_its_place() -> None:
    with serving(lambda asked: body([page_of(asked)], page_of(asked) < 3)) as service:
        store = Store()
        listener(paged(service.url), store).run(Waits(1))
    assert store.payloads == [b"1", b"2", b"3"]
    assert store.cursor == {"page": 4}
    assert {(n.broker, n.topic, n.partition) for n in store.notices} == {
        ("example.org", "things", 0)
    }


def test_a_restart_goes_on_where_the_store_says() -> None:
    with serving(lambda asked: body([page_of(asked)], False)) as service:
        store = Store({"page": 7})
        listener(paged(service.url), store).run(Waits(1))
    assert store.payloads == [b"7"]


def test_a_payload_is_known_by_its_content() -> None:
    """63 bits of SHA-256: the digest of b"" begins e3b0c44298fc1c14."""
    assert content_offset(b"") == 0xE3B0C44298FC1C14 >> 1
    assert 0 <= content_offset(b"x") < 2**63


def test_while_the_store_is_down_the_same_notices_are_tried_again() -> None:
    with serving(lambda asked: body([1, 2], False)) as service:
        store = Store(broken=3)
        found = listener(paged(service.url), store)
        found.run(Waits(4))
    assert store.payloads == [b"1", b"2"]
    assert len(service.asked) == 1
    assert "disk full" in found.status.last_error


def test_a_long_page_moves_the_place_only_with_its_last_part() -> None:
    places: list[Cursor | None] = []
    with serving(lambda asked: body(list(range(1200)), False)) as service:
        store = Store()
        write = store.write

        def spy(notices: Sequence[Notice], cursor: Cursor | None) -> None:
            places.append(cursor)
            write(notices, cursor)

        store.write = spy  # type: ignore[method-assign]
        listener(paged(service.url), store).run(Waits(1))
    assert len(store.payloads) == 1200
    assert places == [None, None, {"page": 2}]


@pytest.mark.parametrize(
    ("reply", "words", "state"),
    [
        (Reply(500), "HTTP 500", ListenerState.WAITING),
        (Reply(401), "login refused", ListenerState.UNREACHABLE),
        (Reply(body=b"<html>down for maintenance</html>"), "not JSON", ListenerState.WAITING),
        (Reply(body=b'{"items": []}'), "KeyError", ListenerState.WAITING),
        (Reply(body=b"x" * 200_000), "more than 100000 bytes", ListenerState.WAITING),
        (Reply(302, headers={"location": "http://127.0.0.9/"}), "redirects", ListenerState.WAITING),
    ],
)
def test_a_bad_answer_is_told_and_asked_again_with_growing_delay(
    reply: Reply, words: str, state: ListenerState
) -> None:
    seen: list[ListenerState] = []
    with serving(lambda asked: reply) as service:
        store = Store()
        found = listener(paged(service.url), store, backoff_s=1.0, backoff_max_s=8.0)
        found._on_status = lambda status: seen.append(status.state)
        waits = Waits(5)
        found.run(waits)
    assert words in found.status.last_error
    assert state in seen
    assert store.notices == []
    assert store.cursor is None
    longest = [1, 2, 4, 8, 8] if state is ListenerState.WAITING else [8] * 5
    assert all(most / 2 <= w <= most for w, most in zip(waits.waited, longest, strict=True))


def test_the_service_says_how_long_to_wait() -> None:
    replies = iter([Reply(429, headers={"Retry-After": "120"}), body([1], False)])
    with serving(lambda asked: next(replies)) as service:
        store = Store()
        waits = Waits(2)
        listener(paged(service.url), store).run(waits)
    assert waits.waited[0] == 120.0
    assert store.payloads == [b"1"]


def test_an_exhausted_quota_is_waited_for_even_when_the_answer_was_good() -> None:
    quota = {"x-rate-limit-limit": "10", "x-rate-limit-remaining": "0", "x-rate-limit-reset": "45"}
    replies = iter([Reply(body=b'{"items":[1],"more":true}', headers=quota), body([2], False)])
    with serving(lambda asked: next(replies)) as service:
        store = Store()
        waits = Waits(2)
        listener(paged(service.url), store).run(waits)
    assert waits.waited[0] == 45.0
    assert store.payloads == [b"1", b"2"]


@pytest.mark.parametrize(
    ("status", "headers", "expected"),
    [
        (200, {}, None),
        (429, {}, None),
        (429, {"retry-after": "7"}, 7.0),
        (503, {"retry-after": format_datetime(NOW + timedelta(seconds=90))}, 90.0),
        (429, {"retry-after": "tomorrow"}, 0.0),
        (429, {"retry-after": "-5"}, 0.0),
        (429, {"retry-after": "1e12"}, 3600.0),
        (429, {"x-rate-limit-reset": "30"}, 30.0),
        (200, {"x-rate-limit-remaining": "5", "x-rate-limit-reset": "30"}, None),
        (200, {"x-rate-limit-remaining": "0", "x-rate-limit-reset": "30"}, 30.0),
        (429, {"x-rate-limit-reset": str(NOW.timestamp() + 60)}, 60.0),
        (429, {"x-rate-limit-reset": "nan"}, None),
    ],
)
def test_what_the_headers_ask_for(
    status: int, headers: Mapping[str, str], expected: float | None
) -> None:
    assert pause_s(status, headers, NOW) == expected


def test_a_service_that_always_sends_the_same_page_is_left_alone() -> None:
    with serving(lambda asked: body(["same"], True)) as service:
        store = Store()
        found = listener(paged(service.url), store)
        found.run(Waits(3))
    assert len(service.asked) == 4
    assert store.payloads == [b'"same"']
    assert store.cursor == {"page": 2}
    assert "the same page again" in found.status.last_error


def test_a_place_that_does_not_move_ends_the_round() -> None:
    with serving(lambda asked: body([1], True, step=0)) as service:
        store = Store()
        found = listener(paged(service.url), store)
        found.run(Waits(3))
    assert len(service.asked) == 3
    assert "does not move" in found.status.last_error


def test_an_answer_that_stays_unreadable_is_gone_around_and_kept() -> None:
    with serving(
        lambda asked: Reply(body=b"broken") if page_of(asked) == 2 else body([page_of(asked)], True)
    ) as service:
        store = Store()
        found = listener(paged(service.url, skip=True), store, skip_after=3)
        stop = Waits(50)
        found._write = _stopping(store, stop, after=3)
        found.run(stop)
    assert store.payloads == [b"1", b"broken", b"3"]
    assert [page_of(asked) for asked in service.asked] == [1, 2, 2, 2, 3]
    assert "left out, unreadable" in found.status.last_error


def _stopping(store: Store, stop: threading.Event, after: int) -> Any:
    def write(notices: Sequence[Notice], cursor: Cursor | None) -> None:
        store.write(notices, cursor)
        if len(store.notices) >= after:
            stop.set()

    return write


def test_one_origin_may_redirect_within_itself() -> None:
    def answer(asked: Asked) -> Reply:
        if asked.path == "/list":
            return Reply(301, headers={"location": "/list/?page=1"})
        return body([1], False)

    with serving(answer) as service:
        store = Store()
        listener(paged(service.url), store).run(Waits(1))
    assert store.payloads == [b"1"]


def test_an_answer_that_never_ends_is_cut_off() -> None:
    def endless() -> Iterator[bytes]:
        while True:
            yield b"x" * 1000

    with serving(lambda asked: Reply(pieces=endless())) as service:
        with httpx.Client() as client, pytest.raises(ServiceError, match="more than 100000 bytes"):
            fetch(client, Request(f"{service.url}/", "t", max_bytes=100_000))


def test_an_answer_that_drips_is_cut_off() -> None:
    gate = threading.Event()

    def dripping() -> Iterator[bytes]:
        while not gate.wait(0.05):
            yield b"x"

    with serving(lambda asked: Reply(pieces=dripping())) as service:
        with httpx.Client() as client, pytest.raises(ServiceError, match="not all there"):
            fetch(client, Request(f"{service.url}/", "t", timeout_s=0.5))
        gate.set()


def test_told_to_stop_it_does_not_wait_for_the_end_of_an_answer() -> None:
    stop = threading.Event()

    def slow() -> Iterator[bytes]:
        yield b"{"
        stop.set()
        yield from (b" " for _ in range(50_000))

    with serving(lambda asked: Reply(pieces=slow())) as service:
        store = Store()
        listener(paged(service.url), store).run(stop)
    assert store.notices == []
    assert store.cursor is None


def test_a_credential_is_in_no_log_and_no_status(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with serving(lambda asked: Reply(403, body=SECRET.encode())) as service:
        found = listener(paged(service.url), Store())
        found.run(Waits(2))
        assert service.asked[0].headers["authorization"] == f"Bearer {SECRET}"
    assert SECRET not in caplog.text
    assert SECRET not in repr(found.status)
    assert SECRET not in repr(found.feed.request({"page": 1}, NOW))


@pytest.mark.parametrize(
    "address",
    [
        "http://example.org/api",
        "ftp://example.org",
        "https://user:pass@example.org",
        "https://example.org/?key=1",
        "example.org",
        "",
        "http://127.0.0.1.example.org",
    ],
)
def test_only_plain_https_addresses_are_taken(address: str) -> None:
    with pytest.raises(ConfigError, match="x: url"):
        checked_base(address, "x: url")


def test_nothing_listening_is_an_error_without_the_address() -> None:
    with httpx.Client() as client, pytest.raises(ServiceError, match="ConnectError"):
        fetch(client, Request("http://127.0.0.1:9/secret-path", "t"))
