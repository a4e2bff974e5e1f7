"""Binned counts as files: what a detector's people send when asked for their light curve.

A file is a JSON object, or a list of them, one for each detector::

    {"detector": "Super-K", "bin_s": 0.02, "background": 0.01, "counts": [0, 0, 31, 24, ...]}

``background`` is the expected number of background counts in a bin.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import numpy as np

from mmcoord.errors import BadInput
from mmcoord.supernova.series import BinnedCounts, response

__all__ = ["read_counts"]


def read_counts(documents: Iterable[tuple[str, bytes]]) -> list[BinnedCounts]:
    """Counts out of documents, each given with its name.

    Raises
    ------
    BadInput
        No JSON, a field that is missing or impossible, a detector without a known response, or
        one detector twice; with the document's name.
    """
    found: dict[str, BinnedCounts] = {}
    for name, payload in documents:
        try:
            document = json.loads(payload)
        except ValueError as error:
            raise BadInput(f"no JSON: {error}", where=name) from error
        for entry in document if isinstance(document, list) else [document]:
            try:
                one = _counts_of(entry)
            except BadInput as error:
                raise BadInput(str(error), where=name) from error
            if one.detector in found:
                raise BadInput(f"{one.detector} is there twice", where=name)
            found[one.detector] = one
    return list(found.values())


def _counts_of(entry: Any) -> BinnedCounts:
    if not isinstance(entry, dict):
        raise BadInput(f"{type(entry).__name__} is no object with counts", where="document")
    for field in ("detector", "bin_s", "background", "counts"):
        if field not in entry:
            raise BadInput("is missing", where=field)
    detector, known = entry["detector"], response()[1]
    if not isinstance(detector, str) or detector not in known:
        raise BadInput(
            f"no response of {detector!r} is known; known are {', '.join(sorted(known))}",
            where="detector",
        )
    counts = entry["counts"]
    if not isinstance(counts, list) or not all(type(count) is int for count in counts):
        raise BadInput("is no list of whole numbers", where="counts")
    for field in ("bin_s", "background"):
        if type(entry[field]) not in (int, float):
            raise BadInput(f"{entry[field]!r} is no number", where=field)
    if any(count < 0 or count > 2**53 for count in counts):
        raise BadInput("counts are whole numbers from 0 up", where="counts")
    return BinnedCounts(
        detector,
        np.array(counts, dtype=np.int64),
        float(entry["bin_s"]),
        float(entry["background"]),
    )
