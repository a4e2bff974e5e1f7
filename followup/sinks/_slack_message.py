"""A plan as a Slack message within Slack's limits: pure, no network.

Limits: header 150 characters, section 3000, 50 blocks; messages of more than about
13,000 characters have been refused, so a message stays below 12,000.
"""

from __future__ import annotations

import hashlib
from typing import Any
from urllib.parse import quote

from followup.sinks._plan_json import summary_line, table_line
from followup.sinks.base import Payload
from followup.tilewords import tiles_lines, tiles_sentence
from mmcoord.records import AlertType, Outgoing, OutgoingKind

__all__ = ["escape", "slack_payload", "taken_back", "told"]

_HEADER = 150
_SECTION = 2900
_TABLE = 9000
_LINE = 400

Block = dict[str, Any]


def slack_payload(outgoing: Outgoing, max_rows: int) -> Payload:
    """The message, and beside it what is needed to take it back later."""
    state = _state(outgoing)
    text = _headline(outgoing, state)
    if state == "active":
        blocks = [_header(text), _section(escape(summary_line(outgoing)))]
        if outgoing.headlines:
            blocks.append(_section(_fitting("\n".join(outgoing.headlines))))
        tiles = _tiles(outgoing)
        taken = sum(len(block["text"]["text"]) for block in tiles)
        blocks += [*_table(outgoing, max_rows, _TABLE - taken), *tiles]
    else:
        blocks = [_header(text), _section(escape(_what_ended(outgoing.plan_revision)))]
    link = f"<{_link(outgoing.page_url or '')}|Event page>"
    if outgoing.page_url and len(link) <= _SECTION:  # half a link would be none
        blocks.append(_section(link))
    blocks.append(_footer(outgoing.key))
    return {
        "event_id": outgoing.event_id,
        "plan_revision": outgoing.plan_revision,
        "state": state,
        "message": {"text": escape(text), "blocks": blocks},
    }


def taken_back(payload: Payload, key: str) -> Payload:
    """The body that takes ``payload`` back; one made from a WITHDRAW outgoing is that body."""
    message: Payload = payload["message"]
    if payload["state"] != "active":
        return message
    text = f"WITHDRAWN: {message['text']}"
    blocks = [
        {"type": "header", "text": _plain(text)},
        _section(escape(_what_ended(payload["plan_revision"]))),
        _footer(key),
    ]
    return {"text": text, "blocks": blocks}


def told(text: str, key: str) -> Payload:
    """Words for the operators: the first line as headline, the rest below, nothing active."""
    headline, _, rest = text.strip().partition("\n")
    headline = headline.strip() or "mmcoord"
    blocks = [_header(headline)]
    if rest.strip():
        blocks.append(_section(_fitting(rest.strip())))
    blocks.append(_context(f"mmcoord, message {_tag(key)}"))
    return {"text": _fitting(headline, _HEADER), "blocks": blocks}


def _fitting(text: str, limit: int = _SECTION) -> str:
    """The beginning that is within the limit once escaped, no entity cut in two."""
    if len(escape(text)) <= limit:
        return escape(text)
    found = ""
    for letter in text:
        piece = escape(letter)
        if len(found) + len(piece) > limit - 1:
            break
        found += piece
    return found + "…"


def escape(text: str) -> str:
    """Slack's three control characters; nothing else can start a mention or a link."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _state(outgoing: Outgoing) -> str:
    if outgoing.kind is OutgoingKind.PUBLISH:
        return "active"
    return "retracted" if outgoing.alert_type is AlertType.RETRACTION else "withdrawn"


def _headline(outgoing: Outgoing, state: str) -> str:
    start = "PRACTICE: " if outgoing.is_practice else ""
    verb = "" if state == "active" else f"{state.upper()}: "
    plan = f"{outgoing.event_id}, follow-up plan, revision {outgoing.plan_revision}"
    things = "stars to watch" if outgoing.headlines else "candidates"
    tiles = f", {len(outgoing.tiles)} tiles" if outgoing.tiles else ""
    count = f" ({len(outgoing.rows)} {things}{tiles})" if state == "active" else ""
    return f"{start}{verb}{plan}{count}"


def _what_ended(revision: int) -> str:
    return (
        f"The plan of revision {revision} no longer holds. Earlier messages about it stay in "
        "the channel: a webhook cannot change them."
    )


def _tiles(outgoing: Outgoing) -> list[Block]:
    """Fields of wide cameras: how many with how much of the map, and the first of them."""
    if not outgoing.tiles:
        return []
    listed = "\n".join(line[:_LINE] for line in tiles_lines(outgoing.tiles))
    words = _fitting(tiles_sentence(outgoing.tiles), _LINE)
    return [_section(f"{words}\n```\n{_fitting(listed.replace('`', chr(39)))}\n```")]


def _table(outgoing: Outgoing, max_rows: int, room: int) -> list[Block]:
    """The first rows in fixed columns, in as many sections as they need."""
    if not outgoing.rows:
        return [_section("No candidate yet." if outgoing.tiles else "The plan is empty.")]
    sections: list[str] = []
    shown = total = 0
    current = ""
    for row in outgoing.rows[:max_rows]:
        line = escape(table_line(row).replace("`", "'"))[: _SECTION - 10] + "\n"
        total += len(line)
        if total > room:
            break
        if len(current) + len(line) > _SECTION - 10:
            sections.append(current)
            current = ""
        current += line
        shown += 1
    sections.append(current)
    blocks = [_section(f"```\n{text}```") for text in sections if text]
    if shown < len(outgoing.rows):
        blocks.append(_section(f"and {len(outgoing.rows) - shown} more in the plan"))
    return blocks


def _header(text: str) -> Block:
    return {"type": "header", "text": _plain(text)}


def _plain(text: str) -> Block:
    short = text if len(text) <= _HEADER else text[: _HEADER - 1] + "…"
    return {"type": "plain_text", "text": short, "emoji": False}


def _section(text: str) -> Block:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text[:_SECTION]}}


def _footer(key: str) -> Block:
    """A repeat cannot be prevented here, so that it can be recognised at least."""
    return _context(f"mmcoord, ranked without human review, message {_tag(key)}")


def _tag(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()[:12]


def _context(words: str) -> Block:
    return {"type": "context", "elements": [{"type": "mrkdwn", "text": words}]}


def _link(url: str) -> str:
    """An address that cannot end the link it stands in."""
    return escape(quote(url, safe=":/?#[]@!$&'()*+,;=%~-._"))
