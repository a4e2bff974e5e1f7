"""``mmcoord triangulate`` and ``mmcoord data``: from messages to a map, and what is refused."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mmcoord.cli import app
from mmcoord.datasets import DATA_SETS, get
from mmcoord.errors import BadNotice, ConfigError, MmcoordError
from mmcoord.supernova.messages import arrivals_of, read_times
from skymaps import load, match, overlap_integral, region_moc_json
from skymaps.circle import from_circle
from skymaps.detectors import builtin_detectors
from tests.linkserver import HOST, running
from tests.shared import shared

TIMES = {
    "Super-K": "2030-01-01T12:00:00.012000",
    "IceCube": "2030-01-01T12:00:00.003000",
    "JUNO": "2030-01-01T12:00:00.014500",
}


def alert(times: dict[str, str] = TIMES, **more: object) -> bytes:
    return json.dumps(
        {
            "_id": "SNEWS_Coincidence_ALERT 2030-01-01T12:01:00",
            "alert_type": "COINC_MSG",
            "detector_names": list(times),
            "neutrino_times": list(times.values()),
            "p_values": [0.01] * len(times),
            "sent_time": "2030-01-01T12:01:00",
            **more,
        }
    ).encode()


def report(detector: str, **more: object) -> bytes:
    return json.dumps({"detector_name": detector, "is_test": "True", **more}).encode()


def command(*words: object) -> dict[str, object]:
    result = CliRunner().invoke(app, ["triangulate", *map(str, words), "--json"])
    if result.exception is not None:
        raise result.exception
    document = json.loads(result.stdout)
    assert isinstance(document, dict)
    return document


def test_an_alert_becomes_a_map_that_goes_on_like_any_other(tmp_path: Path) -> None:
    path, out, png = tmp_path / "alert.json", tmp_path / "map.fits", tmp_path / "map.png"
    path.write_bytes(alert())
    document = command(path, "--out", out, "--picture", png, "--distance-kpc", 8)
    assert document["detectors"] == ["IceCube", "Super-K", "JUNO"]
    assert document["is_test"] is False
    assert document["distance_kpc"] == 8
    assert {"probability_real", "false_alarm_rate_hz", "classification"} <= set(document)
    skymap = load(out)
    area = document["area_90_deg2"]
    assert isinstance(area, float)
    assert 0 < document["area_68_deg2"] < area < 41_253  # type: ignore[operator]
    assert png.read_bytes()[:4] == b"\x89PNG"
    star = document["stars"][0]  # type: ignore[index]
    found = match(skymap, star["ra_deg"], star["dec_deg"])
    assert found.credible_level_2d[0] == pytest.approx(star["credible_level"], abs=1e-6)
    assert region_moc_json(skymap, 0.9)
    assert overlap_integral(skymap, from_circle(star["ra_deg"], star["dec_deg"], 5.0)) > 0.0


def test_a_pointing_from_the_command_line_counts(tmp_path: Path) -> None:
    path = tmp_path / "alert.json"
    path.write_bytes(alert())
    wide = command(path)["area_90_deg2"]
    narrow = command(path, "--pointing", "266,-29,4", "--flat-prior")["area_90_deg2"]
    assert narrow < 130 < wide  # type: ignore[operator]
    with pytest.raises(ConfigError, match="--pointing"):
        command(path, "--pointing", "266,-29")


def test_reports_of_experiments_make_a_burst(tmp_path: Path) -> None:
    reports = [
        report("NOvA", neutrino_time="2030-01-01T12:00:00.1"),
        report("Super-K", neutrino_time_utc="2030-01-01T12:00:00.2"),
        report("NOvA", neutrino_time="2030-01-01T12:00:00.15"),
    ]
    burst = read_times((str(i), payload) for i, payload in enumerate(reports))
    assert {name: moment.microsecond for name, moment in burst.times.items()} == {
        "NOvA": 150_000,
        "Super-K": 200_000,
    }
    assert burst.is_practice


def test_one_message_of_a_test_makes_a_test_of_all() -> None:
    burst = read_times([("a", alert()), ("b", report("DUNE", neutrino_time="2030-01-01T12:00:00"))])
    assert burst.is_practice
    assert not read_times([("a", alert())]).is_practice


def test_an_unknown_detector_is_left_out_and_named() -> None:
    burst = read_times([("a", alert({**TIMES, "Theia": "2030-01-01T12:00:00"}))])
    arrivals, unknown = arrivals_of(burst, builtin_detectors())
    assert {a.detector for a in arrivals} == set(TIMES)
    assert unknown == ["Theia"]


@pytest.mark.parametrize(
    ("payload", "says"),
    [
        (b"\x80\x04pickle", "pickle"),
        (b"[]", "JSON object"),
        (b"{", "JSON"),
        (report("NOvA", detector_status="ON"), "no neutrino time"),
        (report("NOvA", neutrino_time="yesterday"), "neutrino_time"),
        (alert({}), "0 names"),
    ],
)
def test_what_is_no_message_of_a_burst_is_refused_with_its_name(payload: bytes, says: str) -> None:
    with pytest.raises(BadNotice, match=says) as caught:
        read_times([("good", alert()), ("bad.json", payload)])
    assert caught.value.where == "bad.json"


def test_two_names_of_one_detector_are_refused() -> None:
    burst = read_times([("a", alert({**TIMES, "SK": "2030-01-01T12:00:00"}))])
    with pytest.raises(BadNotice, match="are one"):
        arrivals_of(burst, builtin_detectors())


def test_the_fire_drill_of_2022(tmp_path: Path) -> None:
    path = shared("nu/snews/fd_sep_alert.json")
    document = command(path, "--out", tmp_path / "map.fits")
    assert document["is_test"] is True
    assert len(document["detectors"]) == 7  # type: ignore[arg-type]
    assert document["is_consistent"]
    assert document["culprit"] is None


def test_the_drill_grows_as_detectors_report() -> None:
    folder = shared("nu/snews")
    files = [folder / f"fd2209b-msg{i}.json" for i in range(1, 8)]
    whole = read_times([(folder.name, (folder / "fd_sep_alert.json").read_bytes())])
    seen = read_times((path.name, path.read_bytes()) for path in files)
    # DUNE sent its time again, 20 ms earlier, before the alert.
    differ = {name for name in whole.times if seen.times[name] != whole.times[name]}
    assert differ == {"DUNE"}
    assert command(files[0])["notes"] == ["one detector: its time says nothing about the direction"]
    two, four = (command(*files[:count])["area_90_deg2"] for count in (2, 4))
    assert four < 0.5 * two  # type: ignore[operator]
    early, mended = command(*files), command(folder / "fd_sep_alert.json")
    assert early["p_value"] < 0.05 < mended["p_value"]  # type: ignore[operator]
    clocks = early["bad_clock_probability"]
    assert isinstance(clocks, dict)
    assert max(clocks, key=clocks.__getitem__) == "DUNE"
    assert mended["area_90_deg2"] < early["area_90_deg2"]  # type: ignore[operator]


def test_a_data_set_is_fetched_once_and_checked(tmp_path: Path) -> None:
    content = b"Alias,ra\n"
    data = dataclasses.replace(
        DATA_SETS["rsg"],
        url=f"https://{HOST}/rsg.csv",
        host=HOST,
        sha256=hashlib.sha256(content).hexdigest(),
    )
    path = tmp_path / "data" / data.file
    with running() as server:
        server.answers["/rsg.csv"] = content
        assert get(data, path, server.network()).read_bytes() == content
        get(data, path, server.network())
        assert len(server.seen) == 1
        path.write_bytes(b"rotten")
        server.answers["/rsg.csv"] = b"something else"
        with pytest.raises(MmcoordError, match="sha256"):
            get(data, path, server.network())
        assert path.read_bytes() == b"rotten"
        assert not list(path.parent.glob("*.part"))


def test_the_checksum_is_that_of_the_published_catalogue() -> None:
    content = shared("nu/rsg").joinpath(DATA_SETS["rsg"].file).read_bytes()
    assert hashlib.sha256(content).hexdigest() == DATA_SETS["rsg"].sha256


def test_an_unknown_data_set_is_a_usage_error() -> None:
    result = CliRunner().invoke(app, ["data", "get", "everything"])
    assert isinstance(result.exception, ConfigError)
