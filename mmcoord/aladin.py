"""Aladin Lite, the sky viewer of the CDS, where an operator has installed it.

Its licence is the GPL (version 3), ours is BSD: it is no part of mmcoord and not shipped with
it. An operator may put a copy beside the data; the page then offers it, as a program of its own.
"""

from __future__ import annotations

import hashlib
import os
import tarfile
from pathlib import Path

from mmcoord.config import Settings
from mmcoord.errors import MmcoordError

__all__ = ["SCRIPT_SHA256", "VERSION", "install", "installed", "script_path"]

VERSION = "3.8.2"
SCRIPT_SHA256 = "bed9c8ef1d1e83501b1cb782366092c72c5ecd1c88f16fef3166188ae8062066"
"""Of ``dist/aladin.js`` in the npm package ``aladin-lite`` of that version."""
_SCRIPT = "package/dist/aladin.js"
_TEXTS = ("package/LICENSE", "package/COPYING", "package/COPYING.LESSER")
_MAX_BYTES = 8 * 2**20


def script_path(settings: Settings) -> Path:
    """Where the viewer is, once installed."""
    return Path(settings.data_dir) / "data" / "aladin-lite" / VERSION / "aladin.js"


def installed(settings: Settings) -> bool:
    """Whether there is a viewer."""
    return script_path(settings).is_file()


def install(archive: Path, settings: Settings) -> Path:
    """Take the viewer and its licences out of its npm package (``npm pack aladin-lite``).

    Raises
    ------
    MmcoordError
        Not the package of that version, or it cannot be read; nothing is written then.
    """
    try:
        with tarfile.open(archive, "r:gz") as packed:
            script = _member(packed, _SCRIPT)
            texts = {name: _member(packed, name) for name in _TEXTS}
    except (OSError, EOFError, KeyError, tarfile.TarError) as error:
        raise MmcoordError(f"{archive}: not the npm package of Aladin Lite: {error}") from error
    found = hashlib.sha256(script).hexdigest()
    if found != SCRIPT_SHA256:
        raise MmcoordError(
            f"{archive}: {_SCRIPT}: sha256 {found}, that of version {VERSION} is {SCRIPT_SHA256}"
        )
    path = script_path(settings)
    path.parent.mkdir(parents=True, exist_ok=True)
    for name, content in texts.items():
        (path.parent / Path(name).name).write_bytes(content)
    part = path.with_suffix(".part")
    part.write_bytes(script)
    os.replace(part, path)
    return path


def _member(packed: tarfile.TarFile, name: str) -> bytes:
    member = packed.getmember(name)
    opened = packed.extractfile(member) if member.size <= _MAX_BYTES else None
    if opened is None:
        raise KeyError(f"{name} is no file of a sensible size")
    return opened.read()
