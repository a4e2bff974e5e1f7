"""The Treasure Map: what our groups mean to observe, have observed, and do not after all.

Only claims are written, never the plan itself: a pointing there says that somebody observes, be it
a target or a tile of the map. A claim of one of ``groups`` with an instrument that ``instruments``
knows becomes a planned pointing, a completed one a completed pointing, and one given back a
cancelled one. Read back are the pointings of everybody (:func:`pointings`), to avoid a second
observation.

Identity: the service knows no key of ours; a pointing of ours is recognised by instrument,
status and place, and looked for before anything is posted. Its answers: 200 with ``ERRORS``
inside (one pointing per request, so that no success is partial), and 500 for whatever it does
not like.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx

from followup.sinks._http import (
    MENDED_BY_A_PERSON_S,
    Failed,
    Reply,
    Rule,
    Trouble,
    call,
    judge,
    require,
)
from followup.sinks._settings import Secret, Settings, web_address
from followup.sinks.base import Answer, Granularity, Outcome, Payload
from mmcoord.records import Outgoing, Undertaking

__all__ = ["READ", "WRITE", "Pointing", "TreasureMapSink", "build", "pointings"]

_STATUS = {"claimed": "planned", "started": "planned", "completed": "completed"}
_NEAR_DEG = 1.0 / 3600.0


def _ids(reply: Reply) -> list[Any]:
    body = reply.body
    found = body.get("pointing_ids") if isinstance(body, dict) else None
    return list(found) if isinstance(found, list) else []


def _says(reply: Reply, *words: str) -> bool:
    return any(word in reply.text.lower() for word in words)


_COMMON: tuple[Rule, ...] = (
    Rule("not reached", lambda r: r.trouble is Trouble.NOT_REACHED, Outcome.RETRY),
    Rule("redirected", lambda r: 300 <= r.status < 400, Outcome.RETRY, MENDED_BY_A_PERSON_S),
    Rule("too many requests", lambda r: r.status == 429, Outcome.RETRY),
    Rule(
        "token refused",
        lambda r: r.status in (401, 403) or (r.status == 500 and _says(r, "api_token")),
        Outcome.RETRY,
        MENDED_BY_A_PERSON_S,
    ),
)

WRITE: tuple[Rule, ...] = (
    Rule("written", lambda r: r.status == 200 and bool(_ids(r)), Outcome.SENT),
    *_COMMON,
    # 200 with ERRORS and without an id: nothing of it was stored.
    Rule("not accepted", lambda r: r.status == 200 and _says(r, "errors"), Outcome.REJECTED),
    Rule("refused", lambda r: 400 <= r.status < 500, Outcome.REJECTED),
    Rule("failed inside", lambda r: r.status >= 500, Outcome.UNKNOWN, MENDED_BY_A_PERSON_S),
    Rule("no answer", lambda r: True, Outcome.UNKNOWN, 60.0),
)

READ: tuple[Rule, ...] = (
    Rule("read", lambda r: r.status == 200 and isinstance(r.body, list), Outcome.SENT),
    *_COMMON,
    Rule("unreadable", lambda r: True, Outcome.RETRY),
)


@dataclass(frozen=True, slots=True)
class Pointing:
    """One pointing, of anybody."""

    id: int
    instrument_id: int
    ra_deg: float
    dec_deg: float
    status: str
    """planned, completed, cancelled."""
    time: str
    band: str | None = None
    depth: float | None = None


def pointings(
    client: httpx.Client,
    url: str,
    token: Secret,
    event_id: str,
    *,
    timeout_s: float = 30.0,
    **filters: Any,
) -> list[Pointing]:
    """The pointings of an event; what cannot be read of one leaves that one out.

    Raises
    ------
    Failed
        The service cannot be asked now.
    """
    body = {"api_token": token.reveal(), "graceid": event_id, **filters}
    reply = call(
        client,
        "GET",
        f"{url}/api/v1/pointings",
        timeout_s=timeout_s,
        secrets=(token,),
        json_body=body,
    )
    return [found for found in map(_pointing, require(reply, READ)) if found is not None]


def _pointing(item: Any) -> Pointing | None:
    try:
        ra, dec = _place(item)
        band = item.get("band")
        depth = item.get("depth")
        return Pointing(
            int(item["id"]),
            int(item["instrumentid"]),
            ra,
            dec,
            str(item["status"]).rpartition(".")[2],
            str(item["time"]),
            None if band is None else str(band),
            None if depth is None else float(depth),
        )
    except (KeyError, TypeError, ValueError):
        return None


def _place(item: Mapping[str, Any]) -> tuple[float, float]:
    """From ``ra`` and ``dec``, or from ``position``: ``POINT (ra dec)``."""
    if "ra" in item and "dec" in item:
        return float(item["ra"]), float(item["dec"])
    inside = str(item["position"]).partition("(")[2].partition(")")[0]
    ra, dec = inside.split()
    return float(ra), float(dec)


@dataclass(frozen=True, slots=True)
class TreasureMapSink:
    """One account at the Treasure Map."""

    name: str
    is_practice: bool
    url: str
    token: Secret
    groups: tuple[str, ...]
    instruments: Mapping[str, int]
    """Our instrument -> its number there."""
    depth_mag: float
    """5-sigma depth that is stated for completed pointings: the service demands one."""
    timeout_s: float
    client: httpx.Client = field(repr=False)
    granularity: Granularity = Granularity.TARGET
    settle_s: float = 30.0
    takes_tiles: bool = True

    @property
    def is_public(self) -> bool:
        """Everybody reads it, the test event too; but nobody takes that for real."""
        return not self.is_practice

    def payload(self, outgoing: Outgoing) -> Payload:
        """The pointing that our claim on the target or tile is; empty without one: nothing is
        said."""
        name = outgoing.tiles[0].tile_id if outgoing.tiles else outgoing.rows[0].object_id
        ours = [
            claim
            for claim in outgoing.undertakings
            if claim.object_id == name
            and claim.group in self.groups
            and claim.instrument in self.instruments
        ]
        if not ours:
            return {}
        event_id = "TEST_EVENT" if self.is_practice else outgoing.event_id
        return {"graceid": event_id, "pointing": self._pointing(ours[-1], outgoing)}

    def send(self, payload: Payload, *, key: str) -> Answer:
        """Post, complete or cancel, unless it is so already."""
        wanted = payload["pointing"]
        try:
            planned = self._ours(payload, "planned")
            if wanted["status"] == "cancelled":
                return self._cancel(payload, planned)
            if there := self._ours(payload, wanted["status"]):
                return Answer(Outcome.SENT, str(there[-1].id), "there already")
        except Failed as error:
            answer = error.answer
            return Answer(Outcome.RETRY, None, answer.detail, answer.retry_after_s)
        if wanted["status"] == "completed" and planned:
            cancelled = self._cancel(payload, planned)
            if cancelled.outcome is not Outcome.SENT:
                return cancelled
        reply = self._post("pointings", {"graceid": payload["graceid"], "pointings": [wanted]})
        answer = judge(reply, WRITE)
        if answer.outcome is not Outcome.SENT:
            return answer
        return Answer(Outcome.SENT, str(_ids(reply)[0]), f"pointing {wanted['status']}")

    def lookup(self, payload: Payload, *, key: str) -> Answer | None:
        """Whether our pointing is there in the wanted status."""
        wanted = payload["pointing"]
        try:
            if wanted["status"] == "cancelled":
                gone = not self._ours(payload, "planned")
                return Answer(Outcome.SENT if gone else Outcome.RETRY, detail="looked")
            there = self._ours(payload, wanted["status"])
        except Failed as error:
            return Answer(Outcome.UNKNOWN, detail=str(error))
        if there:
            return Answer(Outcome.SENT, str(there[-1].id), "looked: there")
        return Answer(Outcome.RETRY, detail="looked: not there")

    def withdraw(self, payload: Payload, *, key: str, remote_id: str | None) -> Answer:
        """Cancel what is planned; what was observed stays observed."""
        if not payload:
            return Answer(Outcome.SENT, remote_id, "nothing was said")
        try:
            return self._cancel(payload, self._ours(payload, "planned"))
        except Failed as error:
            return Answer(Outcome.RETRY, detail=str(error))

    def check(self) -> Answer:
        """Whether the token is taken, by reading the test event."""
        try:
            pointings(self.client, self.url, self.token, "TEST_EVENT", timeout_s=self.timeout_s)
            return Answer(Outcome.SENT, detail="token accepted")
        except Failed as error:
            return error.answer

    def _pointing(self, claim: Undertaking, outgoing: Outgoing) -> dict[str, Any]:
        (at,) = outgoing.tiles or outgoing.rows
        ended = claim.state not in _STATUS
        status = "cancelled" if ended else _STATUS[claim.state]
        when = claim.changed_at if status == "completed" else at.start or claim.changed_at
        assert claim.instrument is not None
        pointing: dict[str, Any] = {
            "ra": at.ra_deg,
            "dec": at.dec_deg,
            "instrumentid": self.instruments[claim.instrument],
            "time": _utc(when),
            "status": status,
            "band": (claim.band or at.band or "other").rpartition(":")[2],
            "pos_angle": 0.0,
        }
        if status == "completed":
            pointing |= {"depth": self.depth_mag, "depth_unit": "ab_mag"}
        return pointing

    def _ours(self, payload: Payload, status: str) -> list[Pointing]:
        """Our pointings at the place, with the instrument, in the status."""
        wanted = payload["pointing"]
        found = pointings(
            self.client,
            self.url,
            self.token,
            payload["graceid"],
            timeout_s=self.timeout_s,
            instrument=wanted["instrumentid"],
            status=status,
        )
        return [one for one in found if _same(one, wanted, status)]

    def _cancel(self, payload: Payload, planned: Sequence[Pointing]) -> Answer:
        for one in planned:
            reply = self._post("update_pointings", {"status": "cancelled", "id": one.id})
            if reply.status != 200:
                answer = judge(reply, WRITE)
                return Answer(Outcome.RETRY, None, answer.detail, answer.retry_after_s)
        return Answer(Outcome.SENT, detail=f"{len(planned)} planned pointings cancelled")

    def _post(self, path: str, body: dict[str, Any]) -> Reply:
        return call(
            self.client,
            "POST",
            f"{self.url}/api/v1/{path}",
            timeout_s=self.timeout_s,
            secrets=(self.token,),
            json_body={"api_token": self.token.reveal(), **body},
        )


def _same(one: Pointing, wanted: Mapping[str, Any], status: str) -> bool:
    near_dec = abs(one.dec_deg - wanted["dec"]) < _NEAR_DEG
    turn = (one.ra_deg - wanted["ra"] + 180.0) % 360.0 - 180.0
    near_ra = abs(turn) * math.cos(math.radians(wanted["dec"])) < _NEAR_DEG
    same = one.instrument_id == wanted["instrumentid"] and one.status == status
    return near_dec and near_ra and same


def _utc(when: datetime) -> str:
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S")


def build(name: str, table: Mapping[str, Any], client: httpx.Client) -> TreasureMapSink:
    """Entry point ``treasuremap``; touches no network.

    Settings: ``token``; ``groups`` (ours, whose claims are told); ``instruments`` (a list of
    ``NAME=NUMBER``, our instrument and its number there); ``depth_mag`` (20.5); ``url``
    (``https://treasuremap.space``); ``timeout_s`` (30); ``allow_http`` (false); ``practice``
    (false; true writes to ``TEST_EVENT``).

    Raises
    ------
    ConfigError
        A key is wrong; it is named.
    """
    settings = Settings(name, table)
    token = settings.needed_secret("token")
    instruments: dict[str, int] = {}
    for entry in settings.texts("instruments"):
        ours, _, number = entry.partition("=")
        if not ours or not number.isdecimal():
            raise settings.error("instruments", f"{entry!r} is not NAME=NUMBER")
        instruments[ours] = int(number)
    groups = settings.texts("groups")
    if not groups or not instruments:
        raise settings.error("groups", "groups and instruments are needed: whose claims are told")
    sink = TreasureMapSink(
        name,
        settings.flag("practice", False),
        web_address(settings, "url", settings.text("url", "https://treasuremap.space")),
        token,
        groups,
        instruments,
        settings.number("depth_mag", 20.5, low=5.0, high=35.0),
        settings.number("timeout_s", 30.0, low=1.0, high=300.0),
        client,
    )
    settings.finish()
    return sink
