"""Maps behind links: fetched when they are there, asked for until then, never in the way."""

from __future__ import annotations

import base64
import gzip
import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select

import skymaps
from listeners.late_map import envelope
from mmcoord import fetching
from mmcoord.config import FetchSettings, Settings, load_settings
from mmcoord.doctor import examine
from mmcoord.errors import ConfigError, NotThereYet, Refused, Retryable
from mmcoord.records import AlertType, LateMap
from mmcoord.replay import feed, messages
from mmcoord.stages import fetch, intake
from mmcoord.stages.context import Context
from mmcoord.stages.executor import Executor
from mmcoord.stages.links import map_links
from mmcoord.stages.pipeline import Pipeline
from mmcoord.store import queue
from mmcoord.store.database import Database
from mmcoord.store.queue import Work
from mmcoord.store.tables import (
    AlertRow,
    DeadLetterRow,
    EventRow,
    JournalRow,
    LateMapRow,
    LocalizationRow,
    NoticeRow,
)
from tests.linkserver import HOST, POLICY, running
from tests.making import T0, StandInExecutor, gaussian_map, lvk_notice, make_context, send
from tests.shared import shared
from tests.stores import migrated

MINUTE = timedelta(minutes=1)
MAP = skymaps.to_fits_bytes(gaussian_map())
OTHER_MAP = skymaps.to_fits_bytes(gaussian_map(ra_deg=200.0))
LINK = "https://heasarc.gsfc.nasa.gov/map.fit"


@dataclass
class Clock:
    """A wall clock that a test turns."""

    time: datetime = T0 + timedelta(hours=1)

    def __call__(self) -> datetime:
        return self.time


class Files:
    """Stands for the network: what is behind each link, and what was asked for."""

    def __init__(self, **there: bytes | Exception) -> None:
        self.there: dict[str, bytes | Exception] = dict(there)
        self.asked: list[str] = []

    def __call__(self, url: str) -> bytes:
        self.asked.append(url)
        found = self.there.get(url, NotThereYet(f"{url}: not there yet (HTTP 404)"))
        if isinstance(found, Exception):
            raise found
        return found


def live(database: Database, folder: Path, clock: Clock, **changes: Any) -> Context:
    """A context on the wall clock, as in production."""
    return replace(make_context(database, folder, clock="wall", **changes), now=clock)


def drain(ctx: Context) -> None:
    while intake.run(ctx):
        pass
    with ctx.database.read() as session:
        assert all(balance.lost == 0 for balance in queue.balance(session))


def ledger(ctx: Context) -> queue.Balance:
    with ctx.database.read() as session:
        (found,) = (b for b in queue.balance(session) if b.stage == "fetch")
    assert found.lost == 0
    return found


def letters(ctx: Context) -> list[str]:
    with ctx.database.read() as session:
        rows = session.execute(select(DeadLetterRow).where(DeadLetterRow.stage == "fetch"))
        return [row.reason for row in rows.scalars()]


def unified(created: datetime = T0 + MINUTE, alert_type: str = "initial", **fields: Any) -> bytes:
    """A notice of the unified schema with a circle, and where told with a link."""
    document = {
        "$schema": "https://gcn.nasa.gov/schema/v6.0.0/gcn/notices/fermi/gbm/trigger.schema.json",
        "mission": "Fermi", "instrument": "GBM", "messenger": "EM",
        "id": ["bn260301104"], "event_name": ["GRB 260301A"],
        "trigger_time": "2026-03-01T02:30:00Z", "alert_datetime": created.isoformat(),
        "alert_type": alert_type, "alert_tense": "current",
        "ra": 150.0, "dec": -20.0, "ra_dec_error": 8.0, "containment_probability": 0.68,
        **fields,
    }  # fmt: skip
    return json.dumps(document).encode()


EVENT = "Fermi-GBM-bn260301104"


def real(superevent_id: str) -> bytes:
    """A notice without a map that links to the real GraceDB, as LVK's notices do."""
    return lvk_notice(superevent_id).replace(b"//example.org", b"//gracedb.ligo.org")


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Callable[[], Database]]:
    """Makes an empty SQLite store, as often as it is called."""
    made: list[Database] = []

    def make() -> Database:
        database = migrated(f"sqlite:///{tmp_path / f'store{len(made)}.db'}")
        made.append(database)
        return database

    yield make
    for database in made:
        database.close()


