"""Copying a store while it is in use, and making a store of a copy.

SQLite: the online backup API, in one step, because it begins again whenever somebody writes in
between; writers do not wait for it (WAL). PostgreSQL: ``pg_dump`` and ``pg_restore`` from the
same snapshot in which the rows are counted. Either way the copy is the store at one instant.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from alembic.script import ScriptDirectory
from sqlalchemy import URL, inspect, text, update
from sqlalchemy.orm import Session
from sqlmodel import col

from mmcoord.errors import ConfigError, MissingPart, MmcoordError
from mmcoord.store import queue
from mmcoord.store.database import Database
from mmcoord.store.migrate import alembic_config, upgrade
from mmcoord.store.tables import DeliveryRow

__all__ = ["Inventory", "backup", "inventory", "restore"]

_SQLITE, _POSTGRESQL = b"SQLite format 3\x00", b"PGDMP"


@dataclass(frozen=True, slots=True)
class Inventory:
    """What a store holds, at one instant."""

    revision: str
    """Of the schema."""
    rows: dict[str, int]
    """Table -> number of rows."""
    ledger_balanced: bool


def inventory(session: Session) -> Inventory:
    """Call inside ``Database.snapshot``, on a store of the current schema."""
    tables = sorted(inspect(session.connection()).get_table_names())
    preparer = session.get_bind().dialect.identifier_preparer
    return Inventory(
        revision=str(session.execute(text("SELECT version_num FROM alembic_version")).scalar()),
        rows={
            name: int(
                session.execute(
                    text(f"SELECT count(*) FROM {preparer.quote(name)}")  # noqa: S608
                ).scalar_one()
            )
            for name in tables
            if name != "alembic_version"
        },
        ledger_balanced=all(line.lost == 0 for line in queue.balance(session)),
    )


def backup(database: Database, out: Path) -> Inventory:
    """Copy a store into a new file that only its owner may read: it holds private data.

    Raises
    ------
    MmcoordError
        ``out`` is there already, there is no store, or the copy is not sound.
    MissingPart
        PostgreSQL's client programs are not here.
    """
    if _is_empty(database):
        raise MmcoordError(f"{database}: there is no store to copy")
    with _new_file(out) as partial:
        if database.is_sqlite:
            _copy_sqlite(Path(str(database.url.database)), partial)
            copy = Database(f"sqlite:///{partial}")
            try:
                with copy.read() as session:
                    found = inventory(session)
            finally:
                copy.close()
            with closing(sqlite3.connect(partial)) as connection:
                connection.execute("PRAGMA journal_mode=DELETE")  # one file, without companions
        else:
            found = _dump(database, partial)
    return found


def restore(source: Path, database: Database) -> Inventory:
    """Fill an empty store from a copy and bring its schema up to date.

    What had still to be delivered may have been delivered since the copy was made: it is marked
    ``unknown``, so that each service is asked first whether it has the message.

    Raises
    ------
    ConfigError
        The store is not empty, or of the other database system.
    MmcoordError
        The file is no backup, or was made by a newer version.
    """
    with source.open("rb") as stream:
        head = stream.read(len(_SQLITE))
    if head != _SQLITE and not head.startswith(_POSTGRESQL):
        raise MmcoordError(f"{source}: neither a copy of a SQLite store nor of a PostgreSQL store")
    if (head == _SQLITE) != database.is_sqlite:
        kind = "SQLite" if head == _SQLITE else "PostgreSQL"
        raise ConfigError(f"{source} is a copy of a {kind} store, and {database} is none")
    with database.pipeline_lock():
        if not _is_empty(database):
            raise ConfigError(f"{database} is not empty; restore into a new store")
        if database.is_sqlite:
            _check_sound(source)
            database.close()
            _copy_sqlite(source, Path(str(database.url.database)))
        else:
            _run("pg_restore", database.url, "--exit-on-error", "--single-transaction",
                 "--no-owner", "--no-privileges", str(source))  # fmt: skip
        _check_known(database, source)
        upgrade(database)
        with database.write() as session:
            session.execute(
                update(DeliveryRow)
                .where(col(DeliveryRow.state).in_(("pending", "sending")))
                .values(state="unknown")
            )
        with database.snapshot() as session:
            return inventory(session)


def _is_empty(database: Database) -> bool:
    with database.read() as session:
        return not inspect(session.connection()).get_table_names()


@contextmanager
def _new_file(out: Path) -> Iterator[Path]:
    """A file beside it that becomes it when all went well and is on the disk."""
    if out.exists():
        raise MmcoordError(f"{out} is there already; a backup never replaces another")
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(f"{out.name}.partial")
    os.close(os.open(partial, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600))
    try:
        yield partial
        _sync(partial)
        partial.rename(out)
        _sync(out.parent)
    finally:
        for companion in ("", "-journal", "-shm", "-wal"):
            partial.with_name(partial.name + companion).unlink(missing_ok=True)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _copy_sqlite(source: Path, target: Path) -> None:
    with (
        closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True)) as old,
        closing(sqlite3.connect(target)) as new,
    ):
        old.backup(new)
    _check_sound(target)


def _check_sound(path: Path) -> None:
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        try:
            said = connection.execute("PRAGMA integrity_check").fetchone()[0]
        except sqlite3.DatabaseError as error:
            said = str(error)
    if said != "ok":
        raise MmcoordError(f"{path}: {said}")


def _check_known(database: Database, source: Path) -> None:
    with database.read() as session:
        revision = str(session.execute(text("SELECT version_num FROM alembic_version")).scalar())
    scripts = ScriptDirectory.from_config(alembic_config(database))
    if revision not in {script.revision for script in scripts.walk_revisions()}:
        raise MmcoordError(
            f"{source}: its schema {revision!r} is unknown to this version: it was made by a "
            "newer mmcoord; drop this store and restore with that one"
        )


def _dump(database: Database, out: Path) -> Inventory:
    with database.snapshot() as session:
        snapshot = str(session.execute(text("SELECT pg_export_snapshot()")).scalar_one())
        found = inventory(session)
        _run("pg_dump", database.url, "--format=custom", "--no-owner", "--no-privileges",
             f"--snapshot={snapshot}", f"--file={out}")  # fmt: skip
    return found


def _run(program: str, url: URL, *arguments: str) -> None:
    """A client program of PostgreSQL; the password goes by its environment, where no list of
    processes shows it."""
    from psycopg.conninfo import make_conninfo

    path = shutil.which(program)
    if path is None:
        raise MissingPart(f"{program} is not installed (Debian: postgresql-client)")
    where = {**url.translate_connect_args(username="user", database="dbname"), **url.query}
    password = where.pop("password", None)
    done = subprocess.run(  # noqa: S603
        [path, f"--dbname={make_conninfo('', **where)}", *arguments],
        env=os.environ | ({"PGPASSWORD": str(password)} if password else {}),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise MmcoordError(f"{program}: {done.stderr.strip()[-500:]}")
