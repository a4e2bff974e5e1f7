"""What others observe, through intake and back out of the store."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy.orm import Session

from mmcoord.elsewhere import Elsewhere
from mmcoord.store.elsewhere import elsewhere_between, store_elsewhere
from mmcoord.store.tables import EventRow
from mmcoord.timescales import mjd_tai
from tests.stores import migrated

NOW = datetime(2026, 11, 24, 6, 0, tzinfo=UTC)
MJD = mjd_tai(NOW)


def record(key: str = "1", status: str = "planned", days: float = 0.0) -> Elsewhere:
    return Elsewhere("treasuremap", key, "GOTO", status, MJD + days, 10.0, -5.0, "sdss:r")  # type: ignore[arg-type]


@pytest.fixture
def session(tmp_path):  # type: ignore[no-untyped-def]
    database = migrated(f"sqlite:///{tmp_path}/x.db")
    with database.write() as found:
        yield found
    database.close()


def event(session: Session, name: str, time: datetime, state: str = "active") -> None:
    session.add(
        EventRow(
            event_id=name,
            messenger="gravitational_wave",
            state=state,
            is_practice=False,
            alert_type="initial",
            event_time=time,
            first_received_at=NOW,
            updated_at=NOW,
        )
    )
    session.flush()


def test_the_newest_notice_of_a_pointing_stands(session: Session) -> None:
    store_elsewhere(session, [(record(), 5), (record("2", days=3.0), 5)], NOW)
    store_elsewhere(session, [(record(status="completed"), 6)], NOW)
    store_elsewhere(session, [(record(), 4)], NOW)  # an old one again
    found = elsewhere_between(session, MJD - 1, MJD + 1)
    assert [(r.key, r.status) for r in found] == [("1", "completed")]
    store_elsewhere(session, [(record(status="cancelled"), 7)], NOW)
    assert [r.key for r in elsewhere_between(session, MJD - 1, MJD + 9)] == ["2"]
    assert elsewhere_between(session, MJD + 2, MJD + 9) == [record("2", days=3.0)]


def test_plans_of_recent_active_events_are_made_anew(session: Session) -> None:
    event(session, "new", NOW - timedelta(days=1))
    event(session, "later", NOW + timedelta(days=1))
    event(session, "old", NOW - timedelta(days=30))
    event(session, "gone", NOW - timedelta(days=1), state="retracted")
    wishes = store_elsewhere(session, [(record(), 5)], NOW)
    assert [(w.stage, w.key, w.cause_id) for w in wishes] == [("plan", "new", "notice:5")]
    assert store_elsewhere(session, [], NOW) == []
