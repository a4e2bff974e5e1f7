"""Logins and certificates on a real Apache Kafka over TLS: what works, what is refused."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from listeners.connections import Connection, gcn, scimma
from listeners.kafka import KafkaListener
from listeners.settings import ListenerState
from tests.listeners.broker import PASSWORD, QUICK, USER, Broker, TokenServer, send
from tests.listeners.conftest import Inbox, running, settings, until

pytestmark = [pytest.mark.kafka, pytest.mark.slow]


class Counting(KafkaListener):
    """Counts what its client complains of: one complaint an attempt."""

    complaints = 0

    def _client_error(self, error):
        self.complaints += 1
        super()._client_error(error)


def at_scimma(broker: Broker, authority: Path, password: str = PASSWORD) -> Connection:
    return scimma(
        USER,
        password,
        bootstrap_servers=broker.address("scramtls"),
        config={**QUICK, "ssl.ca.location": str(authority)},
    )


def at_gcn(broker: Broker, tokens: TokenServer) -> Connection:
    authority = str(broker.certificates.authority)
    return gcn(
        "the-client",
        "the-secret",
        config={
            **QUICK,
            "bootstrap.servers": broker.address("oauthtls"),
            "ssl.ca.location": authority,
            "https.ca.location": authority,
            "sasl.oauthbearer.token.endpoint.url": tokens.url,
        },
    )


@contextmanager
def token_server(broker: Broker, *, refuses: bool = False) -> Iterator[TokenServer]:
    server = TokenServer(60.0, broker.certificates, refuses=refuses)
    try:
        yield server
    finally:
        server.close()


def test_scimma_login_over_tls(broker, made_topic):
    connection = at_scimma(broker, broker.certificates.authority)
    assert connection.config["security.protocol"] == "SASL_SSL"
    inbox = Inbox()
    send(broker, made_topic, b"over TLS")
    using = settings(made_topic, group_id=f"{USER}-{made_topic}")
    listener = KafkaListener(using, connection, inbox.write)
    with running(listener):
        until(lambda: inbox.payloads == [b"over TLS"])
    assert listener.status.last_error == ""


def test_gcn_login_over_tls(broker, made_topic):
    """gcn-kafka's own client; the token endpoint and the broker both prove who they are."""
    inbox = Inbox()
    send(broker, made_topic, b"over TLS")
    with token_server(broker) as tokens:
        listener = KafkaListener(settings(made_topic), at_gcn(broker, tokens), inbox.write)
        with running(listener):
            until(lambda: inbox.payloads == [b"over TLS"])
    assert listener.status.last_error == ""
    assert tokens.requests[0]["grant_type"] == ["client_credentials"]


def test_certificate_that_is_not_trusted_is_told_and_does_not_spin(broker, made_topic):
    inbox = Inbox()
    send(broker, made_topic, b"for friends only")
    using = settings(made_topic, group_id=f"{USER}-{made_topic}")
    connection = at_scimma(broker, broker.certificates.stranger)
    listener = Counting(using, connection, inbox.write, inbox.statuses.append)
    with running(listener):
        until(lambda: listener.status.state is ListenerState.UNREACHABLE)
        before, told, begun = listener.complaints, len(inbox.statuses), time.monotonic()
        time.sleep(6)
        seconds = time.monotonic() - begun
        # The client's own pause would make it about twenty attempts a second.
        assert listener.complaints - before < 5 * seconds
        assert len(inbox.statuses) - told < 40
        assert listener.status.state is ListenerState.UNREACHABLE
        assert "certificate could not be verified" in listener.status.last_error
    assert inbox.notices == []


def test_wrong_password_over_tls_stays_the_reason_that_is_told(broker, made_topic):
    inbox = Inbox()
    using = settings(made_topic, group_id=f"{USER}-{made_topic}")
    connection = at_scimma(broker, broker.certificates.authority, "wrong")
    listener = KafkaListener(using, connection, inbox.write, inbox.statuses.append)
    with running(listener):
        until(lambda: listener.status.state is ListenerState.UNREACHABLE)
        until(lambda: "invalid credentials" in listener.status.last_error)
        first = len(inbox.statuses)
        time.sleep(4)
    later = {status.last_error for status in inbox.statuses[first:]}
    assert all("invalid credentials" in words for words in later)
    assert len(inbox.statuses) - first < 40


def test_refused_oauth_client_is_told_and_does_not_spin(broker, made_topic):
    inbox = Inbox()
    send(broker, made_topic, b"for friends only")
    with token_server(broker, refuses=True) as tokens:
        listener = KafkaListener(
            settings(made_topic), at_gcn(broker, tokens), inbox.write, inbox.statuses.append
        )
        with running(listener):
            until(lambda: listener.status.state is ListenerState.UNREACHABLE)
            assert "invalid_client" in listener.status.last_error
            before, told = len(tokens.requests), len(inbox.statuses)
            time.sleep(4)
            assert len(tokens.requests) - before <= 4
            assert len(inbox.statuses) - told < 40
            assert listener.status.state is ListenerState.UNREACHABLE
            assert "invalid_client" in listener.status.last_error
    assert "the-secret" not in "".join(status.last_error for status in inbox.statuses)
    assert inbox.notices == []
