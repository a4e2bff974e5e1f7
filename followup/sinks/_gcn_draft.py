"""A plan as the draft of a GCN circular: subject, body, prefilled form. Pure, no network.

By GCN's style guide: plain text, at most about 60 lines, one event, full sentences, who and
with what; and a subject that begins with the event, so that GCN's parser finds it. A template
that goes out as it is, is what the guide forbids: the draft leaves a line for the authors and
says what no person has looked at.
"""

from __future__ import annotations

import re
import textwrap
from urllib.parse import urlencode

from followup.sinks._plan_json import summary_line
from followup.tilewords import tile_line, tiles_sentence
from mmcoord.records import AlertType, Outgoing, OutgoingKind, PlanRow

__all__ = ["FORM", "draft", "draft_link", "problems"]

FORM = "https://gcn.nasa.gov/circulars/new"
AUTHORS = "[NAMES (AFFILIATIONS)]"
"""What a person replaces; a draft that still has it is not submitted."""

_LVK = re.compile(r"S\d{6}[a-z]+")
_ICECUBE = re.compile(r"IC(\d{6}[A-Z])")
_MAX_LINES = 60
_TILES = 3
"""Named one by one."""
_MAX_LINK = 2900
"""Slack's buttons take 3000 characters, and so do most mail programs."""
_REFUSED = ("re: ", "fwd: ", "draft", "vacation", "out of office", "automatic reply")
"""Subjects with these are refused by GCN as replies of machines."""


def draft(outgoing: Outgoing, max_rows: int = 20) -> tuple[str, str]:
    """(subject, body) of a circular about a plan, or about its end."""
    name = _event_name(outgoing.event_id)
    if outgoing.kind is OutgoingKind.WITHDRAW:
        why = "retracted" if outgoing.alert_type is AlertType.RETRACTION else "superseded"
        subject = f"{name}: follow-up candidates withdrawn"
        body = (
            f"{AUTHORS} report:\n\nThe ranking of candidate counterparts of {name} that we "
            f"reported earlier (plan revision {outgoing.plan_revision}) no longer holds: the "
            f"event or the ranking was {why}. We ask observers not to follow it any more.\n"
        )
        return subject, body
    rows = outgoing.rows[:max_rows]
    subject = f"{name}: ranking of {len(outgoing.rows)} optical candidate counterparts"
    lines = [
        f"{AUTHORS} report:",
        "",
        *_wrapped(
            f"We matched public optical alerts with the localization of {summary_line(outgoing)} "
            "and ranked the candidates by their place in the map, the time of their first "
            "detection, the probability of a kilonova from their light curves, and whether they "
            "can be observed in the coming night. The ranking is automatic; "
            "[SAY HERE WHAT A PERSON HAS LOOKED AT]."
        ),
        "",
        "Rank | Name | RA (deg) | Dec (deg) | Credible level | P(kilonova)",
        *[_line(row) for row in rows],
        "",
    ]
    if len(outgoing.rows) > len(rows):
        lines += [f"We list the first {len(rows)} of {len(outgoing.rows)} candidates.", ""]
    lines += _about_tiles(outgoing, min(_TILES, max_rows))
    lines += _wrapped(
        "Credible levels are of the three-dimensional localization where it has distances. "
        "We encourage spectroscopy of the first candidates."
    )
    return subject, "\n".join(lines) + "\n"


def draft_link(outgoing: Outgoing) -> str:
    """GCN's form, filled in; needs no login to be opened, and a person submits it."""
    for max_rows in (20, 10, 5, 3, 1, 0):
        subject, body = draft(outgoing, max_rows)
        link = f"{FORM}?{urlencode({'subject': subject, 'body': body})}"
        if len(link) <= _MAX_LINK:
            break
    return link


def problems(subject: str, body: str) -> list[str]:
    """What keeps a circular from being submitted, in words; empty when nothing does."""
    found = []
    if AUTHORS in body or "[SAY HERE" in body:
        found.append("the draft's gaps are not filled in")
    if any(phrase in subject.lower() for phrase in _REFUSED):
        found.append("GCN takes the subject for the reply of a machine")
    if not subject.strip() or not body.strip():
        found.append("subject or body is empty")
    if len(body.splitlines()) > _MAX_LINES:
        found.append(f"longer than {_MAX_LINES} lines")
    return found


def _event_name(event_id: str) -> str:
    """As GCN's parser knows it."""
    if _LVK.fullmatch(event_id):
        return f"LIGO/Virgo/KAGRA {event_id}"
    if found := _ICECUBE.fullmatch(event_id):
        return f"IceCube-{found.group(1)}"
    return event_id


def _about_tiles(outgoing: Outgoing, most: int) -> list[str]:
    """What wide cameras are asked for; empty where no tile is planned."""
    if not outgoing.tiles:
        return []
    first = sorted(outgoing.tiles, key=lambda tile: (tile.start, tile.tile_id))[:most]
    told = _wrapped(f"We also propose {tiles_sentence(outgoing.tiles)}.")
    named = ["The first (camera, exposure, RA and Dec of the centre in deg):"] if first else []
    return [*told, *named, *[_cut(tile_line(tile)) for tile in first], ""]


def _cut(line: str, width: int = 100) -> str:
    return line if len(line) <= width else f"{line[: width - 1]}~"


def _line(row: PlanRow) -> str:
    level = row.credible_level_3d if row.credible_level_3d is not None else row.credible_level_2d
    shown = "-" if level is None else f"{level:.2f}"
    p = "-" if row.p_kilonova is None else f"{row.p_kilonova:.2f}"
    place = f"{row.ra_deg:.5f} | {row.dec_deg:+.5f}"
    return f"{row.rank} | {row.object_id} | {place} | {shown} | {p}"


def _wrapped(text: str, width: int = 88) -> list[str]:
    return textwrap.wrap(text, width)
