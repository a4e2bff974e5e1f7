"""The order of arrival, repeats and batches change nothing of what is stored in the end."""

from __future__ import annotations

import functools
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from mmcoord.stages import localize
from mmcoord.stages.context import Context
from mmcoord.store import finding
from mmcoord.store.database import Database
from mmcoord.store.tables import DeadLetterRow, EventRow
from tests.making import make_context
from tests.stages.orders import (
    FIRST_MAP,
    Message,
    circular,
    feed,
    lvk,
    messages,
    state,
    wipe,
)
from tests.stores import migrated

MESSAGES = messages()


@pytest.fixture(scope="module", autouse=True)
def maps_are_measured_once() -> Iterator[None]:
    """The same dozen maps come in every order; what is read of one depends on its bytes alone."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("load", "from_region"):
            patch.setattr(localize, name, functools.cache(getattr(localize, name)))
        yield


@pytest.fixture(scope="module")
def ctx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Context]:
    """One store for all orders; each empties it first."""
    folder = tmp_path_factory.mktemp("orders")
    database = migrated(f"sqlite:///{folder / 'orders.db'}")
    yield make_context(database, folder / "out")
    database.close()


def end_of(ctx: Context, some: list[Message], sizes: list[int]) -> dict[str, list[object]]:
    wipe(ctx.database)
    feed(ctx, some, sizes)
    with ctx.database.read() as session:
        letters = list(session.execute(select(DeadLetterRow.reason)).scalars())
    assert letters == []
    return state(ctx.database)


@pytest.fixture(scope="module")
def wanted(ctx: Context) -> dict[str, list[object]]:
    """The end of the messages in the order in which they were written."""
    return end_of(ctx, MESSAGES, [])


def test_the_notices_make_what_they_say(ctx: Context, wanted: dict[str, list[object]]) -> None:
    """The state that all orders are compared with is the right one."""
    end_of(ctx, MESSAGES, [])
    with ctx.database.read() as session:
        events = {row.event_id: row for row in session.execute(select(EventRow)).scalars()}
        assert {name: row.state for name, row in events.items()} == {
            "S260301a": "active",
            "S260301b": "retracted",
            "S260301c": "active",
            "IceCube-140000_123456": "active",
            "Fermi-GBM-524666471": "active",
            "Fermi-GBM-524666472": "active",
            "SNEWS2-20260301T0230": "retracted",
            "SNEWS2-20260301T0229": "active",
        }
        assert [name for name, row in events.items() if row.is_practice] == ["S260301c"]
        assert finding.find(session, "icecube 260301a") == ["IceCube-140000_123456"]
        assert finding.find(session, "KM3-260301A") == ["IceCube-140000_123456"]
        # bn260301104 is the name of two triggers: it teaches nothing about GRB 260301A,
        # which is found where the circular names it together with events.
        assert finding.find(session, "bn260301104") == [
            "Fermi-GBM-524666471",
            "Fermi-GBM-524666472",
        ]
        assert "S260301a" in finding.find(session, "GRB260301A")
        # S260301c is practice: a circular cannot give it a name.
        assert all(line.learned_from == "alert" for line in finding.names_of(session, "S260301c"))
        (update,) = [
            row
            for row in wanted["alert"]
            if row["event_id"] == "S260301a" and row["external"]  # type: ignore[index]
        ]
        assert update["external"]["combined_localization_id"]  # type: ignore[index]
        linked = {line.event_id for line in finding.linked(session, "S260301a")}
        assert "Fermi-GBM-524666471" in linked
        assert "Fermi-GBM-524666472" not in linked


orders = st.tuples(
    st.permutations(range(len(MESSAGES))),
    st.lists(st.tuples(st.integers(0, len(MESSAGES) - 1), st.integers(0, 60)), max_size=12),
    st.lists(st.integers(1, 9), max_size=12),
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(orders)
def test_any_order_with_repeats_ends_the_same(
    ctx: Context,
    wanted: dict[str, list[object]],
    order: tuple[list[int], list[tuple[int, int]], list[int]],
) -> None:
    places, repeats, sizes = order
    some = [MESSAGES[place] for place in places]
    for which, where in repeats:
        some.insert(min(where, len(some)), MESSAGES[which])
    assert end_of(ctx, some, sizes) == wanted


def test_both_databases_end_the_same(
    database: Database, tmp_path: Path, wanted: dict[str, list[object]]
) -> None:
    ctx = make_context(database, tmp_path)
    for seed in range(2):
        some = MESSAGES * 2
        random.Random(seed).shuffle(some)
        assert end_of(ctx, some, [1, 7, 3]) == wanted


RETRACTED = [
    lvk("S260301b", "PRELIMINARY", 5, FIRST_MAP),
    lvk("S260301b", "INITIAL", 20, FIRST_MAP),
    lvk("S260301b", "RETRACTION", 30),
    lvk("S260301b", "RETRACTION", 30),
]


@pytest.mark.parametrize("first", range(4))
def test_a_retraction_before_its_event_after_it_or_repeated(ctx: Context, first: int) -> None:
    wanted = end_of(ctx, RETRACTED, [])
    (event,) = wanted["event"]
    assert (event["state"], event["alert_type"]) == ("retracted", "RETRACTION")  # type: ignore[index]
    turned = [*RETRACTED[first:], *RETRACTED[:first]]
    assert end_of(ctx, turned, [1, 1, 1]) == wanted
    assert end_of(ctx, turned[::-1], [1, 1, 1]) == wanted


def test_a_retraction_alone_is_remembered(ctx: Context) -> None:
    (event,) = end_of(ctx, RETRACTED[2:3], [])["event"]
    assert event["state"] == "retracted"  # type: ignore[index]


def test_an_event_that_turns_out_to_be_practice_loses_its_circulars_names(ctx: Context) -> None:
    """Whether the mark of practice comes before the circular or after it."""
    some = [
        lvk("S260301c", "PRELIMINARY", 5),
        circular(45009, "S260301c = GRB 260301C"),
        lvk("S260301c", "UPDATE", 50, search="MDC"),
    ]
    last, first = end_of(ctx, some, [1, 1]), end_of(ctx, some[::-1], [1, 1])
    assert first == last
    assert {row["learned_from"] for row in last["event_name"]} == {"alert"}  # type: ignore[index]
    assert len(end_of(ctx, some[:2], [1])["event_name"]) == 2
