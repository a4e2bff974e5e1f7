"""Any name finds its event; links and mentions are not synonyms; circulars find their event."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sqlalchemy import select

from mmcoord.errors import AmbiguousName, UnknownRecord
from mmcoord.stages.context import Context
from mmcoord.store import finding
from mmcoord.store.database import Database
from mmcoord.store.summary import event_document
from mmcoord.store.tables import CircularRow, NoticeRow
from tests.making import make_context
from tests.stages.orders import (
    Message,
    circular,
    feed,
    fermi,
    icecube,
    lvk,
    snews,
    snews_gcn,
    unified,
    with_coincidence,
)

GW = lvk("S260301a", "PRELIMINARY", 5)
BURST = {"Super-K": "02:30:00.02", "IceCube": "02:30:00.05"}


@pytest.fixture
def ctx(database: Database, tmp_path: Path) -> Context:
    return make_context(database, tmp_path)


def find(ctx: Context, name: str) -> list[str]:
    with ctx.database.read() as session:
        return finding.find(session, name)


def links(ctx: Context, event_id: str) -> list[str]:
    with ctx.database.read() as session:
        return [line.event_id for line in finding.linked(session, event_id)]


def numbers(ctx: Context, event_id: str) -> list[int]:
    with ctx.database.read() as session:
        return [line.circular_id for line in finding.circulars_of(session, event_id)]


@pytest.mark.parametrize(
    "name",
    ["IceCube-140000_123456", "icecube 140000 123456", "IceCube-260301A", "ICECUBE260301a",
     "140000_123456"],
)  # fmt: skip
def test_any_name_in_its_notices_finds_an_event(ctx: Context, name: str) -> None:
    feed(ctx, [icecube(0)], [])
    assert find(ctx, name) == ["IceCube-140000_123456"]
    assert find(ctx, "IceCube-260301B") == []


def test_a_trigger_is_found_by_its_number(ctx: Context) -> None:
    feed(ctx, [fermi("initial", 1)], [])
    assert find(ctx, "524666471") == ["Fermi-GBM-524666471"]


def test_the_names_of_gw170817(ctx: Context) -> None:
    """GW170817 = GRB 170817A = AT2017gfo: found by each, months later, however it is written."""
    some: list[Message] = [
        lvk("S170817a", "INITIAL", 30),
        circular(21505, "LIGO/Virgo S170817a = GW170817: identification", eventId="S170817a"),
        circular(21520, "GW170817 = GRB 170817A = AT2017gfo: the names", eventId="GW170817"),
        circular(21600, "S170817a (aka GRB 170817A): summary"),
        circular(21700, "S170817a = AT 2017gfo: spectra"),
    ]
    feed(ctx, some, [1, 1, 1, 1])
    for name in ("s170817a", "GW 170817", "grb170817a", "GRB 170817A", "AT2017gfo", "at 2017gfo"):
        assert find(ctx, name) == ["S170817a"], name
    assert find(ctx, "\0") == find(ctx, " - ") == []
    assert numbers(ctx, "S170817a") == [21700, 21600, 21520, 21505]


@pytest.mark.parametrize("order", [1, -1])
def test_the_discoverers_circular_names_its_trigger(ctx: Context, order: int) -> None:
    body = "triggered and located GRB 260301A (trigger 524666471.135562 / 260301104)."
    some = [fermi("initial", 1), circular(45001, "GRB 260301A: Fermi GBM", body=body)]
    feed(ctx, some[::order], [1])
    assert find(ctx, "GRB260301A") == ["Fermi-GBM-524666471"]
    assert numbers(ctx, "Fermi-GBM-524666471") == [45001]


def test_names_side_by_side_are_no_synonyms_but_lead_to_the_event(ctx: Context) -> None:
    feed(ctx, [GW, circular(45001, "S260301a: AT2026abc is a supernova")], [])
    with ctx.database.read() as session:
        assert [line.name for line in finding.names_of(session, "S260301a")] == []
    assert find(ctx, "AT2026abc") == ["S260301a"]  # by the circular, for lack of better
    assert find(ctx, "AT2026abd") == []


def test_a_name_of_two_events_teaches_nothing(ctx: Context) -> None:
    both = [fermi("initial", 1), fermi("initial", 1, 524666472)]  # both call it bn260301104
    feed(ctx, [*both, circular(45001, "bn260301104 = GRB 260301A")], [])
    with ctx.database.read() as session:
        for event in ("Fermi-GBM-524666471", "Fermi-GBM-524666472"):
            lines = finding.names_of(session, event)
            assert {line.learned_from for line in lines} == {"alert"}
    assert find(ctx, "bn260301104") == ["Fermi-GBM-524666471", "Fermi-GBM-524666472"]


def test_a_correction_takes_back_what_was_taught(ctx: Context) -> None:
    feed(ctx, [GW, circular(45001, "S260301a = GRB 260301A", 1)], [])
    assert find(ctx, "GRB 260301A") == ["S260301a"]
    feed_more(ctx, [circular(45001, "S260301a = GRB 260301B", 2)])
    assert find(ctx, "GRB 260301A") == []
    assert find(ctx, "GRB 260301B") == ["S260301a"]
    feed_more(ctx, [circular(45001, "S260301a = GRB 260301A", 1)])  # sent again on Monday
    assert find(ctx, "GRB 260301A") == []


def feed_more(ctx: Context, some: list[Message]) -> None:
    from tests.making import send
    from tests.stages.orders import drain

    with ctx.database.read() as session:
        start = len(list(session.execute(select(NoticeRow.id)).scalars()))
    send(ctx, some, first_offset=start)
    drain(ctx)


@pytest.mark.parametrize("order", [1, -1])
def test_lvks_coincidence_is_a_link_both_ways_and_no_synonym(ctx: Context, order: int) -> None:
    some = [with_coincidence(GW, 524666471), fermi("initial", 1)]
    feed(ctx, some[::order], [1])
    assert links(ctx, "S260301a") == ["Fermi-GBM-524666471"]
    assert links(ctx, "Fermi-GBM-524666471") == ["S260301a"]
    assert find(ctx, "524666471") == ["Fermi-GBM-524666471"]
    # Before the burst's own notice, its name leads to the superevent.
    feed_more(ctx, [with_coincidence(lvk("S260301b", "PRELIMINARY", 5), 524666999)])
    assert find(ctx, "Fermi GBM 524666999") == ["S260301b"]


def test_what_a_notice_follows_up_is_a_link(ctx: Context) -> None:
    guano = unified(
        "swift/bat/Guano",
        mission="Swift",
        instrument="BAT-GUANO",
        id=["524666500"],
        alert_datetime="2026-03-01T03:00:00Z",
        follow_up_event="Fermi 524666471",
        follow_up_type="GRB",
    )
    search = unified(
        "icecube/lvk_nu_track_search",
        ref_ID="S260301a",
        ref_instrument="LVK",
        alert_datetime="2026-03-01T03:00:00Z",
    )
    feed(ctx, [guano, search, fermi("initial", 1), GW], [])
    assert links(ctx, "Swift-GUANO-524666500") == ["Fermi-GBM-524666471"]
    assert links(ctx, "S260301a") == ["IceCube-LVK-S260301a"]
    assert find(ctx, "S260301a") == ["S260301a"]


def test_one_burst_by_three_ways_is_found_as_one(ctx: Context) -> None:
    """SNEWS over SCiMMA and GCN share a name; its VOEvent and Super-K are found by the time."""
    classic = """<voe:VOEvent ivorn="ivo://nasa.gsfc.gcn/SNEWS#Event_1000999" role="observation"
      version="2.0" xmlns:voe="http://www.ivoa.net/xml/VOEvent/v2.0">
     <Who><Date>2026-03-01T02:31:00</Date></Who>
     <What><Param name="TrigID" value="1000999"/></What>
     <WhereWhen><ISOTime>2026-03-01T02:29:55</ISOTime></WhereWhen></voe:VOEvent>"""
    super_k = unified(
        "superk/sn_alert",
        id="SN.095001.000001",
        alert_datetime="2026-03-01T02:31:00Z",
        trigger_time="2026-03-01T02:30:01Z",
        alert_tense="current",
    )
    some = [snews(1, BURST), snews_gcn(2, BURST), ("voevent", classic.encode()), super_k]
    feed(ctx, [*some, icecube(0)], [])
    assert links(ctx, "SNEWS2-20260301T0230") == ["SNEWS-1000999", "Super-K-SN.095001.000001"]
    assert "SNEWS2-20260301T0230" in links(ctx, "SNEWS-1000999")
    assert links(ctx, "IceCube-140000_123456") == []  # a neutrino, but no burst
    drill = super_k[1].replace(b'"current"', b'"test"')
    feed_more(ctx, [("gcn_unified", drill)])
    assert len(links(ctx, "SNEWS2-20260301T0230")) == 2  # a drill is no part of a real burst


def test_one_event_or_an_error_that_says_which(ctx: Context) -> None:
    feed(ctx, [fermi("initial", 1), fermi("initial", 1, 524666472)], [])
    with ctx.database.read() as session:
        assert finding.one(session, "524666472") == "Fermi-GBM-524666472"
        with pytest.raises(UnknownRecord, match="no event 'x'"):
            finding.one(session, "x")
        with pytest.raises(AmbiguousName, match="Fermi-GBM-524666471, Fermi-GBM-524666472"):
            finding.one(session, "bn260301104")


@pytest.mark.parametrize("order", [1, -1])
def test_circulars_that_name_an_event_are_in_its_document(ctx: Context, order: int) -> None:
    about = circular(45001, "IceCube-260301A: a track", eventId="IceCube-260301A")
    feed(ctx, [icecube(0), about, circular(45002, "GRB 260301A: nothing")][::order], [1, 1])
    with ctx.database.read() as session:
        document = event_document(session, "IceCube-140000_123456")
        stored = session.get(CircularRow, 45001)
    (line,) = document["circulars"]
    assert (line["circular_id"], line["subject"]) == (45001, "IceCube-260301A: a track")
    assert line["created_at"].startswith("2026-03-01T02:30:")
    assert {"name": "IceCube-260301A", "learned_from": "alert"} in document["names"]
    json.dumps(document)
    assert stored is not None
    assert "@" not in stored.submitter
    with ctx.database.read() as session:  # the bytes as received keep everything
        payloads = list(session.execute(select(NoticeRow.payload)).scalars())
    assert any(b"a.person@example.org" in payload for payload in payloads)


def test_events_of_an_older_store_are_found_by_their_names(database_url: str) -> None:
    """The migration names what was there; nothing has to be received again."""
    from alembic import command
    from sqlalchemy import insert

    from mmcoord.store.migrate import alembic_config, upgrade
    from mmcoord.store.tables import EventRow
    from mmcoord.store.types import table
    from tests.making import T0

    database = Database(database_url)
    command.upgrade(alembic_config(database), "0001")
    with database.write() as session:
        row = {
            "event_id": "Fermi-GBM-1", "messenger": "EM", "state": "active", "is_practice": False,
            "alert_type": "INITIAL", "aliases": ["GRB 250101A"], "first_received_at": T0,
            "updated_at": T0, "cause_id": "",
        }  # fmt: skip
        session.execute(insert(table(EventRow)), [row])
    upgrade(database)
    with database.read() as session:
        assert finding.find(session, "grb250101a") == ["Fermi-GBM-1"]
    database.close()
