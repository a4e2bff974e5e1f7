"""The documentation: the site builds without a warning, and what is generated is up to date."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from mmcoord.config import ConfigError, ListenerSettings, Settings, SinkSettings, load_settings
from mmcoord.reference import Setting, configuration_page, settings

ROOT = Path(__file__).parents[2]
TOP = [one for one in settings() if "NAME" not in one.table]


def test_the_site_builds_strictly_and_has_the_api(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    operations = (tmp_path / "operations" / "index.html").read_text(encoding="utf-8")
    paths = json.loads((tmp_path / "openapi.json").read_text(encoding="utf-8"))["paths"]
    assert "/api/v1/runs" in paths
    assert all(path in operations for path in paths)
    assert (tmp_path / "files" / "deploy" / "listeners.toml").exists()


def test_the_configuration_page_is_up_to_date() -> None:
    page = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert page == configuration_page(), "run python -m mmcoord.reference"


def test_every_setting_says_what_it_means() -> None:
    assert [f"{one.table}.{one.key}" for one in settings() if not one.about] == []


@pytest.mark.parametrize("one", TOP, ids=lambda one: one.variable)
def test_the_documented_default_is_the_default(one: Setting, tmp_path: Path) -> None:
    if one.default == "none":
        pytest.skip("TOML has no null")
    file = tmp_path / "mmcoord.toml"
    file.write_text((f"[{one.table}]\n" if one.table else "") + f"{one.key} = {one.default}\n")
    assert load_settings(file, {}) == Settings()


def test_the_documented_variables_reach_their_settings() -> None:
    reached = 0
    for one in TOP:
        if one.default in ("none", "[]", "{}"):  # nothing that a variable could say
            continue
        value = tomllib.loads(f"it = {one.default}")["it"]
        text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
        assert load_settings(None, {one.variable: text}) == Settings(), one.variable
        reached += 1
    assert reached > 40
    with pytest.raises(ConfigError, match="unknown key"):
        load_settings(None, {"MMCOORD_NO_SUCH_KEY": "1"})


def test_needed_keys_are_those_without_a_default() -> None:
    needed = {(one.table, one.key) for one in settings() if one.default == "needed"}
    assert needed == {
        ("listeners.NAME", "transport"),
        ("listeners.NAME", "source"),
        ("sinks.NAME", "kind"),
    }
    assert ListenerSettings(transport="kafka", source="igwn")
    assert SinkSettings(kind="file")


def test_the_pages_toml_is_toml() -> None:
    for page in (ROOT / "docs").rglob("*.md"):
        for block in page.read_text(encoding="utf-8").split("```toml\n")[1:]:
            tomllib.loads(block.split("```")[0])
