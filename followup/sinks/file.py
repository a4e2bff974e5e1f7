"""A folder as a sink: one JSON file per delivery.

For practice, for a first day without accounts, and for anything that watches a folder.

Identity is the idempotency key, which names the file; sending twice leaves one file.
Withdrawing rewrites that file with ``"state": "withdrawn"``: it stays where a person
looks for it, and says that it no longer holds.

Settings: ``folder`` (required; made when absent), ``practice`` (default false).
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from followup.sinks._plan_json import event_json, photometry_json, photometry_of, row_json
from followup.sinks._settings import Settings
from followup.sinks.base import Answer, Granularity, Outcome, Payload
from mmcoord.records import Outgoing

__all__ = ["FileSink", "build", "file_name"]


@dataclass(frozen=True, slots=True)
class FileSink:
    """One folder. Files are complete or absent, whatever happens to the process."""

    name: str
    is_practice: bool
    folder: Path
    is_public: bool = False
    granularity: Granularity = Granularity.TARGET
    settle_s: float = 0.0

    def payload(self, outgoing: Outgoing) -> Payload:
        """The event, its targets (one when asked per target) and their photometry."""
        return {
            "key": outgoing.key,
            "kind": outgoing.kind.value,
            "plan_revision": outgoing.plan_revision,
            "event": event_json(outgoing),
            "targets": [row_json(row) for row in outgoing.rows],
            "photometry": [photometry_json(point) for point in photometry_of(outgoing)],
        }

    def send(self, payload: Payload, *, key: str) -> Answer:
        """Write the file; a key that was withdrawn stays withdrawn."""
        try:
            if _state_of(self.folder / file_name(key)) == "withdrawn":
                return Answer(Outcome.REJECTED, file_name(key), "withdrawn before; left so")
            return self._write(file_name(key), "published", key, payload)
        except OSError as error:
            return _not_written(error)

    def lookup(self, payload: Payload, *, key: str) -> Answer | None:
        """Whether the file is there."""
        try:
            state = _state_of(self.folder / file_name(key))
        except OSError as error:
            return Answer(Outcome.UNKNOWN, detail=f"cannot read: {type(error).__name__}")
        if state is None:
            return Answer(Outcome.RETRY, detail="no such file")
        return Answer(Outcome.SENT, file_name(key), f"there, {state}")

    def withdraw(self, payload: Payload, *, key: str, remote_id: str | None) -> Answer:
        """Rewrite the file that ``send`` wrote (``remote_id``, else the key's) as withdrawn."""
        target = remote_id or file_name(key)
        if Path(target).name != target:
            return Answer(Outcome.REJECTED, detail="remote id is not a file name of this folder")
        try:
            return self._write(target, "withdrawn", key, payload)
        except OSError as error:
            return _not_written(error)

    def check(self) -> Answer:
        """Whether a file can be written; none is left behind."""
        try:
            with tempfile.TemporaryFile(dir=self.folder):
                return Answer(Outcome.SENT, detail=f"{self.folder} can be written")
        except OSError as error:
            return _not_written(error)

    def tell(self, text: str, *, key: str) -> Answer:
        """Write the text into a file of its own; the same key is the same file."""
        try:
            return self._write(file_name(key), "told", key, {"text": text})
        except OSError as error:
            return _not_written(error)

    def _write(self, target: str, state: str, key: str, payload: Payload) -> Answer:
        record = {"state": state, "key": key, "payload": payload}
        try:
            text = json.dumps(record, indent=2, sort_keys=True, allow_nan=False)
        except ValueError as error:
            return Answer(Outcome.REJECTED, detail=f"not JSON: {error}")
        _write_atomically(self.folder / target, text + "\n")
        return Answer(Outcome.SENT, target, state)


def file_name(key: str) -> str:
    """The name of the file of ``key``: readable, and one-to-one by its hash."""
    readable = re.sub(r"[^A-Za-z0-9.+-]+", "_", key).strip("._")[:80]
    return f"{readable or 'key'}-{hashlib.sha256(key.encode()).hexdigest()[:16]}.json"


def _state_of(path: Path) -> str | None:
    """The state in the file, None when there is no file; ``unreadable`` when it is damaged."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    try:
        return str(json.loads(text)["state"])
    except (ValueError, KeyError, TypeError):
        return "unreadable"


def _write_atomically(path: Path, text: str) -> None:
    """Write aside, force to disk, rename: a reader sees the old file or the new one."""
    handle, temporary = tempfile.mkstemp(prefix=".", suffix=".part", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)  # the new name itself must survive a power cut
    finally:
        os.close(directory)


def _not_written(error: OSError) -> Answer:
    """A full disk or lost mount can come back; nothing was renamed into place."""
    return Answer(Outcome.RETRY, detail=f"not written: {type(error).__name__} {error.strerror}")


def build(name: str, table: Mapping[str, Any], client: httpx.Client) -> FileSink:
    """Entry point ``file``; ``client`` is not used.

    Raises
    ------
    ConfigError
        A key is wrong, or the folder cannot be made.
    """
    settings = Settings(name, table)
    folder = Path(settings.text("folder")).expanduser()
    practice = settings.flag("practice", False)
    settings.finish()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise settings.error("folder", f"cannot make {folder}: {error.strerror}") from None
    return FileSink(name, practice, folder)
