"""Drawings of the sky that were made lately: an event's page is made anew far more often than its
map, its candidates or its plan change."""

from __future__ import annotations

from collections.abc import Sequence

from followup.tiling import field_corners
from mmcoord.kept import Kept
from mmcoord.store.views import Place
from mmcoord.store.views_candidates import Spot
from mmcoord.web import sky
from mmcoord.web.sky import SkyPicture

__all__ = ["Drawings"]


class Drawings:
    """The ``most`` drawings that were asked for last. For any number of threads.

    A drawing is known by all that goes into it: the map, which is named for its content, the
    candidates with their places, ranks and probabilities, and the fields of the plan. Nothing else
    is in it, and all of that is public.
    """

    def __init__(self, most: int = 32) -> None:
        self._made: Kept[SkyPicture | None] = Kept(most)

    def of(
        self,
        place: Place | None,
        candidates: Sequence[Spot],
        fields: Sequence[tuple[float, float, float]] = (),
    ) -> SkyPicture | None:
        """As :func:`mmcoord.web.sky.draw`; ``fields``: (ra_deg, dec_deg, area in deg2)."""
        key = (place.id if place else None, tuple(candidates), tuple(fields))

        def draw() -> SkyPicture | None:
            corners = [field_corners(*field) for field in fields]
            return sky.draw(place.outlines if place else {}, candidates, corners)

        return self._made.get(key, draw)
