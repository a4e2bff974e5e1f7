"""LSST alerts from Fink: Avro with its schema.

On Kafka the schema is the message's key; the transport joins both into one container
(``key_is_schema`` of the connection). Files of the data transfer are containers already.

Fink's classifiers and cross-matches are kept in the candidate's attributes as they come.
They are not used as vetoes: in the filter ``fast_transient_gvom`` the parallax stands for
its own error, so that its star veto never fires.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from listeners import avro
from listeners.base import Source
from listeners.brokers import lsst
from listeners.fields import json_value
from mmcoord.records import Candidate, Photometry

__all__ = ["SOURCE", "parse"]

_OPINIONS = ("clf", "xm", "pred", "misc", "lc_features", "tns_type_recomputed")


def parse(payload: bytes) -> list[Candidate | Photometry]:
    """All alerts of one container; moving objects are left out.

    Raises
    ------
    BadInput
        A broken container or impossible values.
    """
    found: list[Candidate | Photometry] = []
    for alert in avro.read_container(payload, record_items=True):
        for record in lsst.records(alert):
            if isinstance(record, Candidate):
                record = replace(record, attributes={**record.attributes, **_opinions(alert)})
            found.append(record)
    return found


SOURCE = Source(
    name="fink_lsst",
    parse=parse,
    description="LSST alerts from Fink (Avro, schema in the key)",
    is_bulk=True,
)


def _opinions(alert: Mapping[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = json_value({key: alert[key] for key in _OPINIONS if key in alert})
    return {"fink": kept} if kept else {}
