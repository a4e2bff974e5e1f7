"""A result as it travels from a worker, and whether it can be one.

What comes from a worker is not believed: it must be of the run that was given out, of its models
and its seed, finite, of the shapes that the engine makes, and no larger than that can be.
Whether the numbers are right cannot be seen from here.
"""

from __future__ import annotations

import base64
import binascii
import io
import math
import zipfile
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from mmcoord.bands import is_modelled
from mmcoord.errors import BadInput
from mmcoord.inference.job import Job, Result
from mmcoord.inference.start import Proposal

__all__ = ["BadAnswer", "result_from_json", "result_to_json"]

MAX_SAMPLES_BYTES = 10 * 2**20
_MAX_ITEMS = 10_000
_MAX_TEXT = 4000
_MAX_DEPTH = 6
_MAX_AXES = 200
_MAX_PROPOSAL = 2**19
"""Characters of one model's proposal; of 30 components in 20 dimensions it has 37,000."""
_NUMBERS = ("log_evidence", "log_evidence_err", "ess", "wall_s")
_INTERVAL = ("lo90", "median", "hi90")
_CURVE = ("mjd_tai", "q05", "q50", "q95")


class BadAnswer(BadInput):
    """What a worker brought is no result of its run."""


def result_to_json(result: Result) -> dict[str, Any]:
    """A JSON document that :func:`result_from_json` turns back into an equal result."""
    return {
        "run_key": result.run_key,
        "summary": result.summary,
        "light_curve": result.light_curve,
        "samples": base64.b64encode(result.samples).decode(),
        "proposals": [asdict(proposal) for proposal in result.proposals],
    }


def result_from_json(document: Mapping[str, Any], run_key: str, job: Job) -> Result:
    """The result of a run, checked.

    Raises
    ------
    BadAnswer
        It is of another run, or of a shape that the engine does not make; says where.
    """
    summary, curves = document.get("summary"), document.get("light_curve")
    if not isinstance(summary, dict) or not isinstance(curves, dict):
        raise BadAnswer("no object", where="summary, light_curve")
    _tame(summary, "summary", 0, [0])
    if document.get("run_key") != run_key or summary.get("run_key") != run_key:
        raise BadAnswer("of another run, or of another version of the models", where="run_key")
    if summary.get("seed") != job.seed:
        raise BadAnswer("not the seed of the run", where="summary.seed")
    for name in _NUMBERS:
        _number(summary.get(name), f"summary.{name}")
    if not isinstance(summary.get("converged"), bool):
        raise BadAnswer("not true or false", where="summary.converged")
    names = set(job.model_names())
    compared = summary.get("comparison")
    if not isinstance(compared, list) or not all(isinstance(row, dict) for row in compared):
        raise BadAnswer("not a list of objects", where="summary.comparison")
    for model in (summary.get("model"), *(row.get("model") for row in compared)):
        if model not in names:
            raise BadAnswer(f"{str(model)[:80]!r} was not asked for", where="summary.model")
    p = summary.get("p_kilonova")
    if p is not None and not 0.0 <= _number(p, "summary.p_kilonova") <= 1.0:
        raise BadAnswer("no probability", where="summary.p_kilonova")
    parameters = _intervals(summary.get("parameters"), "summary.parameters")
    _intervals(summary.get("derived"), "summary.derived")
    samples = _samples(document.get("samples"), parameters)
    for band, curve in curves.items():
        _light_curve(band, curve)
    proposals = document.get("proposals", [])
    if not isinstance(proposals, list) or len(proposals) > len(names):
        raise BadAnswer("not a list of one proposal a model", where="proposals")
    found = tuple(_proposal(proposal, names) for proposal in proposals)
    return Result(run_key, dict(summary), samples, dict(curves), found)


def _proposal(value: Any, names: set[str]) -> Proposal:
    """What the next run may begin with: a mixture that can be drawn from. A poor one costs time
    and cannot bend an answer, since every run weighs its draws by the whole likelihood."""
    if not isinstance(value, dict) or value.get("model") not in names:
        raise BadAnswer("of no model that was asked for", where="proposals")
    where = f"proposals.{value['model']}"
    axes, content = value.get("axes"), value.get("content")
    if not isinstance(axes, list | tuple) or not 0 < len(axes) <= _MAX_AXES:
        raise BadAnswer("no list of axes", where=where)
    if not all(isinstance(axis, str) and axis.isprintable() and len(axis) < 100 for axis in axes):
        raise BadAnswer("no names of axes", where=where)
    if not isinstance(content, str) or len(content) > _MAX_PROPOSAL:
        raise BadAnswer("no content, or too long", where=where)
    proposal = Proposal(value["model"], tuple(axes), content)
    try:
        proposal.check()
    except ValueError as error:
        raise BadAnswer(str(error), where=where) from None
    return proposal


