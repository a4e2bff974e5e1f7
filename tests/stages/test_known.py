"""What TNS says of a candidate reaches the match and the plan, whichever came first."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select
from sqlmodel import col

import skymaps
from mmcoord.api.app import create_app
from mmcoord.errors import ConfigError
from mmcoord.seed import seed_tns
from mmcoord.stages import intake
from mmcoord.stages.context import Context
from mmcoord.stages.pipeline import Pipeline
from mmcoord.store import queue
from mmcoord.store.cursors import Place, stored_place
from mmcoord.store.database import Database
from mmcoord.store.summary import plan_document
from mmcoord.store.tables import DeadLetterRow, KnownTransientRow, MatchRow, NoticeRow
from tests.making import (
    StandInExecutor,
    candidate_row,
    gaussian_map,
    lvk_notice,
    make_context,
    photometry_row,
    send,
)
from tests.stores import migrated

EVENT = "MS260301a"
HEADER = (
    '"objid","name_prefix","name","ra","declination","redshift","type","discoverydate",'
    '"internal_names","lastmodified"'
)


def tns(objid: int, ra: float, dec: float, **changes: str) -> bytes:
    values = {
        "prefix": "AT", "name": f"2026x{objid}", "redshift": "", "type": "",
        "discovered": "2026-03-01 05:00:00", "names": "", "modified": "2026-03-02 00:00:00",
    } | changes  # fmt: skip
    cells = [str(objid), values["prefix"], values["name"], repr(ra), repr(dec)]
    cells += [values[key] for key in ("redshift", "type", "discovered", "names", "modified")]
    return "\n".join([HEADER, ",".join('"' + cell + '"' for cell in cells)]).encode()


NIGHT = [
    ("igwn", lvk_notice(EVENT, skymap=skymaps.to_fits_bytes(gaussian_map()))),
    *(
        message
        for name, ra, mag in (("ZTF26aaa", 150.0, 18.0), ("ZTF26bbb", 150.01, 18.01))
        for message in (
            ("table_candidates", candidate_row(name, ra, -20.0)),
            ("table_photometry", photometry_row(name, -1.0, "ztf:r", 21.0, "")),
            ("table_photometry", photometry_row(name, 0.5, "ztf:r", mag)),
            ("table_photometry", photometry_row(name, 0.6, "ztf:g", mag + 0.2)),
            ("table_photometry", photometry_row(name, 1.5, "ztf:r", mag + 1.0)),
            ("table_photometry", photometry_row(name, 1.6, "ztf:g", mag + 1.8)),
        )
    ),
]


_offsets = itertools.count(0, 1000)


def take(ctx: Context, *messages: tuple[str, bytes]) -> None:
    """Receive and work until nothing is left to do."""
    send(ctx, messages, first_offset=next(_offsets))
    pipeline = Pipeline(ctx, StandInExecutor())
    pipeline.drain()
    pipeline.close()


def plan(ctx: Context) -> dict[str, dict[str, Any]]:
    with ctx.database.read() as session:
        document = plan_document(session, EVENT)
    return {row["candidate"]: row for row in document["plan"]}


@pytest.fixture
def ctx(sqlite_url: str, tmp_path: Path) -> Context:

    database = migrated(sqlite_url)
    return make_context(database, tmp_path)


def test_a_spectrum_that_shows_a_supernova_weighs_against_a_target(ctx: Context) -> None:
    take(ctx, *NIGHT)
    before = plan(ctx)
    assert before["ZTF26aaa"]["factors"]["classified"] is None
    assert "counted as 1" in before["ZTF26aaa"]["reasons"]["classified"]
    take(ctx, ("tns", tns(1, 150.0, -20.0 + 0.8 / 3600, prefix="SN", type="SN Ia")))
    after = plan(ctx)
    assert set(after) == set(before)  # a weight, not a removal
    row = after["ZTF26aaa"]
    assert row["factors"]["classified"] == 0.01
    assert row["reasons"]["classified"] == "classified as SN Ia, not a kilonova (TNS: SN 2026x1)"
    was = before["ZTF26aaa"]
    assert row["score"] / row["factors"]["rivals"] == pytest.approx(
        0.01 * was["score"] / was["factors"]["rivals"]
    )
    assert row["known_as"] == [{"name": "SN 2026x1", "classification": "SN Ia"}]
    assert after["ZTF26bbb"]["rank"] == 1
    assert after["ZTF26bbb"]["known_as"] == []
    assert after["ZTF26bbb"]["score"] > before["ZTF26bbb"]["score"]  # a rival less
    assert after["ZTF26bbb"]["factors"]["rivals"] > 0.98


def test_a_kilonova_by_its_spectrum_is_one_whatever_was_inferred(ctx: Context) -> None:
    take(ctx, *NIGHT, ("tns", tns(1, 150.0, -20.0, type="Kilonova")))
    row = plan(ctx)["ZTF26aaa"]
    assert row["factors"]["classified"] == row["factors"]["kilonova"] == 1.0
    assert "by its spectrum (TNS: AT 2026x1)" in row["reasons"]["kilonova"]
    assert plan(ctx)["ZTF26bbb"]["factors"]["kilonova"] < 1.0


@pytest.mark.parametrize(
    "changes",
    [
        {"type": ""},
        {"type": "Galaxy"},
        {"type": "SN Ia", "discovered": "2019-03-01 05:00:00"},
    ],
)
def test_what_tells_nothing_of_this_source_is_not_known(
    ctx: Context, changes: dict[str, str]
) -> None:
    """No type; light of the host alone; another transient at the same place, years ago."""
    take(ctx, *NIGHT, ("tns", tns(1, 150.0, -20.0, **changes)))
    assert plan(ctx)["ZTF26aaa"]["factors"]["classified"] is None


def _levels(ctx: Context) -> dict[str, float | None]:
    with ctx.database.read() as session:
        rows = session.execute(select(MatchRow).where(col(MatchRow.event_id) == EVENT)).scalars()
        return {row.object_id: row.credible_level_3d for row in rows}


def test_a_redshift_of_tns_places_the_candidate_in_the_volume(ctx: Context) -> None:
    """The map says 60 +- 12 Mpc; z = 0.0134 is 60 Mpc, z = 0.2 is a Gpc."""
    take(ctx, *NIGHT)
    assert _levels(ctx) == {"ZTF26aaa": None, "ZTF26bbb": None}
    take(
        ctx,
        ("tns", tns(1, 150.0, -20.0, redshift="0.0134")),
        ("tns", tns(2, 150.01, -20.0, redshift="0.2")),
    )
    levels = _levels(ctx)
    assert levels["ZTF26aaa"] is not None
    assert levels["ZTF26bbb"] is not None
    assert levels["ZTF26aaa"] < 0.5
    assert levels["ZTF26bbb"] > 0.999


def test_the_name_of_a_survey_is_enough(ctx: Context) -> None:
    take(ctx, *NIGHT, ("tns", tns(1, 151.0, -20.0, type="CV", names="ZTF26aaa, ATLAS26x")))
    assert plan(ctx)["ZTF26aaa"]["factors"]["classified"] == 0.01


def test_the_order_of_arrival_changes_nothing(sqlite_url: str, tmp_path: Path) -> None:

    entry = ("tns", tns(1, 150.0, -20.0, type="SN II", redshift="0.05"))
    ends = []
    for number, messages in enumerate(([entry, *NIGHT], [*NIGHT, entry])):
        database = migrated(f"sqlite:///{tmp_path / f'{number}.db'}")
        ctx = make_context(database, tmp_path / str(number))
        for message in messages:
            take(ctx, message)
        # When and with what depends on the plan before: an observation stays where it is.
        ends.append(
            {
                name: (
                    row["factors"],
                    {k: v for k, v in row["reasons"].items() if k not in ("choice", "cost")},
                    row["score"],
                )
                for name, row in plan(ctx).items()
            }
        )
        database.close()
    assert ends[0] == ends[1]


def test_the_page_and_the_api_find_an_object_by_its_name_in_tns(ctx: Context) -> None:
    entry = tns(1, 150.0, -20.0, type="SN Ia", name="2026abc", names="<b>x</b>", redshift="0.05")
    take(ctx, *NIGHT, ("tns", entry))
    with TestClient(create_app(ctx.database, ctx.settings, list)) as client:
        answer = client.get("/objects/AT2026abc", follow_redirects=False)
        assert (answer.status_code, answer.headers["location"]) == (303, "/objects/ZTF26aaa")
        page = client.get("/objects/ZTF26aaa").text
        assert 'href="https://www.wis-tns.org/object/2026abc"' in page
        assert "SN Ia" in page
        assert "<b>x</b>" not in page
        told = "classified as SN Ia, not a kilonova (TNS: AT 2026abc)"
        assert f'<span class="block">{told}</span>' in client.get(f"/events/{EVENT}").text
        document = client.get("/api/v1/objects/2026abc").json()
        assert document["object"]["object_id"] == "ZTF26aaa"
        (known,) = document["known"]
        assert (known["name"], known["classification"]) == ("AT 2026abc", "SN Ia")
        assert known["separation_arcsec"] == pytest.approx(0.0, abs=1e-6)
        assert client.get("/api/v1/objects/AT2026zzz").status_code == 404
        assert client.get("/objects/AT2026zzz").status_code == 404


# -- the place of a listener that polls -------------------------------------------------------


def test_notices_and_the_place_are_written_together_or_not_at_all(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mmcoord.records import Notice

    ctx = make_context(database, tmp_path)
    notice = Notice("tns", "h", "t", 0, 1, tns(1, 150.0, -20.0), ctx.now())
    intake.receive(ctx, [notice], Place("tns", {"until": "a"}))
    with database.read() as session:
        assert stored_place(session, "tns") == {"until": "a"}
    assert intake.receive(ctx, [notice], Place("tns", {"until": "b"})) == 0  # a redelivery
    intake.receive(ctx, [], Place("other", {"page": 2}))

    def broken(*args: Any, **values: Any) -> None:
        raise OSError("power cut")

    monkeypatch.setattr(queue, "count", broken)
    fresh = Notice("tns", "h", "t", 0, 2, tns(2, 150.0, -20.0), ctx.now())
    with pytest.raises(OSError, match="power cut"):
        intake.receive(ctx, [fresh], Place("tns", {"until": "c"}))
    with database.read() as session:
        assert stored_place(session, "tns") == {"until": "b"}
        assert stored_place(session, "other") == {"page": 2}
        assert stored_place(session, "nobody") is None
        assert len(session.execute(select(NoticeRow)).all()) == 1


# -- the whole catalogue --------------------------------------------------------------------------


def test_a_seed_file_is_read_once_and_a_bad_row_is_parked(ctx: Context, tmp_path: Path) -> None:
    rows = [tns(n, n % 360 + 0.5, -20.0).decode().split("\n")[1] for n in range(1, 451)]
    rows[7] = rows[7].replace('"-20.0"', '"-200"')
    file = tmp_path / "tns_public_objects.csv"
    file.write_text("\n".join(['"2026-03-05 00:00:00"', HEADER, *rows]) + "\n")
    said: list[str] = []
    first = seed_tns(ctx, file, said.append)
    assert first == {"payloads": 6, "new": 6, "known_transients": 449, "dead_letters": 1}
    again = seed_tns(ctx, file, said.append)
    assert again == {**first, "new": 0}
    with ctx.database.read() as session:
        assert session.get(KnownTransientRow, ("tns", "7")) is not None
        (letter,) = session.execute(select(DeadLetterRow)).scalars()
        assert "dec: -200.0 is not in [-90, 90] deg" in letter.reason
        assert all(balance.lost == 0 for balance in queue.balance(session))
    with pytest.raises(ConfigError, match="no such file"):
        seed_tns(ctx, tmp_path / "nowhere.csv", said.append)
