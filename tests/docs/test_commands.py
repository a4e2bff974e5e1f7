"""Every command that the documentation shows: read by the command line itself, some run."""

from __future__ import annotations

import importlib.util
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from mmcoord.cli import app

ROOT = Path(__file__).parents[2]
PAGES = [*sorted((ROOT / "docs").rglob("*.md")), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
BLOCK = re.compile(r"(<!-- run -->\n)?^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"(mmcoord|make|python -m)\b")
INLINE = re.compile(r"`(mmcoord [a-z][^`\n]*)`")


def blocks() -> list[tuple[str, bool, list[str]]]:
    """(page, whether it is to be run, its commands) of every block of commands."""
    found = []
    for page in PAGES:
        for mark, language, text in BLOCK.findall(page.read_text(encoding="utf-8")):
            if language not in ("", "sh"):
                continue
            lines = re.sub(r"\\\n\s*", " ", text).splitlines()
            commands = [line.split("  #")[0].split("   ")[0].strip() for line in lines]
            commands = [line for line in commands if COMMAND.match(line)]
            if commands:
                found.append((str(page.relative_to(ROOT)), bool(mark), commands))
    return found


SHOWN = [(page, line) for page, _, lines in blocks() for line in lines]
MENTIONED = [
    (str(page.relative_to(ROOT)), line)
    for page in PAGES
    for line in INLINE.findall(page.read_text(encoding="utf-8"))
]
RUN = [(page, lines) for page, is_run, lines in blocks() if is_run]
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def parsed(line: str) -> None:
    """Let typer read a command without running it.

    Raises
    ------
    click.UsageError
        It would refuse the line.
    """
    command: Any = typer.main.get_command(app)
    name, *words = shlex.split(line)
    while hasattr(command, "commands"):
        if not words:
            return
        assert words[0] in command.commands, f"no command {words[0]!r}"
        name, command = words[0], command.commands[words.pop(0)]
    if "--help" not in words:
        command.make_context(name, words)


@pytest.mark.parametrize(("page", "line"), SHOWN, ids=[f"{p}: {c}" for p, c in SHOWN])
def test_a_command_that_is_shown_is_one(page: str, line: str) -> None:
    words = line.split()
    if words[0] == "make":
        assert {word for word in words[1:] if "=" not in word} <= TARGETS
    elif words[0] == "python":
        assert importlib.util.find_spec(words[2]) is not None
    else:
        parsed(line)


@pytest.mark.parametrize(("page", "line"), MENTIONED, ids=[f"{p}: {c}" for p, c in MENTIONED])
def test_a_command_that_is_mentioned_exists_with_its_options(page: str, line: str) -> None:
    command: Any = typer.main.get_command(app)
    words = re.split(r"[\s,]+", line.removeprefix("mmcoord "))
    while hasattr(command, "commands") and words:
        names = re.split(r"\\?\|", words.pop(0))
        assert set(names) <= set(command.commands), names
        command = command.commands[names[0]]
    if not hasattr(command, "commands"):
        options = {name for one in command.params for name in one.opts} | {"--help"}
        assert set(re.findall(r"--[a-z][a-z0-9-]*", " ".join(words))) <= options


def test_the_collector_finds_commands() -> None:
    assert len(SHOWN) > 40
    assert len(RUN) >= 2
    with pytest.raises(Exception, match="No such option"):
        parsed("mmcoord practice --no-such-option")


@pytest.mark.parametrize(("page", "lines"), RUN, ids=[page for page, _ in RUN])
def test_a_marked_block_runs(
    page: str, lines: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MMCOORD_DATA_DIR", str(tmp_path / "var"))
    monkeypatch.setenv("MMCOORD_INFER__SCREEN_THRESHOLD", "1.1")  # the quick look is enough here
    command = typer.main.get_command(app)
    for line in lines:
        assert not command.main(shlex.split(line)[1:], standalone_mode=False)
