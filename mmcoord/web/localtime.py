"""The clock of the place where an instrument stands."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from zoneinfo import ZoneInfo

from followup.sites import Instrument, load_catalogue
from mmcoord.config import Settings

__all__ = ["instruments", "local_times"]


def local_times(settings: Settings) -> Callable[[str | None, datetime | str | None], str]:
    """A function (instrument, instant) -> ``21:40 UTC-03 on 2027-03-04``.

    It answers with an empty text where the instrument or its site's time zone is not known.
    """
    known = instruments(settings.plan.catalogue)

    def local(instrument: str | None, instant: datetime | str | None) -> str:
        found = known.get(instrument or "")
        if found is None or not found.site.time_zone or instant is None:
            return ""
        moment = datetime.fromisoformat(instant) if isinstance(instant, str) else instant
        if moment.tzinfo is None:
            return ""
        there = moment.astimezone(ZoneInfo(found.site.time_zone))
        zone = there.strftime("%Z")
        if zone[:1] in "+-":  # a place whose clock has no name of its own
            zone = f"UTC{zone}"
        return there.strftime(f"%H:%M {zone} on %Y-%m-%d")

    return local


@lru_cache(maxsize=4)
def instruments(catalogue: str) -> dict[str, Instrument]:
    """Instruments by identifier, of a catalogue file or (empty) the built-in one."""
    found = load_catalogue(Path(catalogue)) if catalogue else load_catalogue()
    return {one.id: one for one in found.instruments}
