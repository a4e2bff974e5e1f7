"""Intake: identity is content, order is content, and nothing that came in is lost."""

from __future__ import annotations

import itertools
import json
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

import skymaps
from listeners.base import Source
from mmcoord.records import AlertType, EventState
from mmcoord.stages import intake
from mmcoord.store import queue
from mmcoord.store.database import Database
from mmcoord.store.tables import (
    AlertRow,
    CandidateRow,
    DeadLetterRow,
    DetectionRow,
    EventRow,
    LocalizationRow,
    NoticeRow,
)
from tests.making import (
    T0,
    candidate_row,
    gaussian_map,
    lvk_notice,
    make_context,
    photometry_row,
    send,
)
from tests.stores import migrated


def drain(ctx: intake.Context) -> None:
    while intake.run(ctx):
        pass
    with ctx.database.read() as session:
        assert all(balance.lost == 0 for balance in queue.balance(session))


def test_the_same_coordinates_are_stored_once(database: Database, tmp_path: Path) -> None:
    ctx = make_context(database, tmp_path)
    message = ("igwn", lvk_notice())
    assert send(ctx, [message]) == 1
    assert send(ctx, [message]) == 0
    drain(ctx)
    with database.read() as session:
        assert session.execute(select(func.count()).select_from(NoticeRow)).scalar_one() == 1


def test_the_same_notice_from_two_brokers_is_one_alert(database: Database, tmp_path: Path) -> None:
    ctx = make_context(database, tmp_path)
    payload = lvk_notice(skymap=skymaps.to_fits_bytes(gaussian_map()))
    send(ctx, [("igwn", payload)], topic="gcn")
    send(ctx, [("igwn", payload)], topic="scimma")
    drain(ctx)
    with database.read() as session:
        assert len(session.execute(select(AlertRow)).all()) == 1
        assert len(session.execute(select(LocalizationRow)).all()) == 1
        outcomes = session.execute(select(NoticeRow.outcome).order_by(NoticeRow.id)).scalars().all()
    assert "duplicate of notice" in (outcomes[1] or "")


def _row(kind: str, minute: int, localization: str | None) -> AlertRow:
    return AlertRow(
        id=minute * 10 + list(AlertType).index(AlertType(kind)),
        event_id="S1",
        alert_type=kind,
        time_created=T0 + timedelta(minutes=minute),
        localization_id=localization,
        messenger="GW",
        is_practice=False,
        received_at=T0,
    )


@given(
    st.lists(
        st.tuples(
            st.sampled_from([t.value for t in AlertType]),
            st.integers(0, 3),
            st.sampled_from(["map-a", "map-b", None]),
        ),
        min_size=1,
        max_size=6,
        unique_by=lambda item: (item[0], item[1]),
    ),
    st.randoms(use_true_random=False),
)
@settings(deadline=None)
def test_the_order_of_arrival_changes_nothing(
    items: list[tuple[str, int, str | None]], shuffler: random.Random
) -> None:
    rows = [_row(*item) for item in items]
    shuffled = rows.copy()
    shuffler.shuffle(shuffled)
    a, b = intake.fold(rows), intake.fold(shuffled)
    assert (a.current.id, a.state, a.localization_id) == (b.current.id, b.state, b.localization_id)
    assert (a.state is EventState.RETRACTED) == any(kind == "RETRACTION" for kind, _, _ in items)


def test_an_update_created_in_the_same_second_as_the_initial_comes_after_it() -> None:
    initial, update = _row("INITIAL", 1, "old"), _row("UPDATE", 1, "new")
    for order in itertools.permutations([initial, update]):
        folded = intake.fold(order)
        assert (folded.current.alert_type, folded.localization_id) == ("UPDATE", "new")


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_a_retraction_before_between_or_after_retracts(
    sqlite_url: str, tmp_path: Path, order: tuple[int, ...]
) -> None:

    database = migrated(sqlite_url)
    ctx = make_context(database, tmp_path / "out")
    minute = timedelta(minutes=1)
    sequence = [
        lvk_notice(alert_type="PRELIMINARY", created=T0 + 5 * minute),
        lvk_notice(alert_type="INITIAL", created=T0 + 30 * minute),
        lvk_notice(alert_type="RETRACTION", created=T0 + 60 * minute),
    ]
    for offset, position in enumerate([*order, 2]):  # the retraction once more
        send(ctx, [("igwn", sequence[position])], first_offset=offset)
        drain(ctx)
    with database.read() as session:
        event = session.execute(select(EventRow)).scalar_one()
        alerts = session.execute(select(func.count()).select_from(AlertRow)).scalar_one()
    assert (event.state, event.alert_type, alerts) == ("retracted", "RETRACTION", 3)
    assert event.event_time == T0  # known from the alerts that stood
    database.close()


