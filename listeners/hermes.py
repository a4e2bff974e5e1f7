"""Photometry that other groups publish over Hermes (SCiMMA topics such as ``hermes.test``).

A message holds ``title``, ``topic``, ``data``; ``data.targets`` (``name``, ``ra``, ``dec`` in
decimal degrees) and ``data.photometry`` (``target_name``, ``date_obs``, ``bandpass``,
``telescope`` or ``instrument``, ``brightness`` or ``limiting_brightness`` with a unit), as its API
takes them. It is read only as "somebody has observed this": calibration and bands of strangers
are not mixed into our photometry. A bare filter letter is taken as SDSS's for g to z, which is
near enough to tell whether the same was observed.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from listeners.base import Source
from listeners.fields import finite, json_object, mapping, shown, text, utc
from mmcoord.bands import canonical
from mmcoord.elsewhere import Elsewhere
from mmcoord.errors import BadNotice, BadPhotometry
from mmcoord.timescales import mjd_tai

__all__ = ["SOURCE", "parse"]

_MJD_EPOCH = datetime(1858, 11, 17, tzinfo=UTC)
_JD_OF_MJD = 2_400_000.5
_LETTERS: Mapping[str, str] = {
    **{letter: f"sdss:{letter}" for letter in "ugriz"},
    **{letter: f"bessell:{letter.lower()}" for letter in "UBVRI"},
    "J": "2mass:j",
    "H": "2mass:h",
    "K": "2mass:ks",
    "Ks": "2mass:ks",
}
_AB = frozenset({"AB mag", "ab mag", "mag_ab"})


def parse(payload: bytes) -> list[Elsewhere]:
    """The observations of one message; none where it holds no photometry.

    Raises
    ------
    BadInput
        With the field at fault.
    """
    message = json_object(payload)
    data = mapping(message.get("data"), "data")
    points = data.get("photometry")
    if not points:
        return []
    if not isinstance(points, list):
        raise BadNotice(f"a list is needed, not {shown(points)}", where="data.photometry")
    places = _targets(data.get("targets"))
    key = message.get("uuid") or message.get("id") or message.get("title")
    whole = text(str(key) if key is not None else None, "uuid")[:200]
    found = []
    for number, item in enumerate(points):
        where = f"data.photometry[{number}]"
        point = mapping(item, where)
        name = text(point.get("target_name"), f"{where}.target_name")
        if name not in places:
            raise BadNotice(f"{shown(name)} is none of the targets", where=f"{where}.target_name")
        ra, dec = places[name]
        who = point.get("telescope") or point.get("instrument") or message.get("submitter")
        found.append(
            Elsewhere(
                source="hermes",
                key=f"{whole}#{number}",
                who=text(who, f"{where}.telescope")[:200],
                status="completed",
                obs_mjd_tai=_time(point.get("date_obs"), f"{where}.date_obs"),
                ra_deg=ra,
                dec_deg=dec,
                band=_band(point.get("bandpass")),
                depth_mag=_depth(point, where),
                radius_deg=0.0,
                object_name=name[:256],
            )
        )
    return found


SOURCE = Source(
    name="hermes",
    parse=parse,
    topics=("hermes.test",),
    description="photometry that other groups publish over Hermes (JSON)",
    is_bulk=True,
)


def _targets(given: object) -> dict[str, tuple[float, float]]:
    if not isinstance(given, list):
        raise BadNotice(f"a list is needed, not {shown(given)}", where="data.targets")
    places = {}
    for number, item in enumerate(given):
        where = f"data.targets[{number}]"
        target = mapping(item, where)
        if target.get("ra") is None or target.get("dec") is None:
            continue  # orbital elements
        place = (_degrees(target["ra"], f"{where}.ra"), _degrees(target["dec"], f"{where}.dec"))
        places[text(target.get("name"), f"{where}.name")] = place
    return places


def _degrees(value: object, where: str) -> float:
    """Decimal degrees, also as text; Hermes reads a sexagesimal declination as hours."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            raise BadNotice(f"{shown(value)} is not in decimal degrees", where=where) from None
    return finite(value, where)


def _time(value: object, where: str) -> float:
    """ISO time, or JD or MJD (UTC) as a number or text."""
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return mjd_tai(utc(value, where))
    if 2.4e6 <= number <= 2.6e6:
        number -= _JD_OF_MJD
    if not 1000.0 <= number <= 150_000.0:
        raise BadNotice(f"{shown(value)} is neither JD nor MJD", where=where)
    return mjd_tai(_MJD_EPOCH + timedelta(days=number))


def _band(value: object) -> str | None:
    if not isinstance(value, str):
        return None
    if value in _LETTERS:
        return _LETTERS[value]
    try:
        return canonical(value)
    except BadPhotometry:
        return None


def _depth(point: Mapping[str, object], where: str) -> float | None:
    """AB magnitude seen, or the limit; None in another unit."""
    for name in ("limiting_brightness", "brightness"):
        value = point.get(name)
        if value is not None and point.get(f"{name}_unit", "AB mag") in _AB:
            return finite(value, f"{where}.{name}")
    return None