# -- the whole way -------------------------------------------------------------------------


def test_an_event_stands_without_its_map_and_gets_it_when_it_is_there(
    database: Database, tmp_path: Path
) -> None:
    clock, files = Clock(), Files()
    ctx = live(database, tmp_path, clock)
    send(ctx, [("igwn", real("S260301a"))])
    drain(ctx)
    with ctx.database.read() as session:
        event = session.get(EventRow, "S260301a")
    assert event is not None
    assert (event.state, event.localization_id) == ("active", None)

    assert fetch.run(ctx, files) == 1
    folder = "https://gracedb.ligo.org/api/superevents/S260301a/files"
    assert files.asked[0] == f"{folder}/bayestar.multiorder.fits"
    assert fetch.run(ctx, files) == 0  # not due
    clock.time += timedelta(seconds=30)
    files.there[f"{folder}/bayestar.multiorder.fits"] = gzip.compress(MAP)
    assert fetch.run(ctx, files) == 1
    # The inbox has it first; the event changes when intake reads it.
    with ctx.database.read() as session:
        notice = session.execute(
            select(NoticeRow).where(NoticeRow.source == "late_map")
        ).scalar_one()
        assert (notice.broker, notice.state, notice.topic) == ("fetch", "pending", files.asked[-1])
        event = session.get(EventRow, "S260301a")
        assert event is not None
        assert event.localization_id is None
    drain(ctx)
    with ctx.database.read() as session:
        event = session.get(EventRow, "S260301a")
        assert event is not None
        assert event.localization_id == gaussian_map().content_id
        assert queue.pending(session, "match") > 0
        told = session.execute(
            select(JournalRow.what).where(JournalRow.event_id == "S260301a").order_by(JournalRow.id)
        ).scalars()
        assert list(told) == ["received", "waiting", "fetched", "localized"]
    assert ledger(ctx) == queue.Balance("fetch", 1, 1, 0, 0)


def test_a_real_server_and_the_real_door_bring_the_same(sqlite_url: str, tmp_path: Path) -> None:
    database = migrated(sqlite_url)
    ctx = live(database, tmp_path / "out", Clock())
    with running() as server:
        server.answers["/a/map.fits.gz"] = gzip.compress(MAP)
        send(ctx, [("gcn_unified", unified(healpix_url=f"http://{HOST}/a/map.fits.gz"))])
        drain(ctx)
        fetch.run(ctx, lambda url: fetching.fetch(url, POLICY, server.network()))
        drain(ctx)
    with database.read() as session:
        event = session.get(EventRow, EVENT)
    assert event is not None
    assert event.localization_id == gaussian_map().content_id
    database.close()


# -- which alerts, which links -------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "payload", "wanted"),
    [
        ("gcn_unified", unified(healpix_url=LINK), [LINK]),
        ("gcn_unified", unified(), []),
        ("gcn_unified", unified(light_curve_url=LINK, data_archive_page=LINK), []),
        (
            "gcn_unified",
            unified(healpix_url=LINK, healpix_file=base64.b64encode(MAP).decode()),
            [],
        ),
        ("igwn", lvk_notice("S260301a", skymap=MAP), []),
        ("igwn", lvk_notice("S260301a", "RETRACTION"), []),
    ],
    ids=["link", "circle alone", "other links", "map and link", "LVK with map", "retraction"],
)
def test_a_map_is_wanted_where_there_is_a_link_and_no_map(
    fresh: Callable[[], Database], tmp_path: Path, source: str, payload: bytes, wanted: list[str]
) -> None:
    ctx, files = live(fresh(), tmp_path, Clock()), Files()
    send(ctx, [(source, payload), (source, payload)])
    drain(ctx)
    fetch.run(ctx, files)
    assert files.asked == wanted
    assert ledger(ctx).received == len(wanted)


