"""Observing windows as a calendar, iCalendar of RFC 5545. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

from followup.sites import Instrument
from mmcoord.store.views import EventLine, PlanLine, Target
from mmcoord.web import text

__all__ = ["calendar"]

_OCTETS = 75
"""RFC 5545, 3.1: longest line, without its end."""
_SHORTEST = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class _Window:
    target: Target
    asked: Mapping[str, Any]
    """The row itself, or a further look of it, whose ``role`` says so."""
    start: datetime
    end: datetime


def calendar(
    event: EventLine,
    plan: PlanLine,
    targets: Iterable[Target],
    instruments: Mapping[str, Instrument],
    page_url: str,
) -> bytes:
    """One entry for each target that is to be observed.

    An entry keeps its UID from revision to revision, so that a calendar that reads the file
    again moves it; SEQUENCE is the plan's revision. Of a retracted event all are cancelled.
    """
    lines = ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//mmcoord//observing windows//EN"]
    for target in targets:
        for window in _windows(target):
            lines += _entry(event, plan, window, instruments.get(window.asked["instrument"]),
                            page_url)  # fmt: skip
    lines.append("END:VCALENDAR")
    return b"".join(_folded(line) for line in lines)


def _windows(target: Target) -> list[_Window]:
    found = []
    for asked in (target.row, *(target.row.get("looks") or ())):
        if asked.get("start") and asked.get("instrument"):
            start = datetime.fromisoformat(asked["start"])
            length = timedelta(seconds=asked.get("exposure_s") or 0.0)
            found.append(_Window(target, asked, start, start + max(length, _SHORTEST)))
    return found


def _entry(
    event: EventLine,
    plan: PlanLine,
    window: _Window,
    instrument: Instrument | None,
    page_url: str,
) -> list[str]:
    row, object_id = window.asked, window.target.object_id
    practice = "[practice] " if event.is_practice else ""
    # A look keeps its entry though another telescope may take it: it is known by what it is.
    which = row.get("role") or row["instrument"]
    identity = f"{event.event_id}\0{object_id}\0{which}"
    uid = hashlib.sha256(identity.encode()).hexdigest()[:32]
    band = f" in {row['band']}" if row.get("band") else ""
    role = f" ({row['role']})" if row.get("role") else ""
    summary = f"{practice}{object_id} with {row['instrument']}{band}{role}"
    lines = [
        "BEGIN:VEVENT",
        f"UID:{uid}@mmcoord",
        f"SEQUENCE:{plan.revision}",
        f"DTSTAMP:{_utc(plan.created_at)}",
        f"DTSTART:{_utc(window.start)}",
        f"DTEND:{_utc(window.end)}",
        f"STATUS:{'CANCELLED' if event.state == 'retracted' else 'TENTATIVE'}",
        f"SUMMARY:{_text(summary)}",
        f"DESCRIPTION:{_text(_description(event, plan, window))}",
    ]
    if instrument is not None and not instrument.is_in_space:
        site = instrument.site
        lines.append(f"LOCATION:{_text(site.name)}")
        lines.append(f"GEO:{site.latitude_deg:.6f};{site.longitude_deg:.6f}")
    if page_url:
        address = f"{page_url.rstrip('/')}/events/{quote(event.event_id, safe='')}"
        lines.append(f"URL:{address}")
    return [*lines, "END:VEVENT"]


def _description(event: EventLine, plan: PlanLine, window: _Window) -> str:
    row = window.target.row
    said = [
        f"Event {event.event_id}, plan revision {plan.revision}, rank {window.target.rank}",
        f"RA {text.ra_sexagesimal(row['ra_deg'])} Dec {text.dec_sexagesimal(row['dec_deg'])}"
        f" ({row['ra_deg']:.6f} {row['dec_deg']:+.6f} deg, ICRS)",
        f"exposure {text.duration(window.asked.get('exposure_s'))}",
    ]
    if window.asked.get("predicted_mag") is not None:
        said.append(f"expected {window.asked['predicted_mag']:.1f} mag (AB)")
    return "\n".join(said)


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
