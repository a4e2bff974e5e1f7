"""GCN circulars: a draft with its prefilled form; submission only with a user's token and word.

Without ``submit`` nothing is sent: the delivery records the link to GCN's form, and a person
reads, completes and submits. With it the circular goes out with the token of one person, who
stands for it.

Identity: GCN has no idempotency key and its archive cannot be searched by one. So a circular
is sent at most once: after an unclear answer it is never sent again, and somebody has to look
(the delivery ends as failed, in the dead letters). It cannot be withdrawn; a withdrawal is a
draft of another circular.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from followup.sinks._gcn_draft import AUTHORS, draft, draft_link, problems
from followup.sinks._http import MENDED_BY_A_PERSON_S, Rule, Trouble, call, judge
from followup.sinks._settings import Secret, Settings, web_address
from followup.sinks.base import Answer, Granularity, Outcome, Payload
from mmcoord.records import Outgoing, OutgoingKind

__all__ = ["SUBMIT", "GcnCircularSink", "build"]

SUBMIT: tuple[Rule, ...] = (
    Rule(
        "published",
        lambda r: r.status in (200, 201) and isinstance(r.body, dict) and "circularId" in r.body,
        Outcome.SENT,
    ),
    Rule("not reached", lambda r: r.trouble is Trouble.NOT_REACHED, Outcome.RETRY),
    Rule("token refused", lambda r: r.status in (401, 403), Outcome.RETRY, MENDED_BY_A_PERSON_S),
    Rule("redirected", lambda r: 300 <= r.status < 400, Outcome.RETRY, MENDED_BY_A_PERSON_S),
    Rule("too many requests", lambda r: r.status == 429, Outcome.RETRY),
    Rule("not accepted", lambda r: 400 <= r.status < 500, Outcome.REJECTED),
    Rule("unclear", lambda r: True, Outcome.UNKNOWN, MENDED_BY_A_PERSON_S),
)


@dataclass(frozen=True, slots=True)
class GcnCircularSink:
    """One person's account at GCN, or only the form."""

    name: str
    is_practice: bool
    url: str
    token: Secret | None
    """None: drafts only."""
    authors: str
    review: str
    timeout_s: float
    client: httpx.Client = field(repr=False)
    granularity: Granularity = Granularity.PLAN
    settle_s: float = 0.0

    @property
    def is_public(self) -> bool:
        """A draft that nobody has submitted is public to nobody."""
        return self.token is not None

    def payload(self, outgoing: Outgoing) -> Payload:
        """The circular, and the link to GCN's form filled in with it.

        Empty before the first candidate: fields to search are no news for GCN.
        """
        if outgoing.kind is OutgoingKind.PUBLISH and not outgoing.rows:
            return {}
        subject, body = draft(outgoing)
        if self.authors:
            body = body.replace(AUTHORS, self.authors)
        if self.review:
            body = body.replace("[SAY HERE WHAT A PERSON HAS LOOKED AT]", self.review)
        circular = {"subject": subject, "body": body, "format": "text/plain"}
        return {"circular": circular, "link": draft_link(outgoing)}

    def send(self, payload: Payload, *, key: str) -> Answer:
        """Submit, where that is wished for; else leave the link."""
        if self.token is None:
            return Answer(Outcome.SENT, detail=f"drafted, not submitted: {payload['link']}")
        circular = payload["circular"]
        broken = problems(circular["subject"], circular["body"])
        if broken:
            return Answer(Outcome.REJECTED, detail="; ".join(broken))
        reply = call(
            self.client,
            "POST",
            f"{self.url}/api/circulars",
            timeout_s=self.timeout_s,
            secrets=(self.token,),
            headers={"Authorization": f"Bearer {self.token.reveal()}"},
            json_body=circular,
        )
        answer = judge(reply, SUBMIT)
        if answer.outcome is not Outcome.SENT:
            return answer
        return Answer(Outcome.SENT, str(reply.body["circularId"]), "circular published")

    def lookup(self, payload: Payload, *, key: str) -> Answer | None:
        """UNKNOWN, so that no circular is ever sent twice; a draft can be made again."""
        if self.token is None:
            return Answer(Outcome.RETRY, detail="drafts are made anew")
        return Answer(
            Outcome.UNKNOWN,
            detail="it may be out: look at https://gcn.nasa.gov/circulars and submit by hand",
            retry_after_s=MENDED_BY_A_PERSON_S,
        )

    def withdraw(self, payload: Payload, *, key: str, remote_id: str | None) -> Answer:
        """A circular stays; the draft of one that says so is left in the delivery."""
        link = payload["link"]
        return Answer(Outcome.SENT, remote_id, f"cannot be taken back; what says so: {link}")

    def check(self) -> Answer:
        """Whether anything would be sent; GCN's token can be tried only by submitting."""
        if self.token is None:
            return Answer(Outcome.SENT, detail="drafts only: a person submits")
        return Answer(Outcome.UNKNOWN, detail="the token can be tried only by submitting")


def build(name: str, table: Mapping[str, Any], client: httpx.Client) -> GcnCircularSink:
    """Entry point ``gcn_circular``; touches no network.

    Settings: ``submit`` (false: drafts only); ``token`` (an access token of the person with
    the scope ``gcn.nasa.gov/circular-submitter``; needed with ``submit``); ``authors`` and
    ``review`` (what stands for the draft's gaps; needed with ``submit``); ``url``
    (``https://gcn.nasa.gov``); ``timeout_s`` (30); ``allow_http`` (false); ``practice``
    (false; never with ``submit``).

    Raises
    ------
    ConfigError
        A key is wrong; it is named.
    """
    settings = Settings(name, table)
    practice, submit = settings.flag("practice", False), settings.flag("submit", False)
    token = settings.secret("token")
    authors = settings.text("authors", "") if settings.has("authors") else ""
    review = settings.text("review", "") if settings.has("review") else ""
    if submit and practice:
        raise settings.error("submit", "GCN has no place for practice circulars")
    if submit and (token is None or not authors or not review):
        raise settings.error("submit", "needs token, authors and review")
    sink = GcnCircularSink(
        name,
        practice,
        web_address(settings, "url", settings.text("url", "https://gcn.nasa.gov")),
        token if submit else None,
        authors,
        review,
        settings.number("timeout_s", 30.0, low=1.0, high=300.0),
        client,
    )
    settings.finish()
    return sink
