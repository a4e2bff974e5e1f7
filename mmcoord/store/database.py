"""Opening the store: engines, transactions, the lock that keeps one pipeline per store.

SQLite runs in WAL mode with ``synchronous=FULL``: a committed transaction survives a power
cut, which the listeners rely on when they acknowledge a message to its broker. A writing
transaction begins with ``BEGIN IMMEDIATE``, so that two writers queue instead of failing
half way with "database is locked".
"""

from __future__ import annotations

import fcntl
import threading
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from sqlalchemy import Engine, event, make_url, text
from sqlalchemy.engine import Connection
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.pool import PoolProxiedConnection
from sqlmodel import Session, create_engine

from mmcoord.errors import ConfigError

__all__ = ["Database"]

_PARTS = {"stages": 0x6D6D636F, "listen": 0x6D6D6370, "deliver": 0x6D6D6371}
"""Parts of the service that run once per store, and their advisory locks on PostgreSQL: "mmco"
and the numbers after it."""
_MIGRATION, _TURN = 0x6D6D6372, 0x6D6D6373


class Database:
    """A store at ``url`` (``sqlite:///path`` or ``postgresql+psycopg://...``).

    With ``shared`` other processes write all day, too, and turns are taken with them.

    Raises
    ------
    ConfigError
        The URL cannot be read, or names a database system that we do not test.
    """

    def __init__(self, url: str, *, shared: bool = False) -> None:
        try:
            parsed = make_url(url)
        except ArgumentError as error:
            raise ConfigError(f"database url: {error}") from error
        if parsed.get_backend_name() == "postgresql" and parsed.drivername == "postgresql":
            parsed = parsed.set(drivername="postgresql+psycopg")
        self.url = parsed
        self._turn = threading.Lock()
        self._shared = shared
        self._look = threading.Lock()
        self._looker: PoolProxiedConnection | None = None
        self.is_sqlite = parsed.get_backend_name() == "sqlite"
        if self.is_sqlite:
            self._reader = _sqlite_engine(parsed.render_as_string(hide_password=False), "DEFERRED")
            self._writer = _sqlite_engine(parsed.render_as_string(hide_password=False), "IMMEDIATE")
        elif parsed.get_backend_name() == "postgresql":
            self._writer = self._reader = create_engine(parsed, pool_pre_ping=True, pool_size=10)
        else:
            raise ConfigError(
                f"database url: {parsed.get_backend_name()!r} is not supported; "
                "use sqlite:///FILE or postgresql://..."
            )

    def __str__(self) -> str:
        return self.url.render_as_string(hide_password=True)

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session that only looks."""
        with Session(self._reader, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def snapshot(self) -> Iterator[Session]:
        """A read session in which every statement sees the same instant.

        For counts from several statements that are compared with each other. SQLite's read
        transactions are snapshots already.
        """
        with self.read() as session:
            if not self.is_sqlite:
                session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
            yield session

    def version(self) -> Hashable:
        """What stands for all that is committed now: while it is the same, nothing was.

        SQLite counts what others commit, for each connection apart, so one is kept for asking.
        On PostgreSQL a commit changes which transactions a snapshot sees.
        """
        if not self.is_sqlite:
            with self._reader.connect() as connection:
                return str(connection.execute(text("SELECT pg_current_snapshot()")).scalar_one())
        with self._look:
            if self._looker is None:
                self._looker = self._reader.raw_connection()
            cursor = self._looker.cursor()
            cursor.execute("PRAGMA data_version")
            (found,) = cursor.fetchall()
            return int(found[0])

    @contextmanager
    def write(self) -> Iterator[Session]:
        """One transaction: committed at the end, rolled back on any exception.

        Threads of one process take turns. SQLite has one writer at a time anyway, and would
        let the others sleep in steps of up to 100 ms; on PostgreSQL two stages that touch the
        same wishes in another order would deadlock. Not to be nested.
        """
        with self._turn, Session(self._writer, expire_on_commit=False) as session:
            with session.begin():
                if self._shared and not self.is_sqlite:
                    session.execute(text("SELECT pg_advisory_xact_lock(:id)"), {"id": _TURN})
                yield session

    @property
    def engine(self) -> Engine:
        """The engine for migrations."""
        return self._writer

    def close(self) -> None:
        """Close all connections."""
        with self._look:
            if self._looker is not None:
                self._looker.close()
                self._looker = None
        self._reader.dispose()
        self._writer.dispose()

    @contextmanager
    def pipeline_lock(self, parts: Iterable[str] = tuple(_PARTS)) -> Iterator[Callable[[], bool]]:
        """Hold the right to run parts of the service on this store; SQLite knows only all.

        Gives a function that says whether it is still held: PostgreSQL forgets it when the
        connection breaks or the server starts again.

        Raises
        ------
        ConfigError
            Another process has it.
        """
        if self.is_sqlite:
            with _locked_file(self.url.database):
                yield lambda: True
        else:
            with self._writer.connect() as connection:
                for part in parts:  # those taken before one that is not free go with the session
                    if not _advise(connection, "pg_try_advisory_lock", _PARTS[part]):
                        connection.invalidate()
                        raise ConfigError(f"another mmcoord is running on this database ({part})")
                try:
                    yield lambda: _answers(connection)
                finally:
                    with suppress(SQLAlchemyError):  # it may have died, and the locks with it
                        for part in parts:
                            _advise(connection, "pg_advisory_unlock", _PARTS[part])

    @contextmanager
    def migration_lock(self) -> Iterator[None]:
        """Wait for the right to change the schema. SQLite's writers wait by themselves."""
        if self.is_sqlite:
            yield
            return
        with self._writer.connect() as connection:
            _advise(connection, "pg_advisory_lock", _MIGRATION)
            try:
                yield
            finally:
                with suppress(SQLAlchemyError):
                    _advise(connection, "pg_advisory_unlock", _MIGRATION)


def _sqlite_engine(url: str, begin: str) -> Engine:
    database = make_url(url).database
    if not database or database == ":memory:":
        raise ConfigError("database url: SQLite needs a file (sqlite:///FILE)")
    Path(database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(url, connect_args={"timeout": 60.0, "check_same_thread": False})

    @event.listens_for(engine, "connect")
    def _on_connect(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _on_begin(connection: Connection) -> None:
        connection.exec_driver_sql(f"BEGIN {begin}")

    return engine


@contextmanager
def _locked_file(database: str | None) -> Iterator[None]:
    path = Path(f"{database}.lock")
    handle: IO[str] = path.open("w")
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ConfigError(f"another mmcoord is running on {database}") from error
        yield
    finally:
        handle.close()


def _advise(connection: Connection, function: str, lock: int) -> bool:
    """Call one of PostgreSQL's functions for locks of a session; what it answers."""
    answer = connection.execute(text(f"SELECT {function}(:id)"), {"id": lock}).scalar()
    connection.commit()
    return bool(answer)


def _answers(connection: Connection) -> bool:
    """Whether it is still the connection that it was, and not one that SQLAlchemy made anew."""
    if connection.invalidated:
        return False
    try:
        connection.execute(text("SELECT 1"))
        connection.commit()
    except SQLAlchemyError:
        return False
    return True
