"""Which files may hold the map of an alert that came without one. Pure.

Notices in GCN's unified schema name the file in ``healpix_url``. An LVK notice without a map
names none, but GraceDB keeps the files of every public superevent under
``/api/superevents/<id>/files/<name>``; without a version number the newest is meant. The names
are those in the IGWN Public Alerts User Guide ("Alert Contents", "Sky Localization") and in
``gwcelery``, which uploads them: one for each pipeline.
"""

from __future__ import annotations

import re
from urllib.parse import quote, urlsplit

from mmcoord.records import AlertType, Messenger
from mmcoord.store.tables import AlertRow

__all__ = ["has_own_map", "map_links"]

_GRACEDB = "https://gracedb.ligo.org"
_VIEW = re.compile(r"/superevents/[A-Za-z0-9]+(/view)?/?")
_SUPEREVENT = re.compile(r"[MT]?S\d{6}[a-z]+")
_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}(,\d{1,4})?")
_NAMES = (
    "bayestar.multiorder.fits",
    "Bilby.multiorder.fits",
    "cwb.multiorder.fits",
    "mly.multiorder.fits",
    "olib.multiorder.fits",
    "amplfi.multiorder.fits",
)
_OF_PIPELINE = {
    "cwb": "cwb.multiorder.fits",
    "mly": "mly.multiorder.fits",
    "olib": "olib.multiorder.fits",
    "aframe": "amplfi.multiorder.fits",
}


def has_own_map(alert: AlertRow) -> bool:
    """Whether its localization is a map, from the notice or a link, and not only a region.

    A row older than the column ``localized_by`` keeps what it has.
    """
    return alert.localization_id is not None and alert.localized_by != "region"


def map_links(alert: AlertRow) -> tuple[str, ...]:
    """Links to try in turn, best first; empty where the alert has none or needs none."""
    if has_own_map(alert) or alert.alert_type == AlertType.RETRACTION:
        return ()
    if url := alert.urls.get("healpix_url"):
        return (url,)
    if alert.messenger == Messenger.GW and _SUPEREVENT.fullmatch(alert.event_id):
        folder = f"{_gracedb(alert)}/api/superevents/{alert.event_id}/files"
        return tuple(f"{folder}/{quote(name, safe=',')}" for name in _names(alert))
    return ()


def _gracedb(alert: AlertRow) -> str:
    """The GraceDB that the notice links to: there is more than one (playground, test)."""
    try:
        parts = urlsplit(alert.urls.get("gracedb", ""))
    except ValueError:
        return _GRACEDB
    if parts.scheme == "https" and parts.netloc and _VIEW.fullmatch(parts.path):
        return f"https://{parts.netloc}"
    return _GRACEDB


def _names(alert: AlertRow) -> tuple[str, ...]:
    stated = alert.extra.get("skymap_filename")
    if isinstance(stated, str) and _FILE.fullmatch(stated):
        return (stated,)
    first = _OF_PIPELINE.get((alert.pipeline or "").lower(), _NAMES[0])
    return (first, *(name for name in _NAMES if name != first))
