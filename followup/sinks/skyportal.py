"""SkyPortal (Fritz, ICARE ...): follow-up requests on an allocation, by its own duplicate rules.

A request there asks a telescope, so that it waits for a person like what is public.

Identity: the source has the candidate's name, and posting it again changes nothing. A request
carries ``not_if_duplicates``: SkyPortal ignores it where an equivalent one is open, and says
so, which is as good as sent. ``not_if_classified`` and ``not_if_spectra_exist`` keep it from
asking for what is known. Before anything is sent again the open requests are read.

Its answers carry ``status``; ``error`` is believed whatever the HTTP status is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import httpx

from followup.sinks._http import (
    MENDED_BY_A_PERSON_S,
    Failed,
    Reply,
    Rule,
    Trouble,
    call,
    require,
)
from followup.sinks._plan_json import finite, iso_utc
from followup.sinks._settings import Secret, Settings, web_address
from followup.sinks.base import Answer, Granularity, Outcome, Payload
from mmcoord.records import Outgoing

__all__ = ["ANSWERS", "SkyPortalSink", "build"]

_OPEN = ("submitted", "pending", "queued", "scheduled", "in progress", "active")
_ENDED = ("complete", "deleted", "fail", "reject", "expired", "cancel")
_LOWEST = 5
"""Priorities run from 1 to 5 at every instrument that SkyPortal ships with."""


def _status(reply: Reply) -> str:
    body = reply.body
    return str(body.get("status")) if isinstance(body, dict) else ""


ANSWERS: tuple[Rule, ...] = (
    Rule("done", lambda r: r.status == 200 and _status(r) == "success", Outcome.SENT),
    Rule("not reached", lambda r: r.trouble is Trouble.NOT_REACHED, Outcome.RETRY),
    Rule("token refused", lambda r: r.status in (401, 403), Outcome.RETRY, MENDED_BY_A_PERSON_S),
    Rule("redirected", lambda r: 300 <= r.status < 400, Outcome.RETRY, MENDED_BY_A_PERSON_S),
    Rule("too many requests", lambda r: r.status == 429, Outcome.RETRY),
    Rule("not accepted", lambda r: r.status < 500 and _status(r) == "error", Outcome.REJECTED),
    Rule("failed inside", lambda r: r.status >= 500, Outcome.UNKNOWN, 30.0),
    Rule("no answer", lambda r: r.trouble is Trouble.NO_ANSWER, Outcome.UNKNOWN, 30.0),
    Rule("not SkyPortal's answer", lambda r: True, Outcome.UNKNOWN, MENDED_BY_A_PERSON_S),
)


@dataclass(frozen=True, slots=True)
class SkyPortalSink:
    """One user of a SkyPortal, on allocations of their groups."""

    name: str
    is_practice: bool
    url: str
    token: Secret
    allocations: Mapping[str, int]
    """Our instrument -> the allocation that pays for it."""
    group_ids: tuple[int, ...]
    request: Mapping[str, Any]
    """What the instrument's form wants beside priority and dates."""
    high_is_urgent: bool
    """Whether 5 goes before 1: SkyPortal's instruments differ."""
    radius_arcsec: float
    timeout_s: float
    client: httpx.Client = field(repr=False)
    is_public: bool = True
    granularity: Granularity = Granularity.TARGET
    settle_s: float = 0.0

    def payload(self, outgoing: Outgoing) -> Payload:
        """Source and request; empty where no allocation pays for the row's instrument."""
        (row,) = outgoing.rows
        if row.instrument is None or row.instrument not in self.allocations:
            return {}
        rank = min(row.rank, _LOWEST)
        start = iso_utc(row.start)
        return {
            "source": {
                "id": row.object_id,
                "ra": finite(row.ra_deg),
                "dec": finite(row.dec_deg),
                "group_ids": list(self.group_ids),
            },
            "followup_request": {
                "obj_id": row.object_id,
                "allocation_id": self.allocations[row.instrument],
                "target_group_ids": list(self.group_ids),
                "payload": {
                    **self.request,
                    "priority": _LOWEST + 1 - rank if self.high_is_urgent else rank,
                    **({"start_date": start[:10]} if start else {}),
                    "note": f"mmcoord {outgoing.event_id} rank {row.rank}",
                },
                "not_if_duplicates": True,
                "not_if_classified": True,
                "not_if_spectra_exist": True,
                "radius": self.radius_arcsec,
            },
        }

    def send(self, payload: Payload, *, key: str) -> Answer:
        """Make the source, then ask; a request that SkyPortal ignores is there already."""
        try:
            self._call("POST", "sources", payload["source"])
            found = self._open_request(payload)
            if found is not None:
                return Answer(Outcome.SENT, str(found), "an equivalent request is open")
            data = self._call("POST", "followup_request", payload["followup_request"])
        except Failed as failed:
            return failed.answer
        said = str(data.get("message") or "")
        if data.get("ignored") or not data.get("id"):
            return Answer(Outcome.SENT, detail=f"SkyPortal did not need it: {said}".strip())
        return Answer(Outcome.SENT, str(data["id"]), f"request {data['id']}")

    def lookup(self, payload: Payload, *, key: str) -> Answer | None:
        """Whether a request of ours on the allocation is open."""
        try:
            found = self._open_request(payload)
        except Failed as failed:
            return replace(failed.answer, outcome=Outcome.UNKNOWN)
        if found is None:
            return Answer(Outcome.RETRY, detail="looked: no open request")
        return Answer(Outcome.SENT, str(found), "looked: there")

    def withdraw(self, payload: Payload, *, key: str, remote_id: str | None) -> Answer:
        """Delete the request while it is open; what was observed stays."""
        if not payload:
            return Answer(Outcome.SENT, remote_id, "nothing was asked")
        try:
            found = self._open_request(payload)
            if found is None:
                return Answer(Outcome.SENT, remote_id, "no open request: nothing to withdraw")
            self._call("DELETE", f"followup_request/{found}", None)
            return Answer(Outcome.SENT, str(found), f"request {found} deleted")
        except Failed as failed:
            return failed.answer

    def check(self) -> Answer:
        """Whether SkyPortal knows the token."""
        try:
            self._call("GET", "internal/profile", None)
            return Answer(Outcome.SENT, detail=f"logged in at {self.url}")
        except Failed as failed:
            return failed.answer

    def _open_request(self, payload: Payload) -> int | None:
        wanted = payload["followup_request"]
        params: dict[str, str | int] = {
            "sourceID": wanted["obj_id"],
            "allocationID": wanted["allocation_id"],
        }
        data = self._call("GET", "followup_request", None, params)
        listed = data.get("followup_requests", []) if isinstance(data, dict) else data
        for request in listed:
            same = request.get("obj_id") == wanted["obj_id"]
            same = same and request.get("allocation_id") == wanted["allocation_id"]
            if same and _is_open(str(request.get("status", ""))):
                return int(request["id"])
        return None

    def _call(
        self,
        method: str,
        path: str,
        body: Any,
        params: Mapping[str, str | int] | None = None,
    ) -> Any:
        reply = call(
            self.client,
            method,
            f"{self.url}/api/{path}",
            timeout_s=self.timeout_s,
            secrets=(self.token,),
            headers={"Authorization": f"token {self.token.reveal()}"},
            params=params,
            json_body=body,
        )
        return require(reply, ANSWERS).get("data") or {}


