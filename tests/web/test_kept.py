"""Pages that are kept are those that would be made: against an application that keeps nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import delete, update
from sqlmodel import SQLModel, col

from mmcoord.access import Scope
from mmcoord.api.app import create_app
from mmcoord.api.service import Service
from mmcoord.config import Settings
from mmcoord.stages.planrows import row_to_json
from mmcoord.store.database import Database
from mmcoord.store.tables import (
    AlarmRow,
    CandidateRow,
    CounterRow,
    DetectionRow,
    EventRow,
    LedgerRow,
    LocalizationRow,
    MatchRow,
    PlanRevisionRow,
    RequestRow,
    RunRow,
    ScreeningRow,
)
from mmcoord.store.tables_claims import ClaimRow
from mmcoord.web.drawings import Drawings
from tests.api.conftest import make_token
from tests.web import sample
from tests.web.sample import EVENT, FIRST, HEARD

NOW = HEARD + timedelta(hours=1)
PAGES = (
    "/", "/events", "/runs", f"/events/{EVENT}", f"/objects/{FIRST}", "/health", "/notices",
    f"/viewer?event={EVENT}", f"/viewer/sky.json?event={EVENT}",
)  # fmt: skip


@pytest.fixture(autouse=True)
def still(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock stands: what changes on a page is then what is in the store."""
    monkeypatch.setattr(Service, "now", lambda service: NOW)


def make(database: Database) -> TestClient:
    return TestClient(create_app(database, Settings(), list))


@pytest.fixture
def long_running(filled: Database) -> Iterator[TestClient]:
    with make(filled) as client:
        yield client


def pages(client: TestClient, **headers: str) -> dict[str, str]:
    found = {}
    for path in PAGES:
        answer = client.get(path, headers=headers)
        assert answer.status_code == 200, path
        found[path] = answer.text
    return found


def _set(row: type[SQLModel], **values: Any) -> Callable[[Database], None]:
    def change(database: Database) -> None:
        with database.write() as session:
            session.execute(update(row).values(**values))

    return change


def _add(*rows: Callable[[], SQLModel]) -> Callable[[Database], None]:
    return lambda database: sample.add(database, *(row() for row in rows))


def _new_plan(database: Database) -> None:
    planned = sample.plan_row(1, "SN27ccc", 0.9)
    sample.add(
        database,
        PlanRevisionRow(event_id=EVENT, revision=3, content_sha256="3" * 64, planned_for=HEARD,
                        n_targets=1, objective=0.9, note="one", created_at=HEARD),
        RequestRow(event_id=EVENT, revision=3, rank=1, object_id="SN27ccc", score=0.9,
                   row=row_to_json(planned)),
    )  # fmt: skip


def _lose_a_match(database: Database) -> None:
    with database.write() as session:
        session.execute(delete(MatchRow).where(col(MatchRow.object_id) == "CAND007"))


def _move(database: Database) -> None:
    with database.write() as session:
        session.execute(
            update(CandidateRow)
            .where(col(CandidateRow.object_id) == "CAND007")
            .values(ra_deg=197.9, dec_deg=-23.9)
        )


CHANGES: dict[str, tuple[Callable[[Database], None], str]] = {
    "a candidate moves": (_move, f"/events/{EVENT}"),
    "a match goes": (_lose_a_match, f"/events/{EVENT}"),
    "a screen says more": (_set(ScreeningRow, p_kilonova=0.6), f"/viewer/sky.json?event={EVENT}"),
    "another map": (_set(EventRow, localization_id="beef" * 16), f"/viewer?event={EVENT}"),
    "the map's size": (_set(LocalizationRow, area_90_deg2=77.7), "/events"),
    "a new plan": (_new_plan, f"/events/{EVENT}"),
    "a retraction": (_set(EventRow, state="retracted"), "/events"),
    "a point": (_set(DetectionRow, mag_ab=18.0), f"/objects/{FIRST}"),
    "a run fails": (_set(RunRow, state="failed", error="too few points"), "/runs"),
    "a run becomes private": (_set(RunRow, partition="owls"), f"/objects/{FIRST}"),
    "an alarm": (_add(lambda: sample.alarm_row("disk low")), "/notices"),
    "the ledger": (_set(LedgerRow, received=90), "/health"),
    "a rule": (_add(lambda: CounterRow(source="lsst", name="veto bogus", n=7)), "/health"),
    "a line of the journal": (
        _add(lambda: sample.journal("sent", "x", "y", 9.0)),
        f"/events/{EVENT}",
    ),
    "a claim": (
        _add(
            lambda: ClaimRow(
                event_id=EVENT, object_id=FIRST, group="owls", state="claimed", via="api",
                created_at=HEARD, changed_at=HEARD, expires_at=NOW + timedelta(hours=1),
            )
        ),
        "/",
    ),
}  # fmt: skip


