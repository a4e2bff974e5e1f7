"""Backup of a store in use, restoring it, and bringing older stores up to date."""

from __future__ import annotations

import json
import shutil
import stat
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlmodel import SQLModel

import skymaps
from mmcoord.errors import ConfigError, MmcoordError
from mmcoord.stages import intake
from mmcoord.store import copies, queue
from mmcoord.store.database import Database
from mmcoord.store.migrate import alembic_config, upgrade
from mmcoord.store.tables import DeliveryRow, NoticeRow
from tests.deploy.running import mmcoord
from tests.making import candidate_row, gaussian_map, lvk_notice, make_context, send
from tests.system import missing
from tests.web import sample


@pytest.fixture
def empty(database_url: str, tmp_path: Path) -> Iterator[Database]:
    """A second store of the same system, without tables."""
    if database_url.startswith("sqlite"):
        database = Database(f"sqlite:///{tmp_path / 'second' / 'mmcoord.db'}")
        yield database
        database.close()
        return
    if shutil.which("pg_dump") is None:
        missing("pg_dump (Debian: postgresql-client)")
    from tests.fixtures_postgres import fresh_database

    server, _, _ = database_url.rpartition("/")
    with fresh_database(server) as url:
        database = Database(url)
        yield database
        database.close()


def counted(database: Database) -> dict[str, int]:
    """Rows of each table, counted apart from the code under test."""
    with database.read() as session:
        return {
            table.name: session.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()
            for table in SQLModel.metadata.tables.values()
        }


def test_a_store_in_use_is_copied_at_one_instant_and_goes_on_when_restored(
    database: Database, empty: Database, tmp_path: Path
) -> None:
    ctx = make_context(database, tmp_path / "out")
    send(ctx, [("igwn", lvk_notice(skymap=skymaps.to_fits_bytes(gaussian_map())))])
    intake.run(ctx)
    busy, stop = threading.Event(), threading.Event()

    def keep_on() -> None:
        offset = 10
        while not stop.is_set():
            rows = [candidate_row(f"SN{offset}x{n}", 150.0, -20.0) for n in range(5)]
            send(ctx, [("table_candidates", row) for row in rows], first_offset=offset)
            intake.run(ctx) if offset % 2 else None  # some stay pending
            offset += 5
            busy.set()

    writer = threading.Thread(target=keep_on)
    writer.start()
    try:
        assert busy.wait(60)
        found = copies.backup(database, tmp_path / "one.backup")
        later = counted(database)
        busy.clear()
        assert busy.wait(60)  # writing went on during the copy and after it
    finally:
        stop.set()
        writer.join()
    assert found.ledger_balanced
    assert found.rows["notice"] <= later["notice"] < counted(database)["notice"]

    restored = copies.restore(tmp_path / "one.backup", empty)
    assert restored == found
    assert counted(empty) == found.rows
    with empty.snapshot() as session:
        notices = session.execute(sa.select(NoticeRow)).scalars().all()
    with database.snapshot() as session:
        for row in notices:
            original = session.get(NoticeRow, row.id)
            assert original is not None
            assert (original.payload, original.sha256) == (row.payload, row.sha256)
    second = replace(ctx, database=empty)
    while intake.run(second):
        pass
    with empty.snapshot() as session:
        of_intake = next(b for b in queue.balance(session) if b.stage == queue.INTAKE)
    assert (of_intake.lost, of_intake.pending) == (0, 0)
    assert of_intake.processed == found.rows["notice"]


def test_what_was_still_to_be_sent_is_asked_after_and_not_sent_again_blindly(
    database: Database, empty: Database, tmp_path: Path
) -> None:
    states = ("pending", "sending", "sent", "failed")
    sample.add(
        database,
        *(
            sample.delivery_row(n, key=str(n), state=state, attempts=0)
            for n, state in enumerate(states, 1)
        ),
    )
    copies.backup(database, tmp_path / "one.backup")
    copies.restore(tmp_path / "one.backup", empty)
    with empty.read() as session:
        rows = session.execute(sa.select(DeliveryRow).order_by(sa.text("id"))).scalars()
        assert [row.state for row in rows] == ["unknown", "unknown", "sent", "failed"]


def test_a_backup_replaces_no_other_and_is_for_its_owner_alone(
    database: Database, tmp_path: Path
) -> None:
    out = tmp_path / "backups" / "one.backup"
    if not database.is_sqlite and shutil.which("pg_dump") is None:
        missing("pg_dump (Debian: postgresql-client)")
    copies.backup(database, out)
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    content = out.read_bytes()
    with pytest.raises(MmcoordError, match="never replaces"):
        copies.backup(database, out)
    assert [out] == list(out.parent.iterdir())  # nothing half done is left
    assert out.read_bytes() == content


