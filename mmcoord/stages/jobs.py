"""Inference jobs as JSON, so that a run can be taken up after a crash exactly as asked."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from mmcoord.inference.job import DistancePrior, Job, SamplerSettings
from mmcoord.inference.models.base import Parameter
from mmcoord.inference.source import UserSource
from mmcoord.inference.start import Proposal, Start
from mmcoord.records import Photometry

__all__ = ["job_from_json", "job_to_json", "proposal_from_json"]


def job_to_json(job: Job) -> dict[str, Any]:
    """A JSON document that :func:`job_from_json` turns back into an equal job."""
    return dataclasses.asdict(job)


def job_from_json(document: Mapping[str, Any]) -> Job:
    """The job of :func:`job_to_json`."""
    return Job(
        **{
            **document,
            "photometry": tuple(Photometry(**point) for point in document["photometry"]),
            "distance": DistancePrior(**document["distance"]),
            "sampler": SamplerSettings(**document["sampler"]),
            "models": tuple(document["models"]),
            "class_priors": tuple((name, p) for name, p in document["class_priors"]),
            "priors": tuple(_parameter(p) for p in document.get("priors", ())),
            "user_models": tuple(
                UserSource(**source) for source in document.get("user_models", ())
            ),
            "start": _start(document.get("start")),
        }
    )


def proposal_from_json(document: Mapping[str, Any]) -> Proposal:
    """Of ``dataclasses.asdict`` of a proposal."""
    return Proposal(**{**document, "axes": tuple(document["axes"])})


def _start(document: Mapping[str, Any] | None) -> Start | None:
    if document is None:
        return None
    proposals = tuple(proposal_from_json(p) for p in document["proposals"])
    return Start(document["parent_key"], proposals)


def _parameter(document: Mapping[str, Any]) -> Parameter:
    lists = {key: tuple(document[key]) for key in ("edges", "weights")}
    return Parameter(**{**document, **lists})
