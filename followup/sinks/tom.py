"""TOM Toolkit as a sink: a target per candidate, ranked, grouped by event.

Works against any unmodified TOM (3.x) through its REST interface, as one user of it.

Identity: the candidate's identifier is the target's name or one of its aliases; failing
that, the nearest sidereal target within ``cone_arcsec`` is taken for it and gets the
identifier as an alias. Only when both searches find nothing is a target created, so a
delivery can be repeated at any time (idempotent by search; photometry by comparison).

What mmcoord says is in extras named ``mmcoord_*``, rewritten by each plan revision; an
older revision that arrives late changes nothing. The target joins the target list named
after the event and is shared with ``groups``.

Withdrawing sets ``mmcoord_state`` (and rank and score) to ``retracted`` or ``withdrawn``
and, when the event is retracted, adds the target to the list ``EVENT retracted``. The
TOM's REST interface can neither take a target out of a list nor rename the list, and
the target itself is never deleted: others may have observed it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import httpx

from followup.sinks._http import MENDED_BY_A_PERSON_S
from followup.sinks._picture import light_curve_png
from followup.sinks._settings import Settings, web_address
from followup.sinks._tom_app import TomApp
from followup.sinks._tom_events import TomEvents
from followup.sinks._tom_observed import observed
from followup.sinks._tom_payload import (
    ACTIVE,
    SOURCE,
    DatumKey,
    Json,
    Wanted,
    datum_key,
    extras_of,
    has_extras,
    revision_of,
    stale_answer,
    target_payload,
)
from followup.sinks._tom_rest import Failed, Tom, login_of
from followup.sinks.base import Answer, Granularity, Heard, NotHeard, Outcome, Payload
from mmcoord.records import Outgoing

__all__ = ["TomSink", "build"]

_MAX_REMEMBERED = 5000
_CONFLICT = 409
_CHANGED_BEHIND_OUR_BACK = (400, 404, _CONFLICT, 500)
"""What a TOM answers when a target or extra that we remember was deleted."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """A target as the TOM last showed it."""

    target: Json
    photometry: frozenset[DatumKey] = frozenset()


@dataclass(slots=True)
class TomSink:
    """One TOM. Several threads may send at once, each another target (see ``SideBySide``)."""

    name: str
    is_practice: bool
    tom: Tom
    groups: tuple[str, ...]
    cone_arcsec: float
    with_photometry: bool
    is_public: bool = False
    granularity: Granularity = Granularity.TARGET
    settle_s: float = 0.0
    app: TomApp = field(init=False, repr=False)
    events: TomEvents = field(init=False, repr=False)
    with_pictures: bool = False
    at_once: int = 1
    """A TOM on SQLite answers 500 to writers that meet (seen), so more is the operator's word."""
    _seen: dict[str, _Seen] = field(default_factory=dict, repr=False)
    """By object id; spares a re-ranking its searches."""

    def __post_init__(self) -> None:
        self.app = TomApp(self.tom)
        self.events = TomEvents(self.tom)

    def payload(self, outgoing: Outgoing) -> Payload:
        """The body that creates the target, and its photometry.

        Raises
        ------
        ValueError
            ``outgoing`` has not exactly one row.
        """
        return target_payload(outgoing, self.groups, with_photometry=self.with_photometry)

    def send(self, payload: Payload, *, key: str) -> Answer:
        """Create or update the target, then add the photometry that it lacks."""
        wanted = Wanted.of(payload, key)
        try:
            return wanted.problem() or self._send(wanted)
        except Failed as failed:
            return failed.answer

    def lookup(self, payload: Payload, *, key: str) -> Answer | None:
        """Whether the target carries this revision (or a newer one) and the photometry."""
        wanted = Wanted.of(payload, key)
        try:
            self.tom.groups()
            target = self._search(wanted)
            if target is None or not self._carries(target, wanted):
                return Answer(Outcome.RETRY, detail="looked: not in the TOM")
            points = {datum_key(datum) for datum in payload["photometry"]}
            if points and points - self._photometry(target):
                return Answer(Outcome.RETRY, str(target["id"]), "looked: photometry missing")
            return Answer(Outcome.SENT, str(target["id"]), "looked: there")
        except Failed as failed:
            return replace(failed.answer, outcome=Outcome.UNKNOWN)

    def withdraw(self, payload: Payload, *, key: str, remote_id: str | None) -> Answer:
        """Mark the target; see the module's head for what a TOM allows."""
        try:
            return self._withdraw(Wanted.of(payload, key), remote_id)
        except Failed as failed:
            return failed.answer

    def check(self) -> Answer:
        """Whether the TOM knows us as a member of the first group."""
        try:
            groups = ", ".join(sorted(self.tom.groups()))
            return Answer(Outcome.SENT, detail=f"logged in at {self.tom.url}; groups: {groups}")
        except Failed as failed:
            return failed.answer

    def hear(self, after: int) -> Sequence[Heard]:
        """Claims of the TOM's users by our app, and observation records of any facility."""
        try:
            self.tom.groups()
            said = list(self.app.said_after(after, self.name)) if self.app.is_there() else []
            return [*said, *observed(self.tom, self.name)]
        except Failed as failed:
            raise NotHeard(failed.answer.detail) from failed

    def _send(self, wanted: Wanted) -> Answer:
        self.tom.groups()
        seen = self._seen.pop(wanted.object_id, None)
        if seen is not None and (self.app.is_there() or not has_extras(seen.target, wanted.extras)):
            try:
                return self._publish(seen.target, wanted, seen.photometry)
            except Failed as failed:
                if failed.status not in _CHANGED_BEHIND_OUR_BACK:
                    raise  # else look properly
        target = self._search(wanted)
        if target is not None:
            return self._publish(target, wanted, None)
        created, target = self._create(wanted)
        return self._publish(target, wanted, frozenset() if created else None)

    def _publish(
        self, target: Json, wanted: Wanted, photometry: frozenset[DatumKey] | None
    ) -> Answer:
        """Bring ``target`` up to date; ``photometry`` is what it has, None: not known."""
        stale = stale_answer(target, wanted)
        if stale is not None:
            return stale
        more: Json = {}
        aliases = {alias["name"] for alias in target.get("aliases", [])}
        if wanted.object_id not in {target["name"], *aliases}:
            more["aliases"] = [{"name": wanted.object_id}]
        if unshared := self._unshared(target, wanted.object_id):
            more["groups"] = unshared
        extras: Mapping[str, str] = wanted.extras
        if self.app.is_there() and extras_of(target).get("mmcoord_event") == wanted.event_id:
            extras = {}  # written once, for the list and the search; the app has what changes
        if more or not has_extras(target, extras):
            target = self._changed(target, extras, wanted.lists, more)
        if self.app.is_there():
            request = {**wanted.payload["request"], "delivery_key": wanted.extras["mmcoord_key"]}
            self.app.put(target["id"], request)
        self._mark(target, wanted, ACTIVE)
        data: list[Json] = wanted.payload["photometry"]
        if photometry is None:
            photometry = self._photometry(target) if data else frozenset()
        for datum in data:
            if datum_key(datum) not in photometry:
                self.tom.add_datum({**datum, "target": target["id"]})
        if self.with_pictures and data:
            name, png = light_curve_png(wanted.event_id, wanted.object_id, data)
            self.tom.add_product(target["id"], "image_file", name, png)
        there = photometry.union(datum_key(datum) for datum in data)
        self._remember(wanted.object_id, _Seen(target, there))
        return Answer(Outcome.SENT, str(target["id"]), f"target {target['name']}")

    def _create(self, wanted: Wanted) -> tuple[bool, Json]:
        """(True, the new target), or (False, the target that somebody else just made)."""
        body = {**wanted.payload["target"], "targetextra_set": wanted.extra_set()}
        try:
            return True, self.tom.create(body)
        except Failed as failed:
            if failed.status != 400 or "already exists" not in failed.answer.detail:
                raise
        target = self._search(wanted)  # somebody was quicker
        if target is None:
            detail = (
                f"a target named {wanted.object_id!r} exists but this user may not see it: "
                "share it with the group in the TOM"
            )
            raise Failed(Answer(Outcome.RETRY, detail=detail, retry_after_s=MENDED_BY_A_PERSON_S))
        return False, target

    def _search(self, wanted: Wanted) -> Json | None:
        """By name and alias, then by place."""
        target = self.tom.named(wanted.object_id)
        if target is not None or self.cone_arcsec == 0.0:
            return target
        for near in self.tom.within(wanted.ra_deg, wanted.dec_deg, self.cone_arcsec):
            extras = extras_of(near)
            other = extras.get("mmcoord_object", wanted.object_id) != wanted.object_id
            if other and extras.get("mmcoord_event") == wanted.event_id:
                continue  # two candidates of one plan stay two targets
            return near
        return None

    def _unshared(self, target: Json, object_id: str) -> list[Json]:
        """Groups to share a target of ours with whose creation broke off half-way.

        A target without any group is seen by its creator alone, so it is ours. One that is
        shared, or has another name, may be anybody's: its visibility is not ours to widen.
        """
        if target.get("groups") or target["name"] != object_id:
            return []
        ours = self.tom.groups()
        return [{"id": ours[name], "name": name} for name in self.groups if name in ours]

    def _changed(
        self, target: Json, extras: Mapping[str, str], lists: list[str], more: Json | None = None
    ) -> Json:
        there = extras_of(target)
        change: Json = {  # each extra costs the TOM a transaction: only those that differ
            "targetextra_set": [
                {"key": k, "value": v} for k, v in extras.items() if there.get(k) != v
            ],
            "target_lists": [{"name": name} for name in lists],
            **(more or {}),
        }
        changed = self.tom.change(target, change)
        if not has_extras(changed, extras):  # the TOM drops what it finds invalid, silently
            detail = f"the TOM did not take all extras of {target['name']}"
            raise Failed(Answer(Outcome.RETRY, str(target["id"]), detail), _CONFLICT)
        return changed

    def _carries(self, target: Json, wanted: Wanted) -> bool:
        """Whether the TOM has this revision or a newer one."""
        if self.app.is_there():
            held = self.app.get(wanted.event_id, wanted.object_id)
            if held is None:
                return False
            newer = int(held["plan_revision"]) > wanted.revision
            return newer or held["delivery_key"] == wanted.extras["mmcoord_key"]
        extras = extras_of(target)
        if extras.get("mmcoord_key") == wanted.extras["mmcoord_key"]:
            return True
        same_event = extras.get("mmcoord_event") == wanted.event_id
        return same_event and revision_of(target) > wanted.revision

    def _mark(self, target: Json, wanted: Wanted, state: str) -> None:
        request = wanted.payload["request"]
        why = "; ".join(f"{name}: {text}" for name, text in request["reasons"].items())
        self.events.mark(
            wanted.event_id,
            target["id"],
            priority=request["rank"],
            viable=state == ACTIVE,
            why=why if state == ACTIVE else state,
        )

    def _photometry(self, target: Json) -> frozenset[DatumKey]:
        return frozenset(datum_key(d) for d in self.tom.photometry(target["id"], SOURCE))

    def _withdraw(self, wanted: Wanted, remote_id: str | None) -> Answer:
        self.tom.groups()
        target = None
        if remote_id is not None and remote_id.isdecimal():
            target = self.tom.target(int(remote_id))
        if target is None:
            target = self.tom.named(wanted.object_id)
        if target is None or "mmcoord_event" not in extras_of(target):
            return Answer(Outcome.SENT, remote_id, "no such target of ours: nothing to withdraw")
        state = wanted.extras["mmcoord_state"]
        if state == ACTIVE:  # the published payload itself: it does not say why
            state = "withdrawn"
        lists = wanted.lists if state == "retracted" else []
        extras = {}
        if extras_of(target)["mmcoord_event"] == wanted.event_id:
            revision = max(wanted.revision, revision_of(target))
            extras = {
                "mmcoord_state": state,
                "mmcoord_rank": state,
                "mmcoord_score": state,
                "mmcoord_plan_revision": str(revision),
            }
        target = self._changed(target, extras, lists)
        self._seen.pop(wanted.object_id, None)
        if self.app.is_there():
            request = {**wanted.payload["request"], "state": state}
            request["delivery_key"] = wanted.extras["mmcoord_key"]
            self.app.put(target["id"], request)
        self._mark(target, wanted, state)
        where = f", listed under {lists[0]!r}" if lists else ""
        what = state if extras else f"kept, another event's by now ({state} for this one)"
        return Answer(Outcome.SENT, str(target["id"]), f"{target['name']}: {what}{where}")

    def _remember(self, object_id: str, seen: _Seen) -> None:
        if len(self._seen) >= _MAX_REMEMBERED:
            self._seen.clear()
        self._seen[object_id] = seen


