"""Pitt-Google's LSST streams: ``lsst-alerts`` (Rubin's own bytes) and ``lsst-alerts-json``.

Told apart by the first byte, because the framing of ``lsst-alerts`` is described in two ways:
zero byte and schema id (as Rubin sends it), or an Avro container. The lighter topics
(``lsst-lite`` and what adds to it) are JSON with fewer fields: a candidate without history.
"""

from __future__ import annotations

from listeners import avro
from listeners.base import Source
from listeners.brokers import lsst, lsst_json, rubin
from listeners.vetoes import NO_VETOES, Vetoes
from mmcoord.records import ParsedRecord

__all__ = ["SOURCE", "parse", "sift"]

_NAME = "pittgoogle"


def parse(payload: bytes) -> list[ParsedRecord]:
    """One message, kept whatever the vetoes would say.

    Raises
    ------
    BadInput
        Neither JSON, nor Rubin's packet, nor a container; or impossible values.
    """
    return sift(payload, NO_VETOES)


def sift(payload: bytes, vetoes: Vetoes) -> list[ParsedRecord]:
    """One message, read no further than our vetoes need.

    Raises
    ------
    BadInput
        As :func:`parse`.
    """
    if payload[:1] == b"\x00":
        return [*rubin.sift(payload, vetoes)]
    if payload[: len(avro.MAGIC)] == avro.MAGIC:
        return [
            record
            for alert in avro.read_container(payload, record_items=True)
            for record in lsst.sift_alert(alert, vetoes, _NAME)
        ]
    return [*lsst_json.sift_as(payload, _NAME, vetoes)]


SOURCE = Source(
    name=_NAME,
    parse=parse,
    sift=sift,
    topics=("lsst-alerts", "lsst-alerts-json"),
    description="LSST alerts from Pitt-Google over Pub/Sub (Avro or JSON)",
    is_bulk=True,
)
