"""What a finished inference gave: draws, predicted magnitudes, pictures.

All of it is made from what is stored, never changes, and is seen by whom the run is seen by. What
needs more than reading is made in a process apart (:mod:`mmcoord.posteriors.workshop`).
"""

from __future__ import annotations

import asyncio
import hashlib
import math
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, HTTPException, Query
from fastapi.responses import Response

from mmcoord.api.auth import Caller, CallerDep
from mmcoord.api.caching import etag_of, fresh_headers, is_known, kept
from mmcoord.api.models import Error
from mmcoord.api.service import Service, ServiceDep
from mmcoord.api.visible import group_of, run_head
from mmcoord.bands import canonical, is_modelled
from mmcoord.errors import BadInput, Busy, MissingPart, NoSandbox, UnknownRecord
from mmcoord.posteriors import arrow, magnitudes, pictures
from mmcoord.store import views_runs
from mmcoord.store.views_runs import RunContent, RunHead
from mmcoord.timescales import mjd_tai

__all__ = ["router"]

_OPENAPI: dict[int | str, dict[str, Any]] = {
    304: {"description": "What the caller has (If-None-Match) stands."},
    401: {"model": Error},
    404: {"model": Error, "description": "No such run, or not one that the caller may see."},
    409: {"model": Error, "description": "The run has not ended, or it failed."},
}
_MAKING: dict[int | str, dict[str, Any]] = {
    422: {"model": Error},
    501: {"model": Error, "description": "A library that this needs is not installed."},
    503: {"model": Error, "description": "Too much is asked for just now; Retry-After says when."},
}
router = APIRouter(prefix="/api/v1/runs/{run_key}", tags=["posteriors"], responses=_OPENAPI)

_RETRY_AFTER_S = 10
_MAX_BANDS = 20
_FROM_DAY, _TO_DAY = -30.0, 100.0
_DEFAULT_DAY = (0.1, 14.0)
_TYPES = {
    "csv": "text/csv; charset=utf-8",
    "json": "application/json",
    "png": "image/png",
    "svg": "image/svg+xml",
}
_SVG_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"
"""A drawing carries its styles in itself; it still runs nothing and loads nothing."""
IfNoneMatch = Annotated[str | None, Header()]
Format = Literal["png", "svg"]


@router.get("/samples.npz", response_class=Response)
def samples(
    service: ServiceDep, who: CallerDep, run_key: str, if_none_match: IfNoneMatch = None
) -> Response:
    """Equal-weight posterior draws, one array per parameter (NumPy ``npz``, no pickle)."""
    return _stored(service, who, run_key, "npz", if_none_match)


@router.get("/samples.arrow", response_class=Response, responses=_MAKING)
def samples_arrow(
    service: ServiceDep, who: CallerDep, run_key: str, if_none_match: IfNoneMatch = None
) -> Response:
    """The same draws as an Arrow file (Feather V2), units in the fields' metadata."""
    return _stored(service, who, run_key, "arrow", if_none_match)


