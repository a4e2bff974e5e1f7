"""All sources together: installed, documented, and never anything but BadInput."""

from __future__ import annotations

import importlib
import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from listeners.base import Source
from mmcoord.errors import BadInput

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
