"""Names of events: when two spellings are one name, and what other missions call an event.

Identity is by trigger or event identifier, never by date: a date is shared by chance. A name
is only a way to find an event; one event has many, and one may stand for several events (a
burst that two missions saw).

Two things must not be confused:

* a **synonym** says that it is the same thing: the identifiers and aliases in an event's own
  notices, and what a circular states in so many words (``GRB 170817A = GW170817``);
* a **link** says that one was seen with the other: LVK's ``external_coinc``, the event that
  a notice follows up (``ref_ID``, ``follow_up_event``). A chance coincidence makes a link
  too, so a link never makes two events one.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

__all__ = ["MAX_NAME", "bare_number", "linked_names", "name_key", "spelled"]

MAX_NAME = 256
"""Longest key; they are indexed in the store."""

_IGNORED = re.compile(r"[\s_\-\u00ad\u2010-\u2015\u2212\ufe58\ufe63\uff0d]+")
_BARE = re.compile(r".*[^0-9](\d{6,})(?:-TEST)?")

_EVENTS_OF = {
    "fermi": ("Fermi-GBM",),
    "swift": ("Swift-BAT", "Swift-GUANO"),
    "svom": ("SVOM",),
    "einsteinprobe": ("EP-WXT",),
    "chime": ("CHIME-FRB",),
    "icecube": ("IceCube",),
    "snews": ("SNEWS",),
    "superk": ("Super-K",),
    "km3net": ("KM3NeT",),
    "maxi": ("MAXI-GSC",),
}
"""Beginning of an observatory's key -> how events of it are called here."""


def name_key(name: str) -> str:
    """The form in which spellings of one name agree; empty when nothing is left.

    Case, blanks, hyphens (of any kind) and underscores do not count: ``GRB170817A``,
    ``GRB 170817a`` and ``grb-170817A`` are one name.
    """
    plain = _IGNORED.sub("", unicodedata.normalize("NFKC", name))
    return unicodedata.normalize("NFKC", plain.casefold())[:MAX_NAME]


def spelled(names: Iterable[str]) -> dict[str, str]:
    """Key -> one spelling, the same whatever the order of ``names``."""
    found: dict[str, str] = {}
    for name in sorted(names):
        key = name_key(name)
        if key:
            found.setdefault(key, name[:MAX_NAME])
    return found


def bare_number(event_id: str) -> str | None:
    """The trigger's number alone, as people quote it: ``524666471``; None if there is none.

    Numbers of fewer than six digits are counters that say nothing without their mission.
    """
    found = _BARE.fullmatch(event_id)
    return found.group(1) if found else None


def linked_names(observatory: str, notice_id: str, ivorn: str | None = None) -> tuple[str, ...]:
    """What the other event of a coincidence may be called here.

    Parameters
    ----------
    observatory, notice_id : str
        As LVK (``observatory``, ``gcn_notice_id``) or a notice of the unified schema
        (``ref_instrument``, ``ref_ID``) names the other event.
    ivorn : str, optional
        Of its VOEvent.
    """
    names = [ivorn] if ivorn else []
    key = name_key(observatory)
    missions = next((m for begin, m in _EVENTS_OF.items() if key.startswith(begin)), (observatory,))
    if notice_id.isdecimal():
        names += [f"{mission}-{notice_id}" for mission in missions]
    elif notice_id != "unknown":
        names += [notice_id, *(f"{mission}-{notice_id}" for mission in missions)]
    return tuple(names)
