"""Cross-identification: the same answers as plain great circles, on both database systems."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from hypothesis import given, settings
from hypothesis import strategies as st

from mmcoord.records import Candidate, KnownTransient
from mmcoord.store import crossid
from mmcoord.store.crossid import Place, known_as, name_keys, objects_named
from mmcoord.store.database import Database
from mmcoord.store.ingest import store_candidates, store_known_transients
from tests.stores import migrated

NOW = datetime(2026, 11, 24, tzinfo=UTC)

# Where indices break: poles, RA 0/360, the equator at face borders, corners of the base pixels.
AWKWARD = [
    (0.0, 0.0), (359.9999, 0.0), (0.0001, 41.8103149), (45.0, 0.0), (90.0, 41.8103149),
    (180.0, -41.8103149), (123.0, 89.9999), (303.0, 89.9999), (10.0, -89.9999), (0.0, 90.0),
    (45.0, 41.8103149), (45.0, 66.4435), (0.0, -66.4435), (197.450354, -23.381484),
]  # fmt: skip


def entry(number: int, ra: float, dec: float, **changes: object) -> KnownTransient:
    values: dict[str, object] = {
        "catalogue": "tns", "identifier": str(number), "name": f"AT 2026x{number}",
        "ra_deg": ra, "dec_deg": dec, "modified_at": NOW,
    }  # fmt: skip
    return KnownTransient(**(values | changes))  # type: ignore[arg-type]


def fill(database: Database, *entries: KnownTransient) -> None:
    with database.write() as session:
        store_known_transients(session, [(one, 1) for one in entries], NOW)


def shifted(ra: float, dec: float, arcsec: float, angle_deg: float) -> tuple[float, float]:
    """A point some arcseconds away, by astropy."""
    at = SkyCoord(ra * u.deg, dec * u.deg).directional_offset_by(
        angle_deg * u.deg, arcsec * u.arcsec
    )
    return float(at.ra.deg) % 360.0, float(at.dec.deg)


@pytest.fixture(scope="module")
def sqlite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """One store for the property test; each example uses a catalogue of its own."""
    path: Path = tmp_path_factory.mktemp("crossid") / "store.db"
    database = migrated(f"sqlite:///{path}")
    yield database
    database.close()


_run = iter(range(10**9))
directions = st.one_of(
    st.sampled_from(AWKWARD),
    st.tuples(
        st.floats(0.0, 359.999999),
        st.floats(-1.0, 1.0).map(lambda s: math.degrees(math.asin(s))),
    ),
)


@given(
    centre=directions,
    offsets=st.lists(
        st.tuples(st.floats(0.0, 12.0), st.floats(0.0, 360.0)), min_size=1, max_size=8
    ),
    radius=st.sampled_from([0.5, 1.5, 5.0]),
)
@settings(max_examples=150, deadline=None)
def test_what_lies_within_the_radius_by_astropy_is_found_and_nothing_else(
    sqlite: Database,
    centre: tuple[float, float],
    offsets: list[tuple[float, float]],
    radius: float,
) -> None:
    catalogue = f"c{next(_run)}"
    entries = [
        entry(n, *shifted(*centre, arcsec, angle), catalogue=catalogue, name=f"{catalogue} {n}")
        for n, (arcsec, angle) in enumerate(offsets)
    ]
    fill(sqlite, *entries)
    apart = SkyCoord(*centre, unit="deg").separation(
        SkyCoord([e.ra_deg for e in entries], [e.dec_deg for e in entries], unit="deg")
    )
    edge = 1e-6  # arcsec: who is exactly on the circle is a matter of rounding
    sure = {e.identifier for e, s in zip(entries, apart.arcsec, strict=True) if s < radius - edge}
    may = {e.identifier for e, s in zip(entries, apart.arcsec, strict=True) if s < radius + edge}
    with sqlite.read() as session:
        found = known_as(session, [Place("x", *centre)], radius).get("x", ())
    own = [k for k in found if k.entry.catalogue == catalogue]
    assert sure <= {k.entry.identifier for k in own} <= may
    expected = dict(zip((e.identifier for e in entries), apart.arcsec, strict=True))
    for k in own:
        assert k.separation_arcsec == pytest.approx(expected[k.entry.identifier], abs=1e-6)


def test_many_places_at_once_agree_with_brute_force(database: Database) -> None:
    rng = np.random.default_rng(5)
    n = 3000
    ra, dec = rng.uniform(0, 360, n), np.degrees(np.arcsin(rng.uniform(-1, 1, n)))
    near_ra, near_dec = (
        ra + rng.normal(0, 0.0004, n),
        np.clip(dec + rng.normal(0, 0.0004, n), -90, 90),
    )
    fill(
        database,
        *(
            entry(i, float(a % 360), float(d))
            for i, (a, d) in enumerate(zip(near_ra, near_dec, strict=True))
        ),
    )
    places = [Place(f"o{i}", float(ra[i]), float(dec[i])) for i in range(n)]
    with database.read() as session:
        found = known_as(session, places, 1.5)
    got = {(o, int(k.entry.identifier)) for o, own in found.items() for k in own}
    ours = SkyCoord(ra, dec, unit="deg")
    theirs = SkyCoord(near_ra, near_dec, unit="deg")
    i, j, _, _ = theirs.search_around_sky(ours, 1.5 * u.arcsec)
    assert got == {(f"o{a}", int(b)) for a, b in zip(i, j, strict=True)}
    assert len(got) > 500


def test_a_survey_name_identifies_whatever_the_spelling_and_the_place(database: Database) -> None:
    fill(database, entry(1, 10.0, 20.0, name="SN 2021xyz", names=("ZTF21abinaiu", "ATLAS21abc")))
    with database.read() as session:
        found = known_as(session, [Place("ZTF21abinaiu", 10.001, 20.0)])
        assert [k.entry.name for k in found["ZTF21abinaiu"]] == ["SN 2021xyz"]
        assert found["ZTF21abinaiu"][0].by_name
        assert known_as(session, [Place("ZTF21other", 10.001, 20.0)]) == {}


def test_an_entry_of_the_same_name_and_place_comes_once_and_first(database: Database) -> None:
    fill(
        database,
        entry(1, 10.0, 20.0, names=("ZTF21aaa",)),
        entry(2, 10.0 + 0.1 / 3600, 20.0, name="AT 2015old"),
    )
    with database.read() as session:
        found = known_as(session, [Place("ZTF21aaa", 10.0 + 0.2 / 3600, 20.0)])["ZTF21aaa"]
    assert [(k.entry.identifier, k.by_name) for k in found] == [("1", True), ("2", False)]


def test_a_candidate_is_found_by_its_name_in_the_catalogue(database: Database) -> None:
    fill(database, entry(22811, 197.450354, -23.381484, name="AT 2017gfo", names=("SSS17a",)))
    candidates = [
        Candidate("lsst-1", 197.450354, -23.381484 + 0.5 / 3600, "lsst"),
        Candidate("SSS17a", 12.0, 12.0, "file"),
        Candidate("far", 197.46, -23.381484, "lsst"),
    ]
    with database.write() as session:
        store_candidates(session, [(c, 1) for c in candidates], NOW)
    with database.read() as session:
        for spelling in ("AT2017gfo", "AT 2017gfo", "at2017GFO", "2017gfo", "SN2017gfo", "SSS17a"):
            assert objects_named(session, spelling) == ["SSS17a", "lsst-1"], spelling
        assert objects_named(session, "AT2017gfp") == []
        assert objects_named(session, "") == []


def test_names_keep_their_prefix_only_where_it_is_one() -> None:
    assert name_keys("SN 2023ixf") == {"sn2023ixf", "2023ixf"}
    assert name_keys("SNhunt42") == {"snhunt42"}
    assert name_keys("ATLAS21abc") == {"atlas21abc"}


def test_with_no_catalogue_nothing_is_asked(database: Database) -> None:
    with database.read() as session:
        assert crossid.is_empty(session)
        assert known_as(session, [Place("x", 1.0, 2.0)]) == {}


@pytest.mark.parametrize("radius", [0.0, -1.0, math.nan, 4000.0])
def test_a_radius_that_is_none_is_refused(database: Database, radius: float) -> None:
    fill(database, entry(1, 10.0, 20.0))
    with database.read() as session, pytest.raises(ValueError, match="radius_arcsec"):
        known_as(session, [Place("x", 1.0, 2.0)], radius)
