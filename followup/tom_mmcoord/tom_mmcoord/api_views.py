"""The REST interface. Each view demands a user itself: a TOM's default demands none."""

from __future__ import annotations

from django.db import IntegrityError, transaction
from guardian.shortcuts import get_objects_for_user
from rest_framework import mixins, status
from rest_framework.decorators import action
from rest_framework.exceptions import PermissionDenied, ValidationError
from rest_framework.permissions import IsAuthenticated
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet
from tom_targets.models import Target

from tom_mmcoord.claims import CannotSay, say
from tom_mmcoord.models import ClaimAction, FollowupRequest
from tom_mmcoord.serializers import ClaimSerializer, RequestSerializer, WordSerializer

_VIEW = f"{Target._meta.app_label}.view_target"
_CHANGE = f"{Target._meta.app_label}.change_target"


def visible(user):
    """The requests of the targets that a user may see."""
    return FollowupRequest.objects.filter(target__in=get_objects_for_user(user, _VIEW))


class RequestViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, GenericViewSet):
    """``/api/mmcoordrequests/``."""

    permission_classes = (IsAuthenticated,)
    serializer_class = RequestSerializer
    queryset = FollowupRequest.objects.none()
    lookup_field = "key"
    lookup_value_regex = "[0-9a-f]{16,64}"

    def get_queryset(self):
        found = visible(self.request.user)
        for name in ("event_id", "state"):
            if value := self.request.query_params.get(name):
                found = found.filter(**{name: value})
        return found

    def update(self, request, key=None):
        """Make or replace the request of this key.

        An older plan revision changes nothing and is answered with what is there; one that
        would revive what the same or a newer revision withdrew is refused (409).
        """
        try:
            with transaction.atomic():
                return self._put(request, key)
        except IntegrityError:  # two came at once; one of them has made it
            with transaction.atomic():
                return self._put(request, key)

    def _put(self, request, key):
        held = FollowupRequest.objects.select_for_update().filter(key=key).first()
        serializer = self.get_serializer(held, data=request.data)
        serializer.is_valid(raise_exception=True)
        new = serializer.validated_data
        for target in {new["target"], held.target if held else new["target"]}:
            if not request.user.has_perm(_CHANGE, target):
                raise PermissionDenied("you may not change this target")
        if held is not None:
            if new["plan_revision"] < held.plan_revision:
                return Response(self.get_serializer(held).data)
            gone = held.state != held.State.ACTIVE and new["state"] == held.State.ACTIVE
            if gone and new["plan_revision"] == held.plan_revision:
                detail = f"{held.state} at plan revision {held.plan_revision}"
                return Response({"detail": detail}, status.HTTP_409_CONFLICT)
        serializer.save(key=key)
        code = status.HTTP_200_OK if held else status.HTTP_201_CREATED
        return Response(serializer.data, code)

    @action(detail=True, methods=["post"])
    def say(self, request, key=None):
        """Claim, start, complete, release or decline."""
        word = WordSerializer(data=request.data)
        word.is_valid(raise_exception=True)
        try:
            said = say(self.get_object(), request.user, **word.validated_data)
        except CannotSay as error:
            raise ValidationError({"detail": str(error)}) from error
        return Response(ClaimSerializer(said).data, status.HTTP_201_CREATED)


class ClaimViewSet(mixins.ListModelMixin, GenericViewSet):
    """``/api/mmcoordclaims/?after=ID``: what was said since, the oldest first."""

    permission_classes = (IsAuthenticated,)
    serializer_class = ClaimSerializer
    queryset = ClaimAction.objects.none()

    def get_queryset(self):
        after = self.request.query_params.get("after", "0")
        if not after.isdecimal():
            raise ValidationError({"after": "not a number"})
        found = ClaimAction.objects.filter(request__in=visible(self.request.user))
        return found.filter(id__gt=int(after)).select_related("request", "user", "observation")
