"""What could not be read is kept, and read after the listener has learned to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select

from listeners.base import Source
from listeners.igwn import SOURCE
from mmcoord.deadletters import letters, retry
from mmcoord.errors import BadNotice, UnknownRecord
from mmcoord.records import ParsedRecord
from mmcoord.stages import intake
from mmcoord.store import queue
from mmcoord.store.database import Database
from mmcoord.store.tables import EventRow
from tests.making import lvk_notice, make_context, send


def ignorant(payload: bytes) -> list[ParsedRecord]:
    raise BadNotice("a field that nobody has seen before", where="event.new")


def test_a_notice_is_read_again_after_the_fix(database: Database, tmp_path: Path) -> None:
    ctx = make_context(database, tmp_path)
    before = replace(ctx, sources={"igwn": Source("igwn", ignorant)})
    send(before, [("igwn", lvk_notice())])
    intake.run(before)
    with database.write() as session:
        (letter,) = letters(session)
        assert "event.new" in letter["reason"]
        assert retry(session, [letter["id"]], ctx.now()) == 1
    after = replace(ctx, sources={"igwn": SOURCE})
    intake.run(after)
    with database.read() as session:
        assert session.get(EventRow, "MS260301a") is not None
        balance = queue.balance(session)[0]
        (letter,) = letters(session)
    assert (balance.received, balance.processed, balance.dead, balance.lost) == (1, 1, 0, 0)
    assert letter["retried_at"] is not None


def test_a_notice_that_fails_again_is_a_new_letter(database: Database, tmp_path: Path) -> None:
    ctx = make_context(database, tmp_path)
    ctx = replace(ctx, sources={"igwn": Source("igwn", ignorant)})
    send(ctx, [("igwn", lvk_notice())])
    intake.run(ctx)
    with database.write() as session:
        assert retry(session, [], ctx.now()) == 1
    intake.run(ctx)
    with database.read() as session:
        assert len(letters(session)) == 2
        assert all(balance.lost == 0 for balance in queue.balance(session))
        assert session.execute(select(EventRow)).first() is None


def test_an_unknown_letter_is_named(database: Database) -> None:
    from datetime import UTC, datetime

    with pytest.raises(UnknownRecord, match="77"), database.write() as session:
        retry(session, [77], datetime.now(UTC))
