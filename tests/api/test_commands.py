"""``mmcoord group`` and ``mmcoord token`` as typed."""

from __future__ import annotations

import json
from pathlib import Path

from mmcoord.access import parse
from tests.typed import Typed, typed


def mmcoord(db: Path, *words: str) -> Typed:
    return typed(*words, "--db", str(db))


def test_from_a_group_to_a_revoked_token(tmp_path: Path) -> None:
    db = tmp_path / "mmcoord.db"
    missing = mmcoord(db, "token", "create", "fast")
    assert missing.returncode == 1
    assert "'fast'" in missing.stderr
    assert mmcoord(db, "group", "add", "Fast").returncode == 2
    assert mmcoord(db, "group", "add", "fast", "--quota-cpu-s", "100").returncode == 0
    made = mmcoord(db, "token", "create", "fast", "--label", "night script", "--scope", "read")
    parsed = parse(made.stdout.strip())
    assert parsed is not None
    listed = json.loads(mmcoord(db, "token", "list", "--json").stdout)
    assert [(t["id"], t["group"], t["scopes"]) for t in listed] == [(parsed[0], "fast", ["read"])]
    assert parsed[1] not in json.dumps(listed)
    assert mmcoord(db, "token", "revoke", parsed[0]).returncode == 0
    assert json.loads(mmcoord(db, "token", "list", "--json").stdout)[0]["revoked_at"]
    groups = json.loads(mmcoord(db, "group", "list", "--json").stdout)
    assert groups[0]["left_cpu_s"] == 100.0
    assert mmcoord(db, "token", "create", "fast", "--scope", "everything").returncode == 2
