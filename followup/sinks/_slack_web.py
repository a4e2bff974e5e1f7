"""Slack's web API with a bot token: calls, and what its answers mean.

Slack answers 200 to nearly everything, and says in ``ok`` and ``error`` what happened.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import httpx

from followup.sinks._http import MENDED_BY_A_PERSON_S, Failed, Reply, Rule, Trouble, call, judge
from followup.sinks._settings import Secret
from followup.sinks.base import Answer, Outcome

__all__ = ["GONE", "WEB", "Json", "Page", "Refused", "SlackWeb"]

Json = dict[str, Any]
_PAGE = 200
_TAG_TYPE = "mmcoord"

_BY_A_PERSON = frozenset(
    {
        *("not_authed", "invalid_auth", "account_inactive", "token_revoked", "token_expired"),
        *("missing_scope", "no_permission", "channel_not_found", "not_in_channel"),
        *("is_archived", "restricted_action", "access_denied", "ekm_access_denied"),
    }
)
GONE = frozenset({"message_not_found", "thread_not_found"})
"""What Slack says of a message that somebody has deleted."""
_TOO_MANY = frozenset({"ratelimited", "rate_limited", "message_limit_exceeded"})
_WRONG = frozenset(
    {
        *("msg_too_long", "msg_blocks_too_long", "invalid_blocks", "invalid_blocks_format"),
        *("no_text", "invalid_arguments", "invalid_metadata_format", "invalid_metadata_schema"),
        *("metadata_too_large", "cant_update_message", "edit_window_closed"),
    }
)


def _error(reply: Reply) -> str:
    body = reply.body
    return str(body.get("error")) if isinstance(body, dict) and body.get("ok") is False else ""


def _is_too_many(reply: Reply) -> bool:
    return reply.status == 429 or _error(reply) in _TOO_MANY


WEB: tuple[Rule, ...] = (
    Rule(
        "done",
        lambda r: r.status == 200 and isinstance(r.body, dict) and r.body.get("ok") is True,
        Outcome.SENT,
    ),
    Rule("not reached", lambda r: r.trouble is Trouble.NOT_REACHED, Outcome.RETRY),
    Rule(
        "too many requests",
        _is_too_many,
        Outcome.RETRY,
        30.0,
    ),
    Rule(
        "mended by a person",
        lambda r: _error(r) in _BY_A_PERSON,
        Outcome.RETRY,
        MENDED_BY_A_PERSON_S,
    ),
    Rule("not accepted", lambda r: _error(r) in _WRONG, Outcome.REJECTED),
    Rule("message gone", lambda r: _error(r) in GONE, Outcome.RETRY),
    # fatal_error, internal_error: Slack says itself that a part may have been done.
    Rule("failed inside", lambda r: r.status >= 500 or bool(_error(r)), Outcome.UNKNOWN, 30.0),
    Rule("no answer", lambda r: r.trouble is Trouble.NO_ANSWER, Outcome.UNKNOWN, 30.0),
    Rule("not Slack's answer", lambda r: True, Outcome.UNKNOWN, 300.0),
)


class Refused(Failed):
    """Slack said no, by this word."""

    def __init__(self, answer: Answer, status: int, word: str) -> None:
        super().__init__(answer, status)
        self.word = word


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a channel or a thread."""

    tags: Mapping[str, Json]
    """Of our messages, by ``ts``."""
    newest: float
    """The largest ``ts`` of anybody's message on it; 0: it is empty."""
    cursor: str
    """Of the page after it; empty: this is the last."""


@dataclass(frozen=True, slots=True)
class SlackWeb:
    """One bot in one channel. Every method raises :class:`Failed`."""

    url: str
    token: Secret
    channel: str
    timeout_s: float
    client: httpx.Client = field(repr=False)

    def post(self, body: Json, tag: Json, thread_ts: str | None = None) -> str:
        """Post a message that carries ``tag`` as its metadata; its ``ts``."""
        thread = {"thread_ts": thread_ts} if thread_ts else {}
        return str(self._say("chat.postMessage", body, tag, thread)["ts"])

    def update(self, ts: str, body: Json, tag: Json) -> None:
        """Edit a message in place."""
        self._say("chat.update", body, tag, {"ts": ts})

    def upload(self, name: str, title: str, content: bytes, thread_ts: str) -> None:
        """Put a picture into a thread (files upload v2: an address, the bytes, their place)."""
        where = self._call(
            "GET", "files.getUploadURLExternal", {"filename": name, "length": len(content)}
        )
        address = str(where["upload_url"])
        if not address.startswith("https://"):
            raise Failed(Answer(Outcome.RETRY, detail="the address for a file is not https"))
        reply = call(
            self.client,
            "POST",
            address,
            timeout_s=self.timeout_s,
            secrets=(self.token, Secret(address)),
            files={"file": (name, content, "image/png")},
        )
        if reply.status != 200:
            raise Failed(Answer(Outcome.RETRY, detail=f"no upload (HTTP {reply.status})"))
        self._call(
            "POST",
            "files.completeUploadExternal",
            {
                "files": [{"id": where["file_id"], "title": title}],
                "channel_id": self.channel,
                "thread_ts": thread_ts,
            },
        )

    def page(self, thread_ts: str | None, oldest: float, cursor: str) -> Page:
        """One page of the channel or of a thread, of what came after ``oldest`` (Unix time)."""
        params: Json = {
            "channel": self.channel,
            "limit": _PAGE,
            "include_all_metadata": "true",
            "oldest": f"{oldest:.6f}",
        }
        if thread_ts:
            params["ts"] = thread_ts
        if cursor:
            params["cursor"] = cursor
        method = "conversations.replies" if thread_ts else "conversations.history"
        body = self._call("GET", method, params)
        messages = body.get("messages", [])
        tags = {}
        for message in messages:
            metadata = message.get("metadata") or {}
            if metadata.get("event_type") == _TAG_TYPE:
                tags[str(message["ts"])] = dict(metadata.get("event_payload") or {})
        newest = max((float(message["ts"]) for message in messages), default=0.0)
        following = (body.get("response_metadata") or {}).get("next_cursor")
        return Page(tags, newest, str(following or ""))

    def who(self) -> str:
        """The bot's name and team; sends nothing."""
        body = self._call("POST", "auth.test", {})
        return f"{body.get('user')} in {body.get('team')}"

    def _say(self, method: str, body: Json, tag: Json, more: Json) -> Json:
        metadata = {"event_type": _TAG_TYPE, "event_payload": tag}
        switches = {"unfurl_links": False, "unfurl_media": False}
        if method == "chat.update":
            switches = {}
        whole = {**body, **more, **switches, "channel": self.channel, "metadata": metadata}
        return self._call("POST", method, whole)

    def _call(self, verb: str, method: str, values: Mapping[str, Any]) -> Json:
        reply = call(
            self.client,
            verb,
            f"{self.url}/{method}",
            timeout_s=self.timeout_s,
            secrets=(self.token,),
            headers={"Authorization": f"Bearer {self.token.reveal()}"},
            params=values if verb == "GET" else None,
            json_body=values if verb == "POST" else None,
        )
        answer = judge(reply, WEB)
        if answer.outcome is not Outcome.SENT:
            said = replace(answer, detail=f"{method}: {answer.detail}")
            raise Refused(said, reply.status, _error(reply))
        body: Json = reply.body
        return body
