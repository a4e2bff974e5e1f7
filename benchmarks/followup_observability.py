"""Observability of 10^4 targets from 50 sites over a day, beside astroplan in the same run.

python -m benchmarks.followup_observability
"""

from __future__ import annotations

import dataclasses
import json
import time
import warnings

import astropy.units as u
import numpy as np
from astroplan import AirmassConstraint, AtNightConstraint, FixedTarget, Observer, is_observable
from astropy.coordinates import AltAz, EarthLocation, SkyCoord
from astropy.time import Time
from astropy.utils import iers

from benchmarks.skymaps_common import best_of, machine
from followup.observability import observability, sin_altitude, sky_over, unit_vectors
from followup.sites import Site, load_catalogue

N_TARGETS, N_SITES, N_TIMES = 10_000, 50, 96
PEER_TARGETS = 1000


def main() -> None:
    iers.conf.auto_download = False
    iers.conf.auto_max_age = None
    warnings.simplefilter("ignore")
    rng = np.random.default_rng(1)
    ra = rng.uniform(0, 360, N_TARGETS)
    dec = np.degrees(np.arcsin(rng.uniform(-1, 1, N_TARGETS)))
    times = 61367.0 + np.arange(N_TIMES) / N_TIMES
    pattern = next(i for i in load_catalogue().instruments if i.id == "ztf")
    instruments = [
        dataclasses.replace(
            pattern,
            id=f"made-{n}",
            site=Site(
                f"s{n}", "made", rng.uniform(-70, 70), rng.uniform(-180, 180),
                rng.uniform(0, 4000), "made",
            ),
        )
        for n in range(N_SITES)
    ]  # fmt: skip
    ours_s = best_of(lambda: observability(ra, dec, instruments, times), 5)
    cpu = time.process_time()
    seen = observability(ra, dec, instruments, times)
    cpu_s = time.process_time() - cpu
    site = instruments[0].site
    place = EarthLocation.from_geodetic(site.longitude_deg, site.latitude_deg, site.altitude_m)
    grid = Time(times, format="mjd")
    sky = SkyCoord(ra[:PEER_TARGETS] * u.deg, dec[:PEER_TARGETS] * u.deg)
    oracle = sky[:, None].transform_to(AltAz(obstime=grid[None], location=place)).alt.deg
    ours = np.degrees(
        np.arcsin(sin_altitude(unit_vectors(sky.ra.deg, sky.dec.deg), sky_over([site], times), 0))
    )
    observer = Observer(location=place)
    limits = [
        AirmassConstraint(max=pattern.max_airmass),
        AtNightConstraint(max_solar_altitude=pattern.sun_altitude_deg * u.deg),
    ]
    targets = [FixedTarget(one) for one in sky]
    peer_s = best_of(lambda: is_observable(limits, observer, targets, times=grid), 2)
    print(
        json.dumps(
            {
                "targets": N_TARGETS,
                "sites": N_SITES,
                "times": N_TIMES,
                "wall_s": round(ours_s, 3),
                "cpu_s": round(cpu_s, 3),
                "allowed_share": round(float(seen.allowed.mean()), 4),
                "max_error_arcsec": round(float(np.abs(ours - oracle).max() * 3600), 3),
                "astroplan_1000_targets_1_site_s": round(peer_s, 3),
                "astroplan_scaled_to_this_s": round(peer_s * N_TARGETS / PEER_TARGETS * N_SITES, 0),
                "machine": machine(),
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
