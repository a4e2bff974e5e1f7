"""The same pages and answers from PostgreSQL, and counts that agree while others write."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from mmcoord.api.app import create_app
from mmcoord.config import Settings
from mmcoord.store import views_log
from mmcoord.store.database import Database
from mmcoord.store.queue import Wish, enqueue, finish, take
from tests.stores import migrated
from tests.web import sample
from tests.web.busy import search_wide
from tests.web.sample import EVENT, FIRST, HEARD, RUN

pytestmark = pytest.mark.postgres


@pytest.fixture
def postgres(postgres_url: str) -> Iterator[Database]:
    database = migrated(postgres_url)
    yield database
    database.close()


def test_every_page_and_answer_is_the_same_as_from_sqlite(
    postgres: Database, filled: Database
) -> None:
    sample.fill(postgres)
    for store in (postgres, filled):
        search_wide(store)
    clients = [TestClient(create_app(store, Settings(), list)) for store in (postgres, filled)]
    for path in (
        "/healthz", "/api/v1/events", f"/api/v1/events/{EVENT}", f"/api/v1/events/{EVENT}/plan",
        f"/api/v1/events/{EVENT}/story", f"/api/v1/events/{EVENT}/candidates",
        f"/api/v1/objects/{FIRST}", f"/api/v1/runs/{RUN}", "/api/v1/ledger",
        "/api/v1/dead-letters", "/api/v1/deliveries", "/api/v1/notices/3",
    ):  # fmt: skip
        answers = [client.get(path) for client in clients]
        assert answers[0].status_code == 200
        assert answers[0].json() == answers[1].json()
    for path in ("/", f"/events/{EVENT}", "/health", "/notices/3", f"/objects/{FIRST}"):
        assert clients[0].get(path).status_code == 200
    assert clients[0].get("/api/v1/notices/3/raw").content == b"\x00\x01Obj\xff" * 200


def test_the_ledger_always_balances_to_a_reader_while_work_is_done(postgres: Database) -> None:
    stop = threading.Event()

    def work() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            with postgres.write() as session:
                enqueue(session, [Wish("match", f"{number}:{k}", "c") for k in range(5)], HEARD)
            with postgres.write() as session:
                finish(session, take(session, "match", HEARD, 5))

    worker = threading.Thread(target=work)
    worker.start()
    try:
        for _ in range(300):
            with postgres.snapshot() as session:
                lost = [line.lost for line in views_log.ledger(session)]
            assert lost
            assert set(lost) == {0}
    finally:
        stop.set()
        worker.join(timeout=20)
