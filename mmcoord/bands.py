"""Names of photometric bands: one canonical spelling, ``system:filter``, and its aliases.

Names only, so that listeners can use it without loading a filter curve. Surveys and tools
spell bands differently: ``lsstr`` (sncosmo, NMMA), ``ps1::z`` (NMMA, SVO), ``2massks``. A
bare filter letter is refused, since g of ZTF and g of LSST are different bands.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from mmcoord.errors import BadPhotometry

__all__ = ["ALIASES", "BANDS", "FILTERS", "canonical_band"]

FILTERS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "2mass": ("j", "h", "ks"),
        "lsst": ("u", "g", "r", "i", "z", "y"),
        "ps1": ("g", "r", "i", "z", "y"),
        "sdss": ("u", "g", "r", "i", "z"),
        "ztf": ("g", "r", "i"),
    }
)
"""Filters of each system, from blue to red."""

BANDS: tuple[str, ...] = tuple(f"{s}:{f}" for s, filters in FILTERS.items() for f in filters)
"""All canonical names."""

_SYSTEM_SPELLINGS = {
    "2mass": ("2mass", "twomass"),
    "lsst": ("lsst", "rubin"),
    "ps1": ("ps1", "panstarrs", "panstarrs1"),
    "sdss": ("sdss",),
    "ztf": ("ztf",),
}
_FILTER_SPELLINGS = {"ks": ("ks", "k")}
_SEPARATORS = re.compile(r"[:._\- ]+")


def _aliases() -> dict[str, str]:
    return {
        spelling + letter: f"{system}:{filter_}"
        for system, filters in FILTERS.items()
        for filter_ in filters
        for spelling in _SYSTEM_SPELLINGS[system]
        for letter in _FILTER_SPELLINGS.get(filter_, (filter_,))
    }


ALIASES: Mapping[str, str] = MappingProxyType(_aliases())
"""Spelling without separators, in lower case -> canonical name."""


def canonical_band(name: str) -> str:
    """The canonical name of a band: ``lsstr``, ``LSST-r`` and ``lsst:r`` give ``lsst:r``.

    Raises
    ------
    BadPhotometry
        If the name is unknown, or a filter without its system.
    """
    known = ALIASES.get(_SEPARATORS.sub("", name.lower()))
    if known is not None:
        return known
    if len(name.strip()) <= 2:
        raise BadPhotometry(f"{name!r} does not say of which system (lsst:r, ztf:r?)", where="band")
    raise BadPhotometry(f"unknown band {name[:40]!r}; known: {', '.join(BANDS)}", where="band")
