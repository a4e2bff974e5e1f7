"""What mmcoord asks for, and what observers say to it."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from tom_observations.models import ObservationRecord
from tom_targets.base_models import BaseTarget


class FollowupRequest(models.Model):
    """One row of mmcoord's newest plan of one event: observe this target."""

    class State(models.TextChoices):
        ACTIVE = "active"
        WITHDRAWN = "withdrawn"
        RETRACTED = "retracted"

    key = models.CharField(max_length=64, unique=True)
    """mmcoord's own: the same event and object, the same key."""
    target = models.ForeignKey(
        BaseTarget, on_delete=models.CASCADE, related_name="mmcoord_requests"
    )
    event_id = models.CharField(max_length=256, db_index=True)
    object_id = models.CharField(max_length=256)
    is_practice = models.BooleanField(default=False)
    state = models.CharField(max_length=16, choices=State, default=State.ACTIVE)
    plan_revision = models.PositiveIntegerField()
    delivery_key = models.CharField(max_length=1000)
    """The message that brought this state."""
    rank = models.PositiveIntegerField()
    score = models.FloatField(null=True)
    factors = models.JSONField(default=dict)
    reasons = models.JSONField(default=dict)
    instrument = models.CharField(max_length=100, blank=True)
    band = models.CharField(max_length=40, blank=True)
    start = models.DateTimeField(null=True)
    exposure_s = models.FloatField(null=True)
    predicted_mag = models.FloatField(null=True)
    looks = models.JSONField(blank=True, default=list)
    """Further observations of the same target, in order of time: role, instrument, band, start,
    exposure_s, predicted_mag of each."""
    page_url = models.CharField(max_length=500, blank=True)
    modified = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ("event_id", "rank")

    def __str__(self):
        return f"{self.event_id} #{self.rank} {self.object_id}"

    @property
    def standing(self):
        """The last word of each user whose claim stands or is done."""
        last = {}
        for action in self.actions.select_related("user").order_by("id"):
            last[action.user_id] = action
        return [a for a in last.values() if a.verb in (Verb.CLAIM, Verb.START, Verb.COMPLETE)]


class Verb(models.TextChoices):
    """What an observer says of a request."""

    CLAIM = "claim"
    START = "start"
    COMPLETE = "complete"
    RELEASE = "release"
    DECLINE = "decline"


class ClaimAction(models.Model):
    """Something that an observer said; never changed, read by mmcoord in order."""

    request = models.ForeignKey(FollowupRequest, on_delete=models.CASCADE, related_name="actions")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True)
    verb = models.CharField(max_length=16, choices=Verb)
    reason = models.CharField(max_length=32, blank=True)
    note = models.CharField(max_length=1000, blank=True)
    observation = models.ForeignKey(ObservationRecord, on_delete=models.SET_NULL, null=True)
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("id",)

    def __str__(self):
        return f"{self.verb} {self.request}"
