"""Compile every numerical kernel once and cache it: ``python -m mmcoord.warm``.

Part of the set-up, so that the first event of the first night does not wait for a compiler.
"""

from __future__ import annotations

import numpy as np

import skymaps
from listeners.projection import compile_plan, read
from mmcoord.inference import bank
from mmcoord.inference.engine import warm_up
from mmcoord.inference.screening import ScreenRequest, screen_many
from mmcoord.records import Photometry
from mmcoord.stages.livesky import LiveSky

__all__ = ["main"]


def main() -> None:
    """Use each kernel on a small input."""
    circle = skymaps.from_circle(10.0, 20.0, 5.0)
    tiles = len(circle)
    ipix = circle.start >> (2 * (29 - circle.order.astype(np.int64)))
    distances = (np.full(tiles, 40.0), np.full(tiles, 8.0), np.full(tiles, 6.0e-4))
    skymap = skymaps.build_map(circle.order, ipix, circle.density_sr, distances)
    skymap = skymaps.load(skymaps.to_fits_bytes(skymap))
    ready = skymaps.prepare(skymap)
    place = np.array([10.0])
    skymaps.match(ready, place, 2 * place, 4 * place, (place, place))
    skymaps.credible_region_polygons(skymap, 0.9)
    sky = LiveSky(0.9)
    sky.put_candidates(["a"], place, 2 * place)
    sky.set_maps({"event": "map"}, lambda _: ready)
    sky.candidates_in(ready)
    sky.maps_at(place, 2 * place)
    points = tuple(Photometry("a", 60000.0 + day, "lsst:r", 20.0 + day, 0.1) for day in (0.5, 1.5))
    fields = [{"name": "time", "type": "double"}]
    plan = compile_plan({"type": "record", "name": "packet", "fields": fields}, {"time": None})
    assert plan is not None
    read(bytes(8), plan)
    bank.build(bank.SURVEY_BANDS)
    limit = Photometry("a", 60002.0, "lsst:r", 24.0, None, True)
    for redshift in (None, 0.02):
        screen_many([ScreenRequest((*points, limit), 60000.0, 40.0, 8.0, redshift=redshift)])
    warm_up()


if __name__ == "__main__":
    main()
