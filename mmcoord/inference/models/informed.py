"""What an alert tells the models that start from a binary's masses.

LVK notices may carry ``mchirp_source``, a histogram of the chirp mass in the source's frame (schema
1.3.0 on). Without it a model's own prior holds, which is that of its class: neutron-star binaries
as known from pulsars and GW190425 (:mod:`~mmcoord.inference.models.nicholl21`), black holes of
3 to 20 Msun with a star (:mod:`~mmcoord.inference.models.nsbh`). The classification says which
of the classes is worth a run.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from mmcoord.errors import BadNotice, ConfigError
from mmcoord.inference.models import registry
from mmcoord.inference.models.base import Parameter

__all__ = ["INFORMED", "alert_priors", "likely_models", "within_reach"]

INFORMED: Mapping[str, str] = {
    "nicholl21_bns": "BNS",
    "nicholl21_bns_cocoon": "BNS",
    "nsbh": "NSBH",
}
"""Model -> class of the notice's classification."""

_LEAST = 0.1


def likely_models(classification: Mapping[str, float], least: float = _LEAST) -> tuple[str, ...]:
    """Informed models whose class has at least the probability ``least``, most likely first."""
    named = [(classification.get(kind, 0.0), name) for name, kind in INFORMED.items()]
    return tuple(name for p, name in sorted(named, key=lambda x: (-x[0], x[1])) if p >= least)


def alert_priors(extra: Mapping[str, Any], models: Iterable[str]) -> tuple[Parameter, ...]:
    """Priors for ``models`` from what a notice says (``Alert.extra``); none if it says nothing.

    Raises
    ------
    BadNotice
        ``mchirp_source`` is there and no histogram.
    """
    said = extra.get("mchirp_source")
    if said is None or not INFORMED.keys() & set(models):
        return ()
    try:
        edges = tuple(float(x) for x in said["bin_edges"])
        weights = tuple(float(x) for x in said["probabilities"])
        if not all(math.isfinite(x) for x in edges):
            raise ValueError("an edge is not finite")
        return (
            Parameter(
                "chirp_mass", "Msun", edges[0], edges[-1], "histogram", edges=edges, weights=weights
            ),
        )
    except (ConfigError, KeyError, IndexError, TypeError, ValueError) as error:
        raise BadNotice(f"no histogram: {error}", where="event.mchirp_source") from None


def within_reach(models: tuple[str, ...], priors: tuple[Parameter, ...]) -> tuple[str, ...]:
    """``models`` without the informed ones whose ranges hold nothing of ``priors``.

    A chirp mass of 1.2 Msun is no black hole's: that model cannot be run, the others can. If none
    would be left, all of them, so that the run fails and says why.
    """
    kept = tuple(name for name in models if name not in INFORMED or _fits(name, priors))
    return kept or models


def _fits(name: str, priors: tuple[Parameter, ...]) -> bool:
    try:
        registry.load(name).with_priors(priors)
    except ConfigError:
        return False
    return True
