"""Slack with a bot token: one message per event, edited in place; a thread tells the revisions.

Identity: each message carries a tag in its metadata (event, revision, key), and the channel's
history is searched for it before anything is posted, so a delivery can be repeated at any
time. Between a post whose answer is lost and the next search Slack's history shows the
message, so that a repeat edits it. The history is read back 30 days, once, and then only what
is new (``_slack_read``): a look-up costs a request however full the channel is.

Buttons beside the first targets claim them; Slack sends the press to
``/api/v1/slack/interact`` (``mmcoord/api/slack.py``). Scopes of the app: ``chat:write``,
``channels:history`` (``groups:history`` for a private channel), ``files:write``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import httpx

from followup.sinks._gcn_draft import draft_link
from followup.sinks._http import Failed
from followup.sinks._picture import sky_png
from followup.sinks._settings import Settings, web_address
from followup.sinks._slack_message import escape, slack_payload, taken_back, told
from followup.sinks._slack_read import Reading
from followup.sinks._slack_web import GONE, Refused, SlackWeb
from followup.sinks.base import Answer, Granularity, Outcome, Payload
from mmcoord.records import Outgoing, PlanRow

__all__ = ["SlackBotSink", "build"]

_BUTTONS = 5
_MAX_URL = 3000
_MAX_VALUE = 2000
"""Limits of Slack's buttons."""
_MAX_THREADS = 500
"""Remembered; one that is not is read again."""


@dataclass(slots=True)
class SlackBotSink:
    """One channel."""

    name: str
    is_practice: bool
    web: SlackWeb
    max_rows: int
    tom_url: str
    """Of the TOM whose targets are linked; empty: none."""
    with_picture: bool
    is_public: bool = False
    granularity: Granularity = Granularity.PLAN
    settle_s: float = 5.0
    _channel: Reading = field(init=False, repr=False)
    _threads: dict[str, Reading] = field(default_factory=dict, repr=False)
    """By the ``ts`` of the message that they hang on."""

    def __post_init__(self) -> None:
        self._channel = Reading(self.web)

    def payload(self, outgoing: Outgoing) -> Payload:
        """The message with its buttons, and what the picture is drawn from."""
        payload = slack_payload(outgoing, self.max_rows)
        if payload["state"] == "active":
            *blocks, footer = payload["message"]["blocks"]
            payload["message"]["blocks"] = [*blocks, *self._actions(outgoing), footer]
        outlines = {k: v for k, v in outgoing.outlines.items() if k in ("0.5", "0.9")}
        payload["picture"] = {
            "outlines": outlines,
            "places": [[row.ra_deg, row.dec_deg] for row in outgoing.rows[: self.max_rows]],
        }
        return payload

    def send(self, payload: Payload, *, key: str) -> Answer:
        """Post or edit the event's message, then say the revision in its thread."""
        try:
            return self._send(payload, key)
        except Failed as failed:
            self._forget_if_gone(failed, payload["event_id"])
            return failed.answer

    def lookup(self, payload: Payload, *, key: str) -> Answer | None:
        """Whether the thread says this revision."""
        try:
            ts = self._find(payload["event_id"])
            if ts is not None and self._is_said(ts, key):
                return Answer(Outcome.SENT, ts, "looked: there")
            return Answer(Outcome.RETRY, detail="looked: not in the channel")
        except Failed as failed:
            self._forget_if_gone(failed, payload["event_id"])
            return Answer(Outcome.UNKNOWN, detail=failed.answer.detail)

    def withdraw(self, payload: Payload, *, key: str, remote_id: str | None) -> Answer:
        """Edit the message into one that says so, and say it in the thread."""
        try:
            ts = remote_id or self._find(payload["event_id"])
            if ts is None:
                return Answer(Outcome.SENT, remote_id, "not in the channel: nothing to withdraw")
            body, own_key = taken_back(payload, key), f"{key}/withdraw"
            self._edit(ts, body, {**_tag(payload, own_key), "ended": True})
            if not self._is_said(ts, own_key):
                self.web.post({"text": body["text"]}, _tag(payload, own_key), ts)
            return Answer(Outcome.SENT, ts, "edited: it says that the plan no longer holds")
        except Failed as failed:
            if self._forget_if_gone(failed, payload["event_id"]):
                return Answer(Outcome.SENT, remote_id, "deleted there: nothing to withdraw")
            return failed.answer

    def check(self) -> Answer:
        """Whether Slack knows the token."""
        try:
            return Answer(Outcome.SENT, detail=self.web.who())
        except Failed as failed:
            return failed.answer

    def tell(self, text: str, *, key: str) -> Answer:
        """Post words for the operators, unless the channel has them."""
        try:
            tags = self._channel.catch_up()
            for ts, tag in tags.items():
                if tag.get("key") == key:
                    return Answer(Outcome.SENT, ts, "there already")
            return Answer(Outcome.SENT, self.web.post(told(text, key), {"key": key}))
        except Failed as failed:
            return failed.answer

    def _send(self, payload: Payload, key: str) -> Answer:
        event_id, revision, message = (
            payload["event_id"], payload["plan_revision"], payload["message"]
        )  # fmt: skip
        tag = _tag(payload, key)
        ts = self._find(event_id)
        if ts is None:
            known = {**tag, "map": ""} if self.with_picture else tag
            ts = self.web.post(message, known)
            self._channel.tags[ts] = known
        else:
            held, said = self._channel.tags[ts], self._thread(ts).catch_up()
            if any(one.get("key") == key for at, one in said.items() if at != ts):
                return Answer(Outcome.SENT, ts, f"message {ts}: said before")
            if any(int(one.get("revision", 0)) > revision for one in (held, *said.values())):
                return Answer(Outcome.SENT, ts, "a newer revision is there")
            known = said.get(ts, held)  # a thread shows the message that it hangs on
        if tag["map"] and tag["map"] != known.get("map") and self.with_picture:
            self._upload(payload, ts)
        if known != tag:
            self._edit(ts, message, tag)
        text = f"Revision {revision}: {message['text']}"
        self.web.post({"text": text}, {"key": key, "revision": revision}, ts)
        return Answer(Outcome.SENT, ts, f"message {ts}")

    def _edit(self, ts: str, body: Payload, tag: dict[str, Any]) -> None:
        self.web.update(ts, body, tag)
        self._channel.tags[ts] = tag

    def _upload(self, payload: Payload, ts: str) -> None:
        picture = payload["picture"]
        places = [(float(ra), float(dec)) for ra, dec in picture["places"]]
        png = sky_png(payload["event_id"], picture["outlines"], places)
        name = f"{payload['event_id']}-{payload['plan_revision']}.png"
        self.web.upload(name, f"Map of {payload['event_id']}", png, ts)

    def _find(self, event_id: str) -> str | None:
        """The ``ts`` of the event's message; the channel is asked where it is not known yet."""
        ts = self._known(event_id)
        if ts is None:
            self._channel.catch_up()
            ts = self._known(event_id)
        return ts

    def _known(self, event_id: str) -> str | None:
        tags = list(self._channel.tags.items())
        own = [ts for ts, tag in tags if tag.get("event_id") == event_id]
        return max(own, key=float, default=None)

    def _thread(self, ts: str) -> Reading:
        if ts not in self._threads:
            if len(self._threads) >= _MAX_THREADS:
                self._threads.pop(next(iter(self._threads)))
            self._threads[ts] = Reading(self.web, ts)
        return self._threads[ts]

    def _is_said(self, ts: str, key: str) -> bool:
        said = self._thread(ts).catch_up()
        return any(tag.get("key") == key for found, tag in said.items() if found != ts)

    def _forget_if_gone(self, failed: Failed, event_id: str) -> bool:
        """After somebody deleted the message: the next attempt posts another."""
        if not (isinstance(failed, Refused) and failed.word in GONE):
            return False
        while (ts := self._known(event_id)) is not None:
            del self._channel.tags[ts]
            self._threads.pop(ts, None)
        return True

    def _actions(self, outgoing: Outgoing) -> list[dict[str, Any]]:
        buttons = [
            _button(f"Claim {row.rank}", f"claim:{row.rank}", outgoing.event_id, row)
            for row in outgoing.rows[:_BUTTONS]
        ]
        links = [("GCN draft", draft_link(outgoing))] if outgoing.rows else []
        if outgoing.page_url:
            links.append(("Approve, Hermes form", f"{outgoing.page_url}#h-deliveries"))
        if self.tom_url and outgoing.rows:
            name = quote(outgoing.rows[0].object_id, safe="")
            links.append(("First in the TOM", f"{self.tom_url}/targets/?name={name}"))
        linked = [_link_button(text, url, n) for n, (text, url) in enumerate(links)]
        groups = [[b for b in buttons if b], [b for b in linked if b]]
        return [{"type": "actions", "elements": group} for group in groups if group]


