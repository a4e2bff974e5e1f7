"""Each command of docs/deploy.md: run where it can be, else known to the program that it calls."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mmcoord.cli import app
from tests.deploy import test_helm
from tests.deploy.running import ROOT
from tests.deploy.test_containers import accepts
from tests.web import sample

PAGE = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
COMMANDS = [
    shlex.split(line)
    for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    for line in block.splitlines()
]


def of(program: str) -> list[list[str]]:
    return [command[1:] for command in COMMANDS if Path(command[0]).name == program]


def test_no_command_is_of_a_program_that_no_test_here_knows() -> None:
    known = {"mmcoord", "helm", "docker", "sh", "install", "python3", "pip", "systemctl"}
    programs = {Path(command[0]).name for command in COMMANDS if "=" not in command[0]}
    assert programs == known


@pytest.mark.parametrize("command", of("mmcoord"), ids=" ".join)
def test_mmcoord_knows_its_commands(command: list[str]) -> None:
    assert accepts(command)


def test_a_store_is_copied_and_restored_as_the_page_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mmcoord.toml").write_text(f'database_url = "sqlite:///{tmp_path}/{sample.FILE}"\n')
    database = sample.open_store(tmp_path)
    sample.fill(database)
    database.close()
    commands = [c for c in of("mmcoord") if c[0] in ("backup", "restore")]
    assert [c[0] for c in commands] == ["backup", "restore", "backup"]
    for command in commands:
        done = CliRunner().invoke(app, command)
        assert done.exit_code == 0, done.output
        assert "ledger balanced" in done.output
    assert (tmp_path / "restored.db").exists()


def test_files_of_the_page_are_there() -> None:
    for command in COMMANDS:
        for argument in command:
            if argument.startswith("deploy/"):
                assert list(ROOT.glob(argument)), argument
    for link in re.findall(r"\]\(([^)#:]+)", PAGE):
        assert (ROOT / "docs" / link).exists(), link


@pytest.mark.skipif(not Path(test_helm.FOUND).exists(), reason="no helm here: see `make helm`")
def test_helm_knows_its_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    lint, template, _ = of("helm")
    for command in (lint, template):
        assert test_helm.helm(*command[:-2]).returncode == 0


def test_the_extras_that_it_installs_are_offered() -> None:
    import tomllib

    offered = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = {e for text in re.findall(r"mmcoord\[([\w,]+)\]", PAGE) for e in text.split(",")}
    assert named <= set(offered["optional-dependencies"])
