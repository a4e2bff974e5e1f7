"""Broken messages made from good ones, and bombs, for tests of every source."""

from __future__ import annotations

import base64
import copy
import gzip
import io
import json
import random
import struct
import zlib
from collections.abc import Sequence
from typing import Any

import fastavro

_AWKWARD = (
    b"NaN", b"-Infinity", b"1e999", b"-1", b"0", b"null", b"true", b'""', b"[]", b"{}",
    b'"\\u0000"', b'"\\ud800"', b"9" * 400, b"1e-400", b'"9999-99-99T99:99:99Z"', b"\xff\xfe",
)  # fmt: skip
_VALUES: tuple[Any, ...] = (
    None, True, 0, -1, 10**30, -(10**400), 1e308, float("nan"), float("inf"), "", "x" * 20_000,
    "\x00", "\ud800", [], [[]], {}, {"a": {"b": []}}, "2026-13-45T99:00:00Z", "0001-01-01T00:00:00",
    "9999-12-31T23:59:60Z", "AAAA", "S260301a", "-0.0", ["a"] * 1000, [1, "a", None],
)  # fmt: skip
_DEPTH = 3000


def mutate(data: bytes, rng: random.Random, others: Sequence[bytes] = ()) -> bytes:
    """A few random changes: of values where it is JSON, of bytes anywhere, of length."""
    if data[:1] == b"{" and len(data) < 50_000 and rng.random() < 0.6:
        data = _changed_values(data, rng)
        if rng.random() < 0.7:
            return data
    out = bytearray(data)
    for _ in range(rng.randint(1, 3)):
        _change(out, rng, others)
    return bytes(out)


def _change(out: bytearray, rng: random.Random, others: Sequence[bytes]) -> None:
    n = len(out)
    if n < 2:
        out += rng.randbytes(rng.randint(0, 40))
        return
    at = rng.randrange(n)
    kind = rng.randrange(8)
    if kind == 0:
        for _ in range(rng.randint(1, 20)):
            out[rng.randrange(n)] = rng.randrange(256)
    elif kind == 1:  # near the start, where the meaning is
        out[rng.randrange(min(n, 400))] = rng.randrange(256)
    elif kind == 2:
        del out[at:]
    elif kind == 3:
        del out[at : at + rng.randint(1, 500)]
    elif kind == 4:
        out[at:at] = out[at : at + rng.randint(1, 500)]
    elif kind == 5:
        awkward = rng.choice(_AWKWARD)
        out[at : at + rng.randint(0, len(awkward))] = awkward
    elif kind == 6 and others:  # the end of another message
        other = rng.choice(others)
        out[at:] = other[rng.randrange(max(len(other), 1)) :]
    else:
        digits = [i for i in range(max(0, at - 200), min(n, at + 200)) if 48 <= out[i] <= 57]
        if digits:
            out[rng.choice(digits)] = rng.choice(b"0123456789-.eE")


def _changed_values(data: bytes, rng: random.Random) -> bytes:
    try:
        document = json.loads(data)
    except ValueError:
        return data
    for _ in range(rng.randint(1, 3)):
        holder, key = _place(document, rng)
        if holder is None:
            break
        kind = rng.randrange(6)
        if kind == 0:
            del holder[key]
        elif kind == 1:
            holder[key] = [holder[key]]
        elif kind == 2:
            holder[key] = str(holder[key])[:5000]
        elif kind == 3 and isinstance(holder, dict):
            holder[str(key) + rng.choice((" ", "\u0130", "x"))] = copy.deepcopy(holder[key])
        elif kind == 4:
            holder[key] = {"value": holder[key], "unit": "furlong"}
        else:
            holder[key] = copy.deepcopy(rng.choice(_VALUES))
    text = json.dumps(document, ensure_ascii=rng.random() < 0.5)
    if rng.random() < 0.05:  # a key twice
        text = text.replace("{", '{"id": 1, "id": 2, ', 1)
    if rng.random() < 0.02:
        text = text.replace("null", "[" * _DEPTH + "]" * _DEPTH, 1)
    return text.encode("utf-8", "surrogatepass")