def row(**changes: Any) -> AlertRow:
    values: dict[str, Any] = {
        "event_id": "S260301a", "alert_type": "PRELIMINARY", "time_created": T0,
        "messenger": "GW", "is_practice": False, "urls": {}, "extra": {}, "pipeline": "gstlal",
    }  # fmt: skip
    return AlertRow(**(values | changes))


FILES = "https://gracedb.ligo.org/api/superevents/S260301a/files"


@pytest.mark.parametrize(
    ("changes", "first", "number"),
    [
        ({}, f"{FILES}/bayestar.multiorder.fits", 6),
        ({"pipeline": "CWB"}, f"{FILES}/cwb.multiorder.fits", 6),
        ({"pipeline": "MLy"}, f"{FILES}/mly.multiorder.fits", 6),
        ({"pipeline": "aframe"}, f"{FILES}/amplfi.multiorder.fits", 6),
        ({"pipeline": None}, f"{FILES}/bayestar.multiorder.fits", 6),
        (
            {"extra": {"skymap_filename": "Bilby.offline1.multiorder.fits,2"}},
            f"{FILES}/Bilby.offline1.multiorder.fits,2",
            1,
        ),
        ({"extra": {"skymap_filename": "../../passwd"}}, f"{FILES}/bayestar.multiorder.fits", 6),
        ({"extra": {"skymap_filename": "a?x=https://b"}}, f"{FILES}/bayestar.multiorder.fits", 6),
        (
            {"urls": {"gracedb": "https://gracedb-playground.ligo.org/superevents/S260301a/view/"}},
            "https://gracedb-playground.ligo.org/api/superevents/S260301a/files/"
            "bayestar.multiorder.fits",
            6,
        ),
        ({"urls": {"gracedb": "javascript:alert(1)"}}, f"{FILES}/bayestar.multiorder.fits", 6),
        ({"urls": {"gracedb": "https://["}}, f"{FILES}/bayestar.multiorder.fits", 6),
    ],
)  # fmt: skip
def test_gracedb_files_are_named_by_the_notice_or_else_by_the_pipeline(
    changes: dict[str, Any], first: str, number: int
) -> None:
    links = map_links(row(**changes))
    assert links[0] == first
    assert len(set(links)) == len(links) == number


def test_no_file_is_guessed_for_an_event_that_is_not_of_lvk() -> None:
    assert map_links(row(event_id="SNEWS-1", messenger="NEUTRINO")) == ()
    assert map_links(row(event_id="S260301a/../x")) == ()


def test_the_real_icecube_and_fermi_examples_ask_for_their_files(
    fresh: Callable[[], Database], tmp_path: Path
) -> None:
    folder = shared("gw/gcn-schema/gcn/notices")
    for number, (name, host) in enumerate(
        [
            (
                "icecube/single_neutrino_alerts.gold_bronze_track_alerts.example.json",
                "roc.icecube.wisc.edu",
            ),
            ("fermi/gbm/trigger.ground1.example.json", "heasarc.gsfc.nasa.gov"),
        ]
    ):
        ctx, files = live(fresh(), tmp_path / str(number), Clock()), Files()
        send(ctx, [("gcn_unified", (folder / name).read_bytes())])
        drain(ctx)
        fetch.run(ctx, files)
        assert len(files.asked) == 1
        assert fetching.permitted(files.asked[0], fetching.HOSTS).startswith(f"https://{host}/")


# -- the same final state, whatever the order ----------------------------------------------


def final(database: Database) -> tuple[Any, ...]:
    """What an event ends as, without the times at which things happened."""
    with database.read() as session:
        event = session.execute(select(EventRow)).scalar_one()
        alerts = session.execute(
            select(AlertRow).order_by(AlertRow.time_created, AlertRow.alert_type)
        ).scalars()
        return (
            event.event_id, event.state, event.alert_type, event.localization_id, event.event_time,
            [(a.alert_type, a.time_created, a.localization_id) for a in alerts],
        )  # fmt: skip


def late(fits: bytes, created: datetime = T0 + 5 * MINUTE, kind: str = "PRELIMINARY") -> bytes:
    return envelope(LateMap("MS260301a", AlertType(kind), created, LINK, fits))


