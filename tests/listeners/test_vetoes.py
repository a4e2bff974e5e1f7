"""Our vetoes: each rule on each source, and nothing vetoed by what a packet does not say."""

from __future__ import annotations

import importlib.util
import json
import math
from typing import Any

import pytest

from listeners.base import Source
from listeners.brokers import antares, babamul, fink, lasair, rubin, ztf
from listeners.vetoes import NO_VETOES, Evidence, Vetoes, judge, known_number
from mmcoord.config import load_settings
from mmcoord.errors import ConfigError
from mmcoord.records import Candidate, Vetoed
from tests.listeners import packets
from tests.listeners.packets import source

ALL = Vetoes(oldest_day=30.0)


def rubin_packet(**changes: Any) -> bytes:
    history = changes.pop("history", [source(midpointMjdTai=61495.25)])
    made = packets.packet(diaSource=source(**changes), prvDiaSources=history, ssSource=None)
    return packets.on_the_wire(1101, made)


def fink_packet(**changes: Any) -> bytes:
    parts = {key: changes.pop(key) for key in ("xm", "misc", "prvDiaSources") if key in changes}
    return packets.container(packets.fink_alert(diaSource=source(**changes), **parts))


def ztf_packet(**changes: Any) -> bytes:
    return packets.container(packets.ztf_alert(**changes))


def babamul_packet(**changes: Any) -> bytes:
    made = packets.babamul_alert()
    made["properties"] |= changes.pop("properties", {})
    made["candidate"] |= changes
    return packets.container(made)


def lasair_packet(**changes: Any) -> bytes:
    return json.dumps(packets.lasair_object(**changes)).encode()


def antares_packet(**changes: Any) -> bytes:
    return packets.antares_message(packets.antares_locus(**changes))


MAKERS = {
    "rubin": (rubin.SOURCE, rubin_packet),
    "fink_lsst": (fink.SOURCE, fink_packet),
    "ztf": (ztf.SOURCE, ztf_packet),
    "babamul": (babamul.SOURCE, babamul_packet),
    "lasair": (lasair.SOURCE, lasair_packet),
    "antares": (antares.SOURCE, antares_packet),
}

VETOED: list[tuple[str, str, dict[str, Any], str]] = [
    ("rubin", "moving", {"ssObjectId": 21163624394469969}, "21163624394469969"),
    ("rubin", "moving", {"ssObjectId": 5, "diaObjectId": 0}, "ssObjectId 5"),
    ("rubin", "bogus", {"reliability": 0.05}, "0.05 < 0.1"),
    ("rubin", "old", {"history": [source(midpointMjdTai=61400.25)]}, "100 > 30"),
    ("rubin", "withdrawn", {"timeWithdrawnMjdTai": 61500.3}, "61500.3"),
    ("fink_lsst", "moving", {"ssObjectId": 5}, "ssObjectId 5"),
    ("fink_lsst", "star", {"xm": {"gaiadr3_Plx": 1.86, "gaiadr3_e_Plx": 0.28}}, "6.6 sigma"),
    ("fink_lsst", "star", {"xm": {"vsx_Type": "RRAB"}}, "VSX RRAB"),
    ("fink_lsst", "star", {"xm": {"gcvs_type": "UG"}}, "GCVS UG"),
    ("fink_lsst", "bogus", {"reliability": 0.0}, "0 < 0.1"),
    ("fink_lsst", "old", {"misc": {"firstDiaSourceMjdTaiFink": 61400.25}}, "100 > 30"),
    ("fink_lsst", "old", {"prvDiaSources": [source(midpointMjdTai=61400.25)]}, "100 > 30"),
    ("fink_lsst", "withdrawn", {"timeWithdrawnMjdTai": 61500.3}, "61500.3"),
    ("ztf", "moving", {"ssdistnr": 2.0}, "ssdistnr 2"),
    ("ztf", "star", {"distpsnr1": 0.4}, "0.98 at 0.40"),
    ("ztf", "bogus", {"drb": 0.02}, "0.02 < 0.1"),
    ("ztf", "bogus", {"drb": None, "rb": 0.02}, "0.02 < 0.1"),
    ("ztf", "old", {"jdstarthist": 2461400.7}, "100 > 30"),
    ("babamul", "moving", {"ssObjectId": 5}, "ssObjectId 5"),
    ("babamul", "moving", {"properties": {"rock": True}}, "rock"),
    ("babamul", "star", {"properties": {"star": True}}, "Legacy"),
    ("babamul", "bogus", {"reliability": 0.05}, "0.05 < 0.1"),
    ("babamul", "old", {"jdstarthist": 2461400.75}, "> 30"),
    ("lasair", "moving", {"ssObjectId": 5}, "ssObjectId 5"),
    ("lasair", "moving", {"ssObjectId": "5"}, "ssObjectId 5"),
    ("lasair", "star", {"classification": "VS"}, "Sherlock VS"),
    ("lasair", "star", {"sherlock_classifications.classification": "CV"}, "Sherlock CV"),
    ("lasair", "bogus", {"latestR": 0.05}, "0.05 < 0.1"),
    ("lasair", "old", {"firstDiaSourceMjdTai": 60929.354114730224}, "100 > 30"),
    ("antares", "moving", {"properties": {"ztf_ssnamenr": "Ceres"}}, "Ceres"),
    ("antares", "star", {"catalogs": ["gaia_dr3_gaia_source", "vsx"]}, "vsx"),
    ("antares", "old", {"properties": {"oldest_alert_observation_time": 61400.2}}, "100 > 30"),
]

