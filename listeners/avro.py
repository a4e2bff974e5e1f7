"""Avro object container files from strangers, read within bounds.

A container brings its own schema, so the sender decides what the bytes mean. A hostile
schema can ask for millions of objects that cost no bytes (an array of null), for recursion
deeper than the C stack, or for a block that inflates to gigabytes. Therefore the schema is
checked before a byte of data is read, and blocks are inflated up to a limit.

Format: Apache Avro specification 1.11, "Object Container Files" and "Data Serialization".
"""

from __future__ import annotations

import hashlib
import io
import json
import zlib
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import fastavro

from listeners.fields import MAX_PAYLOAD_BYTES, shown
from mmcoord.errors import BadNotice

__all__ = ["MAGIC", "blocks", "checked", "read_container", "read_datum", "wrap"]

MAGIC = b"Obj\x01"
_SYNC_BYTES = 16
_MAX_SCHEMA_BYTES = 2**20
_MAX_DEPTH = 24
_MAX_RECORDS = 64
_LEAST_ITEM_BYTES = 8
_HEADER = fastavro.parse_schema({"type": "map", "values": "bytes"})
_PRIMITIVES = frozenset({"boolean", "int", "long", "float", "double", "bytes", "string"})


def read_container(payload: bytes, *, record_items: bool = False) -> list[dict[str, Any]]:
    """All records of one object container file.

    Parameters
    ----------
    payload
        The whole file.
    record_items
        Whether arrays may hold records (light curves do). Off for notices, which have
        none: an array of tiny records is the cheapest way left to fill the memory. Where
        on, a record in an array has at least eight bytes.

    Raises
    ------
    BadNotice
        Not a container, a schema outside the bounds above, a codec other than ``null`` and
        ``deflate``, more than 8 MiB of data or 64 records, or data that do not fit.
    """
    records: list[dict[str, Any]] = []
    for source, count, block in blocks(payload):
        schema = _schema(source, record_items)
        body = io.BytesIO(block)
        for _ in range(count):
            record = _decode(body, schema, "record")
            if not isinstance(record, dict):
                raise BadNotice(f"a record is needed, not {shown(record)}", where="avro record")
            records.append(record)
    return records


def blocks(payload: bytes) -> Iterator[tuple[bytes, int, bytes]]:
    """(writer's schema, number of records, inflated data) of each block of a container.

    Raises
    ------
    BadNotice
        As :func:`read_container`, but for the schema, which is not looked at.
    """
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise BadNotice(f"{len(payload)} bytes, more than {MAX_PAYLOAD_BYTES}", where="payload")
    if not payload.startswith(MAGIC):
        raise BadNotice("not an Avro container", where="payload")
    stream = io.BytesIO(payload)
    stream.seek(len(MAGIC))
    meta = _decode(stream, _HEADER, "header")
    source, codec = meta.get("avro.schema", b""), meta.get("avro.codec", b"null")
    sync = stream.read(_SYNC_BYTES)
    number = total = 0
    while stream.tell() < len(payload):
        count, size = (_decode(stream, "long", "block") for _ in range(2))
        number += count
        if count < 0 or number > _MAX_RECORDS:
            raise BadNotice(f"{count} records in a block", where="avro block")
        block = _inflated(stream.read(max(size, 0)), codec, MAX_PAYLOAD_BYTES - total)
        total += len(block)
        if stream.read(_SYNC_BYTES) != sync or len(sync) != _SYNC_BYTES:
            raise BadNotice("block does not end with the sync marker", where="avro block")
        yield source, count, block


def wrap(schema: bytes, datum: bytes) -> bytes:
    """A datum and its schema, sent apart, as one container file that explains itself.

    Nothing is changed: both stand in the result byte by byte.
    """
    header = io.BytesIO()
    meta = {"avro.schema": schema, "avro.codec": b"null"}
    fastavro.schemaless_writer(header, {"type": "map", "values": "bytes"}, meta)
    block = io.BytesIO()
    for number in (1, len(datum)):
        fastavro.schemaless_writer(block, "long", number)
    sync = hashlib.md5(schema, usedforsecurity=False).digest()
    return MAGIC + header.getvalue() + sync + block.getvalue() + datum + sync


def read_datum(datum: bytes, schema: Any) -> dict[str, Any]:
    """One record without a container, by a schema that is trusted and parsed.

    Raises
    ------
    BadNotice
        Too large, or the bytes do not fit.
    """
    if len(datum) > MAX_PAYLOAD_BYTES:
        raise BadNotice(f"{len(datum)} bytes, more than {MAX_PAYLOAD_BYTES}", where="payload")
    record = _decode(io.BytesIO(datum), schema, "record")
    if not isinstance(record, dict):
        raise BadNotice(f"a record is needed, not {shown(record)}", where="avro record")
    return record


def _inflated(block: bytes, codec: bytes, limit: int) -> bytes:
    if codec == b"null":
        return block
    if codec != b"deflate":
        raise BadNotice(f"codec {shown(codec)} is not read", where="avro.codec")
    engine = zlib.decompressobj(wbits=-zlib.MAX_WBITS)
    try:
        content = engine.decompress(block, limit + 1)
    except zlib.error as error:
        raise BadNotice(f"block does not inflate: {error}", where="avro block") from None
    if len(content) > limit:
        raise BadNotice(f"inflates beyond {MAX_PAYLOAD_BYTES} bytes", where="avro block")
    return content


