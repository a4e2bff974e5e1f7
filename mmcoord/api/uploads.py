"""Light-curve models from groups: upload, the report of their checks, versions, retirement.

A text is read at once and refused with its line where it is no model; what it does is found out
afterwards, in the background and confined, and shown in the version's report. Nothing of it is ever
run where the sandbox does not hold.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException
from pydantic import BaseModel, ConfigDict, Field

from mmcoord import runs, usermodels
from mmcoord.access import Scope
from mmcoord.api.auth import Caller, allowed
from mmcoord.api.models import Error
from mmcoord.api.service import ServiceDep
from mmcoord.errors import BadModel, Busy, NameTaken, NoSandbox, OverQuota
from mmcoord.inference.models import registry
from mmcoord.inference.probe import probe
from mmcoord.inference.usermodel import read_source
from mmcoord.stages.modelcheck import charge_key
from mmcoord.store.tables import RunRequestRow

__all__ = ["ModelDetail", "ModelList", "ModelUpload", "ModelVersion", "Retired", "router"]

_OPENAPI: dict[int | str, dict[str, Any]] = {
    401: {"model": Error},
    403: {"model": Error},
    404: {"model": Error, "description": "No such model, or not one that the caller may see."},
}
router = APIRouter(prefix="/api/v1/models", tags=["models"], responses=_OPENAPI)
_MAX_CHARACTERS = 256 * 1024
_RETRY_AFTER_S = 60
Reader = Annotated[Caller, Depends(allowed(Scope.READ))]
Modeller = Annotated[Caller, Depends(allowed(Scope.MODELS))]


class ModelUpload(BaseModel):
    """A model's Python file; its form is in docs/models.md."""

    model_config = ConfigDict(extra="forbid")

    source: str = Field(max_length=_MAX_CHARACTERS)
    name: str | None = Field(None, max_length=40)
    """Instead of the ``NAME`` in the file."""


class ModelVersion(BaseModel):
    """One version of a model from a group."""

    name: str
    version: int
    state: str
    """``checking``, ``accepted``, ``refused``, ``retired``."""
    speed: str | None
    """``fast``, ``medium``, ``slow``; None before it was measured."""
    sha256: str
    uploaded_by: str
    added_at: datetime


class ModelDetail(ModelVersion):
    """A version with its text and what the checks found."""

    source: str
    report: dict[str, Any]
    """Empty while it is being checked; ``checks``: name, passed, text of each."""


class ModelList(BaseModel):
    """What a run may be asked with."""

    installed: list[str]
    added: list[ModelVersion]
    """One's own, and what of other groups was ever accepted."""


class Retired(BaseModel):
    """Which versions no new run uses any more."""

    name: str
    versions: list[int]


@router.post(
    "",
    status_code=202,
    responses={
        409: {"model": Error, "description": "The name belongs to another group."},
        422: {"model": Error, "description": "Not a model; the text names the line."},
        429: {"model": Error, "description": "Over the quota, or one is being checked."},
        503: {"model": Error, "description": "Models cannot be confined on this machine."},
    },
)
def upload(service: ServiceDep, who: Modeller, model: ModelUpload) -> ModelVersion:
    """Add a version of a model; it is checked in the background, at the group's cost.

    The text of the newest accepted version again is that version.
    """
    try:
        probe()
        read = read_source(model.source, name=model.name)
        with service.database.write() as session:
            runs.check_quota(session, who.group, service.now())
            row = usermodels.receive(session, read, who.group, service.now())
            version = ModelVersion(**row.model_dump(include=set(ModelVersion.model_fields)))
            key = charge_key(row.name, row.version)
            if row.state == usermodels.CHECKING and not runs.is_charged(session, key):
                session.add(
                    RunRequestRow(
                        run_key=key,
                        group=who.group,
                        token_id=who.token_id,
                        how="checked",
                        requested_at=service.now(),
                    )
                )
    except NoSandbox as error:
        raise HTTPException(503, str(error)) from None
    except NameTaken as error:
        raise HTTPException(409, str(error)) from None
    except BadModel as error:
        raise HTTPException(422, str(error)) from None
    except (Busy, OverQuota) as error:
        raise HTTPException(429, str(error), {"Retry-After": str(_RETRY_AFTER_S)}) from None
    service.wake()
    return version


@router.get("")
def models(service: ServiceDep, who: Reader) -> ModelList:
    """Installed models, and every version of those that groups added."""
    with service.read() as session:
        added = usermodels.listing(session, who.group)
    return ModelList(
        installed=list(registry.names()), added=[ModelVersion(**line) for line in added]
    )


@router.get("/{model}")
def model(service: ServiceDep, who: Reader, model: str) -> ModelDetail:
    """One version (``name@3``), or the newest (``name``), with its text and its report."""
    with service.read() as session:
        return ModelDetail(**usermodels.document(session, model, who.group))


@router.post("/{model}/retire")
def retire(service: ServiceDep, who: Modeller, model: str) -> Retired:
    """Keep a version, or all of a name, from new runs; texts and old runs stay."""
    with service.database.write() as session:
        found = usermodels.document(session, model, who.group)
        if found["uploaded_by"] != who.group:
            raise HTTPException(403, f"{found['name']} belongs to another group")
        versions = usermodels.retire(session, *usermodels.version_of(model))
    return Retired(name=found["name"], versions=versions)
