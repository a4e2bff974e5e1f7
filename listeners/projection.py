"""Reads the wanted fields of an Avro datum without making the others.

A survey packet has a hundred fields an exposure and hundreds of exposures, of which a light
curve needs five. A general decoder makes an object of each, at about 1 microsecond a field,
and cannot be told to skip: a schema that leaves fields out still costs the reading. Here the
writer's schema becomes a program once, and a compiled loop walks the bytes by it. What
comes out is exactly what fastavro gives, cut down to the wanted fields
(``tests/listeners/test_projection.py``).

A schema with a shape that is not known here (a map, a union of more than null and one type,
an array in an array) gives no plan; the caller then uses the general decoder.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from listeners import projection_kernel as kernel
from listeners.projection_plan import Leaf, Node, Plan, Wanted, compile_plan
from mmcoord.errors import BadNotice

__all__ = ["Plan", "Wanted", "compile_plan", "read"]

_FIRST_ROWS, _BYTES_A_ROW = 256, 200
"""Room that is made at first; a packet with smaller items is walked twice."""
_MAX_ROWS = 100_000
"""Most points in the light curves of a packet; LSST visits a field a thousand times."""


def read(data: bytes, plan: Plan, start: int = 0) -> tuple[dict[str, Any], int]:
    """The wanted fields of the datum that begins at ``start``, and where reading ended.

    The result has the shape that a general decoder gives: records are dictionaries, arrays
    lists of dictionaries, null is None.

    Raises
    ------
    BadNotice
        Bytes that do not fit the schema, with the place of the fault.
    """
    view = np.frombuffer(data, dtype=np.uint8)
    rows = min(max(len(data) // _BYTES_A_ROW, _FIRST_ROWS), _MAX_ROWS)
    if not plan.columns:
        rows = max(len(data), 1)  # no table: only the bytes are a limit
    while True:
        values = np.zeros(plan.slots, dtype=np.int64)
        present = np.zeros(plan.slots, dtype=np.uint8)
        table = np.zeros((rows if plan.columns else 0, plan.columns), dtype=np.int64)
        filled = np.zeros(table.shape, dtype=np.uint8)
        spans = np.zeros((plan.arrays, 2), dtype=np.int64)
        status, at = kernel.run(
            view, start, plan.program, values, present, table, filled, spans, rows
        )
        if status != kernel.FULL:
            break
        if at > _MAX_ROWS:
            raise BadNotice(f"{at} items, more than {_MAX_ROWS}", where="avro array")
        rows = max(int(at), 2 * rows)
    if status != kernel.OK:
        raise BadNotice(f"{kernel.FAULTS[status]}, at byte {at}", where="avro record")
    found = _Found(data, values, present, table, filled, spans.tolist())
    return {node.name: found.node(node) for node in plan.nodes}, int(at)


class _Found:
    """Turns what the loop wrote into Python values."""

    __slots__ = ("data", "filled", "floats", "integers", "present", "spans", "table")

    def __init__(
        self,
        data: bytes,
        values: NDArray[np.int64],
        present: NDArray[np.uint8],
        table: NDArray[np.int64],
        filled: NDArray[np.uint8],
        spans: list[list[int]],
    ) -> None:
        self.data = data
        self.integers: list[int] = values.tolist()
        self.floats: list[float] = values.view(np.float64).tolist()
        self.present: list[int] = present.tolist()
        self.table = table
        self.filled = filled
        self.spans = spans

    def node(self, node: Node) -> Any:
        if node.shape == "array":
            return self._items(node)
        if node.shape == "value":
            return self._value(node.leaves[0])
        if node.slot >= 0 and not self.present[node.slot]:
            return None
        return {leaf.name: self._value(leaf) for leaf in node.leaves}

    def _value(self, leaf: Leaf) -> Any:
        if not self.present[leaf.slot]:
            return None
        if leaf.kind in ("float", "double"):
            return self.floats[leaf.slot]
        return self._made(leaf, self.integers[leaf.slot])

    def _made(self, leaf: Leaf, raw: int) -> Any:
        if leaf.kind in ("int", "long"):
            return raw
        if leaf.kind == "boolean":
            return bool(raw)
        if leaf.kind == "enum":
            return leaf.symbols[raw]
        content = self.data[raw >> 32 : (raw >> 32) + (raw & 0xFFFFFFFF)]
        if leaf.kind != "string":
            return content
        try:
            return content.decode("utf-8")
        except UnicodeDecodeError as error:
            raise BadNotice(f"not UTF-8: {error.reason}", where=f"avro {leaf.name}") from None

    def _items(self, node: Node) -> list[dict[str, Any] | None] | None:
        first, last = self.spans[node.slot]
        if first < 0:
            return None
        columns = [self._column(leaf, first, last) for leaf in node.leaves]
        names = [leaf.name for leaf in node.leaves]
        items: list[dict[str, Any] | None]
        rows = zip(*columns, strict=True) if columns else [()] * (last - first)
        items = [dict(zip(names, row, strict=True)) for row in rows]
        if node.mark < 0:
            return items
        there = self.filled[first:last, node.mark].tolist()
        return [item if yes else None for item, yes in zip(items, there, strict=True)]

    def _column(self, leaf: Leaf, first: int, last: int) -> Sequence[Any]:
        raw = self.table[first:last, leaf.slot]
        there = self.filled[first:last, leaf.slot]
        content: Sequence[Any]
        if leaf.kind in ("float", "double"):
            content = raw.copy().view(np.float64).tolist()
        elif leaf.kind in ("int", "long"):
            content = raw.tolist()
        elif leaf.kind in ("boolean", "enum"):
            content = [self._made(leaf, item) for item in raw.tolist()]
        else:
            content = list(self._texts(leaf, raw.tolist(), there.tolist()))
        if there.all():
            return content
        return [item if yes else None for item, yes in zip(content, there.tolist(), strict=True)]

    def _texts(self, leaf: Leaf, raw: list[int], there: list[int]) -> Iterator[Any]:
        """Each text is made once: a light curve has six bands and hundreds of points."""
        made: dict[bytes, Any] = {}
        for item, yes in zip(raw, there, strict=True):
            if not yes:
                yield None
                continue
            content = self.data[item >> 32 : (item >> 32) + (item & 0xFFFFFFFF)]
            if content not in made:
                made[content] = self._made(leaf, item)
            yield made[content]
