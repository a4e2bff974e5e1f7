"""A Slack channel as a sink, through an incoming webhook: one message per plan revision.

Identity: none. A webhook neither finds nor changes what it has posted, so an unclear
answer can only be followed by posting again; each message ends with a tag of its key, by
which people recognise a repeat.

Withdrawing posts a message that says so to the same channel.

The webhook's address is the secret: it is in no payload, answer, error or log line.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httpx

from followup.sinks._http import (
    MENDED_BY_A_PERSON_S,
    Rule,
    Trouble,
    call,
    hide_in_request_log,
    judge,
)
from followup.sinks._settings import Secret, Settings, web_address
from followup.sinks._slack_message import slack_payload, taken_back, told
from followup.sinks.base import Answer, Granularity, Outcome, Payload
from mmcoord.records import Outgoing

__all__ = ["SlackSink", "build"]

POST: tuple[Rule, ...] = (
    Rule("posted", lambda r: r.status == 200 and r.text == "ok", Outcome.SENT),
    Rule("not reached", lambda r: r.trouble is Trouble.NOT_REACHED, Outcome.RETRY),
    Rule("redirected", lambda r: 300 <= r.status < 400, Outcome.RETRY, MENDED_BY_A_PERSON_S),
    Rule("too many requests", lambda r: r.status == 429, Outcome.RETRY, 30.0),
    # invalid_token, no_service, channel_not_found, channel_is_archived ...
    Rule(
        "webhook refused",
        lambda r: r.status in (401, 403, 404, 410),
        Outcome.RETRY,
        MENDED_BY_A_PERSON_S,
    ),
    Rule("not accepted", lambda r: 400 <= r.status < 500, Outcome.REJECTED),
    Rule("failed inside", lambda r: r.status >= 500, Outcome.UNKNOWN, 30.0),
    Rule("no answer", lambda r: r.trouble is Trouble.NO_ANSWER, Outcome.UNKNOWN, 30.0),
    Rule("not Slack's answer", lambda r: True, Outcome.UNKNOWN, MENDED_BY_A_PERSON_S),
)


@dataclass(frozen=True, slots=True)
class SlackSink:
    """One channel."""

    name: str
    is_practice: bool
    webhook: Secret
    max_rows: int
    timeout_s: float
    client: httpx.Client = field(repr=False)
    is_public: bool = False
    granularity: Granularity = Granularity.PLAN
    settle_s: float = 0.0

    def payload(self, outgoing: Outgoing) -> Payload:
        """The message under ``message``; beside it what withdrawing needs."""
        return slack_payload(outgoing, self.max_rows)

    def send(self, payload: Payload, *, key: str) -> Answer:
        """Post the message."""
        return self._post(payload["message"])

    def lookup(self, payload: Payload, *, key: str) -> Answer | None:
        """None: a webhook cannot read."""
        return None

    def withdraw(self, payload: Payload, *, key: str, remote_id: str | None) -> Answer:
        """Post a message that takes the earlier one back."""
        return self._post(taken_back(payload, key))

    def check(self) -> Answer:
        """UNKNOWN: a webhook can be tried only by posting."""
        return Answer(Outcome.UNKNOWN, detail="a webhook can be tried only by posting")

    def tell(self, text: str, *, key: str) -> Answer:
        """Post the text; a repeat is recognised by the tag at its end."""
        return self._post(told(text, key))

    def _post(self, body: Payload) -> Answer:
        reply = call(
            self.client,
            "POST",
            self.webhook.reveal(),
            timeout_s=self.timeout_s,
            secrets=(self.webhook, *_path_of(self.webhook)),
            json_body=body,
        )
        return judge(reply, POST)


def _path_of(webhook: Secret) -> tuple[Secret, ...]:
    """The telling part of the address, which an answer or a log line may hold alone."""
    path = urlsplit(webhook.reveal()).path
    return (Secret(path),) if len(path) > 8 else ()


def build(name: str, table: Mapping[str, Any], client: httpx.Client) -> SlackSink:
    """Entry point ``slack``; touches no network.

    Settings: ``webhook``; ``rows`` shown of a plan (10); ``timeout_s`` (10); ``allow_http``
    (false); ``practice`` (false).

    Raises
    ------
    ConfigError
        A key is wrong; it is named.
    """
    settings = Settings(name, table)
    webhook = settings.secret("webhook")
    if webhook is None:
        raise settings.error("webhook", "is missing (webhook, webhook_env or webhook_file)")
    webhook = Secret(web_address(settings, "webhook", webhook.reveal()))
    for secret in (webhook, *_path_of(webhook)):
        hide_in_request_log(secret)
    sink = SlackSink(
        name,
        settings.flag("practice", False),
        webhook,
        int(settings.number("rows", 10, low=1, high=100)),
        settings.number("timeout_s", 10.0, low=1.0, high=120.0),
        client,
    )
    settings.finish()
    return sink