def build(name: str, table: Mapping[str, Any], client: httpx.Client) -> TomSink:
    """Entry point ``tom``; touches no network.

    Settings: ``url``; ``token`` or ``username`` and ``password``; ``groups`` (default
    ``["mmcoord"]``; the user must be a member of the first); ``cone_arcsec`` (1; 0 switches
    the search by place off); ``photometry`` (true); ``pictures`` (false; needs matplotlib);
    ``at_once`` (1, at most 8: rankings of known targets under way together); ``timeout_s`` (20);
    ``allow_http`` (false); ``practice`` (false).

    Raises
    ------
    ConfigError
        A key is wrong; it is named.
    """
    settings = Settings(name, table)
    url = web_address(settings, "url", settings.text("url"))
    login = login_of(settings)
    groups = settings.texts("groups", ["mmcoord"])
    if not groups:
        raise settings.error("groups", "needs at least one group that the user is a member of")
    tom = Tom(
        url,
        login,
        client,
        member_of=groups[0],
        timeout_s=settings.number("timeout_s", 20.0, low=1.0, high=300.0),
    )
    sink = TomSink(
        name,
        settings.flag("practice", False),
        tom,
        groups,
        cone_arcsec=settings.number("cone_arcsec", 1.0, low=0.0, high=60.0),
        with_photometry=settings.flag("photometry", True),
        with_pictures=settings.flag("pictures", False),
        at_once=int(settings.number("at_once", 1, low=1, high=8)),
    )
    settings.finish()
    return sink
