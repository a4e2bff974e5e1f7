"""The table of neutrino detectors: places against known baselines, errors against data."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from astropy.coordinates import EarthLocation
from astropy.time import Time

from skymaps.detectors import Detector, builtin_detectors, load_detectors
from skymaps.earth import LIGHT_M_S, gcrs_position_m
from skymaps.skymap import SkyMapError
from tests.shared import shared

TABLE = builtin_detectors()
SNEWS_NAMES = [
    *("Baksan", "Borexino", "DS-20K", "DUNE", "HALO", "HALO-1kT", "Hyper-K", "IceCube", "JUNO"),
    *("KM3NeT", "KamLAND", "LVD", "LZ", "MicroBooNe", "NOvA", "PandaX-4T", "SBND", "SNO+"),
    *("Super-K", "XENONnT"),
]
OWN = """
[[detector]]
name = "THEIA"
lon_deg = -103.8
lat_deg = 44.3
height_m = 143
status = "planned"
position_source = "invented"
events_10kpc = 20000
"""


def _positions(names: list[str], mjd: float = 61_000.25) -> np.ndarray:
    rows = [TABLE[name] for name in names]
    return gcrs_position_m(
        [r.lon_deg for r in rows], [r.lat_deg for r in rows], [r.height_m for r in rows], mjd
    )


def _baseline_ms(first: str, second: str) -> float:
    a, b = _positions([first, second])
    return 1e3 * float(np.linalg.norm(a - b)) / LIGHT_M_S


@pytest.mark.parametrize("name", SNEWS_NAMES)
def test_every_detector_that_snews_names_is_in_the_table_with_sources(name: str) -> None:
    row = TABLE[name]
    assert row.position_source
    assert (row.events_10kpc is None) == (row.events_source == "")
    assert row.timing().sigma_s > 0.0
    if row.events_range is not None and row.events_10kpc is not None:
        low, high = row.events_range
        assert low < row.events_10kpc < high


@pytest.mark.parametrize(
    ("first", "second", "expected_ms"),
    [("Super-K", "IceCube", 37.94), ("Super-K", "JUNO", 9.49)],
)
def test_baselines_are_the_published_ones_to_the_flattening_of_the_earth(
    first: str, second: str, expected_ms: float
) -> None:
    """The published ones are of a sphere."""
    assert _baseline_ms(first, second) == pytest.approx(expected_ms, rel=1 / 298.0)


def test_kamland_stands_beside_super_k() -> None:
    assert _baseline_ms("Super-K", "KamLAND") * LIGHT_M_S < 1e6  # ms times m/s: 1 km


def test_no_two_detectors_are_further_apart_than_the_earth_is_wide() -> None:
    position = _positions(list(TABLE))
    apart = np.linalg.norm(position[:, None] - position, axis=-1)
    assert apart.max() / LIGHT_M_S < 0.0426


def test_mistakes_of_published_tables_are_not_in_ours() -> None:
    assert TABLE["Super-K"].lon_deg > 0  # snews-data-formats has -137.3
    assert _baseline_ms("DUNE", "LZ") < 0.03  # at Sanford, not at Fermilab
    assert _baseline_ms("DUNE", "SBND") > 4.0
    assert TABLE["KamLAND"].height_m > 300.0
    assert TABLE["IceCube"].height_m > 0.0  # the ice is 2.8 km high, the depth is no height


@pytest.mark.parametrize("mjd", [53_371.9, 57_754.2, 60_123.456])
def test_sites_are_turned_into_gcrs_as_astropy_does_to_a_microsecond(mjd: float) -> None:
    names = list(TABLE)
    rows = [TABLE[name] for name in names]
    place = EarthLocation.from_geodetic(
        [r.lon_deg for r in rows], [r.lat_deg for r in rows], [r.height_m for r in rows]
    )
    moment = Time(mjd, format="mjd", scale="utc")
    moment.delta_ut1_utc = 0.0  # ours does without tables of the Earth's rotation
    expected, _ = place.get_gcrs_posvel(moment)
    difference = _positions(names, mjd) - expected.xyz.to_value("m").T
    # Up to the 20 m of polar motion.
    assert np.abs(difference).max() / LIGHT_M_S < 1e-7


def test_first_event_bias_and_scatter_are_those_of_a_rising_poisson_process() -> None:
    """Simulated: N events, cumulative share (t / T)^2."""
    row = TABLE["LVD"]
    assert row.events_10kpc is not None
    rng = np.random.default_rng(5)
    times = row.rise_s * np.sqrt(rng.uniform(size=(20_000, round(row.events_10kpc))).min(axis=1))
    timing = row.timing()
    assert timing.bias_s == pytest.approx(times.mean(), rel=0.02)
    assert timing.sigma_s == pytest.approx(math.hypot(times.std(), 1e-3), rel=0.02)


def test_the_rise_is_that_of_simulated_light_curves() -> None:
    """Cumulative share (t / T)^2 against a 27 solar-mass model in a 20 kt scintillator."""
    path = shared("nu/snewpdag/output_scint20kt_27_Shen_1D_solar_mass_progenitor.fits_1msbin.txt")
    t, rate = np.loadtxt(path, unpack=True)
    share = np.cumsum(rate) / rate.sum()
    start = float(t[np.argmax(share > 1e-5)])
    for after in (0.01, 0.02, 0.03):
        seen = float(np.interp(start + after, t, share))
        assert after / math.sqrt(seen) == pytest.approx(TABLE["JUNO"].rise_s, rel=0.1)


def test_errors_grow_with_distance_as_counts_fall() -> None:
    for name, power in (("JUNO", 1.0), ("IceCube", 2.0)):
        near, far = (TABLE[name].timing("light_curve", d).sigma_s for d in (5.0, 20.0))
        assert far / near == pytest.approx(4.0**power)
    lvd = TABLE["LVD"]
    assert lvd.timing(distance_kpc=20.0).bias_s == pytest.approx(2.0 * lvd.timing().bias_s)
    slope = (lvd.timing(distance_kpc=10.1).bias_s - lvd.timing(distance_kpc=9.9).bias_s) / (
        math.log(10.1) - math.log(9.9)
    )
    assert lvd.timing().bias_per_ln_distance_s == pytest.approx(slope, rel=1e-3)


def test_counted_events_replace_the_distance() -> None:
    timing = TABLE["LVD"].timing(events=65.0, distance_kpc=3.0)
    assert timing.bias_s == pytest.approx(TABLE["LVD"].timing(distance_kpc=20.0).bias_s)
    assert timing.bias_per_ln_distance_s == 0.0


def test_names_are_found_however_they_are_written() -> None:
    for name in ("super-k", "SuperK", "SK", "Super-Kamiokande", " Super_K "):
        assert TABLE[name].name == "Super-K"
    assert TABLE["SNO+"] is not TABLE.get("SNO")
    assert "Gran Sasso" not in TABLE


def test_a_user_adds_a_detector_and_replaces_one(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text(OWN + OWN.replace("THEIA", "DUNE"))
    table = load_detectors(path)
    assert len(table) == len(TABLE) + 1
    assert table["theia"].events_10kpc == 20_000.0
    assert table["DUNE"].position_source == "invented"
    assert table["IceCube"] == TABLE["IceCube"]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("lat_deg = 95", "lat_deg"),
        ("lat_deg = nan", "lat_deg"),
        ("events_10kpc = -5", "events_10kpc"),
        ('events_10kpc = "many"', "events_10kpc"),
        ("depth_m = 3", "depth_m"),
        ('status = "dreamt of"', "status"),
        ('aliases = ["IC"]', "IceCube"),
    ],
)
def test_a_wrong_row_is_refused_with_its_place(tmp_path: Path, line: str, says: str) -> None:
    key = line.split(" ")[0]
    kept = [x for x in OWN.splitlines() if not x.startswith(f"{key} ")]
    path = tmp_path / "own.toml"
    path.write_text("\n".join([*kept, line]))
    with pytest.raises(SkyMapError, match=says):
        load_detectors(path)


def test_a_detector_without_counts_says_so() -> None:
    bare = Detector("X", 0.0, 0.0, 0.0, "planned", "test")
    for method in ("first_event", "light_curve"):
        with pytest.raises(SkyMapError, match="events_10kpc"):
            bare.timing(method)  # type: ignore[arg-type]
