"""Tiles in a plan: what each field of a wide camera could bring beside the targets.

A score is a chance that an observation shows what the event asks for; a tile's is

    score = P(map in the field, not covered) x P(within reach of the image) x unfound x weight

with ``unfound`` the chance that none of the candidates that were looked into is the counterpart
(``1 / (1 + their odds)``, :mod:`followup.rivals`), and ``weight`` because what a tile finds is at
first one new source among many. Patches that two tiles share count once, in the same objective as
the targets.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime

import numpy as np
import numpy.typing as npt

from followup.bands import EFFECTIVE_WAVELENGTH_NM, nearest_band
from followup.brightness import Magnitudes, expected_magnitudes, reach_probability
from followup.elsewhere import ElsewhereSettings
from followup.evidence import Prediction, TargetEvidence
from followup.factors import RankSettings
from followup.schedule_parts import (
    SUBSTEPS,
    Frame,
    Part,
    options_of,
    put_together,
    slot_of,
    start_of,
)
from followup.sites import Instrument
from followup.tiling import Covered, Tiling
from followup.tonight import Night, Sight
from mmcoord.elsewhere import Elsewhere
from mmcoord.records import PlanTile

__all__ = [
    "Search",
    "SearchSettings",
    "covered_by_others",
    "part_of",
    "search",
    "spots_of",
    "tile_id",
    "tiles_chosen",
    "wide",
]

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]

_N_EXPOSURES = 9
"""Tried between the shortest and the longest."""


@dataclass(frozen=True, slots=True)
class SearchSettings:
    """How tiles are weighed. The numbers are choices, not measurements.

    Raises
    ------
    ValueError
        A value out of range.
    """

    weight: float = 0.5
    """Worth of an image that shows the counterpart among all that is new, relative to one of a
    candidate that is it."""
    enough: float = 0.75
    """The exposure worth most for its time is taken among those that keep this part of the reach
    of the longest."""
    least: float = 0.002
    """Fields with less of the map are not asked for."""
    least_unfound: float = 0.05
    """Below it nothing is searched any more: a candidate is the counterpart all but for certain."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not 0.0 < value <= 1.0:
                raise ValueError(f"{field.name}: {value!r} is not in (0, 1]")


@dataclass(frozen=True, slots=True)
class _Sheet:
    """What the fields of one instrument could bring, arrays (n, T) over the night's grid."""

    tile: Int
    """(n,) numbers of the fields in the tiling."""
    worth: Float
    band: Int
    reach: Float
    airmass: Float
    exposure_s: Float
    """(n,)"""


@dataclass(frozen=True, slots=True)
class Search:
    """Fields that a schedule may ask for."""

    tiling: Tiling
    number: tuple[int, ...]
    """Of each of the tiling's instruments among those of the schedule."""
    instruments: tuple[Instrument, ...]
    """All of the schedule's."""
    night: Night
    sheets: Mapping[int, _Sheet]
    """By number of the instrument in the schedule."""
    unfound: float = 1.0
    """Chance that no candidate that was looked into is the counterpart."""

    @property
    def n_bytes(self) -> int:
        """Memory that it takes, about."""
        sheets = self.sheets.values()
        columns = [(s.worth, s.band, s.reach, s.airmass) for s in sheets]
        return sum(column.nbytes for some in columns for column in some)

    def given(self, unfound: float) -> Search:
        """The same when the candidates leave so much unfound."""
        sheets = {
            number: dataclasses.replace(sheet, worth=sheet.worth * (unfound / self.unfound))
            for number, sheet in self.sheets.items()
        }
        return dataclasses.replace(self, sheets=sheets, unfound=unfound)

    @property
    def ids(self) -> list[str]:
        """(P,) names of the fields."""
        tiling = self.tiling
        return [
            tile_id(self.instruments[self.number[which]].id, ra, dec)
            for which, ra, dec in zip(
                tiling.instrument.tolist(),
                tiling.ra_deg.tolist(),
                tiling.dec_deg.tolist(),
                strict=True,
            )
        ]


def tile_id(instrument: str, ra_deg: float, dec_deg: float) -> str:
    """The name of a field of our grid; its centre to 0.01 deg tells it from every other."""
    return f"tile-{instrument}-{ra_deg:06.2f}{dec_deg:+06.2f}"


def wide(instruments: Sequence[Instrument], least_deg2: float) -> tuple[int, ...]:
    """Numbers of the instruments whose field is as large."""
    return tuple(n for n, i in enumerate(instruments) if i.field_deg2 >= least_deg2)


