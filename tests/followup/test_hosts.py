"""Host galaxies: chance by formula and by simulation, distances, catalogues, index."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from followup.hosts import (
    Galaxies,
    chance_by_density,
    chance_by_magnitude,
    distance_agreement,
    host,
    joined,
)
from followup.hosts_catalogues import glade_plus, ned_gwf, ned_lvs
from followup.hosts_index import GalaxyIndex, build_index
from mmcoord.errors import BadInput, ConfigError

NAN = math.nan


def galaxies(*rows: dict[str, Any], catalogue: str = "made") -> Galaxies:
    numbers = ("ra_deg", "dec_deg", "distance_mpc", "distance_err_mpc", "magnitude")
    usual = dict.fromkeys((*numbers, "radius_arcsec", "log_mass"), NAN)
    filled = [usual | {"name": "g"} | row for row in rows]
    return Galaxies(
        catalogue=catalogue,
        name=tuple(str(row["name"]) for row in filled),
        **{name: np.array([row[name] for row in filled], float) for name in usual},
    )


class Listed:
    """A source that always knows the same galaxies."""

    def __init__(self, found: Galaxies) -> None:
        self.found = found

    def near(self, ra_deg: float, dec_deg: float, radius_deg: float) -> Galaxies:
        return self.found


NGC4993 = {
    "name": "NGC 4993",
    "ra_deg": 197.448776,
    "dec_deg": -23.383831,
    "distance_mpc": 40.7,
    "distance_err_mpc": 2.4,
    "magnitude": 12.2,
}
AT2017GFO = (197.450354, -23.381484)


def test_chance_by_the_published_density() -> None:
    """Bloom et al. (2002): 10^-2.44 / (0.33 ln 10) per arcsec^2 to R = 24, 17 per arcmin^2."""
    density = 10**-2.44 / (0.33 * math.log(10))
    assert density * 3600 == pytest.approx(17.2, abs=0.1)
    assert chance_by_magnitude(1.0, 24.0) == pytest.approx(1 - math.exp(-math.pi * density))
    assert chance_by_magnitude(0.1, 24.0, 0.5) == chance_by_magnitude(1.0, 24.0)


def test_chance_by_density_is_how_often_it_happens() -> None:
    rng = np.random.default_rng(1)
    n, side, radius = 40, 1000.0, 60.0
    trials = 4000
    places = rng.uniform(0, side, (trials, n, 2)) - side / 2
    hit = (np.hypot(*places.transpose(2, 0, 1)) < radius).any(axis=1).mean()
    expected = float(chance_by_density(radius, n, (side / 3600) ** 2))
    assert expected == pytest.approx(hit, abs=4 * math.sqrt(hit * (1 - hit) / trials))


def test_distances_of_true_hosts_agree_uniformly() -> None:
    rng = np.random.default_rng(2)
    true = 100.0
    hosts = true + 5.0 * rng.standard_normal(4000)
    maps = true + 20.0 * rng.standard_normal(4000)
    agreement = np.array(
        [
            float(distance_agreement(true, 5.0, m - h + true, 20.0, 1e-6))
            for h, m in zip(hosts, maps, strict=True)
        ]
    )
    share = np.histogram(agreement, bins=10, range=(0, 1))[0] / len(agreement)
    assert share == pytest.approx(0.1, abs=0.02)
    two_sigma = float(distance_agreement(100.0, 0.0, 141.23, 20.0))
    assert two_sigma == pytest.approx(2 * norm.sf(2.0), abs=1e-3)


def factor(*rows: dict[str, Any], map_mpc: float | None = 40.0, own: bool = False) -> Any:
    source = Listed(galaxies(*rows)) if rows else Listed(galaxies())
    return host(
        source,
        *AT2017GFO,
        map_mpc=map_mpc,
        map_err_mpc=None if map_mpc is None else 8.0,
        has_own_distance=own,
    )


def test_ngc_4993_speaks_for_at2017gfo() -> None:
    found = factor(NGC4993)
    assert found.value is not None
    assert found.value > 0.9
    assert "9.9 arcsec from NGC 4993 (made), 2.0 kpc" in found.reason
    assert "at 41 Mpc where the map has 40 +- 8" in found.reason


def test_a_host_far_behind_speaks_against_it_and_never_forbids() -> None:
    found = factor(NGC4993 | {"distance_mpc": 400.0})
    assert found.value == 0.02
    assert factor(NGC4993 | {"distance_mpc": 400.0}, own=True).value > 0.99


def test_what_is_not_known_lies_between() -> None:
    assert host(None, 1.0, 2.0, map_mpc=None, map_err_mpc=None).counted == 0.5
    assert (factor().value, factor().counted) == (None, 0.5)
    far = {"ra_deg": 197.6, "dec_deg": -23.4, "magnitude": 19.0, "distance_mpc": 40.0}
    assert factor(far).value is None
    assert factor(NGC4993, map_mpc=None).value == pytest.approx(0.5, abs=0.01)
    assert factor(NGC4993 | {"distance_mpc": NAN}).value == pytest.approx(0.5, abs=0.01)


def test_a_large_offset_in_kpc_is_no_host_however_bright() -> None:
    """2 degrees from Andromeda's centre would be 27 kpc; the same angle at 40 Mpc 1,400 kpc."""
    near = NGC4993 | {"ra_deg": 197.448776 + 0.4, "magnitude": 3.0, "distance_mpc": 0.8}
    assert "by chance with probability" in factor(near, map_mpc=None).reason
    assert factor(near | {"distance_mpc": 40.0}).value is None


