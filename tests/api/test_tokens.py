"""Tokens: what one is, and that a wrong one is told nothing."""

from __future__ import annotations

import hashlib
import logging
from datetime import UTC, datetime, timedelta

import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from mmcoord import access
from mmcoord.access import Scope
from mmcoord.errors import ConfigError, UnknownRecord
from mmcoord.store import access as store
from mmcoord.store.database import Database
from mmcoord.store.tables import TokenRow
from tests.api.conftest import make_token

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def test_a_token_says_whose_it_is_and_proves_it() -> None:
    minted = access.mint()
    assert minted.text.startswith("mmc_")
    parsed = access.parse(minted.text)
    assert parsed is not None
    identifier, secret = parsed
    assert identifier == minted.id
    assert hashlib.sha256(secret.encode()).hexdigest() == minted.secret_sha256
    assert minted.text not in repr(minted)


def test_no_two_tokens_are_alike() -> None:
    made = [access.mint() for _ in range(200)]
    assert len({m.id for m in made}) == len({m.secret_sha256 for m in made}) == 200


GOOD = access.mint().text


@given(place=st.integers(0, len(GOOD) - 1), wrong=st.characters(codec="ascii"))
def test_one_wrong_character_is_noticed_without_the_store(place: int, wrong: str) -> None:
    spoilt = GOOD[:place] + wrong + GOOD[place + 1 :]
    assert (access.parse(spoilt) is not None) == (spoilt == GOOD)


@given(st.text(max_size=200))
def test_other_text_is_no_token(given_text: str) -> None:
    assert access.parse(given_text) is None


@pytest.mark.parametrize(
    ("expires", "revoked", "is_good"),
    [(1, None, True), (0, None, False), (-1, None, False), (1, 0, False)],
)
def test_a_token_stands_until_it_expires_or_is_revoked(
    expires: int, revoked: int | None, is_good: bool
) -> None:
    found = access.good(
        "secret",
        access.secret_sha256("secret"),
        expires_at=NOW + timedelta(seconds=expires),
        revoked_at=None if revoked is None else NOW,
        now=NOW,
    )
    assert found is is_good


def test_every_wrong_token_gets_the_same_answer(client: TestClient, database: Database) -> None:
    headers = make_token(database, "fast")
    good = headers["Authorization"].removeprefix("Bearer ")
    parsed = access.parse(good)
    assert parsed is not None
    with database.write() as session:
        store.revoke_token(session, parsed[0], datetime.now(UTC))
    expired = make_token(database, "fast", valid_day=-1.0)["Authorization"]
    stranger = access.mint().text  # well formed, never given to anybody
    same_id = good[:13] + stranger[13:]
    answers = [
        client.get("/api/v1/usage", headers={"Authorization": value})
        for value in (
            f"Bearer {good}", expired, f"Bearer {stranger}", f"Bearer {same_id}",
            "Bearer ", "Bearer x", f"Basic {good}", good, "Bearer " + "x" * 5000,
        )
    ]  # fmt: skip
    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.text for answer in answers}) == 1


def test_the_secret_is_in_no_column_and_no_log(
    client: TestClient, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    headers = make_token(database, "fast")
    parsed = access.parse(headers["Authorization"].removeprefix("Bearer "))
    assert parsed is not None
    assert client.get("/api/v1/usage", headers=headers).status_code == 200
    with database.read() as session:
        rows = session.execute(text("SELECT * FROM token")).all()
        last_used = session.get_one(TokenRow, parsed[0]).last_used_at
    assert last_used is not None
    assert parsed[1] not in repr(rows)
    assert parsed[1] not in caplog.text


def test_a_scope_that_a_token_lacks_is_refused(client: TestClient, database: Database) -> None:
    reader = make_token(database, "readers", Scope.READ)
    runner = make_token(database, "runners", Scope.RUN)
    assert client.post("/api/v1/runs", headers=reader, json={}).status_code == 403
    assert client.get("/api/v1/usage", headers=runner).status_code == 403
    assert client.post("/api/v1/runs", json={}).status_code == 401


@pytest.mark.parametrize("name", ["", "a", "A", "mmcoord", "public", "x" * 41, "a b", "1a", "a/b"])
def test_names_that_could_be_mistaken_are_refused(database: Database, name: str) -> None:
    with pytest.raises(ConfigError), database.write() as session:
        store.add_group(session, name, quota_cpu_s=1, period_day=1, priority=0, now=NOW)


def test_a_token_needs_a_group(database: Database) -> None:
    with pytest.raises(UnknownRecord, match="nobody"), database.write() as session:
        store.add_token(session, "nobody", label="", scopes=(Scope.READ,), valid_day=1, now=NOW)
