"""Catalogues of galaxies: from a file or a server to the factor, by the command."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mmcoord import galaxies
from mmcoord.cli import app
from mmcoord.config import Settings
from mmcoord.errors import BadInput, ConfigError, MmcoordError
from tests.followup.test_hosts import AT2017GFO, glade_line

RUN = CliRunner()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return dataclasses.replace(Settings(), data_dir=str(tmp_path / "data"))


def test_from_a_file_to_the_factor_by_the_command(tmp_path: Path) -> None:
    config = tmp_path / "mmcoord.toml"
    config.write_text(f'data_dir = "{tmp_path}/data"\n')
    table = tmp_path / "GLADE+.txt"
    table.write_text(glade_line() + "\n" + glade_line(**{"7": "Q"}) + "\n")
    common = ["--config", str(config)]
    got = RUN.invoke(app, ["galaxies", "get", "glade", "--file", str(table), "--json", *common])
    assert got.exit_code == 0, got.output
    document = json.loads(got.stdout)
    assert document["n"] == 1
    assert document["source_sha256"] == hashlib.sha256(table.read_bytes()).hexdigest()
    place = [str(AT2017GFO[0]), "--map-mpc", "40", "--map-err-mpc", "8", *common]
    near = RUN.invoke(app, ["galaxies", "near", *place, "--json", "--", str(AT2017GFO[1])])
    assert near.exit_code == 0, near.output
    assert json.loads(near.stdout)["value"] > 0.8
    check = RUN.invoke(app, ["galaxies", "check", *common])
    assert "glade: 1 galaxies, as built" in check.stdout
    assert "nedlvs: not installed" in check.stdout


def test_a_wrong_checksum_or_a_broken_file_leaves_the_old_index(
    settings: Settings, tmp_path: Path
) -> None:
    table = tmp_path / "GLADE+.txt"
    table.write_text(glade_line())
    galaxies.install(settings, "glade", file=table)
    with pytest.raises(ConfigError, match="sha256"):
        galaxies.install(settings, "glade", file=table, sha256="0" * 64)
    table.write_text("<html>not today</html>")
    with pytest.raises(BadInput, match="line 1"):
        galaxies.install(settings, "glade", file=table)
    with pytest.raises(ConfigError, match="glade, nedlvs"):
        galaxies.install(settings, "other", file=table)
    source = galaxies.installed(settings)
    assert source is not None
    assert source.near(*AT2017GFO, 0.1).name == ("NGC4993",)


def test_nothing_installed_is_nothing_known(settings: Settings) -> None:
    assert galaxies.installed(settings) is None


def test_a_server_that_is_not_on_the_internet_is_refused(settings: Settings) -> None:
    """The door is that of the links of notices: only the publisher, only public addresses."""
    from mmcoord.fetching import Network

    inside = Network(resolve=lambda host, port: ["127.0.0.1"])
    with pytest.raises(MmcoordError, match="not on the public internet"):
        galaxies.install(settings, "glade", network=inside)
    assert not list(Path(settings.data_dir).rglob("*.part"))
