"""A plan as a Hermes message, and the rules that a message must keep: pure, no network.

The rules are Hermes's own where it refuses, and stricter where it would corrupt a value
without a word: it wraps ra 400 to 40, reads a sexagesimal declination as hours, publishes
a NaN magnitude and *then* fails, and takes a magnitude of 0 for a missing one.
"""

from __future__ import annotations

import hashlib
import ipaddress
import math
import re
from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from followup.sinks._plan_json import (
    event_json,
    finite,
    photometry_of,
    row_json,
    summary_line,
    table_line,
    tile_json,
)
from followup.sinks._times import utc_of_mjd_tai
from followup.sinks.base import Payload
from followup.tilewords import tiles_lines, tiles_sentence
from mmcoord.records import AlertType, Outgoing, OutgoingKind, Photometry, PlanRow

__all__ = ["hermes_message", "keyed", "problems", "retraction_of", "tag_of"]

_TELESCOPE = {"lsst": "Rubin", "ztf": "P48"}
"""Band systems that belong to one telescope; Hermes demands a telescope or instrument."""

_TAG = re.compile(r" \[mmcoord [0-9a-f]{12}\]$")


def hermes_message(outgoing: Outgoing, *, topic: str, submitter: str, title_prefix: str) -> Payload:
    """The message of one plan revision, ready for ``/api/v0/submit_message/``.

    For a withdrawal, the message that says so (without targets and photometry).
    """
    withdraws = outgoing.kind is OutgoingKind.WITHDRAW
    retracted = withdraws and outgoing.alert_type is AlertType.RETRACTION
    state = "retracted" if retracted else "withdrawn" if withdraws else "active"
    what = f"follow-up plan, revision {outgoing.plan_revision}"
    title = f"{title_prefix}: {outgoing.event_id} {what}"
    data: dict[str, Any] = {
        "event_id": outgoing.event_id,
        "mmcoord": {
            "key": outgoing.key,
            "state": state,
            "plan_revision": outgoing.plan_revision,
            "event": event_json(outgoing),
            "requests": [] if withdraws else [row_json(row) for row in outgoing.rows],
            "tiles": [] if withdraws else [tile_json(tile) for tile in outgoing.tiles],
        },
    }
    if outgoing.rows and not withdraws:
        data["targets"] = [_target(row) for row in outgoing.rows]
        data["photometry"] = [_photometry(point) for point in photometry_of(outgoing)]
    if _is_public_url(outgoing.page_url):
        data["references"] = [{"url": outgoing.page_url}]
    message = {
        "title": f"{title} {state.upper()}" if withdraws else title,
        "topic": topic,
        "submitter": submitter,
        "message_text": _text(outgoing, state),
        "data": data,
    }
    return keyed(message, outgoing.key)


def retraction_of(message: Payload, *, key: str, uuid: str | None) -> Payload:
    """The message that takes back ``message``, which was published as ``uuid``.

    ``message`` is the published one, or one already made from a WITHDRAW outgoing.
    """
    mmcoord = message["data"]["mmcoord"]
    state = mmcoord["state"] if mmcoord["state"] != "active" else "withdrawn"
    title = _TAG.sub("", message["title"])
    text = message["message_text"]
    if mmcoord["state"] == "active":
        title = f"{title} {state.upper()}"
        text = f"{state.upper()}: the plan of revision {mmcoord['plan_revision']} no longer holds."
    data = {
        "event_id": message["data"]["event_id"],
        "mmcoord": {
            **mmcoord,
            "state": state,
            "requests": [],
            "tiles": [],
            "takes_back": uuid,
        },
    }
    if uuid:
        text = f"{text}\nTakes back the message {uuid}."
    return keyed({**message, "title": title, "message_text": text, "data": data}, key)


def keyed(message: Payload, key: str) -> Payload:
    """``message`` with ``key`` in its data and the key's tag at the end of its title.

    The archive is searched by title: Hermes's query answers with titles, not contents.
    """
    data = {**message["data"], "mmcoord": {**message["data"]["mmcoord"], "key": key}}
    title = _TAG.sub("", message["title"])
    return {**message, "title": f"{title} [{tag_of(key)}]", "data": data}


def tag_of(key: str) -> str:
    """What identifies ``key`` in a title: 48 bits of its SHA-256."""
    return f"mmcoord {hashlib.sha256(key.encode()).hexdigest()[:12]}"


