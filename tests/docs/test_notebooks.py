"""The notebooks of the documentation run from end to end against a real daemon."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).parents[2] / "docs" / "notebooks"
COMMAND = [sys.executable, "-m", "mmcoord.cli"]
pytestmark = [
    pytest.mark.long,
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of the kernel's own parts
]


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """``mmcoord serve --practice`` with a small night, quick looks alone; its environment."""
    folder = tmp_path_factory.mktemp("daemon")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    bin_folder = str(Path(sys.executable).parent)
    environment = {
        **os.environ,
        "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}",
        "MMCOORD_DATA_DIR": str(folder),
        "MMCOORD_INFER__SCREEN_THRESHOLD": "1.1",
        "MMCOORD_INFER__WORKERS": "1",
        "MMCOORD_URL": f"http://127.0.0.1:{port}",
    }
    serve = [*COMMAND, "serve", "--practice", "--candidates", "40", "--port", str(port)]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(serve, env=environment, stdout=log, stderr=log)
        try:
            _planned(environment["MMCOORD_URL"], process)
            subprocess.run([*COMMAND, "group", "add", "students"], env=environment, check=True)
            scopes = ["--scope", "read", "--scope", "run", "--scope", "models"]
            told = subprocess.run(
                [*COMMAND, "token", "create", "students", *scopes],
                env=environment,
                check=True,
                capture_output=True,
                text=True,
            )
            token = next(word for word in told.stdout.split() if word.startswith("mmc_"))
            yield {**environment, "MMCOORD_TOKEN": token}
        finally:
            process.terminate()
            process.wait(60)


def _planned(url: str, process: subprocess.Popen[bytes], timeout_s: float = 300.0) -> None:
    """Wait until there is a plan with a target."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        assert process.poll() is None, "the daemon ended"
        try:
            events = httpx.get(f"{url}/api/v1/events").json()["items"]
            if events:
                plan = httpx.get(f"{url}/api/v1/events/{events[0]['event_id']}/plan").json()
                if plan["rows"]:
                    return
        except httpx.TransportError:
            pass
        time.sleep(0.5)
    raise AssertionError(f"no plan after {timeout_s:g} s")


def run(name: str, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> str:
    """Run a notebook; returns everything that it printed."""
    for key, value in environment.items():
        monkeypatch.setenv(key, value)
    notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    NotebookClient(notebook, timeout=800, kernel_name="python3").execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    return "".join(output.get("text", "") for output in outputs)


def test_an_event_is_followed(daemon: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    said = run("follow_an_event", daemon, monkeypatch)
    assert "practice" in said
    assert "REAL" not in said
    assert "membership" in said


@pytest.mark.usefixtures("sandbox_works")
def test_a_model_is_uploaded_and_fitted(
    daemon: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    said = run("your_own_model", daemon, monkeypatch)
    assert "accepted" in said
    assert "done" in said
    # the light curve fades by 1.5 and 1.4 mag/day; the fit has to say so
    fading = next(line for line in said.splitlines() if line.startswith("fading"))
    assert 1.35 < float(fading.split()[1]) < 1.55


def test_practice_is_scored(daemon: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    said = run("practise_and_score", daemon, monkeypatch)
    assert "approximate" in said
    assert "false_starts: 0" in said


def test_notebooks_are_kept_without_outputs() -> None:
    for path in NOTEBOOKS.glob("*.ipynb"):
        for cell in nbformat.read(path, as_version=4).cells:
            assert not cell.get("outputs")
            assert not cell.get("execution_count")
