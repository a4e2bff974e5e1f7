"""An observation portal of LCO's kind (LCO, SOAR and others by AEON): request groups.

Off by default: without ``submit`` the portal is only asked whether the request would be valid
(``/api/requestgroups/validate/`` books nothing). With it, a request still waits for a person
like what is public: it spends a proposal's time.

Identity: the portal has no idempotency key, so a tag made of ours closes the group's name, and
the proposal's groups are searched for it before anything is posted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
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

__all__ = ["ANSWERS", "PortalSink", "build"]

_OPEN = "PENDING"

ANSWERS: tuple[Rule, ...] = (
    Rule("done", lambda r: r.status in (200, 201) and isinstance(r.body, dict), Outcome.SENT),
    Rule("not reached", lambda r: r.trouble is Trouble.NOT_REACHED, Outcome.RETRY),
    Rule("token refused", lambda r: r.status in (401, 403), Outcome.RETRY, MENDED_BY_A_PERSON_S),
    Rule("redirected", lambda r: 300 <= r.status < 400, Outcome.RETRY, MENDED_BY_A_PERSON_S),
    Rule("too many requests", lambda r: r.status == 429, Outcome.RETRY),
    Rule("not accepted", lambda r: 400 <= r.status < 500, Outcome.REJECTED),
    Rule("failed inside", lambda r: r.status >= 500, Outcome.UNKNOWN, 30.0),
    Rule("no answer", lambda r: r.trouble is Trouble.NO_ANSWER, Outcome.UNKNOWN, 30.0),
    Rule("not a portal's answer", lambda r: True, Outcome.UNKNOWN, MENDED_BY_A_PERSON_S),
)


@dataclass(frozen=True, slots=True)
class PortalSink:
    """One proposal at one portal."""

    name: str
    is_practice: bool
    url: str
    token: Secret
    proposal: str
    instruments: Mapping[str, str]
    """Our instrument -> the portal's instrument type."""
    filters: Mapping[str, str]
    """Our band -> the portal's filter."""
    submit: bool
    window_hours: float
    max_airmass: float
    timeout_s: float
    client: httpx.Client = field(repr=False)
    granularity: Granularity = Granularity.TARGET
    settle_s: float = 0.0

    @property
    def is_public(self) -> bool:
        """A request spends a proposal's time; a validation spends nothing."""
        return self.submit

    def payload(self, outgoing: Outgoing) -> Payload:
        """The request group; empty where the portal has not the row's instrument or band."""
        (row,) = outgoing.rows
        known = row.instrument in self.instruments and row.band in self.filters
        if not known or row.start is None or row.exposure_s is None:
            return {}
        assert row.instrument is not None
        assert row.band is not None
        end = row.start + timedelta(hours=self.window_hours)
        exposure = {
            "exposure_time": finite(row.exposure_s),
            "exposure_count": 1,
            "optical_elements": {"filter": self.filters[row.band]},
        }
        target = {
            "name": row.object_id,
            "type": "ICRS",
            "ra": finite(row.ra_deg),
            "dec": finite(row.dec_deg),
            "epoch": 2000.0,
        }
        configuration = {
            "type": "EXPOSE",
            "instrument_type": self.instruments[row.instrument],
            "instrument_configs": [exposure],
            "acquisition_config": {},
            "guiding_config": {},
            "target": target,
            "constraints": {"max_airmass": self.max_airmass},
        }
        request = {
            "configurations": [configuration],
            "windows": [{"start": iso_utc(row.start), "end": iso_utc(end)}],
            "location": {},
        }
        # One request per event and target: a new ranking is no second exposure.
        tag = hashlib.sha256(f"{outgoing.event_id}\0{row.object_id}".encode()).hexdigest()[:12]
        return {
            "name": f"{outgoing.event_id} {row.object_id}"[:30] + f" mmcoord {tag}",
            "proposal": self.proposal,
            "ipp_value": 1.0,
            "operator": "SINGLE",
            "observation_type": "NORMAL",
            "requests": [request],
        }

    def send(self, payload: Payload, *, key: str) -> Answer:
        """Validate; with ``submit`` look for it and ask."""
        try:
            said = self._call("POST", "requestgroups/validate/", payload)
            if errors := said.get("errors"):
                return Answer(Outcome.REJECTED, detail=f"not valid: {errors}"[:300])
            if not self.submit:
                return Answer(Outcome.SENT, detail="valid; not submitted (submit = false)")
            if found := self._find(payload):
                return Answer(Outcome.SENT, str(found["id"]), f"there already: {found['state']}")
            made = self._call("POST", "requestgroups/", payload)
            return Answer(Outcome.SENT, str(made["id"]), f"request group {made['id']}")
        except Failed as failed:
            return failed.answer

    def lookup(self, payload: Payload, *, key: str) -> Answer | None:
        """Whether the proposal has the group."""
        if not self.submit:
            return Answer(Outcome.RETRY, detail="validations are made anew")
        try:
            found = self._find(payload)
        except Failed as failed:
            return replace(failed.answer, outcome=Outcome.UNKNOWN)
        if found is None:
            return Answer(Outcome.RETRY, detail="looked: not there")
        return Answer(Outcome.SENT, str(found["id"]), "looked: there")

    def withdraw(self, payload: Payload, *, key: str, remote_id: str | None) -> Answer:
        """Cancel what is pending; what was observed stays."""
        if not payload or not self.submit:
            return Answer(Outcome.SENT, remote_id, "nothing was asked")
        try:
            found = self._find(payload)
            if found is None or found["state"] != _OPEN:
                return Answer(Outcome.SENT, remote_id, "nothing pending to cancel")
            self._call("POST", f"requestgroups/{found['id']}/cancel/", {})
            return Answer(Outcome.SENT, str(found["id"]), "cancelled")
        except Failed as failed:
            return failed.answer

    def check(self) -> Answer:
        """Whether the portal knows the token."""
        try:
            self._call("GET", "profile/", None)
            return Answer(Outcome.SENT, detail=f"logged in at {self.url}")
        except Failed as failed:
            return failed.answer

    def _find(self, payload: Payload) -> dict[str, Any] | None:
        params = {"name": payload["name"], "proposal": self.proposal}
        listed = self._call("GET", "requestgroups/", None, params)
        for group in listed.get("results", []):
            if group.get("name") == payload["name"]:
                return dict(group)
        return None

    def _call(
        self, method: str, path: str, body: Any, params: Mapping[str, str | int] | None = None
    ) -> dict[str, Any]:
        reply: Reply = call(
            self.client,
            method,
            f"{self.url}/api/{path}",
            timeout_s=self.timeout_s,
            secrets=(self.token,),
            headers={"Authorization": f"Token {self.token.reveal()}"},
            params=params,
            json_body=body,
        )
        found: dict[str, Any] = require(reply, ANSWERS)
        return found


