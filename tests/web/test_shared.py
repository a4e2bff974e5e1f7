"""Pages made once for all who ask at the same time: never older than the question."""

from __future__ import annotations

import asyncio
import itertools

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from mmcoord.api import shared
from mmcoord.api.shared import LIVE, SharedPages


class Slow:
    """Reads a counter, takes a while, and says what it read."""

    def __init__(self) -> None:
        self.store = 0
        self.made = 0
        self.at_once = 0
        self.most_at_once = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.made += 1
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        read = self.store
        await asyncio.sleep(0.02)
        self.at_once -= 1
        if scope["query_string"] == b"broken":
            raise RuntimeError("the template is broken")
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": str(read).encode()})


def client(app: Slow) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(SharedPages(app)), base_url="http://here"
    )


def test_a_crowd_costs_two_makings() -> None:
    app = Slow()

    async def crowd() -> list[httpx.Response]:
        async with client(app) as reader:
            return await asyncio.gather(*(reader.get("/events/S1") for _ in range(100)))

    answers = asyncio.run(crowd())
    assert {answer.text for answer in answers} == {"0"}
    assert app.made <= 2


def test_nobody_gets_a_page_older_than_the_question() -> None:
    """Questions all through, the store changing all the time."""
    app = Slow()

    async def ask(reader: httpx.AsyncClient) -> tuple[int, int]:
        known = app.store
        return known, int((await reader.get("/")).text)

    async def change() -> None:
        for app.store in itertools.count(1):
            await asyncio.sleep(0.003)

    async def night() -> list[tuple[int, int]]:
        changing = asyncio.create_task(change())
        async with client(app) as reader:
            asked: list[asyncio.Task[tuple[int, int]]] = []
            for _ in range(30):
                asked += [asyncio.create_task(ask(reader)) for _ in range(5)]
                await asyncio.sleep(0.002)
            found = await asyncio.gather(*asked)
        changing.cancel()
        return found

    found = asyncio.run(night())
    assert all(read >= known for known, read in found)
    assert app.made <= 30
    assert app.most_at_once == 1


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/events/S1", {"Cookie": "a=b"}),
        ("/events/S1", {"Authorization": "Bearer x"}),
        ("/events/stream", {}),
        ("/api/v1/events", {}),
        ("/signin", {}),
    ],
)
def test_what_is_for_one_reader_is_made_for_him(path: str, headers: dict[str, str]) -> None:
    app = Slow()

    async def crowd() -> None:
        async with client(app) as reader:
            await asyncio.gather(*(reader.get(path, headers=headers) for _ in range(9)))

    asyncio.run(crowd())
    assert app.made == 9


def test_different_addresses_do_not_share() -> None:
    app = Slow()

    async def crowd() -> None:
        async with client(app) as reader:
            await asyncio.gather(*(reader.get(f"/events/S1?target={k}") for k in range(9)))

    asyncio.run(crowd())
    assert app.made == 9


def test_a_page_that_fails_fails_for_all_and_the_next_is_made_anew() -> None:
    app = Slow()

    async def crowd() -> list[httpx.Response | BaseException]:
        async with client(app) as reader:
            first = [reader.get("/events?broken") for _ in range(5)]
            found = await asyncio.gather(*first, return_exceptions=True)
            return [*found, await reader.get("/events")]

    *failed, good = asyncio.run(crowd())
    assert all(isinstance(error, RuntimeError) for error in failed)
    assert isinstance(good, httpx.Response)
    assert good.text == "0"


def test_a_reader_who_goes_away_takes_the_page_from_nobody() -> None:
    app = Slow()

    async def crowd() -> str:
        async with client(app) as reader:
            impatient = asyncio.create_task(reader.get("/events"))
            patient = asyncio.create_task(reader.get("/events"))
            await asyncio.sleep(0.005)
            impatient.cancel()
            return (await patient).text

    assert asyncio.run(crowd()) == "0"


# -- kept while nothing is written --------------------------------------------------------


class Told:
    """An application over a store that counts what is written to it."""

    def __init__(self) -> None:
        self.store = self.made = 0
        self.status, self.headers = 200, [(b"etag", b'W/"one"')]
        self.is_away = False

    def version(self) -> int:
        if self.is_away:
            raise OSError("the store is away")
        return self.store

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert b"if-none-match" not in dict(scope["headers"])
        self.made += 1
        body = str(self.store).encode()
        headers = [*self.headers, (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def reader(self) -> httpx.AsyncClient:
        application = SharedPages(self, self.version)
        return httpx.AsyncClient(transport=httpx.ASGITransport(application), base_url="http://here")


def test_a_page_is_made_again_only_when_something_was_written() -> None:
    app = Told()

    async def night() -> list[str]:
        async with app.reader() as reader:
            found = []
            for app.store in (1, 1, 1, 2, 2):
                found.append((await reader.get("/events/S1")).text)
            return found

    assert asyncio.run(night()) == ["1", "1", "1", "2", "2"]
    assert app.made == 2


def test_a_page_is_not_given_out_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared, "KEPT_S", 0.0)
    app = Told()

    async def night() -> None:
        async with app.reader() as reader:
            for _ in range(3):
                await reader.get("/health")

    asyncio.run(night())
    assert app.made == 3


def test_a_browser_that_was_told_of_news_gets_what_was_begun_within_the_second(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    app = Told()

    async def ask(reader: httpx.AsyncClient) -> str:
        app.store += 1
        return (await reader.get("/", headers={LIVE: "1"})).text

    async def night() -> list[str]:
        async with app.reader() as reader:
            found = [await ask(reader), await ask(reader)]
            monkeypatch.setattr(shared, "_LIVE_S", 0.0)
            return [*found, await ask(reader)]

    assert asyncio.run(night()) == ["1", "1", "3"]


def test_what_fails_or_cannot_be_dated_is_not_kept() -> None:
    app = Told()

    async def night() -> list[int]:
        async with app.reader() as reader:
            app.is_away = True
            found = [(await reader.get("/events")).status_code for _ in range(2)]
            app.is_away, app.status = False, 404
            return found + [(await reader.get("/events/none")).status_code for _ in range(2)]

    assert asyncio.run(night()) == [200, 200, 404, 404]
    assert app.made == 4


def test_who_holds_a_copy_is_told_that_it_stands_and_nobody_else_is() -> None:
    app = Told()
    has_it = {"If-None-Match": 'W/"one"'}

    async def night() -> list[httpx.Response]:
        async with app.reader() as reader:
            path = "/viewer/sky.json"
            first = await asyncio.gather(reader.get(path, headers=has_it), reader.get(path))
            return [*first, await reader.get(path, headers=has_it), await reader.get(path)]

    answers = asyncio.run(night())
    assert [(a.status_code, a.text) for a in answers] == 2 * [(304, ""), (200, "0")]
    assert all("content-length" not in a.headers for a in answers if a.status_code == 304)
    assert app.made == 1


def test_who_signed_in_gets_nothing_that_was_kept_and_leaves_nothing() -> None:
    app = Told()

    async def night() -> None:
        async with app.reader() as reader:
            for headers in ({}, {"Cookie": "a=b"}, {}, {"Authorization": "Bearer x"}):
                await reader.get("/runs", headers=headers)

    asyncio.run(night())
    assert app.made == 3
