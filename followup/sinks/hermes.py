"""Hermes as a sink: one public message per plan revision, on a test topic by default.

Identity: Hermes knows no idempotency key, so a tag made of ours closes the title. Every
``send`` looks for the tag in the archive first (``/api/v0/query/`` answers with titles),
because a message that is published twice is public twice. The archive needs a moment to
take a message in: after an unclear answer the outbox is asked to wait before it looks.

Only a ``uuid`` in the answer is success: Hermes says 200 with an ``error`` for a user
without a SCiMMA credential, and 500 to messages that it *has* published.

Withdrawing publishes a message that says so, and marks the old one as retracted in the
archive. What subscribers received stays received.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import httpx

from followup.sinks._hermes_message import (
    hermes_message,
    keyed,
    problems,
    retraction_of,
    tag_of,
)
from followup.sinks._http import MENDED_BY_A_PERSON_S, Reply, Rule, Trouble, call, judge
from followup.sinks._settings import Secret, Settings, web_address
from followup.sinks.base import Answer, Granularity, Outcome, Payload
from mmcoord.records import Outgoing

__all__ = ["HermesSink", "build"]

ARCHIVE_DELAY_S = 60.0
"""After an unclear answer: time given to the archive before it is searched."""

_LOOK_BACK_S = 14 * 86400.0
_PAGE = 1000
_MAX_PAGES = 20


def _has(reply: Reply, key: str) -> bool:
    return isinstance(reply.body, dict) and bool(reply.body.get(key))


def _is_kafka_error(reply: Reply) -> bool:
    return _has(reply, "error") and "kafka" in str(reply.body["error"]).lower()


_NOT_THERE: tuple[Rule, ...] = (
    Rule("not reached", lambda r: r.trouble is Trouble.NOT_REACHED, Outcome.RETRY),
    Rule("token refused", lambda r: r.status in (401, 403), Outcome.RETRY, MENDED_BY_A_PERSON_S),
    Rule("redirected", lambda r: 300 <= r.status < 400, Outcome.RETRY, MENDED_BY_A_PERSON_S),
    Rule("wrong address", lambda r: r.status in (404, 405), Outcome.RETRY, MENDED_BY_A_PERSON_S),
    Rule("too many requests", lambda r: r.status == 429, Outcome.RETRY),
)

SUBMIT: tuple[Rule, ...] = (
    Rule("published", lambda r: r.status == 200 and _has(r, "uuid"), Outcome.SENT),
    *_NOT_THERE,
    Rule(
        "no SCiMMA credential",
        lambda r: r.status == 200 and _has(r, "error"),
        Outcome.RETRY,
        MENDED_BY_A_PERSON_S,
    ),
    # The broker may have taken the message before Hermes gave up on it.
    Rule(
        "Kafka failed",
        lambda r: r.status == 400 and _is_kafka_error(r),
        Outcome.UNKNOWN,
        ARCHIVE_DELAY_S,
    ),
    Rule("not accepted", lambda r: r.status in (400, 413, 415, 422), Outcome.REJECTED),
    # Seen: 500 after the message was published.
    Rule("failed inside", lambda r: r.status >= 500, Outcome.UNKNOWN, ARCHIVE_DELAY_S),
    Rule("no answer", lambda r: r.trouble is Trouble.NO_ANSWER, Outcome.UNKNOWN, ARCHIVE_DELAY_S),
    Rule("not Hermes's answer", lambda r: True, Outcome.UNKNOWN, ARCHIVE_DELAY_S),
)

QUERY: tuple[Rule, ...] = (
    Rule(
        "found out",
        lambda r: r.status == 200 and isinstance(r.body, dict) and "messages" in r.body,
        Outcome.SENT,
    ),
    *_NOT_THERE,
    Rule("the archive cannot be searched", lambda r: True, Outcome.RETRY),
)

MARK: tuple[Rule, ...] = (
    Rule("marked as retracted", lambda r: r.status == 200 and _has(r, "success"), Outcome.SENT),
    Rule("not reached", lambda r: r.trouble is Trouble.NOT_REACHED, Outcome.RETRY),
    Rule("too many requests", lambda r: r.status == 429, Outcome.RETRY),
    # Not the sender's credential, or a Hermes without this function: the message stands.
    Rule("cannot be marked", lambda r: 400 <= r.status < 500, Outcome.REJECTED),
    Rule("marking failed", lambda r: True, Outcome.RETRY),
)

PRELOAD: tuple[Rule, ...] = (
    Rule("loaded", lambda r: r.status == 201 and _has(r, "key"), Outcome.SENT),
    *_NOT_THERE,
    Rule("not loaded", lambda r: True, Outcome.RETRY),
)

HEARTBEAT: tuple[Rule, ...] = (
    Rule("logged in", lambda r: r.status == 200 and _has(r, "is_authenticated"), Outcome.SENT),
    *_NOT_THERE,
    Rule(
        "not logged in",
        lambda r: r.status == 200 and isinstance(r.body, dict),
        Outcome.RETRY,
        MENDED_BY_A_PERSON_S,
    ),
    Rule("no heartbeat", lambda r: True, Outcome.RETRY),
)


@dataclass(frozen=True, slots=True)
class HermesSink:
    """One Hermes account and topic."""

    name: str
    is_practice: bool
    url: str
    token: Secret
    topic: str
    submitter: str
    title_prefix: str
    timeout_s: float
    client: httpx.Client = field(repr=False)
    granularity: Granularity = Granularity.PLAN
    settle_s: float = 90.0

    @property
    def is_public(self) -> bool:
        """Hermes is open to anybody; on a test topic nobody takes a message for real."""
        return not self.is_practice

    def payload(self, outgoing: Outgoing) -> Payload:
        """The message; ``data.mmcoord`` carries the whole ranking."""
        return hermes_message(
            outgoing,
            topic=self.topic,
            submitter=self.submitter,
            title_prefix=self.title_prefix,
        )

    def send(self, payload: Payload, *, key: str) -> Answer:
        """Check, look whether it is there, publish."""
        return self._publish(keyed(payload, key), key)

    def lookup(self, payload: Payload, *, key: str) -> Answer | None:
        """Search the archive's last fortnight on this topic for the key's tag."""
        return self._find(key)

    def withdraw(self, payload: Payload, *, key: str, remote_id: str | None) -> Answer:
        """Publish a message that takes the old one back, and mark the old one."""
        uuid = remote_id
        if uuid is None:
            found = self._find(key)
            if found.outcome is Outcome.RETRY:
                return Answer(Outcome.SENT, detail="not in the archive: nothing to withdraw")
            if found.outcome is not Outcome.SENT:
                return replace(found, outcome=Outcome.RETRY)
            uuid = found.remote_id
        own_key = f"{key}/withdraw"
        said = self._publish(retraction_of(payload, key=own_key, uuid=uuid), own_key)
        if said.outcome is not Outcome.SENT:
            return said
        marked = judge(
            self._call("PATCH", f"/api/v0/query/message/{uuid}/", {"retracted": True}), MARK
        )
        if marked.outcome is Outcome.RETRY:
            return marked  # the message is found in the archive next time, not sent again
        return replace(said, detail=f"{said.detail}; old message: {marked.detail}")

    def preload(self, payload: Payload) -> Answer:
        """Put the message into Hermes's form for a person to approve.

        ``extra["link"]`` of the answer opens it for 15 minutes; nothing is published.
        """
        reply = self._call("POST", "/api/v0/submit_message/preload/", payload)
        answer = judge(reply, PRELOAD)
        if answer.outcome is not Outcome.SENT:
            return answer
        link = f"{self.url}/submit-message?id={reply.body['key']}"
        return replace(answer, extra={"link": link})

    def check(self) -> Answer:
        """Whether Hermes knows the token. (The SCiMMA credential shows only on submission.)"""
        return judge(self._call("GET", "/api/v0/heartbeat/"), HEARTBEAT)

    def _publish(self, message: Payload, key: str) -> Answer:
        broken = problems(message)
        if broken:
            return Answer(Outcome.REJECTED, detail="; ".join(broken[:5]))
        found = self._find(key)
        if found.outcome is Outcome.SENT:
            return found
        if found.outcome is Outcome.UNKNOWN:  # do not publish blindly; nothing was sent now
            return replace(found, outcome=Outcome.RETRY)
        reply = self._call("POST", "/api/v0/submit_message/", message)
        answer = judge(reply, SUBMIT)
        if answer.outcome is not Outcome.SENT:
            return answer
        return Answer(Outcome.SENT, str(reply.body["uuid"]), f"published on {self.topic}")

    def _find(self, key: str) -> Answer:
        """SENT with the uuid; RETRY: searched, not there; UNKNOWN: could not be searched."""
        tag = f"[{tag_of(key)}]"
        oldest_ms = (time.time() - _LOOK_BACK_S) * 1000.0
        params: dict[str, str | int] = {"topic": self.topic, "limit": _PAGE}
        for _ in range(_MAX_PAGES):
            reply = self._call("GET", "/api/v0/query/", None, params)
            answer = judge(reply, QUERY)
            if answer.outcome is not Outcome.SENT:
                return replace(answer, outcome=Outcome.UNKNOWN)
            sent_ms = math.inf
            for record in reply.body["messages"]:
                title, uuid, sent_ms = _title_uuid_time(record)
                if title.endswith(tag):
                    return Answer(Outcome.SENT, uuid, f"in the archive of {self.topic}")
            if not reply.body.get("next") or sent_ms < oldest_ms:  # the newest come first
                return Answer(Outcome.RETRY, detail="looked: not in the archive")
            params["page"] = str(reply.body["next"])
        return Answer(Outcome.UNKNOWN, detail="the archive has too many messages to search")

    def _call(
        self,
        method: str,
        path: str,
        body: Any = None,
        params: Mapping[str, str | int] | None = None,
    ) -> Reply:
        return call(
            self.client,
            method,
            f"{self.url}{path}",
            timeout_s=self.timeout_s,
            secrets=(self.token,),
            headers={"Authorization": f"Token {self.token.reveal()}"},
            params=params,
            json_body=body,
        )


def _title_uuid_time(record: Any) -> tuple[str, str | None, float]:
    """Title, uuid and time (ms since 1970; infinite if not given) of an archived message.

    From the archive's annotations, or from the headers where a record has them.
    """
    if not isinstance(record, dict):
        return "", None, math.inf
    notes = record.get("annotations") or {}
    metadata = record.get("metadata") or {}
    headers = metadata.get("headers") or {}
    title = notes.get("title") or headers.get("title") or ""
    uuid = notes.get("con_text_uuid") or headers.get("_id")
    sent_ms = metadata.get("timestamp")
    return (
        str(title),
        None if uuid is None else str(uuid),
        float(sent_ms) if isinstance(sent_ms, int | float) else math.inf,
    )


def build(name: str, table: Mapping[str, Any], client: httpx.Client) -> HermesSink:
    """Entry point ``hermes``; touches no network.

    Settings: ``token`` (of the Hermes profile); ``submitter``; ``topic``
    (``hermes.test``); ``url`` (``https://hermes.lco.global``); ``title_prefix``
    (``mmcoord``); ``timeout_s`` (30); ``allow_http`` (false); ``practice`` (true on a topic
    that contains "test", else false).

    Raises
    ------
    ConfigError
        A key is wrong, or a practice sink is given a public topic.
    """
    settings = Settings(name, table)
    topic = settings.text("topic", "hermes.test")
    practice = settings.flag("practice", "test" in topic)
    if practice and "test" not in topic:
        raise settings.error("topic", 'a practice sink needs a topic that contains "test"')
    token = settings.needed_secret("token")
    sink = HermesSink(
        name,
        practice,
        web_address(settings, "url", settings.text("url", "https://hermes.lco.global")),
        token,
        topic,
        settings.text("submitter"),
        settings.text("title_prefix", "mmcoord"),
        settings.number("timeout_s", 30.0, low=1.0, high=300.0),
        client,
    )
    settings.finish()
    return sink
