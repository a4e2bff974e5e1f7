"""The catalogue: real places, numbers that follow from their stated source, clear errors."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest
from astropy.coordinates import EarthLocation

from followup.sites import Catalogue, Instrument, load_catalogue
from mmcoord.errors import ConfigError

SITE = """
[[site]]
id = "hill"
name = "A hill"
latitude_deg = 50.0
longitude_deg = 10.0
altitude_m = 500.0
source = "test"
"""
INSTRUMENT = """
[[instrument]]
id = "hill-cam"
name = "Camera on the hill"
site = "hill"
aperture_m = 0.5
field_deg2 = 1.0
min_altitude_deg = 20
max_altitude_deg = 90
max_airmass = 2.5
sun_altitude_deg = -12
moon_separation_deg = 15
overhead_s = 5
slew_s = 20
min_exposure_s = 1
max_exposure_s = 600
depth_exposure_s = 60
depth_seeing_arcsec = 2.5
depth_source = "test"
limits_source = "test"
[[instrument.band]]
name = "r"
canonical = "sdss:r"
limit_mag = 19.0
"""


@pytest.fixture(scope="module")
def builtin() -> Catalogue:
    return load_catalogue()


def by_id(catalogue: Catalogue, name: str) -> Instrument:
    return catalogue.select([name])[0]


def test_the_catalogue_holds_the_facilities_asked_for(builtin: Catalogue) -> None:
    ids = {instrument.id for instrument in builtin.instruments}
    assert {
        "rubin-lsstcam", "ztf", "decam", "gmos-north", "gmos-south", "soar-goodman",
        "vlt-fors2", "vlt-hawki", "keck-lris",
    } <= ids  # fmt: skip
    nodes = {i.site.id for i in builtin.instruments if i.id.startswith("lco-1m")}
    assert nodes == {"siding-spring", "sutherland", "cerro-tololo", "teide", "mcdonald"}


REGISTRY = {
    "cerro-pachon": (-30.24074167, 289.26331667, 2750),
    "keck": (19.82833333, 204.52166667, 4160),
    "mauna-kea": (19.82380145, -155.46904675, 4213),
    "mcdonald": (30.67166669, 255.97833331, 2075),
    "palomar": (33.356, 243.137, 1706),
    "paranal": (-24.62743941, -70.40498688, 2669),
    "siding-spring": (-31.27336111, 149.06119444, 1149),
    "sutherland": (-32.375823, 20.810808, 1798),
    "teide": (28.3, 343.490278, 2390),
    "la-palma": (28.75833333, 342.12, 2327),
    "haleakala": (20.71552, 203.831, 3048),
    "la-silla": (-29.25666667, 289.27, 2347),
    "las-campanas": (-29.00333333, 289.29833333, 2282),
    "mmt": (31.68833333, 249.115, 2608),
    "lowell-dt": (34.744305, 248.577485, 2337),
}
"""coordinates/sites.json of astropy/astropy-data at commit 0114fac2, read there."""


def test_positions_are_those_of_astropys_registry(builtin: Catalogue) -> None:
    ours = {site.id: site for site in builtin.sites}
    for name, (latitude, longitude, height) in REGISTRY.items():
        site = ours[name]
        here = EarthLocation.from_geodetic(site.longitude_deg, site.latitude_deg, site.altitude_m)
        there = EarthLocation.from_geodetic(longitude, latitude, height)
        apart = (here.get_itrs().cartesian - there.get_itrs().cartesian).norm()
        assert apart.to_value("m") < 1.0, name
    assert set(ours) - set(REGISTRY) == {"cerro-tololo", "rubin", "swift"}


def test_survey_telescopes_and_spacecraft_are_asked_only_by_name(builtin: Catalogue) -> None:
    silent = {i.id for i in builtin.instruments} - {i.id for i in builtin.asked}
    assert {"swift-uvot", "goto-north", "goto-south", "blackgem", "pan-starrs1", "winter"} <= silent
    assert {"atlas-haleakala", "atlas-sutherland", "pgir"} <= silent
    assert {"not-alfosc", "ntt-efosc2", "magellan-ldss3", "mmt-binospec", "ldt-lmi"} <= {
        i.id for i in builtin.asked
    }


def test_a_depth_that_was_not_checked_says_so(builtin: Catalogue) -> None:
    for camera in builtin.instruments:
        assert camera.depth_source.startswith(("published: ", "scaled ", "estimate: ")), camera.id


def test_programmes_and_downtimes_are_read(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    more = """
[[instrument.programme]]
name = "ours"
hours = 6.5
[[instrument.downtime]]
start = 2026-11-23T18:00:00Z
end = 2026-11-24T18:00:00
reason = "engineering"
"""
    path.write_text(SITE + INSTRUMENT + more)
    camera = by_id(load_catalogue(path), "hill-cam")
    assert [(p.name, p.hours) for p in camera.programmes] == [("ours", 6.5)]
    assert camera.downtimes[0].end.isoformat() == "2026-11-24T18:00:00+00:00"
    for old, new, words in (
        ("hours = 6.5", "hours = -1", "hours: -1"),
        ("2026-11-24T18:00:00", "2026-11-22T18:00:00", "end: "),
        ("start = 2026-11-23T18:00:00Z", "start = 3", "start: 3 is not a date"),
        ("[[instrument.programme]]", "[instrument.programme]", "array of tables"),
    ):
        path.write_text(SITE + INSTRUMENT + more.replace(old, new))
        with pytest.raises(ConfigError, match=re.escape(words)):
            load_catalogue(path)


def test_every_number_has_a_source(builtin: Catalogue) -> None:
    assert all(site.source for site in builtin.sites)
    assert all(i.depth_source and i.limits_source for i in builtin.instruments)


def test_distances_between_sites_are_those_of_the_globe(builtin: Catalogue) -> None:
    """Known separations catch a swapped sign or a slipped digit."""
    places = {
        s.id: EarthLocation.from_geodetic(s.longitude_deg, s.latitude_deg, s.altitude_m)
        for s in builtin.sites
    }

    def apart_km(one: str, other: str) -> float:
        a, b = places[one].get_itrs().cartesian, places[other].get_itrs().cartesian
        return float((a - b).norm().to_value("km"))

    assert apart_km("rubin", "cerro-pachon") < 2
    assert 5 < apart_km("cerro-tololo", "cerro-pachon") < 15
    assert apart_km("keck", "mauna-kea") < 2
    assert 500 < apart_km("paranal", "cerro-pachon") < 700
    assert 1100 < apart_km("palomar", "mcdonald") < 1300


def test_scaled_depths_follow_from_the_formula_in_the_files_head(builtin: Catalogue) -> None:
    """Ivezic et al. (2019) table 2: C_m and dark-sky brightness, typed here anew."""
    constant = {"u": 23.09, "g": 24.42, "r": 24.44, "i": 24.32, "z": 24.16, "y": 23.73}
    sky = {"u": 22.99, "g": 22.26, "r": 21.20, "i": 20.48, "z": 19.60, "y": 18.61}
    scaled = [i for i in builtin.instruments if i.depth_source.startswith("scaled")]
    assert len(scaled) >= 8
    for camera in scaled:
        for band in camera.bands:
            depth = (
                constant[band.name]
                + 0.5 * (sky[band.name] - 21)
                + 2.5 * math.log10(0.7 / camera.depth_seeing_arcsec)
                + 1.25 * math.log10(camera.depth_exposure_s / 30)
                + 2.5 * math.log10(0.95 * camera.aperture_m / 6.423)
            )
            assert band.limit_mag == pytest.approx(depth, abs=0.051), (camera.id, band.name)


def test_the_published_lsst_depths_obey_the_papers_own_equation(builtin: Catalogue) -> None:
    seeing = {"u": 0.92, "g": 0.87, "r": 0.83, "i": 0.80, "z": 0.78, "y": 0.76}
    constant = {"u": 23.09, "g": 24.42, "r": 24.44, "i": 24.32, "z": 24.16, "y": 23.73}
    sky = {"u": 22.99, "g": 22.26, "r": 21.20, "i": 20.48, "z": 19.60, "y": 18.61}
    for band in by_id(builtin, "rubin-lsstcam").bands:
        name = band.name
        depth = constant[name] + 0.5 * (sky[name] - 21) + 2.5 * math.log10(0.7 / seeing[name])
        assert band.limit_mag == pytest.approx(depth, abs=0.02)


def test_a_file_of_ones_own_extends_the_catalogue(builtin: Catalogue, tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text(SITE + INSTRUMENT)
    extended = load_catalogue(path)
    assert len(extended.instruments) == len(builtin.instruments) + 1
    assert by_id(extended, "hill-cam").site.latitude_deg == 50.0


def test_the_same_id_replaces_one_entry(builtin: Catalogue, tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text(SITE + INSTRUMENT.replace('"hill-cam"', '"ztf"'))
    changed = load_catalogue(path)
    assert len(changed.instruments) == len(builtin.instruments)
    assert by_id(changed, "ztf").aperture_m == 0.5


def test_a_file_may_replace_everything(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text("replace = true\n" + SITE + INSTRUMENT)
    alone = load_catalogue(path)
    assert [i.id for i in alone.instruments] == ["hill-cam"]
    assert [s.id for s in alone.sites] == ["hill"]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("aperture_m = 0.5", "", ["hill-cam", "aperture_m", "missing"]),
        ("aperture_m = 0.5", 'aperture_m = "big"', ["hill-cam", "aperture_m", "'big'"]),
        ("aperture_m = 0.5", "aperture_m = nan", ["hill-cam", "aperture_m", "nan"]),
        ("aperture_m = 0.5", "aperture_m = true", ["hill-cam", "aperture_m", "True"]),
        ("aperture_m = 0.5", "aperture_m = -1", ["hill-cam", "aperture_m", "-1"]),
        ('name = "A hill"', "name = 3", ["hill", "name", "3"]),
        ("latitude_deg = 50.0", "latitude_deg = 95.0", ["hill", "latitude_deg", "95"]),
        ("max_airmass = 2.5", "max_airmass = 0.9", ["max_airmass", "0.9"]),
        ("max_altitude_deg = 90", "max_altitude_deg = 10", ["max_altitude_deg", "10"]),
        ("max_exposure_s = 600", "max_exposure_s = 0.5", ["max_exposure_s", "0.5"]),
        ('site = "hill"', 'site = "dale"', ["hill-cam", "'dale'", "not a known site"]),
        ('canonical = "sdss:r"', 'canonical = "red"', ["band 'r'", "canonical", "'red'"]),
        ("limit_mag = 19.0", "limit_mag = 99.0", ["band 'r'", "limit_mag", "99"]),
        ("slew_s = 20", "slew_s = 20\ncolour = 1", ["hill-cam", "unknown key 'colour'"]),
        ('id = "hill-cam"', "", ["instrument number 1", "id"]),
        ("[[site]]", "[[place]]", ["unknown key 'place'"]),
        ("[[site]]", "[[[site]]", ["not TOML"]),
        ("[[site]]", "[site]", ["array of tables"]),
    ],
)
def test_errors_say_what_and_where(tmp_path: Path, old: str, new: str, words: list[str]) -> None:
    text = "replace = true\n" + SITE + INSTRUMENT
    assert old in text
    path = tmp_path / "own.toml"
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(ConfigError) as caught:
        load_catalogue(path)
    for word in ["own.toml", *words]:
        assert word in str(caught.value)


def test_repeated_ids_missing_files_and_unknown_names_are_told(
    builtin: Catalogue, tmp_path: Path
) -> None:
    path = tmp_path / "own.toml"
    path.write_text(SITE + SITE)
    with pytest.raises(ConfigError, match=r"'hill'.*repeated"):
        load_catalogue(path)
    with pytest.raises(ConfigError, match=r"absent\.toml: cannot be read"):
        load_catalogue(tmp_path / "absent.toml")
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_catalogue(path)
    with pytest.raises(ConfigError, match=r"unknown instrument 'hubble'; known: .*ztf"):
        builtin.select(["ztf", "hubble"])


def test_select_keeps_the_order_asked_for(builtin: Catalogue) -> None:
    assert [i.id for i in builtin.select(["ztf", "decam"])] == ["ztf", "decam"]
