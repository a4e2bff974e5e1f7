"""The interactive sky: a page of its own, with a policy of its own, where there is a viewer."""

from __future__ import annotations

from pathlib import Path

from fastapi.testclient import TestClient

from mmcoord import aladin
from mmcoord.api.app import create_app
from mmcoord.config import Settings
from mmcoord.store.database import Database
from mmcoord.store.tables_elsewhere import ElsewhereRow
from mmcoord.timescales import mjd_tai
from tests.web import sample
from tests.web.dom import find, parse
from tests.web.sample import EVENT, FIRST, HEARD, T0
from tests.web.test_pages import main_text, page

POLICY = "content-security-policy"


def test_without_a_viewer_the_drawing_is_there_and_says_how_to_get_one(
    client: TestClient, filled: Database, tmp_path: Path
) -> None:
    app = create_app(filled, Settings(data_dir=str(tmp_path)), list)
    bare = TestClient(app)
    elements = page(bare, f"/viewer?event={EVENT}")
    assert find(elements, "path", class_="region region-90")
    assert "mmcoord data get aladin-lite" in main_text(elements)
    assert not find(elements, "button", id="load-viewer")
    assert bare.get("/viewer/aladin.js").status_code == 404


def test_a_page_without_live_parts_names_no_stream(client: TestClient, filled: Database) -> None:
    for path in (f"/viewer?event={EVENT}", "/nope"):
        (body,) = find(parse(client.get(path).text), "body")
        assert body.attributes["data-stream"] == ""
    (body,) = find(page(client, f"/events/{EVENT}"), "body")
    assert body.attributes["data-stream"].startswith(f"/events/stream?event={EVENT}&after=")


def test_a_viewer_is_loaded_by_its_button_alone(filled: Database, tmp_path: Path) -> None:
    settings = Settings(data_dir=str(tmp_path))
    path = aladin.script_path(settings)
    path.parent.mkdir(parents=True)
    path.write_text("export default {}")
    client = TestClient(create_app(filled, settings, list))
    elements = page(client, f"/viewer?event={EVENT}")
    assert find(elements, "button", id="load-viewer")
    sources = [e.attributes.get("src", "") for e in find(elements, "script")]
    assert not [source for source in sources if "aladin" in source]
    assert client.get("/viewer/aladin.js").text == "export default {}"


def test_only_the_viewers_page_has_the_looser_policy(client: TestClient, filled: Database) -> None:
    assert "wasm-unsafe-eval" in client.get(f"/viewer?event={EVENT}").headers[POLICY]
    for path in ("/", f"/events/{EVENT}", "/viewer?event=nobody", "/search?q=x"):
        policy = client.get(path).headers[POLICY]
        assert "unsafe" not in policy
        assert "cds" not in policy


def test_what_is_drawn_over_the_images_is_what_the_store_holds(
    client: TestClient, filled: Database
) -> None:
    t0 = mjd_tai(T0)
    sample.add(
        filled,
        *(
            ElsewhereRow(source="treasuremap", key=key, who="others", status=status,
                         obs_mjd_tai=t0 + day, ra_deg=197.0, dec_deg=-23.0, radius_deg=1.5,
                         notice_id=1, received_at=HEARD)
            for key, status, day in (("a", "completed", 0.2), ("b", "cancelled", 0.2),
                                     ("c", "planned", 20.0), ("d", "completed", -1.0))
        ),
    )  # fmt: skip
    told = client.get(f"/viewer/sky.json?event={EVENT}").json()
    assert [p["who"] for p in told["pointings"]] == ["others"]
    assert told["pointings"][0]["radius_deg"] == 1.5
    assert told["candidates"][0]["object_id"] == FIRST
    assert len(told["candidates"]) == 40
    assert set(told["outlines"]) == {"0.5", "0.9"}