# -- the index -------------------------------------------------------------------------


def sky(n: int, seed: int) -> Galaxies:
    rng = np.random.default_rng(seed)
    return Galaxies(
        "made",
        tuple(f"g{k}" for k in range(n)),
        rng.uniform(0, 360, n),
        np.degrees(np.arcsin(rng.uniform(-1, 1, n))),
        rng.uniform(10, 500, n),
        rng.uniform(1, 50, n),
        rng.uniform(10, 20, n),
        np.full(n, NAN),
        rng.uniform(7, 12, n),
    )


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> tuple[Galaxies, GalaxyIndex]:
    whole = sky(20_000, 3)
    folder = tmp_path_factory.mktemp("hosts") / "made"
    build_index([whole], folder, source="test", source_sha256="0")
    return whole, GalaxyIndex.open(folder, verify=True)


@settings(max_examples=60, deadline=None)
@given(
    ra=st.floats(0, 360, exclude_max=True),
    dec=st.floats(-90, 90) | st.sampled_from([-90.0, 90.0]),
    radius=st.floats(0.01, 20.0),
)
def test_a_cone_holds_what_astropy_finds(
    index: tuple[Galaxies, GalaxyIndex], ra: float, dec: float, radius: float
) -> None:
    whole, opened = index
    found = opened.near(ra, dec, radius)
    apart = SkyCoord(ra * u.deg, dec * u.deg).separation(
        SkyCoord(whole.ra_deg * u.deg, whole.dec_deg * u.deg)
    )
    clear = np.abs(apart.deg - radius) > 1e-9
    expected = {whole.name[k] for k in np.flatnonzero((apart.deg <= radius) & clear)}
    assert expected <= set(found.name)
    assert len(found.name) == len(set(found.name))
    assert len(found) - len(expected) <= int((~clear).sum())


def test_an_index_keeps_its_numbers_and_notices_changes(tmp_path: Path) -> None:
    whole = sky(50, 4)
    manifest = build_index([whole], tmp_path / "x", source="here", source_sha256="abc")
    opened = GalaxyIndex.open(tmp_path / "x", verify=True)
    assert len(opened) == manifest["n"] == 50
    one = opened.near(whole.ra_deg[7], whole.dec_deg[7], 1e-3)
    assert one.name == ("g7",)
    assert one.distance_mpc[0] == pytest.approx(whole.distance_mpc[7], rel=1e-6)
    assert opened.manifest["source_sha256"] == "abc"
    path = tmp_path / "x" / "magnitude.npy"
    path.write_bytes(path.read_bytes()[:-1] + b"\x42")
    GalaxyIndex.open(tmp_path / "x")
    with pytest.raises(ConfigError, match="checksum"):
        GalaxyIndex.open(tmp_path / "x", verify=True)
    build_index([whole], tmp_path / "x", source="here", source_sha256="abc")
    GalaxyIndex.open(tmp_path / "x", verify=True)
    (tmp_path / "x" / "manifest.json").write_text(json.dumps(manifest | {"format": 0}))
    with pytest.raises(ConfigError, match="build it anew"):
        GalaxyIndex.open(tmp_path / "x")
    with pytest.raises(ConfigError, match="no index"):
        GalaxyIndex.open(tmp_path / "y")
    with pytest.raises(BadInput, match="not one"):
        build_index([], tmp_path / "z", source="here", source_sha256="")


def test_two_catalogues_are_one_source() -> None:
    both = joined([galaxies(NGC4993), galaxies(NGC4993, catalogue="other")])
    assert both.catalogue == "made and other"
    assert len(both) == 2


# -- published formats -----------------------------------------------------------------


