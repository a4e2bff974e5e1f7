"""Observing windows as a calendar, iCalendar of RFC 5545. Pure.

A target's looks are an entry each; the tiles of a camera are one entry, from its first tile to
the end of its last.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

from followup.sites import Instrument
from followup.tilewords import CameraTiles, by_camera, tiles_lines, tiles_sentence
from mmcoord.records import PlanTile
from mmcoord.store.views import EventLine, PlanLine, Target
from mmcoord.web import text

__all__ = ["calendar"]

_OCTETS = 75
"""RFC 5545, 3.1: longest line, without its end."""
_SHORTEST = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class _Window:
    identity: str
    """Within the event: what is the same entry from revision to revision."""
    instrument: str
    start: datetime
    end: datetime
    summary: str
    description: str


def calendar(
    event: EventLine,
    plan: PlanLine,
    targets: Iterable[Target],
    instruments: Mapping[str, Instrument],
    page_url: str,
    tiles: Sequence[PlanTile] = (),
) -> bytes:
    """One entry for each target that is to be observed, and for each camera that has tiles.

    An entry keeps its UID from revision to revision, so that a calendar that reads the file
    again moves it; SEQUENCE is the plan's revision. Of a retracted event all are cancelled.
    """
    lines = ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//mmcoord//observing windows//EN"]
    windows = [window for target in targets for window in _of_target(event, plan, target)]
    windows += [_of_camera(event, plan, camera) for camera in by_camera(tiles)]
    for window in windows:
        lines += _entry(event, plan, window, instruments.get(window.instrument), page_url)
    lines.append("END:VCALENDAR")
    return b"".join(_folded(line) for line in lines)


def _of_target(event: EventLine, plan: PlanLine, target: Target) -> list[_Window]:
    found = []
    row = target.row
    for asked in (row, *(row.get("looks") or ())):
        if not (asked.get("start") and asked.get("instrument")):
            continue
        start = datetime.fromisoformat(asked["start"])
        length = timedelta(seconds=asked.get("exposure_s") or 0.0)
        band = f" in {asked['band']}" if asked.get("band") else ""
        role = f" ({asked['role']})" if asked.get("role") else ""
        said = [
            f"Event {event.event_id}, plan revision {plan.revision}, rank {target.rank}",
            f"RA {text.ra_sexagesimal(row['ra_deg'])} Dec {text.dec_sexagesimal(row['dec_deg'])}"
            f" ({row['ra_deg']:.6f} {row['dec_deg']:+.6f} deg, ICRS)",
            f"exposure {text.duration(asked.get('exposure_s'))}",
        ]
        if asked.get("predicted_mag") is not None:
            said.append(f"expected {asked['predicted_mag']:.1f} mag (AB)")
        # A look keeps its entry though another telescope may take it: it is known by what it is.
        which = asked.get("role") or asked["instrument"]
        found.append(
            _Window(
                f"{target.object_id}\0{which}",
                asked["instrument"],
                start,
                start + max(length, _SHORTEST),
                f"{target.object_id} with {asked['instrument']}{band}{role}",
                "\n".join(said),
            )
        )
    return found


def _of_camera(event: EventLine, plan: PlanLine, camera: CameraTiles) -> _Window:
    tiles = camera.tiles
    ends = [tile.start + timedelta(seconds=tile.exposure_s) for tile in tiles]
    said = [
        f"Event {event.event_id}, plan revision {plan.revision}",
        tiles_sentence(tiles),
        *tiles_lines(tiles),
    ]
    word = "tile" if len(tiles) == 1 else "tiles"
    return _Window(
        f"tiles\0{camera.instrument}",
        camera.instrument,
        tiles[0].start,
        max(*ends, tiles[0].start + _SHORTEST),
        f"{event.event_id}: {len(tiles)} {word} with {camera.instrument}, "
        f"{100.0 * camera.probability:.2g} % of the map",
        "\n".join(said),
    )


def _entry(
    event: EventLine,
    plan: PlanLine,
    window: _Window,
    instrument: Instrument | None,
    page_url: str,
) -> list[str]:
    practice = "[practice] " if event.is_practice else ""
    uid = hashlib.sha256(f"{event.event_id}\0{window.identity}".encode()).hexdigest()[:32]
    lines = [
        "BEGIN:VEVENT",
        f"UID:{uid}@mmcoord",
        f"SEQUENCE:{plan.revision}",
        f"DTSTAMP:{_utc(plan.created_at)}",
        f"DTSTART:{_utc(window.start)}",
        f"DTEND:{_utc(window.end)}",
        f"STATUS:{'CANCELLED' if event.state == 'retracted' else 'TENTATIVE'}",
        f"SUMMARY:{_text(practice + window.summary)}",
        f"DESCRIPTION:{_text(window.description)}",
    ]
    if instrument is not None and not instrument.is_in_space:
        site = instrument.site
        lines.append(f"LOCATION:{_text(site.name)}")
        lines.append(f"GEO:{site.latitude_deg:.6f};{site.longitude_deg:.6f}")
    if page_url:
        address = f"{page_url.rstrip('/')}/events/{quote(event.event_id, safe='')}"
        lines.append(f"URL:{address}")
    return [*lines, "END:VEVENT"]


def _utc(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")


def _text(value: str) -> str:
    """A value of type TEXT (3.3.11); what is invisible is spelled out first."""
    shown = str(text.visible(value.replace("\r", "")))
    for plain, escaped in (("\\", "\\\\"), (";", "\\;"), (",", "\\,"), ("\n", "\\n")):
        shown = shown.replace(plain, escaped)
    return shown


def _folded(line: str) -> bytes:
    """A content line with its ends (3.1), never cut within a character."""
    parts, size = [""], 0
    for character in line:
        octets = len(character.encode("utf-8", "replace"))
        if size + octets > _OCTETS:
            parts.append("")
            size = 1  # the blank that continues a line
        parts[-1] += character
        size += octets
    return "\r\n ".join(parts).encode("utf-8", "replace") + b"\r\n"
