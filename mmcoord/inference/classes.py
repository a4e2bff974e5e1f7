"""Classes of sources, what is held of them before looking, and the words for the answer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from mmcoord.errors import ConfigError
from mmcoord.inference.job import DEFAULT_CLASS_PRIORS

__all__ = [
    "BASE_RATE",
    "CLASSES",
    "FAVOURED",
    "NOT_FAVOURED",
    "Verdict",
    "class_priors",
    "probabilities_of",
    "verdict_of",
]

Verdict = Literal["favoured", "not favoured", "undecided"]

CLASSES: tuple[str, ...] = tuple(name for name, _ in DEFAULT_CLASS_PRIORS)
"""``kilonova`` first, then the contaminants."""
BASE_RATE = dict(DEFAULT_CLASS_PRIORS)["kilonova"]
FAVOURED, NOT_FAVOURED = 0.9, 0.1
"""P(kilonova) above which it is favoured, below which it is not."""


def class_priors(base_rate: float = BASE_RATE) -> tuple[tuple[str, float], ...]:
    """P(class) before looking, when ``base_rate`` of the candidates are the kilonova; the
    contaminants share the rest in fixed proportions.

    Raises
    ------
    ConfigError
        Not between 0 and 1.
    """
    if not 0.0 < base_rate < 1.0:
        raise ConfigError(f"the base rate of kilonovae {base_rate!r} is not between 0 and 1")
    if base_rate == BASE_RATE:
        return DEFAULT_CLASS_PRIORS
    share = (1.0 - base_rate) / (1.0 - BASE_RATE)
    return tuple(
        (name, base_rate if name == "kilonova" else share * p) for name, p in DEFAULT_CLASS_PRIORS
    )


def verdict_of(p_kilonova: float | None) -> Verdict:
    """The word for a probability; not known is undecided."""
    if p_kilonova is None or not math.isfinite(p_kilonova):
        return "undecided"
    if p_kilonova > FAVOURED:
        return "favoured"
    return "not favoured" if p_kilonova < NOT_FAVOURED else "undecided"


def probabilities_of(summary: Mapping[str, Any]) -> dict[str, float]:
    """P(class) of a finished run, from its summary's ``comparison``: all kilonova models are one
    class, other models are classes of their own. Empty: nothing was compared.

    A source that was seen before the event is no kilonova whatever the models say: what is
    left is shared among the others.
    """
    lines: Sequence[Mapping[str, Any]] = summary.get("comparison") or ()
    p_kilonova = summary.get("p_kilonova")
    if p_kilonova is None or not lines:
        return {}
    found = {"kilonova": float(p_kilonova)}
    others = {
        line["model"]: float(line["probability"]) for line in lines if not line["is_kilonova"]
    }
    total = sum(others.values())
    for name, p in others.items():
        share = p / total if total > 0 else 1.0 / len(others)
        found[name] = (1.0 - found["kilonova"]) * share
    return found
