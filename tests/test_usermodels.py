"""Models from others in the store and on the command line."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mmcoord import usermodels
from mmcoord.errors import BadModel, UnknownRecord
from mmcoord.inference.conformance import Check, Report
from mmcoord.inference.usermodel import UserModel, read_source
from mmcoord.store.database import Database
from tests.inference.usermodels import FADER
from tests.typed import typed

NOW = datetime(2026, 1, 1, tzinfo=UTC)
OTHER = FADER + "\n# better\n"


def verdict(model: UserModel, accepted: bool = True) -> Report:
    checks = (Check("finite", accepted, "a line"),)
    return Report(model.name, model.source.sha256, accepted, "medium", 1.5, checks)


def add(database: Database, text: str, accepted: bool = True, name: str = "fader") -> int:
    model = read_source(text, name=name)
    with database.write() as session:
        row = usermodels.add(session, model, verdict(model, accepted), "a group", NOW)
        return row.version


def state(database: Database, asked: str) -> str:
    with database.read() as session:
        return str(usermodels.document(session, asked)["state"])


def test_every_text_is_a_version_and_stays(database: Database) -> None:
    assert [add(database, FADER), add(database, OTHER), add(database, FADER)] == [1, 2, 3]
    with database.read() as session:
        first = usermodels.document(session, "fader@1")
        assert (first["source"], first["uploaded_by"]) == (FADER, "a group")
        assert first["report"]["checks"] == [{"name": "finite", "passed": True, "text": "a line"}]
        assert usermodels.document(session, "fader@2")["source"] == OTHER
        assert [row["version"] for row in usermodels.listing(session)] == [1, 2, 3]


def test_the_same_text_again_is_no_new_version(database: Database) -> None:
    assert [add(database, FADER), add(database, FADER)] == [1, 1]
    assert add(database, OTHER, accepted=False) == 2
    assert add(database, FADER) == 1
    assert add(database, OTHER) == 3  # refused before, good now


def test_jobs_get_the_newest_accepted_version_or_the_one_that_is_named(
    database: Database,
) -> None:
    add(database, FADER)
    add(database, OTHER, accepted=False)
    with database.read() as session:
        (newest,) = usermodels.sources(session, ["all", "steady", "fader"])
        assert (newest.name, newest.version, newest.source) == ("fader", 1, FADER)
        assert newest.speed == "medium"
        assert usermodels.sources(session, ["fader@1"]) == (newest,)
        assert usermodels.sources(session, ["all", "villar17_1"]) == ()
        with pytest.raises(BadModel, match="model fader: version 2 is refused"):
            usermodels.sources(session, ["fader@2"])
        with pytest.raises(BadModel, match="two versions"):
            usermodels.sources(session, ["fader", "fader@1"])


def test_a_retired_model_is_used_by_no_new_run(database: Database) -> None:
    for text in (FADER, OTHER):
        add(database, text)
    with database.write() as session:
        assert usermodels.retire(session, "fader", 2) == [2]
    with database.read() as session:
        assert usermodels.sources(session, ["fader"])[0].version == 1
    with database.write() as session:
        assert usermodels.retire(session, "fader") == [1]
    with database.read() as session:
        with pytest.raises(UnknownRecord, match="no accepted model 'fader'"):
            usermodels.sources(session, ["fader"])
        assert usermodels.document(session, "fader@1")["source"] == FADER


def test_names_that_are_taken_or_unknown_are_told(database: Database) -> None:
    for name in ("villar17_3", "all"):
        with pytest.raises(BadModel, match="taken by an installed model"):
            add(database, FADER, name=name)
    other = read_source(OTHER, name="fader")
    model = read_source(FADER, name="fader")
    with database.write() as session:
        with pytest.raises(BadModel, match="report is of another text"):
            usermodels.add(session, model, verdict(other), "a group", NOW)
    with database.read() as session:
        for asked in ("fader", "fader@1", "fader@x"):
            with pytest.raises(UnknownRecord):
                usermodels.document(session, asked)
            with pytest.raises(UnknownRecord):
                usermodels.sources(session, [asked])
        assert usermodels.listing(session) == []


# -- the command line ----------------------------------------------------------------------


LIGHT = "mjd_tai,band,mag,mag_err\n" + "".join(
    f"{60000 + d},lsst:{b},{19 + 0.8 * d + k},0.05\n"
    for d in (0.5, 1.5, 3.0)
    for k, b in ((0.0, "r"), (0.4, "z"))
)


@pytest.mark.slow
@pytest.mark.usefixtures("sandbox_works")
@pytest.mark.long
def test_from_a_file_to_a_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fader.py").write_text(FADER)
    (tmp_path / "bad.py").write_text(FADER.replace("return", "return 1 / 0 +"))
    (tmp_path / "light.csv").write_text(LIGHT)
    store = ("--db", "models.db")
    refused = typed("model", "add", "bad.py", *store)
    assert refused.returncode == 1
    assert "BAD finite: model bad line 7: raised ZeroDivisionError" in refused.stdout
    added = typed("model", "add", "fader.py", "--by", "a group", "--recovery-s", "1", *store)
    assert added.returncode == 0, added.stderr
    assert added.stdout.endswith("fader@1: accepted\n")
    listed = json.loads(typed("model", "list", "--json", *store).stdout)
    assert [(r["name"], r["version"], r["state"]) for r in listed["added"]] == [
        ("bad", 1, "refused"),
        ("fader", 1, "accepted"),
    ]
    shown = json.loads(typed("model", "show", "fader", "--json", *store).stdout)
    assert (shown["source"], shown["uploaded_by"]) == (FADER, "a group")
    fitted = typed(
        "fit", "light.csv", "--t0", "59999.99957", "--distance-mpc", "100", "--model",
        "steady,fader", "--json", *store,
    )  # fmt: skip
    assert fitted.returncode == 0, fitted.stderr
    models = {line["model"] for line in json.loads(fitted.stdout)["comparison"]}
    assert models == {"fader", "steady"}
    assert "steady does not use --distance-mpc" in fitted.stderr
    assert "fader does not use" not in fitted.stderr
    refused = typed("fit", "light.csv", "--t0", "59999.99957", "--model", "bad", *store)
    assert refused.returncode == 1
    assert "no accepted model 'bad'" in refused.stderr


@pytest.mark.usefixtures("sandbox_works")
def test_a_bad_file_is_told_and_not_fitted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.py").write_text(FADER.replace("return", "return 1 / 0 +"))
    (tmp_path / "light.csv").write_text(LIGHT)
    fitted = typed("fit", "light.csv", "--t0", "60000", "--model", "bad.py", "--json")
    assert fitted.returncode == 1
    assert "model bad line 7: raised ZeroDivisionError" in fitted.stderr
    checked = typed("model", "check", "bad.py", "--json")
    assert checked.returncode == 1
    assert json.loads(checked.stdout)["accepted"] is False
    unreadable = typed("model", "check", "light.csv")
    assert unreadable.returncode == 1
    assert "light.csv: line 1" in unreadable.stderr or "light.csv:" in unreadable.stderr
