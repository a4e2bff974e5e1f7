"""From an Avro writer's schema to the program by which :mod:`listeners.projection` reads it.

The program is a flat list of operations (:mod:`listeners.projection_kernel`): records are
opened out, references to named types followed, and each wanted value gets a place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from listeners import projection_kernel as kernel

__all__ = ["Leaf", "Node", "Plan", "Wanted", "compile_plan"]

Wanted = Mapping[str, frozenset[str] | None]
"""Field of the datum -> which fields of its record (or of the records in its array) are
wanted; None: the value itself."""

_CODES = {
    "boolean": kernel.BOOL,
    "int": kernel.INT,
    "long": kernel.INT,
    "float": kernel.FLOAT,
    "double": kernel.DOUBLE,
    "bytes": kernel.BYTES,
    "string": kernel.BYTES,
    "enum": kernel.ENUM,
    "fixed": kernel.FIXED,
}


_Operation = tuple[int, int, int, int, int]


@dataclass(frozen=True, slots=True)
class Leaf:
    """Where a value is found, and what it is."""

    name: str
    slot: int
    kind: str
    symbols: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Node:
    """A wanted field of the datum."""

    name: str
    shape: str
    """``value``, ``record`` or ``array``."""
    slot: int
    """Of a value; of the mark that an optional record is there (-1: it always is); of an
    array among the arrays."""
    leaves: tuple[Leaf, ...]
    mark: int = -1
    """Column that says whether an item of an array is there (-1: it always is)."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How to read one writer's schema; made by :func:`compile_plan`."""

    program: NDArray[np.int64]
    nodes: tuple[Node, ...]
    slots: int
    columns: int
    arrays: int


class _UnknownShapeError(Exception):
    """The schema holds something that the loop cannot walk."""


def compile_plan(
    schema: Mapping[str, Any],
    wanted: Wanted,
    known: Mapping[str, Any] | None = None,
    through: str | None = None,
) -> Plan | None:
    """The way to the wanted fields, or None where the loop does not know the schema's shape.

    Parameters
    ----------
    schema
        A record, without logical types, that has been checked or is trusted.
    wanted
        A field that the schema does not have is left out.
    known
        Named types that the schema refers to and does not define itself, by full name.
    through
        Where to stop, in place of the last wanted field; what follows is not looked at.
    """
    names = [item["name"] for item in schema["fields"]]
    ends = [through] if through in names else [name for name in wanted if name in names]
    last = max((names.index(name) for name in ends), default=-1)
    compiler = _Compiler(dict(known or {}), _namespace(schema, ""))
    try:
        for item in schema["fields"][: last + 1]:
            compiler.add(item["name"], item["type"], wanted)
    except _UnknownShapeError:
        return None
    return Plan(
        program=np.array(compiler.program, dtype=np.int64).reshape(-1, 5),
        nodes=tuple(compiler.nodes),
        slots=compiler.slots,
        columns=compiler.columns,
        arrays=compiler.arrays,
    )