def build(name: str, table: Mapping[str, Any], client: httpx.Client) -> PortalSink:
    """Entry point ``portal``; touches no network.

    Settings: ``url``; ``token``; ``proposal``; ``instruments`` and ``filters`` (lists of
    ``OURS=THEIRS``: ``lco-1m-sso=1M0-SCICAM-SINISTRO``, ``sdss:r=rp``); ``submit`` (false:
    validate only); ``window_hours`` (6); ``max_airmass`` (2); ``timeout_s`` (30);
    ``allow_http`` (false); ``practice`` (false; never with ``submit``).

    Raises
    ------
    ConfigError
        A key is wrong; it is named.
    """
    settings = Settings(name, table)
    token = settings.needed_secret("token")
    practice, submit = settings.flag("practice", False), settings.flag("submit", False)
    if submit and practice:
        raise settings.error("submit", "a practice event is not worth telescope time")
    sink = PortalSink(
        name,
        practice,
        web_address(settings, "url", settings.text("url")),
        token,
        settings.text("proposal"),
        _pairs(settings, "instruments"),
        _pairs(settings, "filters"),
        submit,
        settings.number("window_hours", 6.0, low=0.1, high=168.0),
        settings.number("max_airmass", 2.0, low=1.0, high=5.0),
        settings.number("timeout_s", 30.0, low=1.0, high=300.0),
        client,
    )
    settings.finish()
    return sink


def _pairs(settings: Settings, key: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for entry in settings.texts(key):
        ours, _, theirs = entry.partition("=")
        if not ours or not theirs:
            raise settings.error(key, f"{entry!r} is not OURS=THEIRS")
        found[ours] = theirs
    return found
