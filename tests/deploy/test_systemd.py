"""The units, checked by systemd's own programs; no systemd runs them here."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from mmcoord.config import load_settings
from tests.deploy.running import ROOT
from tests.system import missing

UNITS = ROOT / "deploy" / "systemd"
NAMES = sorted(path.name for path in UNITS.iterdir())


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which("systemd-analyze") or missing("systemd-analyze (Debian: systemd)")
    return subprocess.run([program, *arguments], capture_output=True, text=True, timeout=120)


def installed(folder: Path, change: tuple[str, str] = ("", "")) -> list[str]:
    """The units as installed, with a program where they look for mmcoord."""
    program = folder / "mmcoord"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    for name in NAMES:
        text = (UNITS / name).read_text().replace("/opt/mmcoord/bin/mmcoord", str(program))
        (folder / name).write_text(text.replace(*change) if change[0] else text)
    return [str(folder / name) for name in NAMES]


def setting(name: str, key: str) -> list[str]:
    return re.findall(rf"^{key}=(.*)$", (UNITS / name).read_text(), re.MULTILINE)


def test_systemd_finds_nothing_to_mend_in_the_units(tmp_path: Path) -> None:
    checked = analyze("verify", "--man=no", *installed(tmp_path))
    assert (checked.returncode, checked.stderr) == (0, "")


def test_systemd_would_have_found_a_mistake(tmp_path: Path) -> None:
    units = installed(tmp_path, ("ProtectHome=yes", "ProtectHouse=yes"))
    assert "ProtectHouse" in analyze("verify", "--man=no", *units).stderr


def test_systemd_calls_the_service_no_more_exposed_than_ok() -> None:
    """4.1 of 10 by its own count; what is left open is what the sandbox of models needs."""
    unit = str(UNITS / "mmcoord.service")
    checked = analyze("security", "--offline=yes", "--threshold=45", unit)
    assert checked.returncode == 0, checked.stdout


def test_the_timer_starts_once_a_day() -> None:
    (calendar,) = setting("mmcoord-backup.timer", "OnCalendar")
    said = analyze("calendar", "--iterations=2", calendar).stdout
    times = re.findall(r"\d{4}-\d\d-\d\d 12:00:00 UTC", said)
    assert len(set(times)) == 2, said


@pytest.mark.parametrize("name", ["mmcoord.service", "mmcoord-backup.service"])
def test_mmcoord_takes_the_variables_of_the_units(name: str) -> None:
    environment = dict(
        pair.split("=", 1) for line in setting(name, "Environment") for pair in line.split()
    )
    assert load_settings(None, environment).data_dir == "%S/mmcoord"
    folders = " ".join(setting(name, "StateDirectory") + setting(name, "CacheDirectory")).split()
    for value in environment.values():
        where = re.match(r"%[SC]/([^/]+)", value)
        assert where is None or where[1] in folders  # made, and writable for the user
