"""The store means the same on SQLite and PostgreSQL, and its queue loses nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, inspect, select
from sqlalchemy.exc import StatementError
from sqlmodel import SQLModel

from mmcoord.errors import ConfigError
from mmcoord.records import Photometry
from mmcoord.store import queue
from mmcoord.store.database import Database
from mmcoord.store.ingest import store_photometry
from mmcoord.store.migrate import upgrade
from mmcoord.store.queue import Wish
from mmcoord.store.tables import CandidateRow, DetectionRow, NoticeRow, WorkRow
from tests.stores import migrated

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_migrations_build_exactly_the_tables_of_the_models(database: Database) -> None:
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection)
        differences = compare_metadata(context, SQLModel.metadata)
    assert differences == []


def test_upgrading_twice_changes_nothing(database: Database) -> None:
    before = sorted(inspect(database.engine).get_table_names())
    upgrade(database)
    assert sorted(inspect(database.engine).get_table_names()) == before


def test_64_bit_integers_survive(database: Database) -> None:
    last_pixel_29 = 12 * 4**29 - 1
    row = CandidateRow(
        object_id="x",
        source="lsst",
        ra_deg=1.0,
        dec_deg=2.0,
        hpx29=last_pixel_29,
        notice_id=2**62,
        received_at=NOW,
    )
    with database.write() as session:
        session.add(row)
    with database.read() as session:
        back = session.get(CandidateRow, "x")
    assert back is not None
    assert (back.hpx29, back.notice_id) == (last_pixel_29, 2**62)


def test_times_come_back_in_utc_whatever_zone_they_had(database: Database) -> None:
    paranal = timezone(timedelta(hours=-4))
    local = datetime(2026, 1, 1, 20, 30, tzinfo=paranal)
    with database.write() as session:
        session.add(_notice(0, received_at=local))
    with database.read() as session:
        back = session.execute(select(NoticeRow)).scalar_one()
    assert back.received_at == local
    assert back.received_at.utcoffset() == timedelta(0)


def test_a_time_without_a_zone_is_refused(database: Database) -> None:
    naive = datetime(2026, 1, 1)  # noqa: DTZ001

    def write() -> None:
        with database.write() as session:
            session.add(_notice(0, received_at=naive))

    with pytest.raises(StatementError, match="time without a zone"):
        write()


def test_a_failed_transaction_leaves_nothing(database: Database) -> None:
    def write() -> None:
        with database.write() as session:
            session.add(_notice(0))
            session.flush()
            queue.count(session, "intake", received=1)
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        write()
    with database.read() as session:
        assert session.execute(select(NoticeRow)).first() is None
        assert queue.balance(session)[0].received == 0


def test_only_one_pipeline_per_store(database: Database, database_url: str) -> None:
    other = Database(database_url)
    with database.pipeline_lock():
        with pytest.raises(ConfigError, match="another mmcoord"), other.pipeline_lock():
            pass
    with other.pipeline_lock():
        pass
    other.close()


def test_an_unsupported_database_is_named() -> None:
    with pytest.raises(ConfigError, match="mysql"):
        Database("mysql://u@h/d")


def test_a_wish_that_arrives_while_its_key_is_served_is_not_lost(database: Database) -> None:
    with database.write() as session:
        queue.enqueue(session, [Wish("match", "k", "c1")], NOW)
    with database.read() as session:
        taken = queue.take(session, "match", NOW, 10)
    with database.write() as session:  # new data for the same key, before we are done
        queue.enqueue(session, [Wish("match", "k", "c2")], NOW)
    with database.write() as session:
        queue.finish(session, taken)
    with database.read() as session:
        again = queue.take(session, "match", NOW, 10)
        assert [(w.key, w.cause_id) for w in again] == [("k", "c2")]
        match = {b.stage: b for b in queue.balance(session)}["match"]
    assert (match.received, match.processed, match.pending, match.lost) == (2, 1, 1, 0)


def test_a_debounced_wish_waits_but_not_for_ever(database: Database) -> None:
    second = timedelta(seconds=1)
    for elapsed in range(0, 20, 5):  # a steady stream of wishes
        with database.write() as session:
            queue.enqueue(session, [Wish("infer", "k", "c", delay_s=20)], NOW + elapsed * second)
    with database.read() as session:
        assert queue.take(session, "infer", NOW + 19 * second, 10) == []
        (work,) = queue.take(session, "infer", NOW + 20 * second, 10)
        assert work.enqueued_at == NOW  # latency counts from the first wish
        assert queue.next_due(session) == NOW + 20 * second


def test_an_urgent_wish_stays_urgent(database: Database) -> None:
    with database.write() as session:
        queue.enqueue(session, [Wish("plan", "S1", "alert", priority=0)], NOW)
        queue.enqueue(session, [Wish("plan", "S2", "c")], NOW)
        queue.enqueue(session, [Wish("plan", "S1", "match", priority=1, delay_s=60)], NOW)
    with database.read() as session:
        assert [w.key for w in queue.take(session, "plan", NOW, 1)] == ["S1"]


def test_urgent_wishes_go_first(database: Database) -> None:
    with database.write() as session:
        queue.enqueue(session, [Wish("match", f"object:{i}", "c") for i in range(5)], NOW)
        queue.enqueue(session, [Wish("match", "event:S1", "c", priority=0)], NOW)
    with database.read() as session:
        assert [w.key for w in queue.take(session, "match", NOW, 1)] == ["event:S1"]


def test_the_ledger_shows_a_loss(database: Database) -> None:
    """The negative control: work that vanishes without being counted is seen."""
    with database.write() as session:
        queue.enqueue(session, [Wish("plan", "a", "c"), Wish("plan", "b", "c")], NOW)
    with database.write() as session:
        row = session.get(WorkRow, ("plan", "a"))
        assert row is not None
        session.delete(row)
    with database.read() as session:
        assert {b.stage: b.lost for b in queue.balance(session)}["plan"] == 1


@given(
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("wish"), st.sampled_from("abc")),
            st.tuples(st.just("take"), st.just("")),
            st.tuples(st.just("finish"), st.just("")),
            st.tuples(st.just("crash"), st.just("")),
        ),
        max_size=30,
    )
)
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_the_ledger_balances_through_any_sequence_with_crashes(
    steps: list[tuple[str, str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    database = migrated(f"sqlite:///{tmp_path_factory.mktemp('q') / 'q.db'}")
    held: list[queue.Work] = []
    for step, key in steps:
        if step == "wish":
            with database.write() as session:
                queue.enqueue(session, [Wish("match", key, "c")], NOW)
        elif step == "take":
            with database.read() as session:
                held = queue.take(session, "match", NOW, 10)
        elif step == "finish":
            with database.write() as session:
                queue.finish(session, held)
            held = []
        else:
            held = []  # what was in memory is gone
        with database.read() as session:
            assert all(b.lost == 0 for b in queue.balance(session))
    wanted = {key for step, key in steps if step == "wish"}
    with database.read() as session:
        pending = {w.key for w in queue.take(session, "match", NOW, 10)}
    assert pending <= wanted
    database.close()


def _notice(offset: int, received_at: datetime = NOW) -> NoticeRow:
    return NoticeRow(
        source="igwn",
        broker="b",
        topic="t",
        partition=0,
        offset=offset,
        payload=b"{}",
        sha256="0",
        received_at=received_at,
    )


def test_a_batch_with_long_histories_is_stored(database: Database) -> None:
    """8,000 points in one batch of packets: more parameters than a statement may have."""
    points = [
        (Photometry(f"o{i % 50}", 60000.0 + i * 0.01, "lsst:r", 20.0, 0.1), 1) for i in range(8000)
    ]
    with database.write() as session:
        store_photometry(session, points, NOW)
    with database.read() as session:
        assert session.execute(select(func.count()).select_from(DetectionRow)).scalar_one() == 8000


# -- the version ---------------------------------------------------------------------------


def test_the_version_changes_with_every_commit_and_with_nothing_else(database: Database) -> None:
    def row(name: str) -> CandidateRow:
        return CandidateRow(object_id=name, source="x", ra_deg=1.0, dec_deg=2.0, received_at=NOW)

    other = Database(str(database.url.render_as_string(hide_password=False)))
    seen = [database.version()]
    with database.read() as session:
        session.execute(select(CandidateRow)).all()
    # PostgreSQL cleans up by itself now and then, which is a transaction, too.
    assert any(database.version() == database.version() for _ in range(20))
    for number, writer in enumerate((database, other, other, database)):
        with writer.write() as session:
            session.add(row(f"object {number}"))
            session.flush()
            before = database.version()  # PostgreSQL: another one is under way
        seen.append(database.version())
        assert seen[-1] not in (before, *seen[:-1])
    other.close()