PLAIN = ("igwn", lvk_notice())
LATE = ("late_map", late(MAP))
WITH = ("igwn", lvk_notice(skymap=MAP))
UPDATE = ("igwn", lvk_notice(alert_type="UPDATE", created=T0 + 60 * MINUTE, skymap=OTHER_MAP))
UPDATE_PLAIN = ("igwn", lvk_notice(alert_type="UPDATE", created=T0 + 60 * MINUTE))
RETRACTION = ("igwn", lvk_notice(alert_type="RETRACTION", created=T0 + 90 * MINUTE))


@pytest.mark.parametrize(
    "others",
    [
        [UPDATE],
        [UPDATE_PLAIN],
        [RETRACTION],
        pytest.param([UPDATE, RETRACTION], marks=pytest.mark.long),  # 24 orders
    ],
)
@pytest.mark.parametrize("at_once", [True, False])
def test_a_map_that_comes_late_ends_as_one_that_came_with_its_notice(
    fresh: Callable[[], Database], tmp_path: Path, others: list[tuple[str, bytes]], at_once: bool
) -> None:
    def ending(sequence: list[tuple[str, bytes]], number: int) -> tuple[Any, ...]:
        database = fresh()
        ctx = make_context(database, tmp_path / str(number))
        if at_once:
            send(ctx, sequence)
        for offset, message in enumerate([] if at_once else sequence):
            send(ctx, [message], first_offset=offset)
            drain(ctx)
        drain(ctx)
        return final(database)

    expected = ending([WITH, *others], 0)
    assert expected[-1][0][2] == gaussian_map().content_id
    for number, order in enumerate(itertools.permutations([PLAIN, LATE, *others]), 1):
        assert ending(list(order), number) == expected, order


def test_a_map_goes_before_a_circle_and_the_notices_own_before_a_fetched_one(
    fresh: Callable[[], Database], tmp_path: Path
) -> None:
    created = T0 + MINUTE
    identity = (EVENT, AlertType.INITIAL, created)
    circle = ("gcn_unified", unified(created, healpix_url=LINK))
    fetched = ("late_map", envelope(LateMap(*identity, LINK, OTHER_MAP)))
    whole = ("gcn_unified", unified(created, healpix_file=base64.b64encode(MAP).decode()))
    for messages_, wanted in (
        ([circle, fetched], gaussian_map(ra_deg=200.0)),
        ([circle, whole], gaussian_map()),
        ([circle, fetched, whole], gaussian_map()),
    ):
        for number, order in enumerate(itertools.permutations(messages_)):
            database = fresh()
            ctx = make_context(database, tmp_path / f"{len(messages_)}-{number}")
            for offset, message in enumerate(order):
                send(ctx, [message], first_offset=offset)
                drain(ctx)
            assert final(database)[3] == wanted.content_id, order


def test_of_two_files_for_one_alert_the_same_stands_in_either_order(
    fresh: Callable[[], Database], tmp_path: Path
) -> None:
    ends = set()
    for number, order in enumerate(itertools.permutations([MAP, OTHER_MAP])):
        database = fresh()
        ctx = make_context(database, tmp_path / str(number))
        send(ctx, [PLAIN, *(("late_map", late(fits)) for fits in order)])
        drain(ctx)
        ends.add(final(database)[3])
    assert len(ends) == 1


