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

from mmcoord.stages import localize
from skymaps.active import ActiveMaps
from skymaps.index import CandidateIndex

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
    _names: list[str] = field(default_factory=list)
    """Object id by number."""
    _number_of: dict[str, int] = field(default_factory=dict)
    """Object id -> its newest number."""
    _ra_deg: array[float] = field(default_factory=lambda: array("d"))
    _dec_deg: array[float] = field(default_factory=lambda: array("d"))
    """By number. Plain arrays: there are millions."""
    _maps: ActiveMaps = field(init=False)
    _map_of: dict[str, str] = field(default_factory=dict)
    """Event id -> localization id."""

    def __post_init__(self) -> None:
        self._maps = ActiveMaps(self.level)

    def put_candidates(
        self, object_ids: Sequence[str], ra_deg: FloatArray, dec_deg: FloatArray
    ) -> None:
        """Add candidates, or move those whose position has been revised."""
        fresh: list[int] = []
        moved: list[int] = []
        for row, (name, ra, dec) in enumerate(
            zip(object_ids, ra_deg.tolist(), dec_deg.tolist(), strict=True)
        ):
            known = self._number_of.get(name)
            if known is not None:
                if (self._ra_deg[known], self._dec_deg[known]) == (ra, dec):
                    continue
                moved.append(known)
            self._number_of[name] = len(self._names)
            self._names.append(name)
            self._ra_deg.append(ra)
            self._dec_deg.append(dec)
            fresh.append(row)
        if moved:
            self._candidates.remove(moved)
        if fresh:
            numbers = np.arange(len(self._names) - len(fresh), len(self._names))
            # Time is asked of the photometry, not of the index: a window is on any detection.
            self._candidates.add(numbers, ra_deg[fresh], dec_deg[fresh], np.zeros(len(fresh)))

    def set_maps(
        self,
        localization_of: Mapping[str, str],
        prepared: Callable[[str], localize.PreparedMap],
    ) -> None:
        """Make exactly these events' maps the active ones (event id -> localization id)."""
        for event_id in [e for e in self._map_of if e not in localization_of]:
            self._maps.discard(event_id)
            del self._map_of[event_id]
        for event_id, localization_id in localization_of.items():
            if self._map_of.get(event_id) != localization_id:
                self._maps.add(event_id, prepared(localization_id))
                self._map_of[event_id] = localization_id

    def candidates_in(self, ready: localize.PreparedMap) -> list[str]:
        """Object ids inside a map, sorted."""
        found = self._candidates.match(ready, level=self.level).candidate_id
        return sorted(self._names[number] for number in found.tolist())

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
        return len(self._number_of)

    @property
    def n_maps(self) -> int:
        """How many maps are active."""
        return len(self._maps)
