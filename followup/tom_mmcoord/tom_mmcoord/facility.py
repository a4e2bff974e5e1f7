"""The facility ``mmcoord``: its observations are claimed requests, done by whoever claimed.

A robotic facility in the TOM's sense, because only such have a status and can be cancelled.
Nothing is sent anywhere: mmcoord reads the claims.
"""

from __future__ import annotations

from crispy_forms.layout import Layout
from django import forms
from tom_observations.facility import (
    BaseRoboticObservationFacility,
    BaseRoboticObservationForm,
)
from tom_observations.models import ObservationRecord

from tom_mmcoord.claims import FACILITY, STATUS, claim_without_record
from tom_mmcoord.models import ClaimAction, FollowupRequest, Verb


class RequestForm(BaseRoboticObservationForm):
    """Which event's request for this target is claimed."""

    name = forms.CharField(required=False)
    event_id = forms.CharField()

    def layout(self):
        return Layout("name", "event_id")

    def clean(self):
        cleaned = super().clean()
        self.request = FollowupRequest.objects.filter(
            target_id=cleaned.get("target_id"),
            event_id=cleaned.get("event_id", ""),
            state=FollowupRequest.State.ACTIVE,
        ).first()
        if self.request is None:
            raise forms.ValidationError("no active request of this event for this target")
        return cleaned


class MmcoordFacility(BaseRoboticObservationFacility):
    """See the module's head."""

    name = FACILITY
    observation_types = [("REQUEST", "Claim a request of mmcoord")]
    observation_forms = {"REQUEST": RequestForm}

    def get_form(self, observation_type):
        return RequestForm

    def submit_observation(self, observation_payload):
        """Claim the request; the TOM itself makes the observation record of the id returned."""
        found = FollowupRequest.objects.get(
            target_id=observation_payload["target_id"],
            event_id=observation_payload["params"]["event_id"],
        )
        return [claim_without_record(found)]

    def validate_observation(self, observation_payload):
        return {}

    def get_terminal_observing_states(self):
        return ["COMPLETED", "CANCELED"]

    def get_failed_observing_states(self):
        return ["CANCELED"]

    def get_observing_sites(self):
        return {}

    def get_observation_url(self, observation_id):
        return ""

    def data_products(self, observation_id, product_id=None):
        return []

    def get_observation_status(self, observation_id):
        """The state in which the claim stands."""
        record = ObservationRecord.objects.filter(
            facility=FACILITY, observation_id=observation_id
        ).first()
        state = record.status if record is not None and record.status else STATUS[Verb.CLAIM]
        start = record.scheduled_start if record is not None else None
        return {"state": state, "scheduled_start": start, "scheduled_end": None}

    def cancel_observation(self, observation_id):
        """Give the claim back."""
        record = ObservationRecord.objects.filter(
            facility=FACILITY, observation_id=observation_id
        ).first()
        if record is None or record.status == STATUS[Verb.COMPLETE]:
            return False
        found = FollowupRequest.objects.filter(
            target=record.target_id, event_id=record.parameters.get("event_id", "")
        ).first()
        if found is not None:
            ClaimAction.objects.create(
                request=found, user=record.user, verb=Verb.RELEASE, observation=record
            )
        record.status = STATUS[Verb.RELEASE]
        record.save()
        return True
