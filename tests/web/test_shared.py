"""Pages made once for all who ask at the same time: never older than the question."""

from __future__ import annotations

import asyncio
import itertools

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from mmcoord.api.shared import SharedPages


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
    shared = SharedPages(app)
    return httpx.AsyncClient(transport=httpx.ASGITransport(shared), base_url="http://here")


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
