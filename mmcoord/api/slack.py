"""Buttons pressed in Slack: its interactivity requests, taken only with a good signature.

Slack signs ``v0:TIMESTAMP:BODY`` with the app's signing secret (HMAC-SHA256,
https://api.slack.com/authentication/verifying-requests-from-slack). A request older than
five minutes could be a replay and is refused. A press is an act with Slack's own
``trigger_id`` as its key, so that a request which Slack repeats is the same act. The answer is
empty: what the press changed is seen when the plan's message is edited.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import JSONResponse, Response

from followup.claims import Verb
from mmcoord.api.service import Service, ServiceDep
from mmcoord.config import secret
from mmcoord.errors import Refused, UnknownRecord
from mmcoord.store import claims
from mmcoord.store.claims import Act

__all__ = ["is_signed", "router", "signature"]

router = APIRouter(prefix="/api/v1", tags=["slack"], include_in_schema=False)

_MAX_AGE_S = 300.0
_MAX_BYTES = 200_000


def signature(signing_secret: str, timestamp: str, body: bytes) -> str:
    """What Slack sends as ``X-Slack-Signature``."""
    signed = b"v0:" + timestamp.encode() + b":" + body
    return "v0=" + hmac.new(signing_secret.encode(), signed, hashlib.sha256).hexdigest()


def is_signed(headers: Mapping[str, str], body: bytes, signing_secret: str, now_s: float) -> bool:
    """Whether Slack made this request, within the last five minutes. Pure."""
    timestamp = headers.get("x-slack-request-timestamp", "")
    if not timestamp.isascii() or not timestamp.isdigit() or len(timestamp) > 12:
        return False
    if abs(now_s - int(timestamp)) > _MAX_AGE_S:
        return False
    given = headers.get("x-slack-signature", "")
    return hmac.compare_digest(signature(signing_secret, timestamp, body).encode(), given.encode())


@router.post("/slack/interact")
async def interact(service: ServiceDep, request: Request) -> Response:
    """A button of ours was pressed."""
    signing_secret = secret(service.settings.slack.options, "signing_secret")
    if not signing_secret:
        raise HTTPException(404, "no Slack app is configured (slack.options.signing_secret_env)")
    body = await request.body()
    if len(body) > _MAX_BYTES:
        raise HTTPException(413, "too long")
    if not is_signed(request.headers, body, signing_secret, service.now().timestamp()):
        raise HTTPException(401, "not signed by Slack")
    try:
        press = json.loads(parse_qs(body.decode())["payload"][0])
        kind, user, team = press["type"], press["user"]["id"], press["team"]["id"]
        actions = press.get("actions", [])
        acts = [] if kind != "block_actions" else [_act_of(press, action) for action in actions]
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise HTTPException(422, f"not an interaction that we know: {error}") from error
    groups = service.settings.slack.groups
    group = groups.get(user) or groups.get(team)
    if group is None:
        return _only_to_presser("You speak for no group here; ask whoever runs mmcoord.")
    return _do(service, [act for act in acts if act is not None], group)


def _act_of(
    press: Mapping[str, Any], action: Mapping[str, Any]
) -> tuple[Verb, str, str, str] | None:
    """(verb, event, object, key) of a button of ours; None for a link button."""
    name, _, place = str(action["action_id"]).partition(":")
    if name not in set(Verb):
        return None
    event_id, object_id = json.loads(action["value"])
    return Verb(name), str(event_id), str(object_id), f"slack {press['trigger_id']} {place}"


def _do(service: Service, acts: list[tuple[Verb, str, str, str]], group: str) -> Response:
    for verb, event, object_id, key in acts:
        said = Act(verb, event, object_id, group, "slack", key=key)
        try:
            with service.database.write() as session:
                claims.act(session, said, service.now(), service.settings.claims)
        except (Refused, UnknownRecord) as error:
            return _only_to_presser(str(error))
    if acts:
        service.wake()
    return Response(status_code=200)


def _only_to_presser(text: str) -> Response:
    return JSONResponse({"response_type": "ephemeral", "replace_original": False, "text": text})
