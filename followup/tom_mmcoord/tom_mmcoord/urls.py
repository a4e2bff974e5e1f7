"""Pages, and the REST interface on the TOM's shared router."""

from __future__ import annotations

from django.urls import path
from tom_common.api_router import SharedAPIRootRouter

from tom_mmcoord.api_views import ClaimViewSet, RequestViewSet
from tom_mmcoord.views import RequestListView, SayView

app_name = "tom_mmcoord"

router = SharedAPIRootRouter()
router.register(r"mmcoordrequests", RequestViewSet, "mmcoordrequests")
router.register(r"mmcoordclaims", ClaimViewSet, "mmcoordclaims")

urlpatterns = [
    path("", RequestListView.as_view(), name="requests"),
    path("<str:key>/say/", SayView.as_view(), name="say"),
]
