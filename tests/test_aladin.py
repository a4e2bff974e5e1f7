"""The sky viewer is taken from its own package, or not at all."""

from __future__ import annotations

import hashlib
import io
import tarfile
from pathlib import Path

import pytest

from mmcoord import aladin
from mmcoord.config import Settings
from mmcoord.errors import MmcoordError

TEXTS = ("package/LICENSE", "package/COPYING", "package/COPYING.LESSER")


def packed(folder: Path, **members: bytes) -> Path:
    path = folder / "aladin-lite.tgz"
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def test_another_file_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    settings = Settings(data_dir=str(tmp_path / "var"))
    members = {"package/dist/aladin.js": b"alert(1)"} | dict.fromkeys(TEXTS, b"")
    with pytest.raises(MmcoordError, match="sha256"):
        aladin.install(packed(tmp_path, **members), settings)
    with pytest.raises(MmcoordError, match="not the npm package"):
        aladin.install(packed(tmp_path, **{"package/other.js": b""}), settings)
    (tmp_path / "text").write_text("no archive")
    with pytest.raises(MmcoordError, match="not the npm package"):
        aladin.install(tmp_path / "text", settings)
    assert not aladin.installed(settings)
    assert not (tmp_path / "var").exists()


def test_the_right_file_is_kept_with_its_licences(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = b"export default {}"
    monkeypatch.setattr(aladin, "SCRIPT_SHA256", hashlib.sha256(script).hexdigest())
    settings = Settings(data_dir=str(tmp_path / "var"))
    members = {"package/dist/aladin.js": script} | dict.fromkeys(TEXTS, b"text")
    path = aladin.install(packed(tmp_path, **members), settings)
    assert aladin.installed(settings)
    assert path.read_bytes() == script
    assert {p.name for p in path.parent.iterdir()} == {
        "aladin.js", "LICENSE", "COPYING", "COPYING.LESSER",
    }  # fmt: skip
