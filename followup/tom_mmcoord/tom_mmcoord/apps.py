"""What the app adds to a TOM, by the TOM's own integration points."""

from __future__ import annotations

from django.apps import AppConfig
from django.urls import include, path


class TomMmcoordConfig(AppConfig):
    """List the app as ``'tom_mmcoord'``: a TOM finds ``urls.py`` by that name only."""

    name = "tom_mmcoord"
    label = "tom_mmcoord"
    verbose_name = "mmcoord"
    default_auto_field = "django.db.models.BigAutoField"

    def include_url_paths(self):
        """Pages of the app."""
        return [path("mmcoord/", include("tom_mmcoord.urls", namespace="tom_mmcoord"))]

    def nav_items(self):
        """The link in the navigation bar."""
        return [{"partial": "tom_mmcoord/partials/nav.html", "position": "left"}]

    def target_detail_tabs(self):
        """The tab of a target's page."""
        return [
            {
                "partial": "tom_mmcoord/partials/tab.html",
                "label": "mmcoord",
                "context": "tom_mmcoord.templatetags.mmcoord_extras.tab",
            }
        ]

    def observation_facilities(self):
        """The facility whose observation records are claimed requests."""
        return [{"class": "tom_mmcoord.facility.MmcoordFacility"}]
