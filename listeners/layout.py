"""Reading survey packets in two passes: little of every packet, the rest of survivors.

The first pass reads the newest detection, which stands near the front and is what most
vetoes need. The second reads the light curve. Both read by plan (:mod:`listeners.projection`)
where the writer's schema has a known shape, else by the general decoder; the answers are the
same. Fields that have any shape (a broker's opinions) are always read by the general
decoder, beginning where the plan ends.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import fastavro

from listeners import avro
from listeners.projection import Plan, Wanted, compile_plan, read
from mmcoord.errors import BadNotice

__all__ = ["Fields", "Layout", "Packet", "make_layout", "packets"]


@dataclass(frozen=True, slots=True, eq=False)
class Fields:
    """What a source wants of a packet; one object a source, and equal to itself alone."""

    first: Wanted
    """Of the first pass."""
    whole: Wanted
    """Of the second, the first's included."""
    through: str | None = None
    """The fields after this one are all read, by the general decoder."""


@dataclass(frozen=True, slots=True)
class Layout:
    """How to read the packets of one writer's schema."""

    beginning: Plan | None
    whole: Plan | None
    rest: Any
    """Schema of the fields after the plan that are read in general; None: none."""
    general: tuple[Any, Any]
    """Schemas of the two passes for the general decoder, where there is no plan."""


@dataclass(frozen=True, slots=True)
class Packet:
    """One packet, not read yet.

    Both methods raise BadNotice for bytes that do not fit the schema.
    """

    data: bytes
    start: int
    layout: Layout

    def beginning(self) -> Mapping[str, Any]:
        """The fields of the first pass, at least."""
        if self.layout.beginning is None:
            return avro.read_datum(self.data[self.start :], self.layout.general[0])
        return read(self.data, self.layout.beginning, self.start)[0]

    def whole(self) -> Mapping[str, Any]:
        """The fields of both passes, at least."""
        if self.layout.whole is None:
            return avro.read_datum(self.data[self.start :], self.layout.general[1])
        found, end = read(self.data, self.layout.whole, self.start)
        if self.layout.rest is not None:
            found |= avro.read_datum(self.data[end:], self.layout.rest)
        return found


@dataclass(frozen=True, slots=True)
class _Decoded(Packet):
    """A packet of a block of several, whose place is known only by reading them all."""

    record: Mapping[str, Any]
    wanted: Fields

    def beginning(self) -> Mapping[str, Any]:
        return {name: self.record.get(name) for name in self.wanted.first}

    def whole(self) -> Mapping[str, Any]:
        return self.record


def make_layout(
    schema: Mapping[str, Any], wanted: Fields, known: Mapping[str, Any] | None = None
) -> Layout:
    """The layout for a schema that has been checked or is trusted.

    ``known`` are the types that it refers to, by full name.

    Raises
    ------
    BadNotice
        A schema that fastavro does not take.
    """
    names = [item["name"] for item in schema["fields"]]
    ends = [max(names.index(n) for n in w if n in names) for w in _some(names, wanted)]
    through = wanted.through if wanted.through in names else None
    whole = compile_plan(schema, wanted.whole, known, through)
    cut = names.index(through) + 1 if through is not None else ends[1] + 1
    rest = schema["fields"][cut:] if through is not None else []
    first_part = {**schema, "fields": schema["fields"][: ends[0] + 1]}
    second_part = {**schema, "fields": schema["fields"] if rest else schema["fields"][:cut]}
    last_part = {**schema, "fields": rest}
    named: dict[str, Any] = {}
    try:
        for item in (known or {}).values():
            fastavro.parse_schema(item, named)
        outside = dict(named)
        fastavro.parse_schema({**schema, "fields": schema["fields"][:cut]}, named)
        inside = {key: value for key, value in named.items() if key != _full(schema)}
        return Layout(
            beginning=compile_plan(schema, wanted.first, known),
            whole=whole,
            rest=fastavro.parse_schema(last_part, inside) if rest else None,
            general=(
                fastavro.parse_schema(first_part, dict(outside)),
                fastavro.parse_schema(second_part, dict(outside)),
            ),
        )
    except Exception as error:
        # Broad, because parse_schema trusts what it is given.
        raise BadNotice(f"{type(error).__name__}: {error}"[:300], where="avro.schema") from None


def packets(payload: bytes, wanted: Fields) -> Iterator[Packet]:
    """The packets of a container; a lone one is not read yet.

    Raises
    ------
    BadNotice
        As :func:`listeners.avro.read_container`, and for a schema without the wanted fields.
    """
    blocks = list(avro.blocks(payload))
    if [count for _, count, _ in blocks] == [1]:
        source, _, block = blocks[0]
        yield Packet(block, 0, _layout(source, wanted))
        return
    for record in avro.read_container(payload, record_items=True):
        yield _Decoded(b"", 0, _NOTHING, record, wanted)


_NOTHING = Layout(None, None, None, (None, None))


@lru_cache(maxsize=32)
def _layout(source: bytes, wanted: Fields) -> Layout:
    return make_layout(avro.checked(source, record_items=True), wanted)


def _some(names: list[str], wanted: Fields) -> tuple[list[str], list[str]]:
    """The wanted fields of each pass that the schema has."""
    first, whole = ([n for n in part if n in names] for part in (wanted.first, wanted.whole))
    if not first or not whole:
        raise BadNotice(f"none of the fields {', '.join(wanted.first)}", where="avro.schema")
    return first, whole


def _full(schema: Mapping[str, Any]) -> str:
    name, namespace = str(schema["name"]), schema.get("namespace", "")
    return name if "." in name or not namespace else f"{namespace}.{name}"
