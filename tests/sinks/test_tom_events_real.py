"""Event candidates in a running TOM that has ``tom_nonlocalizedevents``.

What is there is read twice: by the app's own REST interface and from its models.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest

from followup.sinks import tom as tom_sink
from followup.sinks.base import Outcome
from mmcoord.records import AlertType, OutgoingKind
from tests.sinks.patch_of_sky import post, rows
from tests.sinks.sample import outgoing
from tests.tom_server import TomServer

pytestmark = [pytest.mark.tom, pytest.mark.slow, pytest.mark.timeout(1200), pytest.mark.long]


@pytest.fixture
def sink(tom_with_events: TomServer) -> Iterator[tom_sink.TomSink]:
    with httpx.Client(timeout=60) as client:
        table = {"url": tom_with_events.url, "token": tom_with_events.bot.token}
        yield tom_sink.build("tom", table, client)


def made(tom: TomServer, event: str) -> int:
    """The event as one of the app's own sources makes it; its number."""
    return int(
        tom.django(
            "from tom_nonlocalizedevents.models import NonLocalizedEvent as E\n"
            f"print(E.objects.create(event_id={event!r}).pk)"
        ).split()[-1]
    )


def by_rest(tom: TomServer, number: int) -> dict[int, tuple[int, bool, str]]:
    """Target -> (priority, viable, why) of the event's candidates."""
    answer = tom.get("/api/eventcandidates/", nonlocalizedevent=number, limit=1000).json()
    found = answer["results"]
    assert len({one["target"]["id"] for one in found}) == len(found)
    return {c["target"]["id"]: (c["priority"], c["viable"], c["viability_reason"]) for c in found}


def by_models(tom: TomServer, event: str) -> dict[str, tuple[int, bool, str]]:
    """Target's name -> the same, from the TOM's database."""
    told = tom.django(
        "import json\n"
        "from tom_nonlocalizedevents.models import EventCandidate as C\n"
        f"found = C.objects.filter(nonlocalizedevent__event_id={event!r})\n"
        "print(json.dumps([[c.target.name, c.priority, c.viable, c.viability_reason]"
        " for c in found]))"
    )
    found: list[Any] = json.loads(told.splitlines()[-1])
    assert len({name for name, *_ in found}) == len(found)
    return {name: (priority, viable, why) for name, priority, viable, why in found}


def test_ranks_are_priorities_new_ranks_change_them_and_a_retraction_ends_viability(
    tom_with_events: TomServer, sink: tom_sink.TomSink
) -> None:
    tom, event = tom_with_events, "S240422ed"
    number, some = made(tom, event), rows(event, 5)
    post(sink, event, some, 1)
    post(sink, event, some, 1)
    there = by_models(tom, event)
    assert {name: priority for name, (priority, _, _) in there.items()} == {
        row.object_id: row.rank for row in some
    }
    assert {viable for _, viable, _ in there.values()} == {True}
    assert "no host catalogue searched" in there[some[0].object_id][2]
    numbers = {target["id"]: target["name"] for target in tom.targets(name=event)}
    assert {numbers[n]: value for n, value in by_rest(tom, number).items()} == there

    turned = [replace(row, rank=6 - row.rank) for row in some]
    post(sink, event, turned, 2)
    there = by_models(tom, event)
    assert [there[row.object_id][0] for row in some] == [5, 4, 3, 2, 1]

    for row in turned:
        gone = outgoing(
            (row,), event_id=event, revision=3, kind=OutgoingKind.WITHDRAW,
            alert_type=AlertType.RETRACTION,
        )  # fmt: skip
        answer = sink.withdraw(sink.payload(gone), key="w", remote_id=None)
        assert answer.outcome is Outcome.SENT
    assert {(viable, why) for _, viable, why in by_models(tom, event).values()} == {
        (False, "retracted")
    }


def test_a_candidate_that_people_have_made_is_ranked_and_not_doubled(
    tom_with_events: TomServer, sink: tom_sink.TomSink
) -> None:
    tom, event = tom_with_events, "S250101a"
    (row,) = rows(event, 1)
    post(sink, event, [row], 1)  # the event is not there: a target, and no candidate
    (target,) = tom.targets(name=row.object_id)
    number = made(tom, event)
    assert by_rest(tom, number) == {}
    tom.django(
        "from tom_nonlocalizedevents.models import EventCandidate as C\n"
        f"C.objects.create(nonlocalizedevent_id={number}, target_id={target['id']}, priority=9)"
    )
    post(sink, event, [replace(row, rank=2)], 2)
    assert by_models(tom, event)[row.object_id][:2] == (2, True)


def test_what_a_person_found_not_viable_stays_so(
    tom_with_events: TomServer, sink: tom_sink.TomSink
) -> None:
    tom, event = tom_with_events, "S250104d"
    number, (row,) = made(tom, event), rows(event, 1)
    post(sink, event, [row], 1)
    (candidate,) = tom.get("/api/eventcandidates/", nonlocalizedevent=number).json()["results"]
    answer = httpx.patch(
        f"{tom.url}/api/eventcandidates/{candidate['id']}/",
        json={"viable": False, "viability_reason": "an asteroid"},
        headers=tom.observer.headers,
        timeout=60,
    )
    assert answer.status_code == 200, answer.text
    post(sink, event, [replace(row, rank=2)], 2)
    assert by_models(tom, event)[row.object_id] == (2, False, "an asteroid")


def test_an_event_that_the_tom_does_not_have_gets_no_candidates_and_is_not_made(
    tom_with_events: TomServer, sink: tom_sink.TomSink
) -> None:
    tom, event = tom_with_events, "S250102b"
    some = rows(event, 2)
    post(sink, event, some, 1)
    assert len(tom.targets(name=event)) == 2
    assert by_models(tom, event) == {}
    assert tom.get("/api/nonlocalizedevents/", event_id=event).json()["results"] == []


def test_events_cannot_be_made_over_rest(tom_with_events: TomServer) -> None:
    """Why the sink makes none. When this fails, a new version can, and the sink could."""
    url = f"{tom_with_events.url}/api/nonlocalizedevents/"
    for body in ({"event_id": "S250103c"}, {"event_id": "S250103c", "sequences": []}):
        answer = httpx.post(url, json=body, headers=tom_with_events.bot.headers, timeout=60)
        assert answer.status_code in (400, 500), answer.text[:300]
