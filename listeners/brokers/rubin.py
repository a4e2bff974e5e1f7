"""Rubin's own alert packets as on the wire: one zero byte, four of schema id, Avro.

The id is 100 times the major plus the minor version, big-endian (so are the real packets;
Rubin's text says little-endian). The packet is not self-describing, and field order and
types change between versions, so it is decoded with the writer's schema of its own version,
read from the installed package ``lsst-alert-packet`` (extra ``rubin``).

Decoding has two passes, because most of a packet is history: the first stops after
``diaSource`` and drops moving objects.
"""

from __future__ import annotations

import json
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import fastavro
import fastavro.schema

from listeners import avro
from listeners.base import Source
from listeners.brokers import lsst
from mmcoord.errors import BadNotice
from mmcoord.records import Candidate, Photometry

__all__ = ["SOURCE", "parse"]

_HEADER_BYTES = 5
_FIRST_VERSION = 800
"""Before version 8 the packet had another layout and no public stream."""


def parse(payload: bytes) -> list[Candidate | Photometry]:
    """One Rubin packet, v8.0 or later.

    Raises
    ------
    BadInput
        A packet that is none, a version whose schema is not installed, impossible values.
    """
    if len(payload) < _HEADER_BYTES or payload[0] != 0:
        raise BadNotice("not a Rubin packet: no zero byte and schema id", where="payload")
    version = int.from_bytes(payload[1:_HEADER_BYTES], "big")
    first, whole = _schemas(version)
    body = payload[_HEADER_BYTES:]
    if lsst.is_moving(avro.read_datum(body, first)):
        return []
    return lsst.records(avro.read_datum(body, whole))


SOURCE = Source(
    name="rubin",
    parse=parse,
    description="Rubin alert packets by writer schema (needs the extra 'rubin')",
    is_bulk=True,
)


@lru_cache(maxsize=32)
def _schemas(version: int) -> tuple[Any, Any]:
    """(schema up to ``diaSource``, whole schema without the cutouts)."""
    major, minor = divmod(version, 100)
    if version < _FIRST_VERSION:
        raise BadNotice(f"version {major}.{minor} is too old", where="schema id")
    folder = _installed() / str(major) / str(minor)
    name = f"lsst.v{major}_{minor}.alert"
    if not (folder / f"{name}.avsc").exists():
        raise BadNotice(f"no schema of version {major}.{minor} installed", where="schema id")
    named: dict[str, Any] = {}
    for path in _in_order(folder, name):
        fastavro.parse_schema(json.loads(path.read_text()), named)
    alert = json.loads((folder / f"{name}.avsc").read_text())
    known = {key: value for key, value in named.items() if key != name}
    return (
        fastavro.parse_schema(avro.up_to(alert, "diaSource"), dict(known)),
        fastavro.parse_schema(avro.up_to(alert, "diaObject"), dict(known)),
    )


def _in_order(folder: Path, name: str) -> list[Path]:
    """The parts of the alert; they do not refer to one another."""
    return sorted(path for path in folder.glob("*.avsc") if path.stem != name)


def _installed() -> Path:
    """Where the schemas are; found without importing the package, which needs many others."""
    try:
        place = distribution("lsst-alert-packet").locate_file("lsst/alert/packet/schema")
    except PackageNotFoundError:
        raise BadNotice(
            "the package lsst-alert-packet is not installed (pip install mmcoord[rubin])",
            where="schema id",
        ) from None
    return Path(str(place))
