"""What an unmodified TOM does that the sink must know: seen on the real one.

These tests are about the TOM, not about us. When one fails after an upgrade, a trap has
been closed (or has moved) and ``followup/sinks/_tom_rest.py`` may be simplified.
"""

from __future__ import annotations

import httpx
import pytest

from tests.tom_server import TomServer, TomUser

pytestmark = pytest.mark.tom


def _post(tom: TomServer, body: dict[str, object], user: TomUser | None = None) -> httpx.Response:
    headers = (user or tom.bot).headers
    return httpx.post(f"{tom.url}/api/targets/", headers=headers, json=body, timeout=60)


def _patch(tom: TomServer, target: int, body: dict[str, object]) -> httpx.Response:
    url = f"{tom.url}/api/targets/{target}/"
    return httpx.patch(url, headers=tom.bot.headers, json=body, timeout=60)


def _target(name: str, ra: float, dec: float, **more: object) -> dict[str, object]:
    return {"name": name, "type": "SIDEREAL", "ra": ra, "dec": dec, **more}


def test_an_anonymous_visitor_is_answered_and_can_even_write(tom: TomServer) -> None:
    listed = httpx.get(f"{tom.url}/api/targets/", timeout=60)
    assert (listed.status_code, listed.json()["count"]) == (200, 0)
    groups = httpx.get(f"{tom.url}/api/groups/", timeout=60)
    assert (groups.status_code, groups.json()["count"]) == (200, 0)
    body = _target("trap-anonymous", 1.0, 1.0)
    assert httpx.post(f"{tom.url}/api/targets/", json=body, timeout=60).status_code == 201


def test_only_a_member_sees_the_group(tom: TomServer) -> None:
    assert [g["name"] for g in tom.get("/api/groups/").json()["results"]] == ["mmcoord"]
    assert tom.get("/api/groups/", tom.admin).json()["count"] == 0
    bad = TomUser("bot", "", "0" * 40)
    assert tom.get("/api/groups/", bad).status_code == 401


def test_wrong_credentials_are_a_400(tom: TomServer) -> None:
    body = {"username": "bot", "password": "wrong"}
    answer = httpx.post(f"{tom.url}/api/token-auth/", json=body, timeout=60)
    assert answer.status_code == 400


def test_impossible_positions_are_stored(tom: TomServer) -> None:
    assert _post(tom, _target("trap-ra-400", 400.0, 95.0)).status_code == 201


def test_the_name_search_is_a_substring_search(tom: TomServer) -> None:
    for name in ("trap-name-1", "trap-name-10"):
        assert _post(tom, _target(name, 2.0, 1.0)).status_code == 201
    assert tom.get("/api/targets/", name="trap-name-1").json()["count"] == 2


def test_the_cone_search_loses_targets_at_its_very_centre(tom: TomServer) -> None:
    # cos(separation) rounds to just above 1 here, and the arc cosine of that is nothing
    ra, dec = 274.95886283158103, -44.0875753669041
    assert _post(tom, _target("trap-centre", ra, dec)).status_code == 201
    exact = tom.get("/api/targets/", cone_search=f"{ra},{dec},0.001").json()["count"]
    shifted = tom.get("/api/targets/", cone_search=f"{ra},{dec + 0.0001},0.001").json()["count"]
    assert (exact, shifted) == (0, 1)


def test_the_cone_search_does_not_wrap_and_forgets_cos_dec(tom: TomServer) -> None:
    assert _post(tom, _target("trap-wrap", 359.9999, 10.0)).status_code == 201
    assert tom.get("/api/targets/", cone_search="0.0001,10,0.01").json()["count"] == 0
    assert tom.get("/api/targets/", cone_search="360.0001,10,0.01").json()["count"] == 1
    assert _post(tom, _target("trap-pole", 100.0, 89.999)).status_code == 201
    near = tom.get("/api/targets/", cone_search="100.05,89.999,0.00028").json()["count"]
    assert near == 0  # though only 3 milliarcseconds away


def test_an_extra_without_its_id_is_a_500(tom: TomServer) -> None:
    body = _target("trap-extra", 3.0, 1.0, targetextra_set=[{"key": "k", "value": "1"}])
    target = _post(tom, body).json()
    again = {"targetextra_set": [{"key": "k", "value": "2"}]}
    assert _patch(tom, target["id"], again).status_code == 500
    again["targetextra_set"][0]["id"] = target["targetextra_set"][0]["id"]
    assert _patch(tom, target["id"], again).status_code == 200


def test_groups_by_name_are_taken_on_creation_only(tom: TomServer) -> None:
    target = _post(tom, _target("trap-group", 4.0, 1.0, groups=[{"name": "mmcoord"}])).json()
    assert [g["name"] for g in target["groups"]] == ["mmcoord"]
    change: dict[str, object] = {"groups": [{"name": "mmcoord"}]}
    assert _patch(tom, target["id"], change).status_code == 500


def test_a_target_cannot_leave_a_target_list(tom: TomServer) -> None:
    target = _post(tom, _target("trap-list", 5.0, 1.0, target_lists=[{"name": "trap"}])).json()
    assert _patch(tom, target["id"], {"target_lists": []}).status_code == 200
    assert tom.members("trap") == {"trap-list"}
    pk = tom.list_number("trap")
    assert tom.get(f"/api/targetlist/{pk}/").status_code == 500
    url = f"{tom.url}/api/targetlist/{pk}/"
    assert httpx.delete(url, headers=tom.bot.headers, timeout=60).status_code == 500


def test_a_name_taken_by_somebody_else_is_a_400_and_invisible(tom: TomServer) -> None:
    assert _post(tom, _target("trap-hidden", 6.0, 1.0), tom.outsider).status_code == 201
    answer = _post(tom, _target("trap-hidden", 6.0, 1.0))
    assert answer.status_code == 400
    assert "already exists" in answer.text
    assert tom.get("/api/targets/", name="trap-hidden").json()["count"] == 0


def test_photometry_given_twice_is_kept_once(tom: TomServer) -> None:
    target = _post(tom, _target("trap-photometry", 7.0, 1.0)).json()["id"]
    body = {
        "target": target,
        "data_type": "photometry",
        "source_name": "mmcoord",
        "timestamp": "2026-11-23T01:00:00.123456Z",
        "value": {"brightness": 19.3, "brightness_error": 0.02, "bandpass": "lsst:g"},
    }
    url = f"{tom.url}/api/reduceddatums/"
    first = httpx.post(url, headers=tom.bot.headers, json=body, timeout=60)
    second = httpx.post(url, headers=tom.bot.headers, json=body, timeout=60)
    assert first.status_code == 201
    assert (second.status_code, second.json()["already_exists"]) == (200, True)
