"""The folder sink: one file per key, complete or absent, withdrawn in sight."""

from __future__ import annotations

import json
import multiprocessing
import os
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from followup.sinks.base import Granularity, Outcome
from followup.sinks.file import FileSink, build, file_name
from mmcoord.errors import ConfigError
from tests.sinks.sample import outgoing, row


@pytest.fixture
def sink(tmp_path: Path) -> FileSink:
    with httpx.Client() as client:
        return build("out", {"kind": "file", "folder": str(tmp_path / "out")}, client)


def _files(sink: FileSink) -> list[Path]:
    return sorted(sink.folder.iterdir())


def test_a_delivery_is_one_readable_file(sink: FileSink) -> None:
    plan = outgoing((row(3),), key="file/MS261123a/1/LSST-DO-900003")
    answer = sink.send(sink.payload(plan), key=plan.key)
    assert answer.outcome is Outcome.SENT
    (path,) = _files(sink)
    assert path.name == answer.remote_id
    assert "MS261123a" in path.name
    record = json.loads(path.read_text())
    assert record["state"] == "published"
    assert record["key"] == plan.key
    (target,) = record["payload"]["targets"]
    assert (target["rank"], target["object_id"]) == (3, "LSST-DO-900003")
    assert target["factors"]["host"] is None
    assert len(record["payload"]["photometry"]) == 3


def test_sending_twice_leaves_one_file(sink: FileSink) -> None:
    plan = outgoing((row(1),))
    first = sink.send(sink.payload(plan), key=plan.key)
    before = _files(sink)[0].read_bytes()
    second = sink.send(sink.payload(plan), key=plan.key)
    assert first == second
    assert [p.read_bytes() for p in _files(sink)] == [before]


def test_lookup_tells_there_from_not_there(sink: FileSink) -> None:
    plan = outgoing((row(1),))
    payload = sink.payload(plan)
    before = sink.lookup(payload, key=plan.key)
    sink.send(payload, key=plan.key)
    after = sink.lookup(payload, key=plan.key)
    assert before is not None
    assert before.outcome is Outcome.RETRY
    assert after is not None
    assert after.outcome is Outcome.SENT


def test_a_withdrawn_delivery_stays_where_it_was_and_says_so(sink: FileSink) -> None:
    plan = outgoing((row(1),))
    sent = sink.send(sink.payload(plan), key=plan.key)
    answer = sink.withdraw(sink.payload(plan), key="another key", remote_id=sent.remote_id)
    assert answer.outcome is Outcome.SENT
    (path,) = _files(sink)
    record = json.loads(path.read_text())
    assert record["state"] == "withdrawn"
    assert record["payload"]["targets"][0]["object_id"] == "LSST-DO-900001"


def test_a_late_repeat_does_not_revive_what_was_withdrawn(sink: FileSink) -> None:
    plan = outgoing((row(1),))
    sink.withdraw(sink.payload(plan), key=plan.key, remote_id=None)
    assert sink.send(sink.payload(plan), key=plan.key).outcome is Outcome.REJECTED
    assert json.loads(_files(sink)[0].read_text())["state"] == "withdrawn"


def test_a_remote_id_cannot_leave_the_folder(sink: FileSink, tmp_path: Path) -> None:
    plan = outgoing((row(1),))
    answer = sink.withdraw(sink.payload(plan), key=plan.key, remote_id="../escaped.json")
    assert answer.outcome is Outcome.REJECTED
    assert not (tmp_path / "escaped.json").exists()


def test_a_number_that_json_lacks_is_written_as_unknown(sink: FileSink) -> None:
    plan = outgoing((replace(row(1), score=float("nan"), distance_mpc=float("inf")),))
    assert sink.send(sink.payload(plan), key=plan.key).outcome is Outcome.SENT
    (target,) = json.loads(_files(sink)[0].read_text())["payload"]["targets"]
    assert target["score"] is None
    assert target["distance_mpc"] is None


def test_a_folder_that_went_away_is_tried_again_later(sink: FileSink) -> None:
    sink.folder.rmdir()
    plan = outgoing((row(1),))
    assert sink.send(sink.payload(plan), key=plan.key).outcome is Outcome.RETRY


def _send_and_die(folder: Path, key: str) -> None:
    def die(*_: object) -> None:
        os._exit(9)

    os.replace = die  # the process ends with the data written aside and not yet renamed
    plan = outgoing((row(1),), key=key)
    sink = FileSink("out", True, folder)
    sink.send(sink.payload(plan), key=key)


def test_a_process_killed_before_the_rename_leaves_no_half_file(sink: FileSink) -> None:
    process = multiprocessing.get_context("fork").Process(
        target=_send_and_die, args=(sink.folder, "k")
    )
    process.start()
    process.join(30)
    assert process.exitcode == 9
    assert not (sink.folder / file_name("k")).exists()
    plan = outgoing((row(1),), key="k")
    assert sink.send(sink.payload(plan), key="k").outcome is Outcome.SENT
    assert json.loads((sink.folder / file_name("k")).read_text())["state"] == "published"


@given(st.lists(st.text(min_size=1), min_size=2, max_size=20, unique=True))
def test_different_keys_have_different_safe_names(keys: list[str]) -> None:
    names = [file_name(key) for key in keys]
    assert len(set(names)) == len(keys)
    for name in names:
        assert Path(name).name == name
        assert not name.startswith(".")
        assert len(name.encode()) < 255


@pytest.mark.parametrize(
    ("table", "key"),
    [
        ({}, "folder"),
        ({"folder": ""}, "folder"),
        ({"folder": 3}, "folder"),
        ({"folder": "x", "practice": "yes"}, "practice"),
        ({"folder": "x", "foldr": "y"}, "foldr"),
    ],
)
def test_a_wrong_setting_is_named(
    table: dict[str, object], key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with httpx.Client() as client, pytest.raises(ConfigError, match=f"sinks.out.{key}:"):
        build("out", table, client)


def test_it_speaks_per_target(sink: FileSink) -> None:
    assert sink.granularity is Granularity.TARGET
    assert not sink.is_practice


def test_the_check_tries_the_folder_and_leaves_nothing(sink: FileSink) -> None:
    assert sink.check().outcome is Outcome.SENT
    assert _files(sink) == []
    sink.folder.rmdir()
    assert sink.check().outcome is Outcome.RETRY
