"""Stored files become messages in the order of their times."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from mmcoord.errors import ConfigError
from mmcoord.replay import messages
from mmcoord.stages.context import load_sources
from tests.making import T0, lvk_notice

SOURCES = load_sources()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "late.json").write_bytes(lvk_notice(created=T0 + timedelta(days=3)))
    (tmp_path / "early.json").write_bytes(lvk_notice(created=T0 - timedelta(days=3)))
    (tmp_path / "candidates.csv").write_text("id,ra,dec\na,10,20\nb,400,0\n")
    (tmp_path / "photometry.csv").write_text(
        "id,mjd,band,mag,mag_err\na,61101.5,lsst:r,20,0.1\na,61099.5,lsst:r,20,0.1\n"
        "a,soon,lsst:r,20,0.1\n"
    )
    (tmp_path / "readme.txt").write_text("not a message")
    return tmp_path


def test_messages_come_in_the_order_of_their_content(folder: Path) -> None:
    found = messages([folder], SOURCES)
    names = [(m.topic.split(":")[0], m.offset) for m in found]
    # What has no time (the candidate at RA 400 has no photometry, one row has no date) goes
    # first; the good candidate comes just before its first photometry.
    assert set(names[:2]) == {("candidates.csv", 3), ("photometry.csv", 4)}
    assert names[2:] == [
        ("early.json", 0),
        ("candidates.csv", 2),
        ("photometry.csv", 3),
        ("photometry.csv", 2),
        ("late.json", 0),
    ]


def test_coordinates_are_those_of_the_content(folder: Path) -> None:
    first = {(m.topic, m.offset) for m in messages([folder], SOURCES)}
    assert first == {(m.topic, m.offset) for m in messages([folder], SOURCES)}
    (folder / "candidates.csv").write_text("id,ra,dec\nother,11,20\n")
    changed = {m.topic for m in messages([folder], SOURCES)} - {topic for topic, _ in first}
    assert len(changed) == 1  # the changed file is another topic, so nothing collides


def test_what_cannot_be_replayed_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        messages([tmp_path / "nowhere"], SOURCES)
    with pytest.raises(ConfigError, match="nothing to replay"):
        messages([tmp_path], SOURCES)


def test_a_foreign_table_is_left_out_and_named(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole = messages([folder], SOURCES)
    (folder / "odd.csv").write_text("flux,time\n1,2\n")
    assert messages([folder], SOURCES) == whole
    assert "odd.csv" in caplog.text
    assert "flux, time" in caplog.text
