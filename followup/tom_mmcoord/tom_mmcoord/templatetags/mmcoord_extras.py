"""What the tab of a target's page shows."""

from __future__ import annotations

from tom_mmcoord.api_views import visible
from tom_mmcoord.models import Verb


def tab(context):
    """The requests for the target of the page that this user may see."""
    request, target = context["request"], context["object"]
    found = visible(request.user).filter(target=target) if request.user.is_authenticated else []
    return {"mmcoord_requests": found, "verbs": Verb.values}
