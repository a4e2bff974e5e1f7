"""All candidates and all active maps in memory, each ready to be asked by the other.

A new map finds its candidates by range scans in an index of all of them; a new candidate finds
its maps in an index of all active ones. Both are built from the store at the start and kept
current by the match stage, which alone uses them; nothing in here needs to survive a crash.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from mmcoord.numbered import NumberedNames
from mmcoord.stages import localize
from skymaps.active import ActiveMaps
from skymaps.healpix import order29_index
from skymaps.index import CandidateIndex
from skymaps.skymap import SkyMapError

__all__ = ["LiveSky"]

FloatArray = npt.NDArray[np.float64]


@dataclass(slots=True)
class LiveSky:
    """Candidates by number, maps by event.

    Parameters
    ----------
    level
        2D credible level out to which a candidate counts as inside a map.
    """

    level: float
    _candidates: CandidateIndex = field(default_factory=CandidateIndex)
    _names: NumberedNames = field(default_factory=NumberedNames)
    """Object ids; an object keeps its number when it moves."""
    _place: array[int] = field(default_factory=lambda: array("q"))
    """Nested index at order 29, by number. A plain array: there are millions."""
    _maps: ActiveMaps = field(init=False)
    _map_of: dict[str, str] = field(default_factory=dict)
    """Event id -> localization id."""

    def __post_init__(self) -> None:
        self._maps = ActiveMaps(self.level)

    def put_candidates(
        self, object_ids: Sequence[str], ra_deg: FloatArray, dec_deg: FloatArray
    ) -> None:
        """Add candidates, or move those whose position has been revised.

        A revision within a pixel of order 29, 0.4 mas wide, is none: no map has smaller tiles.

        Raises
        ------
        SkyMapError
            A position that is none; then nothing is added.
        """
        place = order29_index(ra_deg, dec_deg)
        if len(place) and place.min() < 0:
            raise SkyMapError(f"{object_ids[int(np.argmin(place))]}: not a position")
        known = len(self._names)
        number, row = np.unique(self._names.numbers(object_ids)[::-1], return_index=True)
        place = place[::-1][row]  # of an object given twice, the last
        old = number < known
        places = np.frombuffer(self._place, np.int64)
        moved = number[old][places[number[old]] != place[old]]
        put = ~old | np.isin(number, moved)
        places[number[old]] = place[old]
        del places  # the array cannot grow before
        self._place.frombytes(place[~old].tobytes())
        if len(moved):
            self._candidates.remove(moved)
        # Time is asked of the photometry, not of the index: a window is on any detection.
        self._candidates.add_keys(number[put], place[put])

    def set_maps(
        self,
        localization_of: Mapping[str, str],
        prepared: Callable[[str], localize.PreparedMap],
    ) -> None:
        """Make exactly these events' maps the active ones (event id -> localization id)."""
        left = set(self._map_of.values()) - set(localization_of.values())
        for event_id in [e for e in self._map_of if e not in localization_of]:
            self._maps.discard(event_id)
            del self._map_of[event_id]
        for event_id, localization_id in localization_of.items():
            if self._map_of.get(event_id) != localization_id:
                self._maps.add(event_id, prepared(localization_id))
                self._map_of[event_id] = localization_id
        for localization_id in left:
            localize.forget(localization_id, self.level)

    def candidates_in(self, ready: localize.PreparedMap) -> list[str]:
        """Object ids inside a map, sorted."""
        found = self._candidates.match(ready, level=self.level).candidate_id
        return sorted(self._names.of(found.tolist()))

    def maps_at(self, ra_deg: FloatArray, dec_deg: FloatArray) -> dict[str, npt.NDArray[np.int64]]:
        """For each event whose map holds any of the positions: the rows that it holds."""
        found = self._maps.match(ra_deg, dec_deg)
        slots = np.unique(found.slot)
        return {
            str(found.keys[slot]): np.sort(found.candidate[found.slot == slot]) for slot in slots
        }

    @property
    def n_candidates(self) -> int:
        """How many candidates are known."""
        return len(self._names)

    @property
    def n_maps(self) -> int:
        """How many maps are active."""
        return len(self._maps)
