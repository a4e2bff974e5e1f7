"""Reading single fields out of what strangers send: every refusal says what and where.

All functions raise :class:`mmcoord.errors.BadNotice` with the place of the fault, and
nothing else. What they return can be stored: numbers are finite, times carry UTC, and text
holds neither NUL nor lone surrogates, which PostgreSQL and UTF-8 refuse.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from mmcoord.errors import BadNotice

__all__ = [
    "MAX_PAYLOAD_BYTES",
    "base64_bytes",
    "event_name",
    "finite",
    "flag",
    "json_object",
    "json_value",
    "mapping",
    "probabilities",
    "rate_hz",
    "shown",
    "storable",
    "text",
    "utc",
]

MAX_PAYLOAD_BYTES = 8 * 2**20
"""Largest payload read. GCN's brokers stop at 4 MiB; the largest notice seen is 2 MiB."""

_MAX_TEXT = 10_000
_MAX_DEPTH = 32
_ROUNDING = 1e-6
"""Probabilities are sums of floats; this much outside [0, 1] is rounding."""
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_UNSAFE = re.compile(r"[^A-Za-z0-9._+-]+")
_MAX_NAME = 59
_TIME = re.compile(r"\d{4}-\d{2}-\d{2}[T ]+\d{2}:\d{2}:\d{2}")


def shown(value: object) -> str:
    """``repr`` of a value for an error message, never longer than a line."""
    if isinstance(value, int) and abs(value) >= 10**30:
        return "a huge integer"  # repr() of 10**5000 raises
    if isinstance(value, (str, bytes)):
        return repr(value[:60]) + ("..." if len(value) > 60 else "")
    if isinstance(value, (dict, list)):
        return f"a {type(value).__name__} of {len(value)}"
    return repr(value)[:60]


def event_name(mission: str, identifier: str, *, is_practice: bool) -> str:
    """Name of an event from its mission and its identifier there.

    A drill gets a name of its own, because missions reuse identifiers in tests: a drill
    must never become a revision of a real event.
    """
    safe, prefix = (_UNSAFE.sub("_", part).strip("_") for part in (identifier, mission))
    if not safe:
        raise BadNotice(f"{shown(identifier)} names nothing", where="id")
    whole = (safe if safe.startswith(prefix) else f"{prefix}-{safe}")[:_MAX_NAME]
    return f"{whole}-TEST" if is_practice else whole


def json_object(payload: bytes, max_bytes: int = MAX_PAYLOAD_BYTES) -> dict[str, Any]:
    """The payload as one JSON object; a repeated key is a contradiction and refused."""
    if len(payload) > max_bytes:
        raise BadNotice(f"{len(payload)} bytes, more than {max_bytes}", where="payload")
    try:
        value = json.loads(payload.decode("utf-8-sig"), object_pairs_hook=_unique)
    except UnicodeDecodeError as error:
        raise BadNotice(f"not UTF-8 at byte {error.start}", where="payload") from None
    except RecursionError:
        raise BadNotice("JSON nested too deep", where="payload") from None
    except ValueError as error:  # JSONDecodeError, or an integer of thousands of digits
        raise BadNotice(f"not JSON: {error}", where="payload") from None
    if not isinstance(value, dict):
        raise BadNotice(f"a JSON object is needed, not {shown(value)}", where="payload")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise BadNotice(f"key {shown(twice)} appears twice", where="payload")
    return result


def text(value: object, where: str) -> str:
    """A non-empty string that can be stored."""
    if not isinstance(value, str):
        raise BadNotice(f"text is needed, not {shown(value)}", where=where)
    if not value or len(value) > _MAX_TEXT:
        raise BadNotice("empty text" if not value else f"{len(value)} characters", where=where)
    if _UNSTORABLE.search(value):
        raise BadNotice(f"characters that cannot be stored: {shown(value)}", where=where)
    return value


def storable(value: str) -> str:
    """Text of any length with U+FFFD for what cannot be stored."""
    return _UNSTORABLE.sub("\ufffd", value)


