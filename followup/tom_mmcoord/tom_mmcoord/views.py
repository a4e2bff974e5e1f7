"""Pages: all requests, and the buttons."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.mixins import LoginRequiredMixin
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.views import View
from django.views.generic import ListView

from tom_mmcoord.api_views import visible
from tom_mmcoord.claims import CannotSay, say
from tom_mmcoord.models import FollowupRequest, Verb


class RequestListView(LoginRequiredMixin, ListView):
    """All active requests that the user may see."""

    template_name = "tom_mmcoord/requests.html"
    paginate_by = 100

    def get_queryset(self):
        return visible(self.request.user).filter(state=FollowupRequest.State.ACTIVE)


class SayView(LoginRequiredMixin, View):
    """A button was pressed."""

    http_method_names = ("post",)

    def post(self, request, key):
        found = get_object_or_404(visible(request.user), key=key)
        verb = request.POST.get("verb", "")
        if verb not in Verb.values:
            messages.error(request, "No such button.")
        else:
            try:
                say(found, request.user, verb, reason=request.POST.get("reason", "")[:32])
            except CannotSay as error:
                messages.error(request, str(error))
        return redirect(reverse("tom_targets:detail", kwargs={"pk": found.target_id}))
