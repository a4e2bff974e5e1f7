"""The command line, the API and the page find an event by any of its names."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

from mmcoord.api.app import create_app
from mmcoord.config import Settings
from mmcoord.store.database import Database
from mmcoord.web import raw
from tests.making import make_context
from tests.stages.orders import circular, feed, fermi, icecube, lvk, with_coincidence
from tests.stores import migrated
from tests.typed import Typed, typed
from tests.web.dom import find, parse

NEUTRINO = "IceCube-140000_123456"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A store that was fed with notices of four events and two circulars."""
    folder = tmp_path_factory.mktemp("names")
    url = f"sqlite:///{folder / 'names.db'}"
    database = migrated(url)
    some = [
        icecube(0),
        circular(45001, "IceCube-260301A: a track from <b>there</b>", eventId="IceCube-260301A"),
        with_coincidence(lvk("S260301a", "PRELIMINARY", 5), 524666471),
        fermi("initial", 1),
        fermi("initial", 1, 524666472),
        circular(45002, "S260301a = GW260301: the catalogue's name"),
    ]
    feed(make_context(database, folder / "out"), some, [])
    database.close()
    return url


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[TestClient]:
    database = Database(url)
    with TestClient(create_app(database, Settings(), list)) as found:
        yield found
    database.close()


def show(url: str, name: str, *options: str) -> Typed:
    return typed("event", "show", name, "--db", url, *options)


def test_the_command_line_shows_an_event_by_another_name(url: str) -> None:
    answer = show(url, "icecube 260301a", "--json")
    assert answer.returncode == 0, answer.stderr
    document: dict[str, Any] = json.loads(answer.stdout)
    assert document["id"] == NEUTRINO
    (line,) = document["circulars"]
    assert line["circular_id"] == 45001
    assert document["story"]


def test_the_command_line_lists_all_events_of_a_name(url: str) -> None:
    answer = show(url, "bn260301104", "--json")
    assert [event["id"] for event in json.loads(answer.stdout)["events"]] == [
        "Fermi-GBM-524666471",
        "Fermi-GBM-524666472",
    ]
    said = show(url, "GW260301").stdout
    assert "S260301a: active" in said
    assert "also GW260301 (circular)" in said
    assert "see Fermi-GBM-524666471" in said
    assert show(url, "nothing").returncode == 1


def test_the_api_finds_an_event_by_any_name(client: TestClient) -> None:
    for name in (NEUTRINO, "IceCube-260301A", "ICECUBE 260301A"):
        answer = client.get(f"/api/v1/events/{name}")
        assert answer.status_code == 200
        assert answer.json()["event"]["event_id"] == NEUTRINO
        assert [line["circular_id"] for line in answer.json()["circulars"]] == [45001]
        assert client.get(f"/api/v1/events/{name}/story").json()["event_id"] == NEUTRINO
    assert client.get("/api/v1/events/nothing").status_code == 404


def test_the_api_lists_the_events_of_a_name(client: TestClient) -> None:
    both = ["Fermi-GBM-524666471", "Fermi-GBM-524666472"]
    page = client.get("/api/v1/events", params={"name": "bn 260301104"}).json()
    assert [line["event_id"] for line in page["items"]] == both
    assert page["total"] == 2
    answer = client.get("/api/v1/events/bn260301104")
    assert answer.status_code == 300
    assert answer.json()["events"] == both
    assert client.get("/api/v1/events", params={"name": "nothing"}).json()["items"] == []


def test_the_page_of_another_name_is_the_events_page(client: TestClient) -> None:
    answer = client.get("/events/icecube 260301a")
    assert answer.url.path == f"/events/{NEUTRINO}"
    heads = find(parse(answer.text), "h1")
    assert [head.text for head in heads] == [NEUTRINO]
    assert "also" in answer.text
    assert "IceCube-260301A" in answer.text


def test_circulars_and_links_are_on_the_page(client: TestClient) -> None:
    text = client.get(f"/events/{NEUTRINO}").text
    assert "https://gcn.nasa.gov/circulars/45001" in text
    assert "a track from &lt;b&gt;there&lt;/b&gt;" in text
    page = client.get("/events/S260301a").text
    assert 'href="/events/Fermi-GBM-524666471"' in page
    assert "GW260301" in page
    assert "45002" in page


def test_the_page_of_a_name_of_several_lists_them(client: TestClient) -> None:
    answer = client.get("/events/bn260301104")
    assert answer.status_code == 200
    rows = [e.attributes["data-event"] for e in parse(answer.text) if "data-event" in e.attributes]
    assert rows == ["Fermi-GBM-524666471", "Fermi-GBM-524666472"]
    assert client.get("/events/nothing").status_code == 404


def test_no_page_shows_an_address(client: TestClient) -> None:
    for number in range(1, 7):
        page = client.get(f"/notices/{number}").text
        assert "a.person@example.org" not in page
    assert "address withheld" in client.get("/notices/2").text
    assert "a.person@example.org" in client.get("/api/v1/notices/2/raw").text


def test_a_pretty_payload_says_that_addresses_are_left_out() -> None:
    shown = raw.pretty(b'{"contact": "someone.else+x@mail.example.org", "n": 1}')
    assert "@" not in shown.text
    assert "left out" in shown.note
    assert raw.pretty(b'{"n": 1}').note == ""
