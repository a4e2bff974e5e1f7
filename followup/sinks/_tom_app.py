"""The TOM's side of mmcoord (``tom_mmcoord``), where its operator has installed it.

With it a new ranking is one small request per target instead of a dozen extras, observers
have buttons, and their claims come back to us.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from followup.claims import SkipReason, Verb
from followup.sinks._tom_rest import Failed, Tom
from followup.sinks.base import Heard, Payload

__all__ = ["TomApp", "request_key"]

Json = dict[str, Any]
_KNOWN_FOR_S = 300.0
_PATH, _CLAIMS = "/api/mmcoordrequests/", "/api/mmcoordclaims/"


def request_key(event_id: str, object_id: str) -> str:
    """The key of a request: the same event and object, the same key."""
    return hashlib.sha256(f"{event_id}\0{object_id}".encode()).hexdigest()[:32]


@dataclass(slots=True)
class TomApp:
    """The app's REST interface, seen through the TOM's."""

    tom: Tom
    _present: bool | None = None
    _looked_at: float = field(default=0.0, repr=False)

    def is_there(self) -> bool:
        """Whether the TOM has the app; asked again every few minutes."""
        if self._present is None or time.monotonic() - self._looked_at > _KNOWN_FOR_S:
            self._present = self.tom.has(_PATH)
            self._looked_at = time.monotonic()
        return self._present

    def put(self, target_id: int, request: Payload) -> Json:
        """Make or replace a request; the TOM keeps a newer revision and answers with it.

        Raises
        ------
        Failed
            409: what was withdrawn stays so.
        """
        key = request_key(request["event_id"], request["object_id"])
        return self.tom.put(f"{_PATH}{key}/", {**request, "target": target_id})

    def get(self, event_id: str, object_id: str) -> Json | None:
        """The request as the TOM has it; None when it has none that we may see."""
        try:
            return self.tom.get(f"{_PATH}{request_key(event_id, object_id)}/")
        except Failed as failed:
            if failed.status == 404:
                return None
            raise

    def said_after(self, number: int, sink: str) -> Iterator[Heard]:
        """What observers said after the claim of this number, in order."""
        for claim in self.tom.pages(_CLAIMS, {"after": number}):
            yield _heard(claim, sink)


def _heard(claim: Mapping[str, Any], sink: str) -> Heard:
    reason = claim["reason"]
    return Heard(
        verb=Verb(claim["verb"]),
        event_id=claim["event_id"],
        object_id=claim["object_id"],
        who=f"{claim['user'] or 'somebody'} at {sink}",
        at=datetime.fromisoformat(claim["at"]),
        key=f"claim {claim['id']}",
        position=int(claim["id"]),
        instrument=claim["instrument"] or None,
        band=claim["band"] or None,
        reason=SkipReason(reason) if reason in set(SkipReason) else None,
        note=claim["note"],
    )
