"""LSST alerts from Fink: Avro with its schema.

On Kafka the schema is the message's key; the transport joins both into one container
(``key_is_schema`` of the connection). Files of the data transfer are containers already.

Fink's classifiers and cross-matches are kept in the candidate's attributes as they come. Of
the cross-matches (``xm``) ours are made anew: a star is a Gaia source whose parallax is
five times its error, or a variable star of the VSX or GCVS. In Fink's own filter
``fast_transient_gvom`` the parallax stands for its error too, so that its veto never fires.
``legacydr8_pstar`` is not asked: its match is unreliable next to a nearby galaxy, which is
where a kilonova is. The first detection is Fink's (``misc.firstDiaSourceMjdTaiFink``), or an
earlier one in the packet.

Tested against the alerts and the schema in ``datatest/lsst`` of fink-client (24249d9).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from listeners.base import Source
from listeners.brokers import lsst
from listeners.fields import json_value
from listeners.layout import Fields, Packet, packets
from listeners.vetoes import NO_VETOES, Evidence, Vetoes, known_number
from mmcoord.records import Candidate, ParsedRecord

__all__ = ["SOURCE", "parse", "sift"]

_NAME = "fink_lsst"
_FIELDS = Fields(lsst.FIRST, lsst.WHOLE, through="cutoutTemplate")
_OPINIONS = ("clf", "xm", "pred", "misc", "lc_features", "tns_type_recomputed")
_LEAST_PARALLAX_SNR = 5.0
_NO_STAR = re.compile(r"AGN|QSO|BLLAC|GALAXY|GAL\b|^SN|\bSN\b|NON-|LENS|DUPL", re.IGNORECASE)
"""Types of the variable-star catalogues that are no star."""


def parse(payload: bytes) -> list[ParsedRecord]:
    """All alerts of one container, kept whatever the vetoes would say.

    Raises
    ------
    BadInput
        A broken container or impossible values.
    """
    return sift(payload, NO_VETOES)


def sift(payload: bytes, vetoes: Vetoes) -> list[ParsedRecord]:
    """All alerts of one container, read no further than our vetoes need.

    Raises
    ------
    BadInput
        As :func:`parse`.
    """
    found: list[ParsedRecord] = []
    for packet in packets(payload, _FIELDS):
        found += _sift(packet, vetoes)
    return found


SOURCE = Source(
    name=_NAME,
    parse=parse,
    sift=sift,
    description="LSST alerts from Fink (Avro, schema in the key)",
    is_bulk=True,
)


def _sift(packet: Packet, vetoes: Vetoes) -> list[ParsedRecord]:
    beginning = packet.beginning()
    vetoed = lsst.veto(beginning, lsst.evidence(beginning), vetoes, _NAME)
    if vetoed is not None:
        return [vetoed]
    alert = packet.whole()
    vetoed = lsst.veto(alert, _evidence(alert), vetoes, _NAME)
    if vetoed is not None:
        return [vetoed]
    candidate, *points = lsst.records(alert)
    assert isinstance(candidate, Candidate)
    attributes = {**candidate.attributes, **_opinions(alert)}
    return [replace(candidate, attributes=attributes), *points]


def _evidence(alert: Mapping[str, Any]) -> Evidence:
    plain = lsst.evidence(alert)
    ages = [plain.history_day, _age_day(alert)]
    known = [age for age in ages if age is not None]
    matches = alert.get("xm")
    return replace(
        plain,
        star=_star(matches) if isinstance(matches, dict) else "",
        history_day=max(known) if known else None,
    )


def _star(matches: Mapping[str, Any]) -> str:
    parallax, error = (known_number(matches.get(f"gaiadr3_{key}")) for key in ("Plx", "e_Plx"))
    if parallax is not None and error is not None and 0 < error * _LEAST_PARALLAX_SNR < parallax:
        return f"Gaia DR3 parallax of {parallax / error:.1f} sigma"
    for catalogue, key in (("VSX", "vsx_Type"), ("GCVS", "gcvs_type")):
        kind = matches.get(key)
        if isinstance(kind, str) and kind.strip() and not _NO_STAR.search(kind):
            return f"{catalogue} {json_value(kind.strip()[:40])}"
    return ""


def _age_day(alert: Mapping[str, Any]) -> float | None:
    source, notes = alert.get("diaSource"), alert.get("misc")
    if not isinstance(source, dict) or not isinstance(notes, dict):
        return None
    newest = known_number(source.get("midpointMjdTai"))
    first = known_number(notes.get("firstDiaSourceMjdTaiFink"))
    return newest - first if newest is not None and first is not None and first > 0 else None


def _opinions(alert: Mapping[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = json_value({key: alert[key] for key in _OPINIONS if key in alert})
    return {"fink": kept} if kept else {}
