"""Feeding stored notices and candidates through the whole way, in the order of their times.

A file becomes messages with coordinates of their own (its name and content hash as topic,
its line numbers as offsets), so that feeding it again is recognised as redelivery.
"""

from __future__ import annotations

import csv
import hashlib
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from listeners.base import Source
from listeners.table import rows
from mmcoord.errors import BadInput, ConfigError
from mmcoord.records import (
    Alert,
    Candidate,
    Circular,
    LateMap,
    Notice,
    ParsedRecord,
    Photometry,
    Withdrawal,
)
from mmcoord.stages.context import Context
from mmcoord.stages.intake import receive
from mmcoord.timescales import datetime_from_mjd_tai

__all__ = ["Message", "feed", "messages"]

_log = logging.getLogger(__name__)
_CHUNK = 500
_NOTICE_SUFFIXES = (".json", ".avro", ".xml")
_GENERAL = ("gcn_unified", "voevent")
_MARKS = (
    (b"<", b"", "voevent"),
    (b"\0", b"", "rubin"),
    (b"{", b'"superevent_id"', "igwn"),
    (b"{", b'"circularId"', "gcn_circulars"),
    (b"{", b'"neutrino_times"', "snews2"),
    (b"{", b"", "gcn_unified"),
)
"""(first byte, what it holds, whose it would be) of a payload that nobody can read."""
_POINTS = (Photometry, Withdrawal)
_TABLES = {
    "table_photometry": {"mjd", "band"},
    "table_candidates": {"ra", "dec"},
}


@dataclass(frozen=True, slots=True)
class Message:
    """One stored message, ready to be received."""

    source: str
    topic: str
    offset: int
    payload: bytes
    sent_at: datetime | None
    """When its content was sent or observed; None when that cannot be read."""


def messages(paths: Iterable[Path], sources: Mapping[str, Source]) -> list[Message]:
    """All messages under ``paths``, oldest first.

    What has no readable time goes first: it ends in the dead letters, whenever it comes.
    A candidate comes at the time of its first photometry, just before it.

    Raises
    ------
    ConfigError
        A path that does not exist, or holds nothing that could be replayed.
    """
    found: list[Message] = []
    for path in _files(paths):
        if path.suffix == ".csv":
            found += _table(path, sources)
        elif path.name.endswith(".schema.json"):
            _log.info("%s is left out: a schema is no notice", path)
        else:
            found.append(_notice(path, sources))
    if not found:
        raise ConfigError("nothing to replay: no notice, no candidates and no photometry found")
    first = _first_seen(found, sources)
    order = {"table_candidates": 0}

    def key(message: Message) -> tuple[datetime, int, str, int]:
        sent = message.sent_at or first.get(id(message)) or datetime.min.replace(tzinfo=UTC)
        return (sent, order.get(message.source, 1), message.topic, message.offset)

    return sorted(found, key=key)


def feed(ctx: Context, stored: Iterable[Message]) -> int:
    """Receive the messages; returns how many were new to the store."""
    new = 0
    chunk: list[Notice] = []
    for message in stored:
        chunk.append(
            Notice(
                source=message.source,
                broker="replay",
                topic=message.topic,
                partition=0,
                offset=message.offset,
                payload=message.payload,
                received_at=ctx.now(),
                sent_at=message.sent_at,
            )
        )
        if len(chunk) == _CHUNK:
            new += receive(ctx, chunk)
            chunk = []
    return new + receive(ctx, chunk)


def _files(paths: Iterable[Path]) -> Iterator[Path]:
    wanted = {*_NOTICE_SUFFIXES, ".csv"}
    for path in paths:
        if path.is_dir():
            yield from (p for p in sorted(path.rglob("*")) if p.is_file() and p.suffix in wanted)
        elif path.is_file():
            yield path
        else:
            raise ConfigError(f"{path}: no such file or folder")


def _topic(path: Path, content: bytes) -> str:
    return f"{path.name}:{hashlib.sha256(content).hexdigest()[:16]}"


def _notice(path: Path, sources: Mapping[str, Source]) -> Message:
    content = path.read_bytes()
    name, records = _read_by(content, sources)
    times = [r.time_created for r in records if isinstance(r, Alert | LateMap)]
    times += [datetime_from_mjd_tai(r.obs_mjd_tai) for r in records if isinstance(r, _POINTS)]
    times += [r.edited_at or r.created_at for r in records if isinstance(r, Circular)]
    if not records:
        _log.warning("%s: no listener can read it; it will be a dead letter of %s", path, name)
    return Message(name, _topic(path, content), 0, content, max(times, default=None))


def _read_by(content: bytes, sources: Mapping[str, Source]) -> tuple[str, Sequence[ParsedRecord]]:
    """The listener that can read a stored payload, and what it reads.

    A file does not say on which topic it came. The listeners are strict, so that the first
    that finds something in it is the one that it was meant for; the general ones are asked
    last, and one of them has to say what is wrong with what nobody can read.
    """
    installed = {name for name, source in sources.items() if not source.is_drill}
    asked = sorted(installed - set(_TABLES), key=lambda name: (name in _GENERAL, name))
    for name in asked:
        try:
            records = sources[name].parse(content)
        except Exception as error:
            # Not only BadInput: intake is where a listener's fault is told and kept.
            _log.debug("%s: %s", name, error)
            continue
        if records:
            return name, records
    stripped = content.lstrip()
    fallback = next(
        (name for head, mark, name in _MARKS if stripped.startswith(head) and mark in content),
        "igwn",
    )
    return (fallback if fallback in sources else next(iter(sources))), ()


def _table(path: Path, sources: Mapping[str, Source]) -> list[Message]:
    with path.open(newline="", encoding="utf-8", errors="replace") as lines:
        header = {name.strip().lower() for name in next(csv.reader(lines), [])}
    name = next((name for name, need in _TABLES.items() if need <= header), None)
    if name is None:
        _log.warning(
            "%s is left out: neither candidates (id, ra, dec) nor photometry (id, mjd, band, "
            "mag); columns are %s",
            path,
            ", ".join(sorted(header)) or "none",
        )
        return []
    topic = _topic(path, path.read_bytes())
    found = []
    for number, payload in rows(path):
        sent_at = None
        if name == "table_photometry":
            try:
                record = sources[name].parse(payload)[0]
                assert isinstance(record, _POINTS)
                sent_at = datetime_from_mjd_tai(record.obs_mjd_tai)
            except (BadInput, OverflowError):
                pass  # intake will say what is wrong with it
        found.append(Message(name, topic, number, payload, sent_at))
    return found


def _first_seen(found: list[Message], sources: Mapping[str, Source]) -> dict[int, datetime]:
    """For each candidate message (by ``id``), just before its first photometry."""
    first: dict[str, datetime] = {}
    for message in found:
        if message.source == "table_photometry" and message.sent_at is not None:
            record = sources[message.source].parse(message.payload)[0]
            assert isinstance(record, _POINTS)
            earlier = first.get(record.object_id)
            if earlier is None or message.sent_at < earlier:
                first[record.object_id] = message.sent_at
    times: dict[int, datetime] = {}
    for message in found:
        if message.source == "table_candidates":
            try:
                candidate = sources[message.source].parse(message.payload)[0]
            except BadInput:
                continue
            assert isinstance(candidate, Candidate)
            if candidate.object_id in first:
                times[id(message)] = first[candidate.object_id] - timedelta(microseconds=1)
    return times
