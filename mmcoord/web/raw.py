"""A notice's bytes as something that can be read on a page, without e-mail addresses."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from typing import Any
from xml.parsers.expat import ExpatError

from defusedxml import minidom
from defusedxml.common import DefusedXmlException

__all__ = ["Shown", "pretty", "shorten"]

_AVRO = b"Obj\x01"
_XML_LIMIT = 2**18
_BLANK = "\ufeff \t\r\n"
_LONG = 200
_HEAD = 60
_TEXT_LIMIT = 60_000
_HEX_BYTES = 512
_ADDRESS = re.compile(r"(?<![\w.%+'-])[\w.%+'-]++@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}")


@dataclass(frozen=True, slots=True)
class Shown:
    """A payload for people."""

    kind: str
    """JSON, XML, text, Avro container or binary."""
    text: str
    note: str
    """What was left out; empty when nothing was."""


def pretty(payload: bytes) -> Shown:
    """JSON and XML indented, long strings shortened; other text as it is; else a hex dump."""
    if payload.startswith(_AVRO):
        return replace(_hex(payload), kind=f"Avro container file, {len(payload):,} bytes")
    try:
        text = payload.decode()
    except UnicodeDecodeError:
        return _hex(payload)
    if "\x00" in text:
        return _hex(payload)
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return (
            _xml(text) if text.lstrip("\ufeff \t\r\n").startswith("<") else _cut("text", text, "")
        )
    short, number = shorten(document)
    note = f"{number} long string{'s are' if number > 1 else ' is'} shortened." if number else ""
    return _cut("JSON", json.dumps(short, indent=2, ensure_ascii=False), note)


def shorten(document: Any) -> tuple[Any, int]:
    """The document with every long string cut, and how many were."""
    if isinstance(document, str) and len(document) > _LONG:
        return f"{document[:_HEAD]}… ({len(document):,} characters)", 1
    if isinstance(document, list):
        pairs = [shorten(item) for item in document]
        return [item for item, _ in pairs], sum(number for _, number in pairs)
    if isinstance(document, dict):
        found = {key: shorten(value) for key, value in document.items()}
        return {key: item for key, (item, _) in found.items()}, sum(
            number for _, number in found.values()
        )
    return document, 0


def _xml(text: str) -> Shown:
    """Indented; text that only looks like XML, or declares entities, as it is."""
    if len(text) > _XML_LIMIT:
        return _cut("text", text, "Too long to be indented.")
    try:
        document = minidom.parseString(text.lstrip(_BLANK))
        for node in _blanks(document):
            node.parentNode.removeChild(node)
        return _cut("XML", document.toprettyxml(indent="  "), "")
    except (ExpatError, DefusedXmlException, ValueError, RecursionError):
        return _cut("text", text, "Not XML that can be indented safely.")


def _blanks(document: Any) -> list[Any]:
    """White space between elements, which would be indented once more."""
    found, stack = [], [document]
    while stack:
        for node in stack.pop().childNodes:
            stack.append(node)
            if node.nodeType == node.TEXT_NODE and not node.data.strip():
                found.append(node)
    return found


def _cut(kind: str, text: str, note: str) -> Shown:
    text, number = _ADDRESS.subn("(address withheld)", text)
    if number:
        note = f"{note} E-mail addresses are left out.".strip()
    if len(text) <= _TEXT_LIMIT:
        return Shown(kind, text, note)
    left = f"The first {_TEXT_LIMIT:,} of {len(text):,} characters."
    return Shown(kind, text[:_TEXT_LIMIT], f"{left} {note}".strip())


def _hex(payload: bytes) -> Shown:
    lines = []
    for start in range(0, min(len(payload), _HEX_BYTES), 16):
        part = payload[start : start + 16]
        letters = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in part)
        lines.append(f"{start:08x}  {part.hex(' '):<47}  {letters}")
    note = f"The first {_HEX_BYTES} of {len(payload):,} bytes." if len(payload) > _HEX_BYTES else ""
    return Shown("binary", "\n".join(lines), note)
