"""An observer's word becomes an action and an observation record, in one transaction."""

from __future__ import annotations

import uuid

from django.db import transaction
from tom_observations.models import ObservationRecord

from tom_mmcoord.models import ClaimAction, FollowupRequest, Verb

FACILITY = "mmcoord"
STATUS = {
    Verb.CLAIM: "CLAIMED",
    Verb.START: "IN_PROGRESS",
    Verb.COMPLETE: "COMPLETED",
    Verb.RELEASE: "CANCELED",
    Verb.DECLINE: "CANCELED",
}
_OPEN = (Verb.CLAIM, Verb.START)


class CannotSay(ValueError):
    """The request is in no state for this word."""


@transaction.atomic
def say(request, user, verb, *, reason="", note="") -> ClaimAction:
    """Write down what ``user`` says of a request, and bring the observation record after it.

    Raises
    ------
    CannotSay
        The request is withdrawn and a claim or start is wanted, or nothing is open to release.
    """
    request = FollowupRequest.objects.select_for_update().get(pk=request.pk)
    verb = Verb(verb)
    last = request.actions.filter(user=user).order_by("-id").first()
    is_open = last is not None and last.verb in _OPEN
    if verb in _OPEN and request.state != FollowupRequest.State.ACTIVE:
        raise CannotSay(f"the request is {request.state}: do not observe for it")
    if verb is Verb.RELEASE and not is_open:
        raise CannotSay("you have no claim on it")
    if last is not None and last.verb == verb and is_open:
        return last  # a button that was pressed twice
    record = last.observation if is_open else None
    if verb is not Verb.DECLINE or record is not None:
        record = _record(request, user, record, STATUS[verb])
    return ClaimAction.objects.create(
        request=request, user=user, verb=verb, reason=reason, note=note, observation=record
    )


def claim_without_record(request) -> str:
    """Claim for nobody in particular; the id of the record that the TOM itself will make.

    A TOM does not tell a facility who submits.
    """
    ClaimAction.objects.create(request=request, user=None, verb=Verb.CLAIM)
    return _new_id()


def _new_id() -> str:
    return f"mmcoord-{uuid.uuid4()}"


def _record(request, user, record, status):
    if record is None:
        record = ObservationRecord(
            target=request.target,
            user=user,
            facility=FACILITY,
            observation_id=_new_id(),
            parameters=parameters(request),
            scheduled_start=request.start,
        )
    record.status = status
    record.save()
    return record


def parameters(request) -> dict:
    """What an observation record says of a request."""
    return {
        "event_id": request.event_id,
        "object_id": request.object_id,
        "rank": request.rank,
        "instrument": request.instrument,
        "band": request.band,
        "exposure_s": request.exposure_s,
        "looks": request.looks,
    }