def _tag(payload: Payload, key: str) -> dict[str, Any]:
    outlines = payload["picture"]["outlines"]
    text = json.dumps(outlines, sort_keys=True)
    return {
        "event_id": payload["event_id"],
        "revision": payload["plan_revision"],
        "key": key,
        "map": hashlib.sha256(text.encode()).hexdigest()[:16] if outlines else "",
    }


def _button(text: str, action: str, event_id: str, row: PlanRow) -> dict[str, Any] | None:
    value = json.dumps([event_id, row.object_id])
    if len(value) > _MAX_VALUE:
        return None
    label = f"{text}: {row.object_id}"[:70]
    plain = {"type": "plain_text", "text": label, "emoji": False}
    return {"type": "button", "text": plain, "action_id": action, "value": value}


def _link_button(text: str, url: str, number: int) -> dict[str, Any] | None:
    if len(url) > _MAX_URL:
        return None
    plain = {"type": "plain_text", "text": escape(text), "emoji": False}
    return {"type": "button", "text": plain, "action_id": f"link:{number}", "url": url}


def build(name: str, table: Mapping[str, Any], client: httpx.Client) -> SlackBotSink:
    """Entry point ``slack_bot``; touches no network.

    Settings: ``token`` (of the bot); ``channel`` (its id); ``rows`` shown of a plan (10);
    ``picture`` (true; needs matplotlib); ``tom_url`` (none); ``url``
    (``https://slack.com/api``); ``timeout_s`` (10); ``allow_http`` (false); ``practice``
    (false).

    Raises
    ------
    ConfigError
        A key is wrong; it is named.
    """
    settings = Settings(name, table)
    token = settings.needed_secret("token")
    url = web_address(settings, "url", settings.text("url", "https://slack.com/api"))
    tom_url = settings.text("tom_url", "") if settings.has("tom_url") else ""
    web = SlackWeb(
        url,
        token,
        settings.text("channel"),
        settings.number("timeout_s", 10.0, low=1.0, high=120.0),
        client,
    )
    sink = SlackBotSink(
        name,
        settings.flag("practice", False),
        web,
        int(settings.number("rows", 10, low=1, high=100)),
        tom_url.rstrip("/"),
        settings.flag("picture", True),
    )
    settings.finish()
    return sink
