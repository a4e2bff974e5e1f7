"""Pitt-Google's LSST streams: ``lsst-alerts`` (Rubin's own bytes) and ``lsst-alerts-json``.

Told apart by the first byte, because the framing of ``lsst-alerts`` is described in two ways:
zero byte and schema id (as Rubin sends it), or an Avro container. The lighter topics
(``lsst-lite`` and what adds to it) are JSON with fewer fields: a candidate without history.
"""

from __future__ import annotations

from listeners import avro
from listeners.base import Source
from listeners.brokers import lsst, lsst_json, rubin
from mmcoord.records import Candidate, Photometry

__all__ = ["SOURCE", "parse"]


def parse(payload: bytes) -> list[Candidate | Photometry]:
    """One message.

    Raises
    ------
    BadInput
        Neither JSON, nor Rubin's packet, nor a container; or impossible values.
    """
    if payload[:1] == b"\x00":
        return rubin.parse(payload)
    if payload[:4] == b"Obj\x01":
        found: list[Candidate | Photometry] = []
        for alert in avro.read_container(payload, record_items=True):
            found += lsst.records(alert, source="pittgoogle")
        return found
    return lsst_json.parse_as(payload, "pittgoogle")


SOURCE = Source(
    name="pittgoogle",
    parse=parse,
    topics=("lsst-alerts", "lsst-alerts-json"),
    description="LSST alerts from Pitt-Google over Pub/Sub (Avro or JSON)",
    is_bulk=True,
)
