"""One map, many positions, against ligo.skymap and healpy in the same run.

``python -m benchmarks.skymaps_crossmatch [N]``; prints JSON. Every method's answer is checked.
"""

from __future__ import annotations

import io
import sys
import time

import healpy
import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from ligo.skymap.bayestar import rasterize
from ligo.skymap.io import read_sky_map
from ligo.skymap.postprocess import crossmatch

import skymaps
from benchmarks.skymaps_common import best_of, machine, peak_gb, report, sky
from skymaps.volume import volume_table
from tests.skymaps.maps import real_blobs, real_map, real_names
from tests.skymaps.test_crossmatch_3d import check_against_quadrature

MAP = "MS220722v_bayestar.multiorder.fits"


def two_dimensional(n: int) -> dict[str, object]:
    ra, dec = sky(n)
    prepared = skymaps.prepare(real_map(MAP))
    flat_2d = skymaps.prepare(
        skymaps.build_map(
            real_map(MAP).order,
            real_map(MAP).start >> (2 * (29 - real_map(MAP).order.astype(np.int64))),
            real_map(MAP).density_sr,
        )
    )
    table = read_sky_map(io.BytesIO(real_blobs()[MAP]), moc=True)
    table = table["UNIQ", "PROBDENSITY"]
    coord = SkyCoord(ra * u.deg, dec * u.deg)
    theirs = crossmatch(table, coord)
    mine = skymaps.match(prepared, ra, dec)
    flat = rasterize(table, order=9)["PROB"]
    levels = np.empty(len(flat))
    by = np.argsort(-flat)
    levels[by] = np.cumsum(flat[by])

    def by_healpy() -> tuple[np.ndarray, np.ndarray]:
        pixel = healpy.ang2pix(512, ra, dec, nest=True, lonlat=True)
        return flat[pixel], levels[pixel]

    ns = 1e9 / n
    ours = best_of(lambda: skymaps.match(flat_2d, ra, dec, workers=1)) * ns
    ligo = best_of(lambda: crossmatch(table, coord), 3) * ns
    return {
        "n": n,
        "ours_1_thread_ns": ours,
        "ours_2_threads_ns": best_of(lambda: skymaps.match(flat_2d, ra, dec, workers=2)) * ns,
        "ours_with_distance_moments_1_thread_ns": best_of(
            lambda: skymaps.match(prepared, ra, dec, workers=1)
        )
        * ns,
        "index_only_1_thread_ns": best_of(lambda: skymaps.order29_index(ra, dec, workers=1)) * ns,
        "healpy_index_only_ns": best_of(
            lambda: healpy.ang2pix(1 << 29, ra, dec, nest=True, lonlat=True), 3
        )
        * ns,
        "healpy_on_flattened_map_ns": best_of(by_healpy, 3) * ns,
        "ligo_skymap_ns": ligo,
        "times_faster_than_ligo_skymap": ligo / ours,
        "density_bit_equal": bool(np.array_equal(mine.prob_density_sr, theirs.probdensity)),
        "level_max_difference": float(np.abs(mine.credible_level_2d - theirs.searched_prob).max()),
    }


def three_dimensional(n: int) -> dict[str, object]:
    ra, dec = sky(n)
    distance = np.random.default_rng(1).uniform(1.0, 400.0, n)
    prepared = skymaps.prepare(real_map(MAP))
    mine = skymaps.match(prepared, ra, dec, distance)
    few = 5000
    table = read_sky_map(io.BytesIO(real_blobs()[MAP]), moc=True)
    coord = SkyCoord(ra[:few] * u.deg, dec[:few] * u.deg, distance[:few] * u.Mpc)
    start = time.perf_counter()
    theirs = crossmatch(table, coord)
    ligo_us = (time.perf_counter() - start) / few * 1e6
    difference = np.abs(theirs.searched_prob_vol - mine.credible_level_3d[:few])
    ns = 1e9 / n
    return {
        "n": n,
        "ours_1_thread_ns": best_of(lambda: skymaps.match(prepared, ra, dec, distance, workers=1))
        * ns,
        "ours_2_threads_ns": best_of(lambda: skymaps.match(prepared, ra, dec, distance, workers=2))
        * ns,
        "ours_with_10_percent_errors_1_thread_ns": best_of(
            lambda: skymaps.match(prepared, ra, dec, distance, 0.1 * distance, workers=1), 2
        )
        * ns,
        "ligo_skymap_us": ligo_us,
        "ligo_skymap_n": few,
        "difference_to_ligo_skymap_median": float(np.nanmedian(difference)),
        "difference_to_ligo_skymap_max": float(np.nanmax(difference)),
        "preparation": {
            name: {
                "ms": best_of(lambda name=name: volume_table(real_map(name)), 3) * 1e3,
                "error_against_quadrature": check_against_quadrature(real_map(name), 4000),
            }
            for name in real_names(is_3d=True)
        },
    }


def loading() -> dict[str, object]:
    out: dict[str, object] = {}
    for name in (MAP, "first2years_927563_lalinference.fits.gz"):
        data = real_blobs()[name]
        out[name] = {
            "ours_ms": best_of(lambda data=data: skymaps.load(data)) * 1e3,
            "ligo_skymap_ms": best_of(lambda data=data: read_sky_map(io.BytesIO(data), moc=True), 1)
            * 1e3,
        }
    # A flat map of nside 1024 in 3D, float64, in which nothing merges.
    npix = 12 * 4**10
    rng = np.random.default_rng(0)
    rows = np.empty(npix, [(c, ">f8") for c in ("PROB", "DISTMU", "DISTSIGMA", "DISTNORM")])
    rows["PROB"] = rng.uniform(0.5, 1.5, npix) / npix
    rows["DISTMU"], rows["DISTSIGMA"] = 100.0, rng.uniform(10.0, 20.0, npix)
    x = rows["DISTMU"] / rows["DISTSIGMA"]
    rows["DISTNORM"] = 1 / (rows["DISTSIGMA"] ** 2 * (x * x + 1))
    from astropy.io import fits

    hdu = fits.BinTableHDU(rows.view(fits.FITS_rec))
    for ordering in ("NESTED", "RING"):
        hdu.header.update(
            PIXTYPE="HEALPIX", ORDERING=ordering, COORDSYS="C", NSIDE=1024, INDXSCHM="IMPLICIT"
        )
        stream = io.BytesIO()
        fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(stream)
        data = stream.getvalue()
        out[f"flat nside 1024 3D {ordering}, unmergeable"] = {
            "ours_ms": best_of(lambda data=data: skymaps.load(data), 2) * 1e3
        }
        merged = rows.copy()
        for name in merged.dtype.names:
            merged[name] = np.repeat(rows[name][::256], 256)
        del data
    hdu.header["ORDERING"] = "NESTED"
    hdu.data = merged.view(fits.FITS_rec)
    stream = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(stream)
    data = stream.getvalue()
    out["flat nside 1024 3D NESTED, from a multi-order map"] = {
        "ours_ms": best_of(lambda: skymaps.load(data), 2) * 1e3
    }
    return out


def main() -> None:
    n = int(float(sys.argv[1])) if len(sys.argv) > 1 else 1_000_000
    before = machine()
    result = {
        "machine_before": before,
        "two_dimensional": two_dimensional(n),
        "three_dimensional": three_dimensional(n),
        "loading": loading(),
    }
    result["peak_rss_gb"] = peak_gb()
    report(result)


if __name__ == "__main__":
    main()
