"""The count at the end of the fault run: it finds what was lost, doubled, altered, reordered.

``benchmarks/listeners_faults.py`` without its faults: the messages go straight into a store,
which is then damaged.
"""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.listeners_faults import compare
from benchmarks.listeners_night import ALERTS, Expected, messages
from mmcoord.records import Notice
from mmcoord.stages import intake
from tests.making import make_context
from tests.stores import migrated

GOOD = {
    "lost": 0,
    "doubled": 0,
    "altered": 0,
    "out_of_order": 0,
    "wrong_events": 0,
    "ledger_balanced": True,
}


@pytest.fixture(scope="module")
def whole_night(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A store that holds 1,500 messages, and what was sent."""
    path = tmp_path_factory.mktemp("night") / "store.db"
    database = migrated(f"sqlite:///{path}")
    ctx = make_context(database, path.with_name("out"))
    expected = Expected()
    sent, notices, ends = {}, [], {}
    for topic, partition, payload in messages(1500, 3, expected):
        place = (topic, partition, ends.get((topic, partition), 0))
        ends[topic, partition] = place[2] + 1
        sent[place] = hashlib.sha256(payload).hexdigest()
        source = "igwn" if topic == ALERTS else "table_candidates"
        notices.append(Notice(source, "b", *place, payload, ctx.now(), None))
    for first in range(0, 1500, 200):
        intake.receive(ctx, notices[first : first + 200])
    while intake.run(ctx):
        pass
    database.close()
    return path, SimpleNamespace(sent=sent, expected=expected, failed=0)


@pytest.fixture
def night(whole_night: tuple[Path, Any], tmp_path: Path) -> tuple[Path, Any]:
    """A copy of it that may be damaged."""
    path, sender = whole_night
    return Path(shutil.copy(path, tmp_path)), sender


def test_undisturbed_night_is_counted_as_good(night):
    path, sender = night
    report = compare(path, sender)
    assert {key: report[key] for key in GOOD} == GOOD
    assert report["produced"] == report["stored"] == 1500
    assert report["dead_letters"] == report["dead_letters_expected"] == 1
    assert report["repeats_recognised"] == report["repeats_sent"] == 2
    assert report["events"] == 6


ONE_ALERT = "(SELECT id FROM alert WHERE alert_type = 'UPDATE' ORDER BY id LIMIT 1)"
DAMAGE = {
    "lost": "DELETE FROM notice WHERE id = 700",
    "doubled": "UPDATE notice SET partition = 99 WHERE id = 700",
    "altered": "UPDATE notice SET sha256 = 'other' WHERE id = 700",
    "out_of_order": f"UPDATE alert SET id = 0 WHERE id = {ONE_ALERT}",
    "wrong_events": "UPDATE event SET state = 'active' WHERE state = 'retracted'",
    "ledger_balanced": "UPDATE ledger SET processed = processed - 1 WHERE stage = 'intake'",
}


@pytest.mark.parametrize("what", DAMAGE)
def test_damage_is_found(night, what):
    path, sender = night
    with sqlite3.connect(path) as connection:
        assert connection.execute(DAMAGE[what]).rowcount >= 1
    report = compare(path, sender)
    if what == "ledger_balanced":
        assert not report[what]
    else:
        assert report[what] >= 1