@dataclass(slots=True)
class _Compiler:
    known: dict[str, Any]
    namespace: str
    program: list[_Operation] = field(default_factory=list)
    nodes: list[Node] = field(default_factory=list)
    slots: int = 0
    columns: int = 0
    arrays: int = 0

    def add(self, name: str, schema: Any, wanted: Wanted) -> None:
        """One field of the datum, wanted or not."""
        null, kind = self._split(schema)
        inner = wanted.get(name)
        if kind["type"] == "record":
            self._record(name, kind, null, inner if name in wanted else None)
        elif kind["type"] == "array":
            self._array(name, kind, null, inner if name in wanted else None)
        elif name in wanted:
            leaf = self._value(name, kind, null, self._slot())
            self.nodes.append(Node(name, "value", leaf.slot, (leaf,)))
        else:
            self._value(name, kind, null, -1)

    def _record(
        self,
        name: str,
        kind: Any,
        null: int,
        inner: frozenset[str] | None,
        in_array: bool = False,
    ) -> None:
        mark = self._slot() if null >= 0 and inner is not None else -1
        place = len(self.program)
        if null >= 0:
            self.program.append((kernel.RECORD, null, mark, 0, 0))
        leaves = self._fields(kind, inner or frozenset(), in_array)
        if null >= 0:
            self.program[place] = (kernel.RECORD, null, mark, len(self.program) - place - 1, 0)
        if inner is not None:
            self.nodes.append(Node(name, "record", mark, leaves))

    def _array(self, name: str, kind: Any, null: int, inner: frozenset[str] | None) -> None:
        index, self.arrays = self.arrays, self.arrays + 1
        place = len(self.program)
        self.program.append((kernel.ARRAY, null, index, 0, 1))
        item_null, item = self._split(kind["items"])
        leaves: tuple[Leaf, ...] = ()
        if item["type"] == "record":
            if item_null >= 0:
                self.program.append((kernel.RECORD, item_null, 0, 0, 0))
            leaves = self._fields(item, inner or frozenset(), True)
            if item_null >= 0:
                mark, size = len(leaves) if inner is not None else -1, len(self.program) - place - 2
                self.program[place + 1] = (kernel.RECORD, item_null, mark, size, 0)
        elif inner is None and item["type"] in _CODES:
            self._value("", item, item_null, -1)
        else:
            raise _UnknownShapeError
        size = len(self.program) - place - 1
        if size == 0:
            raise _UnknownShapeError
        least = _least_bytes(self.program[place + 1 :])
        self.program[place] = (kernel.ARRAY, null, index, size, least)
        if inner is not None:
            mark = len(leaves) if item_null >= 0 else -1
            self.columns = max(self.columns, len(leaves) + (mark >= 0), 1)
            self.nodes.append(Node(name, "array", index, leaves, mark))

    def _fields(self, record: Any, inner: frozenset[str], in_array: bool) -> tuple[Leaf, ...]:
        outer, self.namespace = self.namespace, _namespace(record, self.namespace)
        leaves: list[Leaf] = []
        for item in record["fields"]:
            null, kind = self._split(item["type"])
            if kind["type"] in ("record", "array"):
                self._unwanted(kind, null, in_array)
            elif item["name"] in inner:
                slot = len(leaves) if in_array else self._slot()
                leaves.append(self._value(item["name"], kind, null, slot))
            else:
                self._value(item["name"], kind, null, -1)
        self.namespace = outer
        return tuple(leaves)

    def _unwanted(self, kind: Any, null: int, in_array: bool) -> None:
        """A record or an array inside a record: walked over."""
        if kind["type"] == "record":
            self._record("", kind, null, None, in_array)
        elif in_array:
            raise _UnknownShapeError
        else:
            self._array("", kind, null, None)

    def _value(self, name: str, kind: Any, null: int, slot: int) -> Leaf:
        code = _CODES.get(kind["type"])
        if code is None:
            raise _UnknownShapeError
        symbols = tuple(kind.get("symbols", ()))
        self.program.append((code, null, slot, int(kind.get("size", len(symbols))), 0))
        return Leaf(name, slot, kind["type"], symbols)

    def _slot(self) -> int:
        self.slots += 1
        return self.slots - 1

    def _split(self, schema: Any) -> tuple[int, Any]:
        """(index of null, the other type as a definition)."""
        null = -1
        if isinstance(schema, list):
            if len(schema) != 2 or schema.count("null") != 1:
                raise _UnknownShapeError
            null = schema.index("null")
            schema = schema[1 - null]
        for _ in range(8):
            if isinstance(schema, str):
                full = schema if "." in schema else f"{self.namespace}.{schema}"
                schema = self.known.get(full, self.known.get(schema, {"type": schema}))
            if isinstance(schema["type"], str):
                break
            schema = schema["type"]
        if "name" in schema:
            name, space = schema["name"], _namespace(schema, self.namespace)
            self.known.setdefault(name if "." in name or not space else f"{space}.{name}", schema)
        return null, schema


def _least_bytes(item: Sequence[_Operation]) -> int:
    """Fewest bytes that the operations of an item take."""
    total = at = 0
    while at < len(item):
        code, null, _, number, _ = item[at]
        sizes = {kernel.FLOAT: 4, kernel.DOUBLE: 8, kernel.FIXED: number}
        total += 1 if null >= 0 else sizes.get(code, 1)
        at += 1 + (number if code == kernel.RECORD else 0)
    return total


def _namespace(schema: Mapping[str, Any], around: str) -> str:
    """In which namespace the names inside a named type are."""
    name = str(schema["name"])
    return name.rpartition(".")[0] if "." in name else str(schema.get("namespace", around))