def test_a_store_with_anything_in_it_is_not_restored_over(
    database: Database, tmp_path: Path
) -> None:
    copies.backup(database, tmp_path / "one.backup")
    with pytest.raises(ConfigError, match="not empty"):
        copies.restore(tmp_path / "one.backup", database)


def test_what_is_no_sound_backup_is_refused(sqlite_url: str, tmp_path: Path) -> None:
    database = Database(sqlite_url)
    with pytest.raises(MmcoordError, match="no store to copy"):
        copies.backup(database, tmp_path / "none.backup")
    upgrade(database)
    copies.backup(database, tmp_path / "good.backup")
    content = bytearray((tmp_path / "good.backup").read_bytes())
    content[4096:12288] = b"\xff" * 8192
    (tmp_path / "bad.backup").write_bytes(content)
    (tmp_path / "text").write_text("not a store")
    for name, target in (("bad.backup", "a"), ("text", "b")):
        with pytest.raises(MmcoordError):
            copies.restore(tmp_path / name, Database(f"sqlite:///{tmp_path / target}.db"))
    database.close()


def test_a_copy_by_a_newer_version_is_refused_with_the_reason(
    sqlite_url: str, tmp_path: Path
) -> None:
    database = Database(sqlite_url)
    upgrade(database)
    with database.write() as session:
        session.execute(sa.text("UPDATE alembic_version SET version_num = '9999_future'"))
    copies.backup(database, tmp_path / "one.backup")
    with pytest.raises(MmcoordError, match="newer mmcoord"):
        copies.restore(tmp_path / "one.backup", Database(f"sqlite:///{tmp_path / 'new.db'}"))
    database.close()


@pytest.mark.long
def test_the_commands_say_what_they_copied(tmp_path: Path) -> None:
    database = sample.open_store(tmp_path / "first")
    sample.fill(database)
    expected = counted(database)
    database.close()
    said = [
        mmcoord("backup", str(tmp_path / "b"), "--db", str(tmp_path / "first" / sample.FILE),
                "--json"),
        mmcoord("restore", str(tmp_path / "b"), "--db", str(tmp_path / "second.db"), "--json"),
    ]  # fmt: skip
    for done in said:
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["rows"] == expected
    again = mmcoord("restore", str(tmp_path / "b"), "--db", str(tmp_path / "second.db"))
    assert (again.returncode, "not empty" in again.stderr) == (2, True)


# -- older stores ------------------------------------------------------------------------


def contents(engine: sa.Engine) -> dict[str, list[dict[str, Any]]]:
    """Every row of every table that the models know, column by column as they are there."""
    found = {}
    with engine.connect() as connection:
        there = sa.inspect(connection)
        for name, model in SQLModel.metadata.tables.items():
            if there.has_table(name):
                columns = [c["name"] for c in there.get_columns(name) if c["name"] in model.c]
                table = sa.table(name, *(sa.column(c, model.c[c].type) for c in columns))
                found[name] = [dict(row) for row in connection.execute(sa.select(table)).mappings()]
    return found


@pytest.mark.parametrize("revision", ["0001", "0002"])
def test_a_store_of_an_older_version_keeps_every_row_and_gets_today_s_schema(
    database_url: str, revision: str, tmp_path: Path
) -> None:
    today = sample.open_store(tmp_path / "today")
    sample.fill(today)
    rows = contents(today.engine)
    today.close()
    database = Database(database_url)
    command.upgrade(alembic_config(database), revision)
    with database.engine.begin() as connection:
        there = sa.inspect(connection)
        for name, model in SQLModel.metadata.tables.items():
            if rows[name] and there.has_table(name):
                had = {c["name"] for c in there.get_columns(name)} & set(model.c.keys())
                table = sa.table(name, *(sa.column(c, model.c[c].type) for c in had))
                connection.execute(
                    sa.insert(table), [{c: row[c] for c in had} for row in rows[name]]
                )
    before = contents(database.engine)
    assert sum(map(len, before.values())) > 100

    upgrade(database)
    after = contents(database.engine)
    for name, old in before.items():
        left = [{c: row[c] for c in old[0]} for row in after[name]] if old else []
        assert all(row in left for row in old), name
        if old:
            assert len(left) == len(old), name
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection)
        assert compare_metadata(context, SQLModel.metadata) == []
    with database.snapshot() as session:
        assert all(line.lost == 0 for line in queue.balance(session))
    database.close()