def _is_open(status: str) -> bool:
    """Unknown words count as open: rather one request too few at a telescope than one too many."""
    word = status.lower()
    return any(open_word in word for open_word in _OPEN) or not any(end in word for end in _ENDED)


def build(name: str, table: Mapping[str, Any], client: httpx.Client) -> SkyPortalSink:
    """Entry point ``skyportal``; touches no network.

    Settings: ``url``; ``token``; ``allocations`` (a list of ``INSTRUMENT=NUMBER``);
    ``groups`` (numbers, as text); ``request`` (a table: what the instrument's form wants);
    ``priority_order`` (``asc``: 1 goes first; ``desc``); ``radius_arcsec`` (0.5);
    ``timeout_s`` (30); ``allow_http`` (false); ``practice`` (false).

    Raises
    ------
    ConfigError
        A key is wrong; it is named.
    """
    settings = Settings(name, table)
    token = settings.needed_secret("token")
    allocations: dict[str, int] = {}
    for entry in settings.texts("allocations"):
        instrument, _, number = entry.partition("=")
        if not instrument or not number.isdecimal():
            raise settings.error("allocations", f"{entry!r} is not INSTRUMENT=NUMBER")
        allocations[instrument] = int(number)
    groups = settings.texts("groups")
    if not allocations or not groups or not all(group.isdecimal() for group in groups):
        raise settings.error("groups", "allocations, and groups by their numbers, are needed")
    request = table.get("request", {}) if settings.has("request") else {}
    if not isinstance(request, Mapping):
        raise settings.error("request", "must be a table")
    order = settings.text("priority_order", "asc")
    if order not in ("asc", "desc"):
        raise settings.error("priority_order", "is neither asc nor desc")
    sink = SkyPortalSink(
        name,
        settings.flag("practice", False),
        web_address(settings, "url", settings.text("url")),
        token,
        allocations,
        tuple(int(group) for group in groups),
        dict(request),
        order == "desc",
        settings.number("radius_arcsec", 0.5, low=0.0, high=60.0),
        settings.number("timeout_s", 30.0, low=1.0, high=300.0),
        client,
    )
    settings.finish()
    return sink