KEPT: list[tuple[str, dict[str, Any]]] = [
    ("rubin", {"ssObjectId": None}),
    ("rubin", {"reliability": None}),
    ("rubin", {"reliability": math.nan}),
    ("rubin", {"reliability": 0.1}),
    ("rubin", {"history": None}),
    ("rubin", {"timeWithdrawnMjdTai": math.nan}),
    ("rubin", {"extendedness": 0.0}),
    ("fink_lsst", {"ssObjectId": 0}),
    ("fink_lsst", {"xm": None}),
    ("fink_lsst", {"xm": {"gaiadr3_Plx": 0.06, "gaiadr3_e_Plx": 0.09}}),
    ("fink_lsst", {"xm": {"gaiadr3_Plx": -1.86, "gaiadr3_e_Plx": 0.28}}),
    ("fink_lsst", {"xm": {"gaiadr3_Plx": 1.86, "gaiadr3_e_Plx": 0.0}}),
    ("fink_lsst", {"xm": {"gaiadr3_Plx": 1.86, "gaiadr3_e_Plx": None}}),
    ("fink_lsst", {"xm": {"legacydr8_pstar": 1.0}}),
    ("fink_lsst", {"xm": {"vsx_Type": "AGN"}}),
    ("fink_lsst", {"xm": {"vsx_Type": "QSO"}}),
    ("fink_lsst", {"xm": {"gcvs_type": " "}}),
    ("fink_lsst", {"misc": None}),
    ("fink_lsst", {"misc": {"firstDiaSourceMjdTaiFink": 0.0}}),
    ("ztf", {"ssdistnr": -999.0}),
    ("ztf", {"ssdistnr": 12.0}),
    ("ztf", {"sgscore1": 0.5, "distpsnr1": 0.1}),
    ("ztf", {"sgscore1": -999.0, "distpsnr1": -999.0}),
    ("ztf", {"drb": None, "rb": None}),
    ("ztf", {"jdstarthist": None}),
    ("babamul", {"properties": {"star": None}}),
    ("babamul", {"properties": {"near_brightstar": True}}),
    ("babamul", {"reliability": None}),
    ("babamul", {"jdstarthist": None}),
    ("lasair", {"classification": "BS"}),
    ("lasair", {"classification": "SN"}),
    ("lasair", {"ssObjectId": 0}),
    ("lasair", {"ssObjectId": "0"}),
    ("lasair", {"ssObjectId": True}),
    ("fink_lsst", {"ssObjectId": "none"}),
    ("fink_lsst", {"ssObjectId": 0.0}),
    ("lasair", {"alert": None}),
    ("lasair", {"firstDiaSourceMjdTai": None}),
    ("antares", {"properties": {"ztf_ssnamenr": None}}),
    ("antares", {"catalogs": ["bright_guide_star_cat", "milliquas"]}),
    ("antares", {"properties": {"oldest_alert_observation_time": None}}),
]


def need(name: str) -> None:
    if name == "rubin" and importlib.util.find_spec("lsst") is None:
        pytest.skip("package lsst-alert-packet (extra 'rubin') is not installed")


def sifted(name: str, changes: dict[str, Any], vetoes: Vetoes) -> tuple[Source, list[Any]]:
    need(name)
    listener, make = MAKERS[name]
    return listener, list(listener.read(make(**changes), vetoes))


