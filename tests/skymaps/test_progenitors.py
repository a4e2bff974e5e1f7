"""Stars that may collapse: the built-in ones against the real catalogue, and their ranking."""

from __future__ import annotations

import numpy as np
import pytest

from skymaps import from_circle
from skymaps.healpix import to_xyz
from skymaps.progenitors import (
    Progenitor,
    builtin_progenitors,
    merge_progenitors,
    rank_progenitors,
    read_rsg_catalogue,
)
from skymaps.skymap import SkyMapError
from tests.shared import shared

HEADER = "Alias,ra,dec,ra_dr2,dec_dr2,2mass_ra,2mass_decl,DM,DM_sig+,DM_sig-,k_m,R*\n"


def _by_name() -> dict[str, Progenitor]:
    return {star.name: star for star in builtin_progenitors()}


def test_the_built_in_list_is_sound_and_names_its_sources() -> None:
    stars = builtin_progenitors()
    assert len(stars) >= 30
    assert len({star.name for star in stars}) == len(stars)
    assert all(star.source for star in stars)
    distances = [star.distance_kpc for star in stars if star.distance_kpc is not None]
    assert len(distances) == len(stars)
    assert distances == sorted(distances)
    assert {star.kind for star in stars} == {"rsg", "bsg", "wr"}


def test_the_built_in_stars_are_where_the_catalogue_has_them() -> None:
    """All red supergiants but three, which it has not; distances within its factor of two."""
    catalogue = read_rsg_catalogue(shared("nu/rsg/RSG_and_close_stars_catalog_4_11_24.csv"))
    xyz = to_xyz([s.ra_deg for s in catalogue], [s.dec_deg for s in catalogue])
    absent, far = [], []
    for star in builtin_progenitors():
        if star.kind != "rsg":
            continue
        chord = np.linalg.norm(xyz - to_xyz(star.ra_deg, star.dec_deg), axis=1)
        other = catalogue[int(np.argmin(chord))]
        if np.degrees(chord.min()) * 3600.0 > 1.0:
            absent.append(star.name)
        elif other.distance_kpc and star.distance_kpc:
            ratio = star.distance_kpc / other.distance_kpc
            far += [star.name] if not 0.5 < ratio < 2.0 else []
    assert sorted(absent) == ["12 Peg", "V809 Cas", "q Car"]
    # Hipparcos against Gaia: 119 Tau 0.33 and 0.71 kpc, V381 Cep 0.63 and 2.05 kpc.
    assert sorted(far) == ["119 Tau", "V381 Cep"]


@pytest.mark.parametrize(
    ("name", "galactic_lon_deg"),
    [("Betelgeuse", 199.79), ("Antares", 351.95), ("Rigel", 209.24), ("Deneb", 84.28)],
)
def test_well_known_stars_are_at_their_galactic_longitudes(
    name: str, galactic_lon_deg: float
) -> None:
    from astropy.coordinates import SkyCoord

    star = _by_name()[name]
    place = SkyCoord(star.ra_deg, star.dec_deg, unit="deg").galactic
    assert place.l.deg == pytest.approx(galactic_lon_deg, abs=0.02)


def test_the_whole_catalogue_is_read() -> None:
    stars = read_rsg_catalogue(shared("nu/rsg/RSG_and_close_stars_catalog_4_11_24.csv"))
    assert len(stars) == 651
    assert sum(star.distance_kpc is None for star in stars) == 11
    near = next(star for star in stars if star.name == "HD 187238")
    assert near.distance_kpc == pytest.approx(1.0639, abs=1e-3)  # its Bailer-Jones median, kpc
    both = merge_progenitors(stars, builtin_progenitors())
    betelgeuse = next(star for star in both if "Betelgeuse" in star.aliases)
    assert betelgeuse.distance_kpc == 0.222
    assert betelgeuse.mass_msun == 11.6
    assert len(both) == 651 + 12


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "not the catalogue"),
        ("a,b\n1,2\n", "not the catalogue"),
        (HEADER + "X,,,,,,,10,1,1,3,500\n", r"line 2 \(X\)"),
        (HEADER + "X,1,2,,,,,,,,,\nY,3,95,,,,,,,,,\n", r"line 3 \(Y\)"),
    ],
)
def test_another_file_is_refused(text: str, says: str) -> None:
    with pytest.raises(SkyMapError, match=says):
        read_rsg_catalogue(text.encode())


def test_positions_and_distances_fall_back() -> None:
    rows = HEADER + "X,,,10,20,11,21,15,0.5,0.3,3,95.4-96.3\n"
    (star,) = read_rsg_catalogue(rows.encode())
    assert (star.ra_deg, star.dec_deg) == (10.0, 20.0)
    assert star.distance_kpc == pytest.approx(10.0)
    assert star.distance_err_kpc == pytest.approx(10.0 * np.log(10.0) / 5.0 * 0.4)
    assert star.radius_rsun is None  # a range


def test_a_map_ranks_and_never_excludes() -> None:
    betelgeuse = _by_name()["Betelgeuse"]
    stars = builtin_progenitors()
    ranked = rank_progenitors(from_circle(betelgeuse.ra_deg, betelgeuse.dec_deg, 10.0), stars)
    assert ranked[0].star.name == "Betelgeuse"
    assert ranked[0].credible_level < 0.05
    assert len(ranked) == len(stars)
    assert sum(one.weight for one in ranked) == pytest.approx(1.0)
    elsewhere = rank_progenitors(from_circle(0.0, -89.0, 0.1), stars)
    assert len(elsewhere) == len(stars)


def test_a_distance_chooses_among_stars_in_one_direction() -> None:
    def star(name: str, distance: float | None, kind: str = "rsg") -> Progenitor:
        return Progenitor(name, kind, 10.0, 20.0, "test", distance, 0.1)  # type: ignore[arg-type]

    stars = [star("near", 0.5), star("far", 5.0), star("unknown", None)]
    skymap = from_circle(10.0, 20.0, 5.0)
    names = [one.star.name for one in rank_progenitors(skymap, stars, 5.0, 1.0)]
    assert names == ["far", "unknown", "near"]
    kinds = rank_progenitors(skymap, [star("hot", 1.0, "bsg"), star("red", 1.0)])
    assert [one.star.name for one in kinds] == ["red", "hot"]
    with pytest.raises(SkyMapError, match="distance"):
        rank_progenitors(skymap, stars, 5.0)