def search(
    tiling: Tiling,
    number: Sequence[int],
    instruments: Sequence[Instrument],
    night: Night,
    predicted: Mapping[str, Prediction],
    ranking: RankSettings,
    settings: SearchSettings,
) -> Search:
    """What the fields of a tiling are worth tonight, as long as nothing is found.

    Parameters
    ----------
    number
        Of each of the tiling's instruments among ``instruments``.
    predicted
        The counterpart as it would be seen, by canonical band.
    """
    # All fields wait for one source: what it looks like is asked once, the sky for each field.
    places = zip(tiling.ra_deg.tolist(), tiling.dec_deg.tolist(), strict=True)
    fields = [TargetEvidence(str(n), ra, dec) for n, (ra, dec) in enumerate(places)]
    cameras = [instruments[n] for n in number]
    sight = Sight(fields, cameras, night, ranking)
    source = [TargetEvidence("counterpart", 0.0, 0.0, predicted=predicted)]
    magnitudes = {
        band.canonical: expected_magnitudes(source, band.canonical, night.tai, ranking)
        for camera in cameras
        for band in camera.bands
    }
    # A band that nobody predicts must not beat one that is predicted to be too faint.
    unknown = 0.0 if predicted else ranking.unknown_brightness
    sheets = {}
    for which, n in enumerate(number):
        its = np.flatnonzero(tiling.instrument == which)
        if len(its):
            sheet = _sheet(sight, which, its, magnitudes, unknown, ranking, settings)
            scale = settings.weight * tiling.probability[its]
            sheets[n] = dataclasses.replace(sheet, worth=sheet.worth * scale[:, None])
    return Search(tiling, tuple(number), tuple(instruments), night, sheets)


def _sheet(
    sight: Sight,
    which: int,
    its: Int,
    magnitudes: Mapping[str, Magnitudes],
    unknown: float,
    ranking: RankSettings,
    settings: SearchSettings,
) -> _Sheet:
    """Of the fields ``its`` of one camera; the worth is the reach alone, 0 where not allowed."""
    instrument = sight.instruments[which]
    depth = sight.parts(which, its).depth
    airmass = sight.airmass[which][its]
    allowed = np.isfinite(airmass)
    longest = instrument.max_exposure_s
    ladder = np.ceil(np.geomspace(instrument.min_exposure_s, longest, _N_EXPOSURES))
    ladder = np.minimum(ladder, longest)
    steps = 1.25 * np.log10(ladder / longest)
    one_source = np.zeros(len(its), np.int64)

    def reach_at(shift: Float) -> Float:
        """(n, T, bands) at depths moved by ``shift`` (n,) magnitudes."""
        found = [
            reach_probability(
                magnitudes[band.canonical],
                one_source,
                depth[..., place] + shift[:, None],
                ranking.depth_scatter_mag,
            )
            for place, band in enumerate(instrument.bands)
        ]
        return np.nan_to_num(np.stack(found, axis=-1), nan=unknown) * allowed[..., None]

    best = np.stack([reach_at(np.full(len(its), s)).max(axis=(1, 2)) for s in steps])
    per_time = best / (ladder + instrument.overhead_s + instrument.slew_s)[:, None]
    enough = best >= settings.enough * best.max(axis=0)
    chosen = np.argmax(np.where(enough, per_time, -1.0), axis=0)
    reach = reach_at(steps[chosen])
    band = reach.argmax(axis=2)
    held = np.take_along_axis(reach, band[..., None], axis=2)[..., 0]
    return _Sheet(its, held, band, held, airmass, ladder[chosen])


def part_of(found: Search, frame: Frame) -> Part:
    """The fields as a part of the schedule's problem."""
    options = [
        options_of(
            frame,
            number,
            sheet.tile,
            sheet.worth,
            sheet.band,
            np.broadcast_to(sheet.exposure_s[:, None], sheet.worth.shape),
            sheet.worth.max(axis=1).tolist(),
            sheet.worth.max(axis=1).tolist(),
        )
        for number, sheet in found.sheets.items()
    ]
    return Part(put_together(options), found.tiling.cover)


def spots_of(found: Search, previous: Iterable[PlanTile]) -> list[tuple[int, int, int]]:
    """(field, instrument, slot) of the fields of an earlier plan that are there again."""
    numbers = {name: n for n, name in enumerate(found.ids)}
    spots = []
    for tile in previous:
        n = numbers.get(tile.tile_id)
        if n is None:
            continue
        number = found.number[int(found.tiling.instrument[n])]
        slot = slot_of(tile.start, found.night, found.instruments[number])
        if slot is not None:
            spots.append((n, number, slot))
    return spots