def test_a_broken_file_is_a_dead_letter_and_its_alert_stands_without(
    database: Database, tmp_path: Path
) -> None:
    ctx = make_context(database, tmp_path)
    send(ctx, [PLAIN, ("late_map", late(MAP[: len(MAP) // 2]))])
    drain(ctx)
    with database.read() as session:
        (letter,) = session.execute(select(DeadLetterRow)).scalars()
        event = session.execute(select(EventRow)).scalar_one()
        assert session.execute(select(LateMapRow)).all() == []
    assert letter.reason.startswith("map of MS260301a: ")
    assert (event.state, event.localization_id) == ("active", None)


def test_a_map_in_probability_per_square_degree_is_renormalised_and_says_so(
    database: Database, tmp_path: Path
) -> None:
    """KM3NeT's unit; one steradian is (180/pi)^2 square degrees."""
    import io

    from astropy.io import fits

    with fits.open(io.BytesIO(MAP)) as hdus:
        hdus[1].data["PROBDENSITY"] /= np.degrees(1.0) ** 2
        hdus[1].columns["PROBDENSITY"].unit = None  # not even stated
        out = io.BytesIO()
        hdus.writeto(out)
    ctx = make_context(database, tmp_path)
    send(ctx, [PLAIN, ("late_map", late(out.getvalue()))])
    drain(ctx)
    with database.read() as session:
        place = session.execute(select(LocalizationRow)).scalar_one()
    assert any("normalised" in repair for repair in place.repairs)
    area = skymaps.credible_area_deg2(gaussian_map(), 0.9)
    assert place.area_90_deg2 == pytest.approx(area, rel=1e-6)


# -- asking again, and ending --------------------------------------------------------------


def test_the_waits_grow_as_stated_and_end_after_a_day_with_a_dead_letter(
    database: Database, tmp_path: Path
) -> None:
    clock, files = Clock(), Files()
    ctx = live(database, tmp_path, clock)
    send(ctx, [("gcn_unified", unified(healpix_url=LINK))])
    drain(ctx)
    begun = clock.time
    at = []
    while not letters(ctx):
        if fetch.run(ctx, files):
            at.append((clock.time - begun).total_seconds())
        clock.time += timedelta(seconds=30)
    assert at[:8] == [0, 30, 90, 210, 510, 1410, 5010, 8610]
    assert {b - a for a, b in itertools.pairwise(at[5:])} == {3600}
    assert 23 * 3600 < at[-1] <= 24 * 3600
    (letter,) = letters(ctx)
    assert f"given up after {len(at)} attempts" in letter
    assert "not there yet" in letter
    assert LINK in letter
    assert ledger(ctx) == queue.Balance("fetch", 1, 0, 1, 0)


def test_the_waits_are_what_the_settings_say() -> None:
    settings = FetchSettings(retry_after_s=(1.0, 5.0), give_up_after_h=1.0)
    work = Work("fetch", "k", 1, 0, "", T0)
    assert fetch.next_attempt(settings, work, T0) == T0 + timedelta(seconds=1)
    later = replace(work, attempts=7)
    assert fetch.next_attempt(settings, later, T0) == T0 + timedelta(seconds=5)
    assert fetch.next_attempt(settings, later, T0 + timedelta(seconds=3595)) is not None
    assert fetch.next_attempt(settings, later, T0 + timedelta(seconds=3596)) is None


@pytest.mark.parametrize(
    ("then", "why"),
    [(UPDATE, "has a map"), (RETRACTION, "retracted")],
    ids=["newer map", "retraction"],
)
def test_nobody_is_asked_any_more_for_what_is_no_longer_needed(
    database: Database, tmp_path: Path, then: tuple[str, bytes], why: str
) -> None:
    clock, files = Clock(), Files()
    ctx = live(database, tmp_path, clock)
    send(ctx, [PLAIN])
    drain(ctx)
    fetch.run(ctx, files)
    asked = len(files.asked)
    send(ctx, [then], first_offset=1)
    drain(ctx)
    clock.time += timedelta(hours=2)
    fetch.run(ctx, files)
    assert len(files.asked) == asked > 0
    assert ledger(ctx) == queue.Balance("fetch", 1, 1, 0, 0)
    with database.read() as session:
        said = session.execute(
            select(JournalRow.text).where(JournalRow.what == "fetched")
        ).scalar_one()
    assert why in said


def test_an_older_alert_with_a_map_or_a_newer_one_without_ends_nothing(
    database: Database, tmp_path: Path
) -> None:
    clock, files = Clock(), Files()
    ctx = live(database, tmp_path, clock)
    update = ("igwn", lvk_notice(alert_type="UPDATE", created=T0 + 60 * MINUTE))
    newest = ("igwn", lvk_notice(alert_type="UPDATE", created=T0 + 70 * MINUTE))
    send(ctx, [WITH, update, newest])
    drain(ctx)
    assert [fetch.run(ctx, files) for _ in range(3)] == [1, 1, 0]
    assert ledger(ctx).pending == 2


def test_a_new_alert_is_not_kept_waiting_by_those_that_are_asked_for_again(
    database: Database, tmp_path: Path
) -> None:
    clock, files = Clock(), Files()
    ctx = live(database, tmp_path, clock)
    links = [f"https://heasarc.gsfc.nasa.gov/{n}.fit" for n in range(4)]
    for n, link in enumerate(links[:3]):
        send(ctx, [("gcn_unified", unified(id=[f"bn{n}"], healpix_url=link))], first_offset=n)
        drain(ctx)
        fetch.run(ctx, files)
    clock.time += timedelta(minutes=10)  # all are due again
    send(ctx, [("gcn_unified", unified(id=["bn9"], healpix_url=links[3]))], first_offset=9)
    drain(ctx)
    fetch.run(ctx, files)
    assert files.asked == links


@pytest.mark.parametrize(
    ("found", "dead"),
    [
        (Refused("more than 33554432 bytes"), 1),
        (Retryable("HTTP 503"), 0),
        (b"<html>maintenance</html>", 0),
        (ZeroDivisionError("a bug"), 1),
    ],
    ids=["refused", "unreachable", "no FITS", "fault of ours"],
)
def test_a_refusal_ends_at_once_and_a_passing_fault_does_not(
    database: Database, tmp_path: Path, found: bytes | Exception, dead: int
) -> None:
    clock = Clock()
    files = Files(**{LINK: found})
    ctx = live(database, tmp_path, clock)
    send(ctx, [("gcn_unified", unified(healpix_url=LINK))])
    drain(ctx)
    fetch.run(ctx, files)
    clock.time += timedelta(minutes=5)
    fetch.run(ctx, files)
    assert len(files.asked) == (1 if dead else 2)
    assert len(letters(ctx)) == dead
    waiting = None if dead else ledger(ctx).oldest_pending_at
    assert (waiting is None) == bool(dead)
    assert ledger(ctx) == queue.Balance("fetch", 1, 0, dead, 1 - dead, waiting)


def test_a_link_that_is_not_listed_is_refused_by_the_default_door(
    database: Database, tmp_path: Path
) -> None:
    ctx = live(database, tmp_path, Clock())
    send(ctx, [("gcn_unified", unified(healpix_url="http://169.254.169.254/latest/meta-data"))])
    drain(ctx)
    assert fetch.run(ctx) == 1  # no stand-in: the real door, which asks nobody
    (letter,) = letters(ctx)
    assert "host name" in letter


def test_an_unreachable_host_is_not_asked_for_every_name(
    database: Database, tmp_path: Path
) -> None:
    files = Files(**{f"{FILES}/bayestar.multiorder.fits": Retryable("no connection")})
    ctx = live(database, tmp_path, Clock())
    send(ctx, [("igwn", real("S260301a"))])
    drain(ctx)
    fetch.run(ctx, files)
    assert len(files.asked) == 1


def test_a_crash_between_the_inbox_and_the_end_of_the_wish_makes_no_second_map(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = Files(**{LINK: MAP})
    ctx = live(database, tmp_path, Clock())
    send(ctx, [("gcn_unified", unified(healpix_url=LINK))])
    drain(ctx)

    class Killed(BaseException):
        pass

    def die(*args: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(fetch, "_finish", die)
        with pytest.raises(Killed):
            fetch.run(ctx, files)
    assert ledger(ctx).pending == 1
    fetch.run(ctx, files)
    drain(ctx)
    with database.read() as session:
        notices = session.execute(select(NoticeRow).where(NoticeRow.source == "late_map")).all()
    assert len(files.asked) == 2
    assert len(notices) == 1
    assert ledger(ctx) == queue.Balance("fetch", 1, 1, 0, 0)


def test_a_service_that_stops_leaves_the_wish(database: Database, tmp_path: Path) -> None:
    files = Files()
    ctx = live(database, tmp_path, Clock())
    send(ctx, [("gcn_unified", unified(healpix_url=LINK))])
    drain(ctx)
    assert fetch.run(ctx, files, stopped=lambda: True) == 0
    assert (files.asked, ledger(ctx).pending) == ([], 1)


# -- replays -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes", [{"clock": "data"}, {"clock": "wall", "fetch": FetchSettings(enabled=False)}]
)
def test_a_replay_and_a_service_told_so_ask_nobody(
    database: Database, tmp_path: Path, changes: dict[str, Any]
) -> None:
    ctx = make_context(database, tmp_path, **changes)
    send(ctx, [("gcn_unified", unified(healpix_url=LINK)), PLAIN])
    drain(ctx)
    assert ledger(ctx) == queue.Balance("fetch", 0, 0, 0, 0)


def test_what_was_fetched_is_replayed_from_files_without_asking_again(
    fresh: Callable[[], Database], tmp_path: Path
) -> None:
    live_database = fresh()
    ctx = live(live_database, tmp_path / "live", Clock())
    files = Files(**{LINK: MAP})
    send(ctx, [("gcn_unified", unified(healpix_url=LINK))])
    drain(ctx)
    fetch.run(ctx, files)
    drain(ctx)
    stored = tmp_path / "stored"
    stored.mkdir()
    with live_database.read() as session:
        for notice in session.execute(select(NoticeRow)).scalars():
            (stored / f"{notice.id}.json").write_bytes(notice.payload)
    again = make_context(fresh(), tmp_path / "again")
    found = messages([stored], again.sources)
    assert sorted(m.source for m in found) == ["gcn_unified", "late_map"]
    assert all(m.sent_at is not None for m in found)
    assert feed(again, found) == 2
    drain(again)
    assert final(again.database) == final(live_database)
    assert final(again.database)[3] == gaussian_map().content_id


def test_a_drain_does_not_wait_for_what_is_behind_a_link(
    fresh: Callable[[], Database], tmp_path: Path
) -> None:
    ctx = live(fresh(), tmp_path, Clock())
    send(ctx, [("igwn", real("S260301a"))])
    drain(ctx)
    executor: Executor = StandInExecutor()
    pipeline = Pipeline(ctx, executor)
    assert pipeline.drain(timeout_s=60.0)
    pipeline.close()
    assert ledger(ctx).pending == 1


# -- settings ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"hosts": ("https://gcn.nasa.gov",)}, "host name"),
        ({"more_hosts": ("127.0.0.1",)}, "host name"),
        ({"more_hosts": ("GCN.nasa.gov",)}, "host name"),
        ({"retry_after_s": ()}, "retry_after_s"),
        ({"retry_after_s": (0.0,)}, "retry_after_s"),
        ({"give_up_after_h": 0.0}, "give_up_after_h"),
        ({"max_bytes": 10**9}, "max_bytes"),
    ],
)
def test_settings_that_cannot_work_are_refused_at_the_start(
    changes: dict[str, Any], key: str
) -> None:
    with pytest.raises(ConfigError, match=key):
        FetchSettings(**changes)


def test_the_environment_reaches_the_settings() -> None:
    environ = {
        "MMCOORD_FETCH__ENABLED": "false",
        "MMCOORD_FETCH__HOSTS": "a.example.org,b.example.org",
        "MMCOORD_FETCH__RETRY_AFTER_S": "1,2.5",
    }
    settings = load_settings(None, environ)
    assert not settings.fetches
    assert settings.fetch.policy.hosts == {"a.example.org", "b.example.org"}
    assert settings.fetch.retry_after_s == (1.0, 2.5)


@pytest.mark.parametrize(
    ("table", "said"), [("", "gracedb.ligo.org"), ("[fetch]\nenabled = false\n", "not fetched")]
)
def test_the_doctor_says_what_is_done_with_links(tmp_path: Path, table: str, said: str) -> None:
    config = tmp_path / "mmcoord.toml"
    config.write_text(f'data_dir = "{tmp_path}"\n{table}')
    (finding,) = (f for f in examine(config, None) if f.what == "fetch")
    assert finding.good
    assert said in finding.text


def test_more_hosts_are_beside_the_default_ones() -> None:
    settings = Settings(fetch=FetchSettings(more_hosts=("maps.example.org",)))
    assert settings.fetch.policy.hosts == {*fetching.HOSTS, "maps.example.org"}
    assert settings.fetches