def test_a_broken_map_is_a_dead_letter_and_its_alert_stands_without_it(
    database: Database, tmp_path: Path
) -> None:
    ctx = make_context(database, tmp_path)
    fits = skymaps.to_fits_bytes(gaussian_map())
    send(ctx, [("igwn", lvk_notice(skymap=fits[: len(fits) // 2]))])
    drain(ctx)
    with database.read() as session:
        (letter,) = session.execute(select(DeadLetterRow)).scalars()
        event = session.execute(select(EventRow)).scalar_one()
    assert letter.reason.startswith("skymap: ")
    assert event.localization_id is None
    # The same notice again with its map whole mends the alert.
    send(ctx, [("igwn", lvk_notice(skymap=fits))], topic="other broker")
    drain(ctx)
    with database.read() as session:
        event = session.execute(select(EventRow)).scalar_one()
        alerts = session.execute(select(func.count()).select_from(AlertRow)).scalar_one()
    assert event.localization_id is not None
    assert alerts == 1


def test_a_region_that_is_none_costs_the_alert_its_place_only(
    database: Database, tmp_path: Path
) -> None:
    from tests.stages.orders import icecube

    source, payload = icecube(0)
    document = json.loads(payload) | {"ra_dec_error": 1e-12}
    ctx = make_context(database, tmp_path)
    send(ctx, [(source, json.dumps(document).encode())])
    drain(ctx)
    with database.read() as session:
        (letter,) = session.execute(select(DeadLetterRow)).scalars()
        event = session.execute(select(EventRow)).scalar_one()
    assert letter.reason.startswith("region: error region: radius 1e-12 deg")
    assert (event.event_id, event.localization_id) == ("IceCube-140000_123456", None)


def test_a_needle_of_an_ellipse_is_widened_and_says_so() -> None:
    from mmcoord.records import ErrorRegion
    from mmcoord.stages import localize

    needle = localize.from_region(ErrorRegion(10.0, 20.0, 2.0, 1e-4, 30.0, 0.9))
    wide = localize.from_region(ErrorRegion(10.0, 20.0, 2.0, 0.25, 30.0, 0.9))
    assert needle.id == wide.id
    assert needle.repairs == ("ellipse widened from 0.0001 to 0.25 deg",)
    assert wide.repairs == ()
    assert needle.n_tiles < 200_000


def test_a_map_that_inflates_to_gigabytes_is_refused_and_its_alert_stands(
    database: Database, tmp_path: Path
) -> None:
    from tests.listeners.mutate import gzip_bomb

    ctx = make_context(database, tmp_path)
    send(ctx, [("igwn", lvk_notice(skymap=gzip_bomb()))])
    drain(ctx)
    with database.read() as session:
        (letter,) = session.execute(select(DeadLetterRow)).scalars()
        event = session.execute(select(EventRow)).scalar_one()
    assert letter.reason == f"skymap: gzip expands beyond the limit of {128 * 2**20} bytes"
    assert event.localization_id is None


def test_a_map_that_sums_to_half_is_mended_and_says_so(database: Database, tmp_path: Path) -> None:
    from tests.making import half_map_fits

    ctx = make_context(database, tmp_path)
    send(ctx, [("igwn", lvk_notice(skymap=half_map_fits()))])
    drain(ctx)
    with database.read() as session:
        place = session.execute(select(LocalizationRow)).scalar_one()
        letters = session.execute(select(DeadLetterRow)).all()
    assert letters == []
    assert any("0.5" in repair for repair in place.repairs)
    # half of a normalised map has the same credible regions as the map itself
    assert place.area_90_deg2 == pytest.approx(
        skymaps.credible_area_deg2(gaussian_map(), 0.9), rel=1e-6
    )


def test_each_bad_input_is_one_dead_letter_and_stops_nothing(
    database: Database, tmp_path: Path
) -> None:
    ctx = make_context(database, tmp_path)
    good_notice = lvk_notice()
    bad: list[tuple[str, bytes, str]] = [
        ("igwn", good_notice[:-20], "JSON"),
        ("table_candidates", candidate_row("far-out", 400.0, 0.0), "ra"),
        ("table_photometry", photometry_row("x", 1.0, "lsst:r", 20.0, -0.1), "mag_err"),
        ("no-such-listener", b"?", "no-such-listener"),
    ]
    good: list[tuple[str, bytes]] = [
        ("igwn", good_notice),
        ("table_candidates", candidate_row("fine", 150.0, -20.0)),
        ("table_photometry", photometry_row("fine", 1.0, "lsst:r", 20.0)),
    ]
    mixed = [(source, payload) for source, payload, _ in bad]
    mixed[1:1] = good
    send(ctx, mixed)
    drain(ctx)
    with database.read() as session:
        reasons = session.execute(select(DeadLetterRow.reason)).scalars().all()
        dead = session.execute(
            select(func.count()).select_from(NoticeRow).where(NoticeRow.state == "dead")
        ).scalar_one()
        assert session.get(EventRow, "MS260301a") is not None
        assert session.get(CandidateRow, "fine") is not None
        assert len(session.execute(select(DetectionRow)).all()) == 1
    assert dead == len(reasons) == len(bad)
    for _, _, word in bad:
        assert any(word in reason for reason in reasons), (word, reasons)


def test_a_fault_in_a_listener_parks_its_message_only(database: Database, tmp_path: Path) -> None:
    def broken(payload: bytes) -> list[object]:
        raise ZeroDivisionError("a bug")

    ctx = make_context(database, tmp_path)
    sources = {**ctx.sources, "broken": Source("broken", broken)}  # type: ignore[arg-type]
    from dataclasses import replace

    ctx = replace(ctx, sources=sources)
    send(ctx, [("broken", b""), ("igwn", lvk_notice())])
    drain(ctx)
    with database.read() as session:
        (letter,) = session.execute(select(DeadLetterRow)).scalars()
        assert session.get(EventRow, "MS260301a") is not None
    assert "ZeroDivisionError" in letter.reason


def test_photometry_may_come_before_its_candidate_and_twice(
    database: Database, tmp_path: Path
) -> None:
    ctx = make_context(database, tmp_path)
    point = ("table_photometry", photometry_row("early", 1.0, "lsst:r", 20.0))
    send(ctx, [point, point])
    drain(ctx)
    send(ctx, [("table_candidates", candidate_row("early", 150.0, -20.0))], first_offset=2)
    drain(ctx)
    with database.read() as session:
        assert len(session.execute(select(DetectionRow)).all()) == 1
        assert session.get(CandidateRow, "early") is not None


def test_alerts_overtake_a_backlog_of_candidates(database: Database, tmp_path: Path) -> None:
    ctx = make_context(database, tmp_path)
    backlog = [
        ("table_candidates", candidate_row(f"c{i}", float(i % 360), 0.0)) for i in range(700)
    ]
    send(ctx, [*backlog, ("igwn", lvk_notice())])
    intake.run(ctx)  # one batch of 500
    with database.read() as session:
        assert session.get(EventRow, "MS260301a") is not None


def test_a_practice_notice_makes_the_event_practice_for_good(
    database: Database, tmp_path: Path
) -> None:
    ctx = make_context(database, tmp_path)
    send(ctx, [("igwn", lvk_notice("S260301a", search="MDC"))])
    send(
        ctx,
        [("igwn", lvk_notice("S260301a", "UPDATE", datetime(2026, 3, 2, tzinfo=UTC)))],
        first_offset=1,
    )
    drain(ctx)
    with database.read() as session:
        event = session.get(EventRow, "S260301a")
    assert event is not None
    assert event.is_practice


def revision(minutes: float, kind: str, place: str | None, by: str | None) -> AlertRow:
    return AlertRow(
        event_id="E",
        alert_type=kind,
        time_created=T0 + timedelta(minutes=minutes),
        localization_id=place,
        localized_by=by,
        messenger="NEUTRINO",
    )


def test_the_circle_of_a_notice_s_other_form_does_not_replace_its_map() -> None:
    """IceCube sends a revision as JSON, with a map, and as VOEvent, with a circle alone."""
    json_form = revision(0.0, "UPDATE", "map", "link")
    xml_form = revision(0.5, "UPDATE", "circle", "region")
    for order in itertools.permutations([json_form, xml_form]):
        assert intake.fold(order).localization_id == "map"
    much_later = revision(60.0, "UPDATE", "new circle", "region")
    assert intake.fold([json_form, xml_form, much_later]).localization_id == "new circle"
    other_type = revision(0.7, "INITIAL", "circle", "region")
    assert intake.fold([revision(0.0, "UPDATE", "map", "map"), other_type]).localization_id == (
        "circle"
    )
