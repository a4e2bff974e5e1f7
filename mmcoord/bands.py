"""Names of photometric bands: every spelling that surveys use, one canonical name.

Canonical names are ``system:filter`` in lower case: ``lsst:r``, ``ztf:g``, ``ps1:z``,
``2mass:ks``, ``sdss:u``. A bare ``r`` is ambiguous (the curves differ by up to 0.1 mag for
red objects), so it is an error unless the caller states a default system.

This module knows names only; curves are in :mod:`mmcoord.inference.passbands`.
"""

from __future__ import annotations

import re
from functools import lru_cache

from mmcoord.errors import BadPhotometry

__all__ = ["MODELLED", "canonical", "is_beyond_models", "is_modelled"]

_FILTERS: dict[str, tuple[str, ...]] = {
    "lsst": ("u", "g", "r", "i", "z", "y"),
    "ztf": ("g", "r", "i"),
    "ps1": ("g", "r", "i", "z", "y", "w"),
    "sdss": ("u", "g", "r", "i", "z"),
    "2mass": ("j", "h", "ks"),
    "bessell": ("u", "b", "v", "r", "i"),
    "decam": ("u", "g", "r", "i", "z", "y"),
    "hsc": ("g", "r", "i", "z", "y"),
    "gaia": ("g", "bp", "rp"),
    "megacam": ("u", "g", "r", "i", "z"),
    "euclid": ("vis", "y", "j", "h"),
    "wise": ("w1", "w2"),
}

_SYSTEM_ALIASES: dict[str, str] = {
    "lsst": "lsst", "lsstcam": "lsst", "rubin": "lsst",
    "ztf": "ztf",
    "ps1": "ps1", "ps": "ps1", "panstarrs": "ps1", "panstarrs1": "ps1", "panstarrsps1": "ps1",
    "sdss": "sdss", "sloan": "sdss",
    "2mass": "2mass", "twomass": "2mass",
    "bessell": "bessell", "bessel": "bessell",
    "decam": "decam", "des": "decam",
    "hsc": "hsc",
    "gaia": "gaia", "gaia3": "gaia", "gaiadr3": "gaia",
    "megacam": "megacam", "cfht": "megacam", "cfhtmegacam": "megacam",
    "euclid": "euclid",
    "wise": "wise",
}  # fmt: skip

_FILTER_ALIASES: dict[tuple[str, str], str] = {("2mass", "k"): "ks"}

MODELLED: tuple[str, ...] = tuple(f"{s}:{f}" for s, filters in _FILTERS.items() for f in filters)
"""Every canonical band for which the inference engine has a transmission curve."""

_BARE = frozenset(
    {"u", "g", "r", "i", "z", "y", "w", "j", "h", "k", "ks", "b", "v", "bp", "rp", "vis"}
)
_BEYOND = re.compile(r"^(radio|x-?ray|gamma|tev|gev|sub-?mm)([-_: ].*)?$", re.IGNORECASE)
_SEPARATORS = re.compile(r"[\s:._'\-]+")


def is_modelled(band: str) -> bool:
    """Whether ``band`` (canonical) has a transmission curve in the inference engine."""
    return band in MODELLED


def is_beyond_models(name: str) -> bool:
    """Whether ``name`` is a radio, X-ray or gamma-ray band: real data, but not modelled."""
    return _BEYOND.match(name.strip()) is not None


@lru_cache(maxsize=4096)
def canonical(name: str, *, default_system: str | None = None) -> str:
    """Canonical name of a band.

    Parameters
    ----------
    name : str
        Any usual spelling: ``lsstr``, ``LSST-r``, ``ztfg``, ``ps1::z``, ``2massks``, ``sdssu``.
    default_system : str, optional
        System of a bare filter letter, for instance ``"lsst"``.

    Raises
    ------
    BadPhotometry
        Unknown name, or a bare letter without a default; the message names the choices.
    """
    compact = _SEPARATORS.sub("", name).lower()
    if compact in _BARE:
        if default_system is None:
            raise BadPhotometry(f"{name!r} is ambiguous: use {_choices(compact)}", where="band")
        return _checked(_system(default_system, name), compact, name)
    for alias in sorted(_SYSTEM_ALIASES, key=len, reverse=True):
        if compact.startswith(alias) and len(compact) > len(alias):
            system = _SYSTEM_ALIASES[alias]
            letter = compact[len(alias) :]
            letter = _FILTER_ALIASES.get((system, letter), letter)
            if letter in _FILTERS[system]:
                return f"{system}:{letter}"
    raise BadPhotometry(
        f"unknown band {name!r}: use system:filter with one of {', '.join(MODELLED)}",
        where="band",
    )


def _system(name: str, band: str) -> str:
    system = _SYSTEM_ALIASES.get(_SEPARATORS.sub("", name).lower())
    if system is None:
        raise BadPhotometry(
            f"unknown default system {name!r} for band {band!r}: use {', '.join(_FILTERS)}",
            where="band",
        )
    return system


def _checked(system: str, letter: str, name: str) -> str:
    letter = _FILTER_ALIASES.get((system, letter), letter)
    if letter not in _FILTERS[system]:
        raise BadPhotometry(
            f"{system} has no filter {name!r}: it has {', '.join(_FILTERS[system])}", where="band"
        )
    return f"{system}:{letter}"


def _choices(letter: str) -> str:
    wanted = {letter, "ks"} if letter == "k" else {letter}
    named = [band for band in MODELLED if band.split(":")[1] in wanted]
    return " or ".join(named) if named else "system:filter, such as lsst:r"