def glade_line(**changes: str) -> str:
    """A line by the column list of GLADE+; the numbers are NGC 4993's where they are known."""
    cells = ["null"] * 40
    values = {
        "0": "1", "1": "45657", "2": "NGC4993", "3": "NGC4993", "7": "G", "8": "197.448776",
        "9": "-23.383831", "10": "13.32", "27": "0.009727", "28": "0.010753", "29": "1",
        "32": "41.4", "33": "2.1", "34": "1", "35": "4.47", "37": "1",
    }  # fmt: skip
    for place, value in (values | changes).items():
        cells[int(place)] = value
    return " ".join(cells)


def test_lines_of_glade_plus() -> None:
    lines = [
        glade_line(),
        glade_line(**{"2": "null", "3": "null", "10": "null", "35": "null", "33": "null"}),
        glade_line(**{"7": "Q"}),
        glade_line(**{"34": "0"}),
        glade_line(**{"32": "null"}),
        glade_line(**{"32": "2000.0"}),
        "",
    ]
    (found,) = glade_plus(lines)
    assert found.name == ("NGC4993", "GLADE+ 1")
    assert found.ra_deg[0] == 197.448776
    assert (found.distance_mpc[0], found.distance_err_mpc[0]) == (41.4, 2.1)
    assert found.magnitude[0] == pytest.approx(12.12)
    assert found.log_mass[0] == pytest.approx(10.65, abs=0.01)
    assert np.isnan([found.magnitude[1], found.log_mass[1], found.distance_err_mpc[1]]).all()
    with pytest.raises(BadInput, match="line 2: 3 columns"):
        list(glade_plus([glade_line(), "1 2 3"]))
    with pytest.raises(BadInput, match="line 1: 'deep' is no number"):
        list(glade_plus([glade_line(**{"8": "deep"})]))


def test_a_table_of_ned_lvs(tmp_path: Path) -> None:
    columns = [
        fits.Column("objname", "20A", array=["NGC 4993", "a pair", "doubtful", "far", "no place"]),
        fits.Column("ra", "D", array=[197.448776, 1.0, 2.0, 3.0, 4.0]),
        fits.Column("dec", "D", array=[-23.383831, 1.0, 2.0, 3.0, 4.0]),
        fits.Column("objtype", "6A", array=["G", "GPair", "G", "G", "G"]),
        fits.Column("z_qual", "L", array=[False, False, True, False, False]),
        fits.Column("DistMpc", "D", array=[40.7, 40.0, 40.0, 1500.0, np.nan]),
        fits.Column("DistMpc_unc", "D", array=[2.4, 1.0, 1.0, 1.0, 1.0]),
        fits.Column("Mstar", "D", array=[4.5e10, 1.0, 1.0, 1.0, 1.0]),
        fits.Column("Diam", "D", array=[90.0, np.finfo(float).max, 1.0, 1.0, 1.0]),
    ]
    path = tmp_path / "lvs.fits"
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns(columns)]).writeto(path)
    (found,) = ned_lvs(path)
    assert found.name == ("NGC 4993",)
    assert found.distance_mpc[0] == 40.7
    assert found.radius_arcsec[0] == 22.5
    assert found.log_mass[0] == pytest.approx(10.65, abs=0.01)
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns(columns[:3])]).writeto(
        tmp_path / "short.fits"
    )
    with pytest.raises(BadInput, match="no column DistMpc, objtype"):
        list(ned_lvs(tmp_path / "short.fits"))
    (tmp_path / "text.fits").write_text("no")
    with pytest.raises(BadInput):
        list(ned_lvs(tmp_path / "text.fits"))


def test_the_list_of_ned_for_an_event() -> None:
    document = (
        "objname,ra,dec,objtype,DistMpc,P_3D,P_LumW1\n"
        "NGC 4993,197.448776,-23.383831,G,40.7,0.021,0.5\n"
        "NGC 4970,196.9,-24.0,G,,null,\n"
    )
    first, second = ned_gwf(document)
    assert (first.name, first.distance_mpc, first.p_3d) == ("NGC 4993", 40.7, 0.021)
    assert first.extra["P_LumW1"] == "0.5"
    assert (second.distance_mpc, second.p_3d) == (None, None)
    with pytest.raises(BadInput, match="line 1"):
        ned_gwf("<html>")
    with pytest.raises(BadInput, match="line 2"):
        ned_gwf("objname,ra,dec\nx,400,1\n")


def test_glade_to_factor_through_the_index(tmp_path: Path) -> None:
    build_index(glade_plus([glade_line()]), tmp_path / "glade", source="x", source_sha256="y")
    found = host(GalaxyIndex.open(tmp_path / "glade"), *AT2017GFO, map_mpc=40.0, map_err_mpc=8.0)
    assert found.value is not None
    assert found.value > 0.8
    assert "NGC4993 (GLADE+)" in found.reason
