"""The quick way to the candidates of a drawing tells what the full one tells."""

from __future__ import annotations

import pytest

from mmcoord.store import views
from mmcoord.store.database import Database
from mmcoord.store.tables import CandidateRow, MatchRow
from mmcoord.store.views_candidates import candidates, spots
from tests.web import sample
from tests.web.sample import EVENT, HEARD, MAP


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 3000])
def test_spots_are_the_candidates_in_their_order(filled: Database, limit: int) -> None:
    sample.add(
        filled,
        CandidateRow(object_id="UNSCREENED", source="x", ra_deg=197.0, dec_deg=-23.0, hpx29=1,
                     notice_id=1, received_at=HEARD),
        MatchRow(event_id=EVENT, localization_id=MAP, object_id="UNSCREENED", prob_density_sr=1.0,
                 credible_level_2d=0.0001, matched_at=HEARD),
        MatchRow(event_id=EVENT, localization_id="older", object_id="UNSCREENED",
                 prob_density_sr=1.0, credible_level_2d=0.9, matched_at=HEARD),
    )  # fmt: skip
    with filled.snapshot() as session:
        line = views.event(session, EVENT)
        assert line is not None
        found = [tuple(spot) for spot in spots(session, line, limit)]
        wanted = [
            (c.object_id, c.ra_deg, c.dec_deg, c.p_kilonova, c.rank)
            for c in candidates(session, line, limit)
        ]
    assert found == wanted
    assert len(found) == min(limit, line.candidates_matched)


def test_an_event_without_map_or_plan_has_none(database: Database) -> None:
    sample.add(database, sample.event_row("S270301z"))
    with database.snapshot() as session:
        line = views.event(session, "S270301z")
        assert line is not None
        assert spots(session, line, 10) == []