@router.get("/magnitudes", response_class=Response, responses=_MAKING)
async def predicted_magnitudes(
    service: ServiceDep,
    who: CallerDep,
    run_key: str,
    bands: Annotated[str, Query(max_length=400, description="lsst:r,ztf:g: any usual spelling.")],
    start: Annotated[datetime | None, Query(description="UTC; default: 0.1 d after.")] = None,
    stop: Annotated[datetime | None, Query(description="UTC; default: 14 d after.")] = None,
    step: Annotated[float, Query(gt=0, le=100, description="Days.")] = 0.5,
    fmt: Annotated[Literal["csv", "json"], Query(alias="format")] = "json",
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Predicted AB magnitudes per band and time: quantiles 5, 16, 50, 84 and 95 % over the
    posterior, by the run's own model; without photometric noise. At most 4000 bands x times."""
    run = await _finished(service, who, run_key)
    wanted = _bands(bands)
    t_day = _times(run.t0_mjd_tai, start, stop, step)
    if len(wanted) * len(t_day) > magnitudes.MAX_POINTS:
        raise HTTPException(422, f"more than {magnitudes.MAX_POINTS} bands x times")
    what = ("magnitudes", *wanted, *(repr(t) for t in t_day))
    return await _made(
        service, who, run, what, fmt, if_none_match, magnitudes.rendered, wanted, t_day, fmt
    )


@router.get("/corner.{fmt}", response_class=Response, responses=_MAKING)
async def corner(
    service: ServiceDep,
    who: CallerDep,
    run_key: str,
    fmt: Format,
    parameters: Annotated[str, Query(max_length=400, description="At most 8, by comma.")] = "",
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Corner plot: marginal and joint posteriors of up to eight parameters."""
    run = await _finished(service, who, run_key)
    names = tuple(name.strip() for name in parameters.split(",") if name.strip())
    return await _made(
        service, who, run, ("corner", *names), fmt, if_none_match,
        pictures.corner_picture, fmt, names,
    )  # fmt: skip


@router.get("/light-curve.{fmt}", response_class=Response, responses=_MAKING)
async def light_curve(
    service: ServiceDep,
    who: CallerDep,
    run_key: str,
    fmt: Format,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """The photometry that went in, with the 5-95 % band of the predicted magnitudes."""
    run = await _finished(service, who, run_key)
    return await _made(
        service, who, run, ("light-curve",), fmt, if_none_match,
        pictures.light_curve_picture, fmt,
    )  # fmt: skip


def _stored(
    service: Service,
    who: Caller | None,
    run_key: str,
    kind: Literal["arrow", "npz"],
    if_none_match: str | None,
) -> Response:
    run = _with_samples(run_head(service, who, run_key))
    headers = fresh_headers(run, etag_of(run_key) if kind == "npz" else etag_of(run_key, kind))
    if is_known(if_none_match, headers["ETag"]):
        return kept(headers)
    content = _content(service, who, run_key)
    if kind == "npz":
        body, media_type = content.samples, "application/octet-stream"
    else:
        try:
            body, media_type = arrow.samples_arrow(content), arrow.MEDIA_TYPE
        except MissingPart as error:
            raise HTTPException(501, str(error)) from None
    headers["Content-Disposition"] = f'attachment; filename="{run_key[:16]}.{kind}"'
    return Response(body, media_type=media_type, headers=headers)


async def _finished(service: Service, who: Caller | None, run_key: str) -> RunHead:
    return _with_samples(await asyncio.to_thread(run_head, service, who, run_key))


def _with_samples(run: RunHead) -> RunHead:
    if not run.has_samples:
        raise HTTPException(409, f"the run is {run.state}: it has no samples")
    return run


def _content(service: Service, who: Caller | None, run_key: str) -> RunContent:
    with service.read() as session:
        found = views_runs.content(session, run_key, group_of(who))
    if found is None:
        raise UnknownRecord(f"run {run_key!r} is not known")
    return found


async def _made(
    service: Service,
    who: Caller | None,
    run: RunHead,
    what: tuple[str, ...],
    fmt: str,
    if_none_match: str | None,
    function: Callable[..., bytes],
    *arguments: Any,
) -> Response:
    """An answer that the workshop makes; known and kept by run, what, and form."""
    digest = hashlib.sha256("\n".join((service.version, fmt, *what)).encode()).hexdigest()[:16]
    headers = fresh_headers(run, etag_of(run.run_key, digest))
    if is_known(if_none_match, headers["ETag"]):
        return kept(headers)
    key = (run.run_key, digest)
    body = service.workshop.made(key)
    try:
        if body is None:
            content = await asyncio.to_thread(_content, service, who, run.run_key)
            body = await service.workshop.make(key, function, content, *arguments)
    except BadInput as error:
        raise HTTPException(422, str(error)) from None
    except magnitudes.OtherEngine as error:
        raise HTTPException(409, str(error)) from None
    except MissingPart as error:
        raise HTTPException(501, str(error)) from None
    except (Busy, NoSandbox) as error:
        raise HTTPException(503, str(error), {"Retry-After": str(_RETRY_AFTER_S)}) from None
    if fmt == "svg":
        headers["Content-Security-Policy"] = _SVG_POLICY
    return Response(body, media_type=_TYPES[fmt], headers=headers)


def _bands(text: str) -> tuple[str, ...]:
    """Canonical names, each once, in the order asked for."""
    try:
        found = dict.fromkeys(canonical(name.strip()) for name in text.split(",") if name.strip())
    except BadInput as error:
        raise HTTPException(422, f"bands: {error}") from None
    unknown = [band for band in found if not is_modelled(band)]
    if unknown:
        raise HTTPException(422, f"bands: {unknown[0]} has no transmission curve here")
    if not 1 <= len(found) <= _MAX_BANDS:
        raise HTTPException(422, f"bands: 1 to {_MAX_BANDS} are given at a time")
    return tuple(found)


def _times(
    t0_mjd_tai: float, start: datetime | None, stop: datetime | None, step_day: float
) -> tuple[float, ...]:
    """Days after the event: from start to stop, both included where the step allows."""
    first, last = (
        default if time is None else mjd_tai(_in_utc(time)) - t0_mjd_tai
        for time, default in zip((start, stop), _DEFAULT_DAY, strict=True)
    )
    if not _FROM_DAY <= first <= last <= _TO_DAY:
        raise HTTPException(
            422, f"start and stop lie from {_FROM_DAY:g} to {_TO_DAY:g} d after the event, in order"
        )
    count = math.floor((last - first) / step_day + 1e-9) + 1
    if count > magnitudes.MAX_POINTS:
        raise HTTPException(422, f"step: more than {magnitudes.MAX_POINTS} times")
    return tuple(round(first + k * step_day, 6) for k in range(count))


def _in_utc(time: datetime) -> datetime:
    return time if time.tzinfo else time.replace(tzinfo=UTC)