def _place(document: Any, rng: random.Random) -> tuple[Any, Any]:
    """A random (container, key) at any depth."""
    holder, key = None, None
    found = document
    while isinstance(found, (dict, list)) and found:
        holder = found
        key = rng.choice(list(found)) if isinstance(found, dict) else rng.randrange(len(found))
        found = holder[key]
        if rng.random() < 0.4:
            break
    return holder, key


# -- bombs -------------------------------------------------------------------------------


def deflated_zeros(packed_bytes: int) -> bytes:
    """A raw deflate stream of about ``packed_bytes`` that inflates about a thousandfold."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = packer.compress(bytes(2**24)) + packer.flush(zlib.Z_FULL_FLUSH)
    return block * max(packed_bytes // len(block), 1) + b"\x03\x00"


def avro_bomb(packed_bytes: int = 4_000_000) -> bytes:
    """A container of one deflated block of bytes that inflates to gigabytes."""
    schema = {"type": "record", "name": "Alert", "fields": [{"name": "skymap", "type": "bytes"}]}
    stream = io.BytesIO()
    fastavro.writer(stream, fastavro.parse_schema(schema), [], codec="deflate")
    block = deflated_zeros(packed_bytes)
    head = stream.getvalue()
    return head + _long(1) + _long(len(block)) + block + head[-16:]


def avro_of_nothing() -> bytes:
    """An array of millions of nulls, which cost no bytes."""
    items = {"type": "array", "items": "null"}
    schema = {"type": "record", "name": "Alert", "fields": [{"name": "a", "type": items}]}
    stream = io.BytesIO()
    fastavro.writer(stream, fastavro.parse_schema(schema), [])
    head = stream.getvalue()
    block = _long(2**40) + _long(0)
    return head + _long(1) + _long(len(block)) + block + head[-16:]


def _long(value: int) -> bytes:
    """Zigzag variable-length, as Avro writes a long."""
    number = value << 1
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def gzip_bomb(packed_bytes: int = 2_800_000) -> bytes:
    """A gzip file that begins as FITS and inflates to gigabytes."""
    cards = (
        "SIMPLE  =                    T",
        "BITPIX  =                    8",
        "NAXIS   = 0",
        "END",
    )
    head = b"".join(card.ljust(80).encode() for card in cards).ljust(2880)
    start = zlib.compressobj(9, zlib.DEFLATED, -15)
    body = start.compress(head) + start.flush(zlib.Z_FULL_FLUSH) + deflated_zeros(packed_bytes)
    return gzip.compress(b"")[:10] + body + struct.pack("<II", 0, 0)


def bombs(notice: bytes) -> list[bytes]:
    """Small messages that ask for much; ``notice`` is an LVK notice to hide maps in."""
    document = json.loads(notice)
    hidden = []
    for content in (gzip_bomb(), gzip.compress(gzip_bomb(400_000)), bytes(3_000_000)):
        document["event"]["skymap"] = base64.b64encode(content).decode()
        hidden.append(json.dumps(document).encode())
    entities = "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10}">' for i in range(1, 12))
    return [
        avro_bomb(),
        avro_of_nothing(),
        *hidden,
        f'<!DOCTYPE a [<!ENTITY l0 "lol">{entities}]><voe:VOEvent>&l11;</voe:VOEvent>'.encode(),
        b'<!DOCTYPE a [<!ENTITY q "' + b"q" * 100_000 + b'">]><a>' + b"&q;" * 100_000 + b"</a>",
        b"<a>" * 300_000,
        b'{"a":' * 400_000,
        b"[" * 4_000_000,
        b'{"superevent_id": ' + b"9" * 1_000_000 + b"}",
        b"{" + b",".join(b'"k%d": %d' % (i, i) for i in range(200_000)) + b"}",
        b'{"id": "' + b"x" * 4_000_000 + b'"}',
        b"\x80\x04\x95" + bytes(100),
        json.dumps({"circularId": 1, "subject": "GRB 260301A (" * 150, "createdOn": 1, "submitter":
                    "a@" * 900, "body": "BAT GRB 260301A (trigger " * 40_000}).encode(),
    ]  # fmt: skip