def problems(message: Payload) -> list[str]:
    """Every rule that ``message`` breaks, as a sentence that names the place."""
    found = [
        f"{key} is blank"
        for key in ("title", "topic", "submitter")
        if not (isinstance(message.get(key), str) and message[key].strip())
    ]
    data = message.get("data", {})
    targets = data.get("targets", [])
    names = [target.get("name") for target in targets]
    found += [f"target name {n!r} occurs twice" for n, count in Counter(names).items() if count > 1]
    for number, target in enumerate(targets):
        found += _target_problems(target, f"targets[{number}]")
    for number, point in enumerate(data.get("photometry", [])):
        found += _photometry_problems(point, f"photometry[{number}]", names)
    for number, reference in enumerate(data.get("references", [])):
        cited = reference.get("source") and reference.get("citation")
        if not cited and not _is_public_url(reference.get("url")):
            found.append(f"references[{number}]: needs source and citation, or a public url")
    return found


def _target_problems(target: Mapping[str, Any], place: str) -> list[str]:
    found = [] if target.get("name") else [f"{place}.name is blank"]
    if not (_is_number(target.get("ra")) and 0.0 <= target["ra"] < 360.0):
        found.append(f"{place}.ra {target.get('ra')!r} is not decimal degrees in [0, 360)")
    if not (_is_number(target.get("dec")) and -90.0 <= target["dec"] <= 90.0):
        found.append(f"{place}.dec {target.get('dec')!r} is not decimal degrees in [-90, 90]")
    if "epoch" in target and not re.fullmatch(r"\d{4}(\.\d+)?", str(target["epoch"])):
        found.append(f"{place}.epoch {target['epoch']!r} is not a year such as 2000.0")
    return found


def _photometry_problems(point: Mapping[str, Any], place: str, names: list[Any]) -> list[str]:
    found = []
    if point.get("target_name") not in names:
        found.append(f"{place}.target_name {point.get('target_name')!r} is not a target")
    if not point.get("bandpass"):
        found.append(f"{place}.bandpass is blank")
    if not (point.get("telescope") or point.get("instrument")):
        found.append(f"{place}: needs a telescope or an instrument")
    try:
        datetime.fromisoformat(point.get("date_obs", ""))
    except (TypeError, ValueError):
        found.append(f"{place}.date_obs {point.get('date_obs')!r} is not ISO 8601")
    given = [k for k in ("brightness", "limiting_brightness") if point.get(k) is not None]
    if len(given) != 1:
        found.append(f"{place}: needs either brightness or limiting_brightness")
    for key in given:
        if not _is_number(point[key]) or point[key] == 0.0:
            found.append(f"{place}.{key} {point[key]!r} is not a finite, non-zero number")
    error = point.get("brightness_error")
    if error is not None and not (_is_number(error) and error > 0.0):
        found.append(f"{place}.brightness_error {error!r} is not positive")
    return found


def _is_number(value: Any) -> bool:
    """A finite number, and no text that looks like one."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _target(row: PlanRow) -> dict[str, Any]:
    """Without distance: ours is the sky map's, not the target's own."""
    return {
        "name": row.object_id,
        "ra": finite(row.ra_deg),
        "dec": finite(row.dec_deg),
        "epoch": "2000.0",
        "comments": f"rank {row.rank} in the follow-up plan",
    }


def _photometry(point: Photometry) -> dict[str, Any]:
    """``telescope`` is known only where the band's system belongs to one."""
    brightness: dict[str, Any]
    if point.is_limit:
        brightness = {"limiting_brightness": point.mag_ab, "limiting_brightness_unit": "AB mag"}
    else:
        brightness = {
            "brightness": point.mag_ab,
            "brightness_error": point.mag_err,
            "brightness_unit": "AB mag",
        }
    return {
        "target_name": point.object_id,
        "date_obs": utc_of_mjd_tai(point.obs_mjd_tai),
        "bandpass": point.band,
        "telescope": _TELESCOPE.get(point.band.partition(":")[0], "unspecified"),
        **brightness,
    }


def _text(outgoing: Outgoing, state: str) -> str:
    lines = ["PRACTICE. Not a real event."] if outgoing.is_practice else []
    if state != "active":
        lines.append(
            f"{state.upper()}: the plan of revision {outgoing.plan_revision} "
            f"for {outgoing.event_id} no longer holds."
        )
        return "\n".join(lines)
    lines += [
        f"Ranked follow-up plan, revision {outgoing.plan_revision}, for {summary_line(outgoing)}",
        "Written by mmcoord without human review: a ranking of candidates for follow-up, "
        "neither a discovery nor a classification.",
        "",
        *[table_line(row) for row in outgoing.rows],
    ]
    if outgoing.tiles:
        lines += ["", tiles_sentence(outgoing.tiles), *tiles_lines(outgoing.tiles)]
    return "\n".join(lines)


def _is_public_url(url: str | None) -> bool:
    """An address that others can reach, as far as it shows; Hermes demands a dot in the host."""
    if not isinstance(url, str):
        return False
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return False
    try:
        return ipaddress.ip_address(parts.hostname).is_global
    except ValueError:
        return "." in parts.hostname.strip(".")
