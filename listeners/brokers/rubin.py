"""Rubin's own alert packets as on the wire: one zero byte, four of schema id, Avro.

The id is 100 times the major plus the minor version, big-endian (so are the real packets;
Rubin's text says little-endian). The packet is not self-describing, and field order and
types change between versions, so it is decoded with the writer's schema of its own version,
7.1 to 11.1 so far, read from the installed package ``lsst-alert-packet`` (extra ``rubin``).
A version that a newer package brings is read without a change here.

A packet carries nothing that tells a star (``extendedness`` is that of the difference), so
the star veto never fires on it.
"""

from __future__ import annotations

import json
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from listeners.base import Source
from listeners.brokers import lsst
from listeners.fields import MAX_PAYLOAD_BYTES
from listeners.layout import Fields, Layout, Packet, make_layout
from listeners.vetoes import NO_VETOES, Vetoes
from mmcoord.errors import BadNotice
from mmcoord.records import Candidate, Photometry, Vetoed

__all__ = ["SOURCE", "parse", "sift"]

_NAME = "rubin"
_HEADER_BYTES = 5
_FIRST_VERSION = 701
"""Before version 7.1 the packet had another layout and no public stream."""
_FIELDS = Fields(lsst.FIRST, lsst.WHOLE)


def parse(payload: bytes) -> list[Candidate | Photometry] | list[Vetoed]:
    """One Rubin packet, v7.1 or later, kept whatever the vetoes would say.

    Raises
    ------
    BadInput
        A packet that is none, a version whose schema is not installed, impossible values.
    """
    return sift(payload, NO_VETOES)


def sift(payload: bytes, vetoes: Vetoes) -> list[Candidate | Photometry] | list[Vetoed]:
    """One Rubin packet, read no further than our vetoes need.

    Raises
    ------
    BadInput
        As :func:`parse`.
    """
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise BadNotice(f"{len(payload)} bytes, more than {MAX_PAYLOAD_BYTES}", where="payload")
    if len(payload) < _HEADER_BYTES or payload[0] != 0:
        raise BadNotice("not a Rubin packet: no zero byte and schema id", where="payload")
    version = int.from_bytes(payload[1:_HEADER_BYTES], "big")
    return lsst.sift(Packet(payload, _HEADER_BYTES, _layout(version)), vetoes, _NAME)


SOURCE = Source(
    name=_NAME,
    parse=parse,
    sift=sift,
    description="Rubin alert packets by writer schema (needs the extra 'rubin')",
    is_bulk=True,
)


@lru_cache(maxsize=32)
def _layout(version: int) -> Layout:
    major, minor = divmod(version, 100)
    if version < _FIRST_VERSION:
        raise BadNotice(f"version {major}.{minor} is too old", where="schema id")
    folder = _installed() / str(major) / str(minor)
    name = f"lsst.v{major}_{minor}.alert"
    if not (folder / f"{name}.avsc").exists():
        raise BadNotice(f"no schema of version {major}.{minor} installed", where="schema id")
    parts = [_read(path) for path in sorted(folder.glob("*.avsc")) if path.stem != name]
    known = {f"{part['namespace']}.{part['name']}": part for part in parts}
    return make_layout(_read(folder / f"{name}.avsc"), _FIELDS, known)


def _read(path: Path) -> dict[str, Any]:
    schema: dict[str, Any] = json.loads(path.read_text())
    return schema


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
