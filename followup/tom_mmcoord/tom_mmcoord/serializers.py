"""Requests and claims as JSON."""

from __future__ import annotations

from rest_framework import serializers

from tom_mmcoord.models import ClaimAction, FollowupRequest, Verb


class RequestSerializer(serializers.ModelSerializer):
    """A request; ``key`` comes from the address and never changes."""

    class Meta:
        model = FollowupRequest
        exclude = ("id",)
        read_only_fields = ("key", "modified")


class ClaimSerializer(serializers.ModelSerializer):
    """What an observer said, with what mmcoord needs to know it by."""

    event_id = serializers.CharField(source="request.event_id", read_only=True)
    object_id = serializers.CharField(source="request.object_id", read_only=True)
    instrument = serializers.CharField(source="request.instrument", read_only=True)
    band = serializers.CharField(source="request.band", read_only=True)
    user = serializers.CharField(source="user.username", read_only=True, default=None)
    observation_id = serializers.CharField(
        source="observation.observation_id", read_only=True, default=None
    )

    class Meta:
        model = ClaimAction
        exclude = ("request", "observation")


class WordSerializer(serializers.Serializer):
    """What an observer says."""

    verb = serializers.ChoiceField(choices=Verb.choices)
    reason = serializers.CharField(max_length=32, default="", allow_blank=True)
    note = serializers.CharField(max_length=1000, default="", allow_blank=True)