@pytest.mark.parametrize(("name", "rule", "changes", "words"), VETOED)
def test_each_rule_leaves_out_and_says_why(name, rule, changes, words):
    listener, found = sifted(name, changes, ALL)
    (vetoed,) = found
    assert isinstance(vetoed, Vetoed)
    assert (vetoed.source, vetoed.veto) == (listener.name, rule)
    assert words in vetoed.detail
    assert vetoed.object_id


@pytest.mark.parametrize(("name", "rule", "changes", "words"), VETOED)
def test_a_rule_that_is_switched_off_keeps(name, rule, changes, words):
    """But for what no object names and what its survey took back: those are no candidates."""
    _, found = sifted(name, changes, NO_VETOES)
    if rule == "withdrawn" or changes.get("diaObjectId") == 0:
        assert [record.veto for record in found] == [rule]
    else:
        assert isinstance(found[0], Candidate)
        assert not any(isinstance(record, Vetoed) for record in found)


@pytest.mark.parametrize(("name", "changes"), [*KEPT, *((name, {}) for name in MAKERS)])
def test_what_a_packet_does_not_say_vetoes_nothing(name, changes):
    _, found = sifted(name, changes, ALL)
    assert isinstance(found[0], Candidate)
    assert not any(isinstance(record, Vetoed) for record in found)


@pytest.mark.parametrize("name", MAKERS)
def test_parse_keeps_what_the_vetoes_would_leave_out(name):
    """A replay asks each listener whether it can read a file, whatever the settings."""
    need(name)
    listener, make = MAKERS[name]
    assert list(listener.parse(make())) == list(listener.read(make(), NO_VETOES))


def test_the_first_rule_that_applies_counts():
    evidence = Evidence(moving="m", star="s", reliability=0.0, history_day=99.0, withdrawn="w")
    order = []
    for off in ({}, {"withdrawn": ""}, {"moving": ""}, {"star": ""}, {"reliability": None}):
        for key, value in off.items():
            object.__setattr__(evidence, key, value)
        vetoed = judge(evidence, ALL, "a", "b")
        assert vetoed is not None
        order.append(vetoed.veto)
    assert order == ["withdrawn", "moving", "star", "bogus", "old"]


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("fink_lsst", {"xm": {"vsx_Type": "RR\0\x01" * 1000}}),
        ("antares", {"catalogs": ["vsx\0" * 1000]}),
        ("antares", {"properties": {"ztf_ssnamenr": "Ceres\0" * 1000}}),
    ],
)
def test_what_is_said_of_a_veto_can_be_stored(name, changes):
    """The outcome of a notice is text in PostgreSQL, which takes no NUL."""
    _, (vetoed,) = sifted(name, changes, ALL)
    assert isinstance(vetoed, Vetoed)
    assert "\0" not in vetoed.detail
    assert len(vetoed.detail) < 200


@pytest.mark.parametrize("value", [None, True, "1", math.nan, math.inf, 10**400, [], {}])
def test_what_is_no_number_is_not_known(value):
    assert known_number(value) is None


# --- settings ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", Vetoes()),
        ("[vetoes]\nmoving = false\nstar = false", Vetoes(moving=False, star=False)),
        ("[vetoes]\nleast_reliability = false", Vetoes(least_reliability=None)),
        ("[vetoes]\nleast_reliability = 0.5\noldest_day = 30", Vetoes(True, True, 0.5, 30.0)),
        ("[vetoes]\noldest_day = false", Vetoes(oldest_day=None)),
    ],
)
def test_a_rule_is_set_or_switched_off_in_the_file(tmp_path, text, expected):
    path = tmp_path / "mmcoord.toml"
    path.write_text(text)
    assert load_settings(path, {}).vetoes == expected


@pytest.mark.parametrize("word", ["false", "off", "None"])
def test_a_rule_is_switched_off_by_the_environment(word):
    settings = load_settings(None, {"MMCOORD_VETOES__LEAST_RELIABILITY": word})
    assert settings.vetoes.least_reliability is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("least_reliability = 2", "least_reliability"),
        ("least_reliability = nan", "least_reliability"),
        ("least_reliability = true", "True"),
        ("least_reliability = 'much'", "much"),
        ("oldest_day = 0", "oldest_day"),
        ("oldest_day = -3.0", "oldest_day"),
        ("moving = 0.5", "moving"),
        ("dipoles = true", "unknown key 'dipoles'"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused(tmp_path, text, words):
    path = tmp_path / "mmcoord.toml"
    path.write_text(f"[vetoes]\n{text}")
    with pytest.raises(ConfigError, match=words):
        load_settings(path, {})