def tiles_chosen(found: Search, chosen: Iterable[tuple[int, int]]) -> tuple[PlanTile, ...]:
    """The tiles of a plan in order of time; ``chosen``: (field, slot)."""
    tiling, ids = found.tiling, found.ids
    shown = np.zeros(len(tiling.patch_probability))
    tiles = []

    def begin(n: int, slot: int) -> datetime:
        camera = found.instruments[found.number[int(tiling.instrument[n])]]
        return start_of(slot, found.night, camera)

    for start, n, slot in sorted((begin(n, slot), n, slot) for n, slot in chosen):
        number = found.number[int(tiling.instrument[n])]
        instrument, sheet = found.instruments[number], found.sheets[number]
        place = int(np.flatnonzero(sheet.tile == n)[0])
        step = slot // SUBSTEPS
        held, reach = float(tiling.held[n]), float(sheet.reach[place, step])
        goals = tiling.cover.goal[tiling.cover.first[n] : tiling.cover.first[n + 1]]
        more = np.maximum(reach - shown[goals], 0.0)
        new = float(tiling.patch_probability[goals] @ more)
        shown[goals] += more
        score = float(f"{sheet.worth[place].max():.12g}")
        band = instrument.bands[int(sheet.band[place, step])].name
        tiles.append(
            PlanTile(
                tile_id=ids[n],
                instrument=instrument.id,
                band=band,
                ra_deg=float(tiling.ra_deg[n]),
                dec_deg=float(tiling.dec_deg[n]),
                field_deg2=instrument.field_deg2,
                start=start,
                exposure_s=float(sheet.exposure_s[place]),
                probability=held,
                new_probability=new,
                reach=reach,
                score=score,
                reason=(
                    f"{100 * held:.2g} % of the map; a counterpart in it is within reach with "
                    f"{100 * reach:.0f} % in {band} at airmass {sheet.airmass[place, step]:.2f}; "
                    f"{100 * new:.2g} % that this image shows it and nothing before did; "
                    f"{100 * found.unfound:.0f} % that no candidate looked into is it"
                ),
            )
        )
    return tuple(tiles)


def covered_by_others(
    records: Sequence[Elsewhere],
    predicted: Mapping[str, Prediction],
    begin_mjd_tai: float,
    ranking: RankSettings,
    settings: ElsewhereSettings | None = None,
) -> tuple[Covered, ...]:
    """Fields that others have covered, or will, since ``begin_mjd_tai``.

    The chance of a detection is that the observation is made (as in
    :mod:`followup.elsewhere`) times that the counterpart was then brighter than its depth; a
    depth that is not told counts as there. An observation of one object covers no field.
    """
    settings = settings or ElsewhereSettings()
    found = []
    for one in records:
        if one.status == "cancelled" or one.obs_mjd_tai < begin_mjd_tai or one.radius_deg == 0:
            continue
        made = settings.completed if one.status == "completed" else settings.planned
        radius, known = one.radius_deg, 1.0
        if radius is None:
            radius, known = settings.unknown_field_deg, settings.unknown_field
        seen = _seen(one, predicted, ranking, settings)
        found.append(
            Covered(one.ra_deg, one.dec_deg, float(np.pi * radius**2), made * known * seen)
        )
    return tuple(found)


def _seen(
    one: Elsewhere,
    predicted: Mapping[str, Prediction],
    ranking: RankSettings,
    settings: ElsewhereSettings,
) -> float:
    """P(brighter than the record's depth at its time); as for an unknown depth where not known."""
    if one.depth_mag is None or one.band is None or one.band not in EFFECTIVE_WAVELENGTH_NM:
        return settings.unknown_depth
    if nearest_band(one.band, predicted) is None:
        return settings.unknown_depth
    at = np.array([one.obs_mjd_tai])
    source = TargetEvidence("counterpart", 0.0, 0.0, predicted=predicted)
    magnitudes = expected_magnitudes([source], one.band, at, ranking)
    depth = np.full((1, 1), one.depth_mag)
    chance = reach_probability(magnitudes, np.zeros(1, np.int64), depth, ranking.depth_scatter_mag)
    return settings.unknown_depth if np.isnan(chance[0, 0]) else float(chance[0, 0])