def test_a_change_of_anything_is_on_the_pages_at_once(
    long_running: TestClient, filled: Database
) -> None:
    """After each change every page is what an application makes that keeps nothing: a reader with
    a cookie gets a page of his own, and the drawings are thrown away."""
    other = make(filled)
    app: Any = other.app
    before = pages(long_running)
    for what, (change, where) in CHANGES.items():
        change(filled)
        now = pages(long_running)
        assert now[where] != before[where], f"{what} is not seen on {where}"
        app.state.service = replace(app.state.service, drawings=Drawings())
        assert now == pages(other, Cookie="of=nobody"), what
        before = now


def test_what_others_write_is_seen_too(long_running: TestClient, filled: Database) -> None:
    before = long_running.get("/").text
    other = Database(str(filled))
    sample.add(other, sample.alarm_row("disk low"))
    other.close()
    assert "disk low" in long_running.get("/").text
    assert "disk low" not in before
    with filled.write() as session:
        session.execute(update(AlarmRow).values(cleared_at=HEARD))
    assert long_running.get("/").text == before


def test_a_private_run_is_kept_for_nobody(long_running: TestClient, filled: Database) -> None:
    """Readers of each kind after readers of each other kind, with nothing written in between."""
    sample.add(
        filled,
        sample.run_row(run_key="e" * 64, partition="owls", object_id="SECRET", event_id=EVENT),
    )
    owls, others = (
        make_token(filled, group, Scope.READ, valid_day=1000.0)["Authorization"].removeprefix(
            "Bearer "
        )
        for group in ("owls", "others")
    )
    for _ in range(2):
        for token, may_see in ((None, False), (owls, True), (others, False), (None, False)):
            cookies = {"Cookie": f"mmcoord_token={token}"} if token else {}
            answer = long_running.get("/runs", headers=cookies)
            assert answer.status_code == 200
            assert ("SECRET" in answer.text) is may_see


def test_the_sky_of_a_viewer_is_sent_once(long_running: TestClient, filled: Database) -> None:
    path = f"/viewer/sky.json?event={EVENT}"
    first = long_running.get(path)
    has_it = {"If-None-Match": first.headers["etag"]}
    again = long_running.get(path, headers=has_it)
    assert (again.status_code, again.content) == (304, b"")
    sample.add(filled, sample.journal("sent", "x", "y", 9.0))  # nothing of the sky
    assert long_running.get(path, headers=has_it).status_code == 304
    _move(filled)
    moved = long_running.get(path, headers=has_it)
    assert moved.status_code == 200
    assert moved.json() != first.json()


def test_style_and_scripts_are_fetched_once(client: TestClient) -> None:
    text = client.get("/").text
    (style,) = (part for part in text.split('"') if part.startswith("/static/mmcoord.css"))
    assert "immutable" in client.get(style).headers["cache-control"]
    for other in ("/static/mmcoord.css", "/static/mmcoord.css?v=old"):
        assert client.get(other).headers["cache-control"] == "no-cache"
    missing = client.get(f"/static/nothing?{style.split('?')[1]}")
    assert missing.status_code == 404
    assert "immutable" not in missing.headers["cache-control"]