def _tame(value: Any, where: str, depth: int, count: list[int]) -> None:
    """Finite numbers, printable text, and an end of it."""
    count[0] += 1
    if depth > _MAX_DEPTH or count[0] > _MAX_ITEMS:
        raise BadAnswer("too deep or too long", where=where)
    if isinstance(value, dict):
        for key, item in value.items():
            _tame(key, where, depth + 1, count)
            _tame(item, f"{where}.{key}", depth + 1, count)
    elif isinstance(value, list):
        for item in value:
            _tame(item, where, depth + 1, count)
    elif isinstance(value, str):
        if len(value) > _MAX_TEXT or not value.isprintable():
            raise BadAnswer("text that is too long or not printable", where=where)
    elif isinstance(value, float) and not math.isfinite(value):
        raise BadAnswer("not finite", where=where)
    elif isinstance(value, int) and abs(value) > 2**53:
        raise BadAnswer("too large", where=where)


def _number(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise BadAnswer("not a finite number", where=where)
    return float(value)


def _intervals(value: Any, where: str) -> set[str]:
    if not isinstance(value, dict):
        raise BadAnswer("no object", where=where)
    for name, interval in value.items():
        if not isinstance(interval, dict) or not isinstance(interval.get("unit"), str):
            raise BadAnswer("no interval with its unit", where=f"{where}.{name}")
        low, median, high = (_number(interval.get(k), f"{where}.{name}.{k}") for k in _INTERVAL)
        if not low <= median <= high:
            raise BadAnswer("bounds that are not in order", where=f"{where}.{name}")
    return set(value)


def _samples(value: Any, parameters: set[str]) -> bytes:
    """The npz, looked into: one finite column for each parameter, all of one length."""
    try:
        content = base64.b64decode(value, validate=True)
    except (TypeError, ValueError, binascii.Error):
        raise BadAnswer("not base64", where="samples") from None
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if sum(info.file_size for info in archive.infolist()) > MAX_SAMPLES_BYTES:
                raise BadAnswer(f"more than {MAX_SAMPLES_BYTES} bytes", where="samples")
            if {info.filename for info in archive.infolist()} != {f"{p}.npy" for p in parameters}:
                raise BadAnswer("not the parameters of the summary", where="samples")
        with np.load(io.BytesIO(content), allow_pickle=False) as columns:
            arrays = [columns[name] for name in columns.files]
    except BadAnswer:
        raise
    except Exception as error:
        # A broken archive breaks NumPy and zipfile in many ways; all of them mean the same.
        raise BadAnswer(f"no npz: {type(error).__name__}", where="samples") from None
    lengths = {array.shape for array in arrays}
    if len(lengths) != 1 or any(a.dtype != np.float64 or a.ndim != 1 for a in arrays):
        raise BadAnswer("not columns of float64 of one length", where="samples")
    if not all(np.isfinite(array).all() for array in arrays):
        raise BadAnswer("not finite", where="samples")
    return content


def _light_curve(band: str, curve: Any) -> None:
    where = f"light_curve.{band[:40]}"
    if not is_modelled(band):
        raise BadAnswer("no band that models know", where=where)
    if not isinstance(curve, dict) or set(curve) != set(_CURVE):
        raise BadAnswer(f"not {', '.join(_CURVE)}", where=where)
    columns = [curve[name] for name in _CURVE]
    if not all(isinstance(c, list) and len(c) == len(columns[0]) <= _MAX_ITEMS for c in columns):
        raise BadAnswer("not lists of one length", where=where)
    for time, *quantiles in zip(*columns, strict=True):
        _number(time, f"{where}.mjd_tai")
        known = [_number(q, where) for q in quantiles if q is not None]
        if known != sorted(known):
            raise BadAnswer("quantiles that are not in order", where=where)
