"""An event has one kilonova: what the other candidates leave to each.

Each candidate is inferred alone, as if the others did not exist. With ``o`` the odds that a
candidate is this event's kilonova and at most one of them is,

    P(i | at most one) = o_i / (1 + sum_j o_j),    P(i | alone) = o_i / (1 + o_i)

and the factor is their ratio, ``(1 + o_i) / (1 + o_i + sum_{j != i} o_j)``: near 1 for the
candidate that is all but certain, near 0 for those beside it, 1 where nothing speaks for
another one. So what is settled by a sure kilonova is not asked again of the others.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from followup.evidence import TargetEvidence
from followup.factors import Factor, RankSettings

__all__ = ["add_rivals"]

_SPEAKS_FOR_THE_EVENT = ("membership", "time", "classified", "host")


def add_rivals(
    targets: Sequence[TargetEvidence],
    merits: Sequence[dict[str, Factor]],
    settings: RankSettings,
) -> float:
    """Put the factor ``rivals`` to the merits of every target that has a rival.

    Returns the odds that one of the rivals is the event's kilonova. Rivals are targets with a full
    inference or a kilonova's spectrum: the screen's numbers and the prior order candidates and are
    no evidence that an event's counterpart is found.
    """
    odds = [_odds(factors, settings) for factors in merits]
    rivals = [
        o if _is_looked_into(target, factors) else 0.0
        for o, target, factors in zip(odds, targets, merits, strict=True)
    ]
    everybody = math.fsum(rivals)
    leaders = sorted(range(len(rivals)), key=lambda n: (-rivals[n], targets[n].object_id))[:2]
    for n, factors in enumerate(merits):
        others = everybody - rivals[n]
        leader = next((m for m in leaders if m != n), None)
        if leader is None or not rivals[leader]:
            continue
        left = (1.0 + odds[n]) / (1.0 + odds[n] + others)
        factors["rivals"] = Factor(
            left,
            max(settings.floor, left),
            f"an event has one kilonova: the others looked into, {targets[leader].object_id} first "
            f"(odds {rivals[leader]:.2g}), leave {100 * left:.2g} % of its chance",
        )
    return everybody


def _odds(factors: Mapping[str, Factor], settings: RankSettings) -> float:
    """That it is the kilonova of this event: of a kilonova, less what speaks against the event."""
    p = min(factors["kilonova"].counted, settings.surest_rival)
    of_the_event = [factors[name].counted for name in _SPEAKS_FOR_THE_EVENT if name in factors]
    return p / (1.0 - p) * math.prod(of_the_event)


def _is_looked_into(target: TargetEvidence, factors: Mapping[str, Factor]) -> bool:
    by_spectrum = factors["classified"].value == 1.0
    return by_spectrum or (
        target.p_kilonova_origin == "inference" and factors["kilonova"].value is not None
    )
