"""All sources together: installed, documented, and never anything but BadInput."""

from __future__ import annotations

import importlib
import re
import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from listeners.base import Source
from mmcoord.config import load_settings
from mmcoord.errors import BadInput
from mmcoord.wiring import _connection

ROOT = Path(__file__).parents[2]


def declared() -> dict[str, Source]:
    """The entry points of ``pyproject.toml``, loaded."""
    document = tomllib.loads((ROOT / "pyproject.toml").read_text())
    points = document["project"]["entry-points"]["mmcoord.listeners"]
    loaded = {}
    for name, value in points.items():
        module, _, attribute = value.partition(":")
        loaded[name] = getattr(importlib.import_module(module), attribute)
    return loaded


SOURCES = declared()


@pytest.mark.parametrize("name", SOURCES)
def test_source_is_installed_under_its_own_name(name):
    assert isinstance(SOURCES[name], Source)
    assert SOURCES[name].name == name
    assert SOURCES[name].description


def test_no_topic_is_claimed_twice():
    topics = [topic for source in SOURCES.values() for topic in source.topics]
    assert len(topics) == len(set(topics))


@pytest.mark.parametrize("name", SOURCES)
def test_source_is_documented(name):
    assert f"`{name}`" in (ROOT / "docs" / "sources.md").read_text()


def test_configurations_in_the_documentation_can_be_used(tmp_path, monkeypatch):
    """Each block is read, and names a source; its connection is built but for the network."""
    blocks = re.findall(r"```toml\n(.*?)```", (ROOT / "docs" / "sources.md").read_text(), re.DOTALL)
    assert blocks
    path = tmp_path / "mmcoord.toml"
    path.write_text("\n".join(blocks))
    listeners = load_settings(path, {}).listeners
    assert {"fink", "lasair", "antares", "babamul"} <= set(listeners)
    for name, listener in listeners.items():
        assert listener.source in SOURCES
        if variable := listener.options.get("password_env"):
            monkeypatch.setenv(variable, "x")
        connection = _connection(name, listener)
        assert listener.group_id.startswith(connection.group_prefix)


CORPUS = [
    b"",
    b"null",
    b"[]",
    b"{}",
    b"\x00",
    b"\x80\x04.",
    b"Obj\x01",
    b"<a/>",
    b'{"a":' * 5000,
    b"<a>" * 5000,
    bytes(range(256)),
    "ключ".encode("utf-16"),
]


@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize("payload", CORPUS, ids=lambda payload: repr(payload[:12]))
def test_foreign_payload_is_refused_in_words(name, payload):
    with pytest.raises(BadInput, match=r".+"):
        SOURCES[name].parse(payload)


@pytest.mark.parametrize("name", SOURCES)
@settings(max_examples=50, deadline=None)
@given(payload=st.binary(max_size=200))
def test_noise_raises_nothing_else(name, payload):
    try:
        SOURCES[name].parse(payload)
    except BadInput:
        return
