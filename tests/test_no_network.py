"""The watch over the tests themselves: it must see what it is there to see."""

from __future__ import annotations

import socket

import httpx
import pytest

from mmcoord.errors import Retryable
from mmcoord.fetching import Policy, fetch
from tests import conftest


def test_a_connection_to_another_machine_is_seen_and_stopped() -> None:
    for attempt in (
        lambda: httpx.get("https://gracedb.ligo.org/"),
        lambda: socket.create_connection(("192.0.2.1", 443), 1.0).close(),
        lambda: socket.getaddrinfo("gracedb.ligo.org", 443),
    ):
        with pytest.raises((OSError, httpx.ConnectError), match="leave this machine"):
            attempt()
        assert conftest._left.pop()


def test_the_door_for_links_would_be_seen_too() -> None:
    with pytest.raises(Retryable, match="leave this machine"):
        fetch("https://gracedb.ligo.org/", Policy())
    assert conftest._left == ["socket.getaddrinfo gracedb.ligo.org"]
    conftest._left.clear()


def test_loopback_is_no_other_machine() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname()).close()
        socket.create_connection(("localhost", server.getsockname()[1])).close()
    assert conftest._left == []