def _decode(stream: io.BytesIO, schema: Any, where: str) -> Any:
    try:
        return fastavro.schemaless_reader(stream, schema, None)
    except Exception as error:
        # Broad, because fastavro does not wrap its faults: depending on the bytes it raises
        # EOFError, IndexError, KeyError, TypeError, MemoryError, UnicodeDecodeError, ...
        raise BadNotice(f"{type(error).__name__}: {error}"[:300], where=f"avro {where}") from None


def checked(source: bytes, *, record_items: bool) -> dict[str, Any]:
    """A writer's schema that keeps the bounds above, without logical types and defaults.

    Raises
    ------
    BadNotice
        Not a schema, not one of a record, or outside the bounds.
    """
    if len(source) > _MAX_SCHEMA_BYTES:
        raise BadNotice(f"schema of {len(source)} bytes", where="avro.schema")
    try:
        schema = _Bounds(record_items).checked(json.loads(source), "", 0)
    except BadNotice:
        raise
    except Exception as error:
        # Broad, because a schema that is none can fail anywhere in the walk.
        raise BadNotice(f"{type(error).__name__}: {error}"[:300], where="avro.schema") from None
    if not isinstance(schema, dict) or schema["type"] != "record":
        raise BadNotice(f"a record is needed, not {shown(schema)}", where="avro.schema")
    return schema


@lru_cache(maxsize=32)
def _schema(source: bytes, record_items: bool) -> Any:
    schema = checked(source, record_items=record_items)
    try:
        return fastavro.parse_schema(schema)
    except Exception as error:
        # Broad for the same reason as above: parse_schema trusts what it is given.
        raise BadNotice(f"{type(error).__name__}: {error}"[:300], where="avro.schema") from None


class _Bounds:
    """Walks a writer schema; refuses what could use more memory than the bytes pay for."""

    def __init__(self, record_items: bool) -> None:
        self.record_items = record_items
        self.known: dict[str, tuple[bool, int]] = {}
        """Named type -> (is a record, least bytes); absent while it is being defined."""

    def checked(self, schema: Any, namespace: str, depth: int) -> Any:
        """The schema without logical types, which would turn numbers into objects."""
        if depth > _MAX_DEPTH:
            raise BadNotice(f"nested deeper than {_MAX_DEPTH}", where="avro.schema")
        if isinstance(schema, list):
            return [
                branch if branch == "null" else self.checked(branch, namespace, depth + 1)
                for branch in schema
            ]
        if isinstance(schema, str):
            if schema not in _PRIMITIVES and self._full(schema, namespace) not in self.known:
                raise BadNotice(f"type {shown(schema)} is not known here", where="avro.schema")
            return schema
        kind = schema["type"]
        if kind in ("array", "map"):
            key = "items" if kind == "array" else "values"
            inner = self.checked(schema[key], namespace, depth + 1)
            if self._holds_record(inner, namespace) and not (
                self.record_items and self._least(inner, namespace) >= _LEAST_ITEM_BYTES
            ):
                raise BadNotice(f"{kind} of records", where="avro.schema")
            return {"type": kind, key: inner}
        if kind in ("record", "enum", "fixed"):
            return self._named(schema, kind, namespace, depth)
        return self.checked(kind, namespace, depth + 1)

    def _named(self, schema: dict[str, Any], kind: str, namespace: str, depth: int) -> Any:
        name = self._full(schema["name"], schema.get("namespace", namespace))
        result: dict[str, Any] = {"type": kind, "name": name}
        if kind == "record":
            if not schema["fields"]:
                raise BadNotice(f"record {shown(name)} has no fields", where="avro.schema")
            inner = name.rpartition(".")[0]
            result["fields"] = [
                {"name": field["name"], "type": self.checked(field["type"], inner, depth + 1)}
                for field in schema["fields"]
            ]
        elif kind == "enum":
            result["symbols"] = schema["symbols"]
        else:
            if not schema["size"] > 0:
                raise BadNotice(f"fixed {shown(name)} of no bytes", where="avro.schema")
            result["size"] = schema["size"]
        self.known[name] = (kind == "record", self._least(result, name.rpartition(".")[0]))
        return result

    def _least(self, schema: Any, namespace: str) -> int:
        """Fewest bytes that a value can take; for an optional record those of the record."""
        if isinstance(schema, list):
            filled = [self._least(branch, namespace) for branch in schema if branch != "null"]
            return 1 + min(filled, default=0)
        if isinstance(schema, str):
            known = self.known.get(self._full(schema, namespace))
            return known[1] if known else {"float": 4, "double": 8}.get(schema, 1)
        if schema["type"] == "record":
            return sum(self._least_field(item["type"], namespace) for item in schema["fields"])
        return int(schema.get("size", 1))

    def _least_field(self, schema: Any, namespace: str) -> int:
        optional = isinstance(schema, list) and "null" in schema
        return 1 if optional else self._least(schema, namespace)

    def _holds_record(self, schema: Any, namespace: str) -> bool:
        if isinstance(schema, list):
            return any(self._holds_record(branch, namespace) for branch in schema)
        if isinstance(schema, str):
            return self.known.get(self._full(schema, namespace), (False, 0))[0]
        return schema["type"] not in ("enum", "fixed")

    @staticmethod
    def _full(name: str, namespace: str) -> str:
        return name if "." in name or not namespace else f"{namespace}.{name}"