def finite(value: object, where: str) -> float:
    """A finite number. Booleans and text are not numbers."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise BadNotice(f"a number is needed, not {shown(value)}", where=where)
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise BadNotice(f"{shown(value)} is not finite", where=where)
    return number


def flag(value: object, where: str) -> bool:
    """A boolean; 0, 1 and "true" are refused rather than guessed at."""
    if not isinstance(value, bool):
        raise BadNotice(f"true or false is needed, not {shown(value)}", where=where)
    return value


def mapping(value: object, where: str) -> Mapping[str, Any]:
    """A JSON object, or an Avro record or map."""
    if not isinstance(value, dict):
        raise BadNotice(f"an object is needed, not {shown(value)}", where=where)
    return value


def rate_hz(value: object, where: str) -> float | None:
    """A false-alarm rate; None when null."""
    if value is None:
        return None
    rate = finite(value, where)
    if rate < 0:
        raise BadNotice(f"a rate of {rate} Hz", where=where)
    return rate


def probabilities(
    value: object, where: str, known: frozenset[str] = frozenset()
) -> tuple[dict[str, float], dict[str, Any]]:
    """A map of probabilities by name, clipped to [0, 1] from rounding.

    Returns
    -------
    (probabilities, rest)
        Null is "not known" and in neither. A ``known`` name must hold a probability; under
        any other name a value that is none goes to the rest, because a future field need
        not mean a probability.
    """
    found: dict[str, float] = {}
    rest: dict[str, Any] = {}
    for name, item in ({} if value is None else mapping(value, where)).items():
        if item is None:
            continue
        if name not in known and not _is_probability(item):
            rest[name] = item
            continue
        probability = finite(item, f"{where}.{name[:60]}")
        if not _is_probability(probability):
            raise BadNotice(f"{probability} is not a probability", where=f"{where}.{name[:60]}")
        found[text(name, where)] = min(max(probability, 0.0), 1.0)
    return found, json_value(rest, where)


def _is_probability(item: object) -> bool:
    is_number = isinstance(item, (int, float)) and not isinstance(item, bool)
    return is_number and -_ROUNDING <= item <= 1 + _ROUNDING  # type: ignore[operator]


def utc(value: object, where: str) -> datetime:
    """ISO 8601 date and time; without a zone it is taken as UTC.

    Digits beyond microseconds are cut off. A leap second (``:60``) becomes the start of
    the following second, because ``datetime`` has no leap seconds.
    """
    given = text(value, where).strip()
    if not _TIME.match(given):
        raise BadNotice(f"not an ISO 8601 date and time: {shown(given)}", where=where)
    leap = given[17:19] == "60" and given[10] in "T "
    try:
        time = datetime.fromisoformat(
            _one_separator(given[:17] + "59" + given[19:] if leap else given)
        )
        if leap:
            time = time.replace(microsecond=0) + timedelta(seconds=1)
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError):
        raise BadNotice(f"no such time: {shown(given)}", where=where) from None


def _one_separator(given: str) -> str:
    """``2024-01-01 T 00:00`` and the like occur; one ``T`` is enough."""
    if given[10] == "T" and given[11].isdigit():  # nearly all
        return given
    return re.sub(r"^(\d{4}-\d{2}-\d{2})[T ]+", r"\1T", given)


def base64_bytes(value: object, where: str) -> bytes:
    """Bytes sent as base64 in JSON. Line breaks are allowed, any other stray sign is not."""
    if not isinstance(value, str):
        raise BadNotice(f"base64 text is needed, not {shown(value)}", where=where)
    try:
        content = base64.b64decode(value.replace("\n", "").replace("\r", ""), validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadNotice(f"bad base64: {error}", where=where) from None
    if not content:
        raise BadNotice("empty", where=where)
    return content


def json_value(value: object, where: str = "payload", depth: int = 0) -> Any:
    """What we keep without using it, made storable as JSON.

    Non-finite numbers become null, unstorable characters U+FFFD, bytes a note of their
    length; more than 32 levels are refused.
    """
    if depth > _MAX_DEPTH:
        raise BadNotice(f"nested deeper than {_MAX_DEPTH} levels", where=where)
    if isinstance(value, dict):
        return {
            _UNSTORABLE.sub("\ufffd", str(key)): json_value(item, where, depth + 1)
            for key, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [json_value(item, where, depth + 1) for item in value]
    if isinstance(value, bytes):
        return f"<{len(value)} bytes>"
    if isinstance(value, str):
        return _UNSTORABLE.sub("\ufffd", value)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if abs(value) < 2**63 else None
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return _UNSTORABLE.sub("\ufffd", str(value))
