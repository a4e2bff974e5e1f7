"""Which client connects to which broker, with which credentials.

Credentials are values given by the caller, who has them from the environment or a file;
nothing is read from a home directory here. ``config`` holds librdkafka settings that go
over the defaults, for test brokers and odd networks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import gcn_kafka
from confluent_kafka import Consumer
from hop.auth import Auth

from mmcoord.errors import ConfigError

__all__ = ["Connection", "gcn", "kafka", "scimma"]


@dataclass(frozen=True, slots=True)
class Connection:
    """A broker and the way to it."""

    broker: str
    """Name of the broker in a receipt's coordinates; must never change."""
    make: Callable[[dict[str, Any]], Consumer]
    """Builds a client from a complete configuration."""
    config: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """Settings of this broker; may hold credentials."""
    group_prefix: str = ""
    """What the broker demands a group id to begin with."""

    @property
    def is_next_protocol(self) -> bool:
        """Whether the broker looks after the group (KIP-848); its time limits are the broker's."""
        return self.config.get("group.protocol") == "consumer"

    @property
    def is_cooperative(self) -> bool:
        """Whether partitions are handed over one by one (KIP-429, KIP-848)."""
        strategy = str(self.config.get("partition.assignment.strategy", ""))
        return self.is_next_protocol or "cooperative" in strategy


def gcn(
    client_id: str,
    client_secret: str,
    *,
    domain: str = "gcn.nasa.gov",
    config: Mapping[str, Any] | None = None,
) -> Connection:
    """NASA's General Coordinates Network, by its own client (OAUTHBEARER).

    Raises
    ------
    ConfigError
        No client id or no secret.
    """
    if not client_id or not client_secret:
        raise ConfigError("gcn: client_id and client_secret are needed (https://gcn.nasa.gov)")

    def make(settings: dict[str, Any]) -> Consumer:
        return gcn_kafka.Consumer(
            config=settings, client_id=client_id, client_secret=client_secret, domain=domain
        )

    return Connection(broker=f"kafka.{domain}", make=make, config=dict(config or {}))


def scimma(
    username: str,
    password: str,
    *,
    bootstrap_servers: str = "kafka.scimma.org:9092",
    config: Mapping[str, Any] | None = None,
) -> Connection:
    """SCiMMA's Hopskotch: hop-client's authentication under a plain client.

    hop's own stream is not used: it assigns all partitions instead of joining the group,
    acknowledges before it yields, and ends at the first message that it cannot decode.

    Raises
    ------
    ConfigError
        No user name or no password.
    """
    if not username or not password:
        raise ConfigError("scimma: username and password are needed (https://my.hop.scimma.org)")
    settings = {
        "bootstrap.servers": bootstrap_servers,
        **Auth(username, password)(),
        **(config or {}),
    }
    broker = bootstrap_servers.split(",")[0].rpartition(":")[0] or bootstrap_servers
    return Connection(broker, Consumer, settings, group_prefix=f"{username}-")


def kafka(
    bootstrap_servers: str,
    *,
    broker: str = "",
    config: Mapping[str, Any] | None = None,
    group_prefix: str = "",
) -> Connection:
    """Any Kafka broker: alert brokers with a password, or a broker of one's own.

    Parameters
    ----------
    bootstrap_servers
        ``host:port``, comma-separated.
    broker
        Name in the receipts; by default ``bootstrap_servers``.
    config
        librdkafka settings, for instance ``sasl.username``.
    group_prefix
        What the broker demands a group id to begin with (BABAMUL: user name and hyphen).
    """
    if not bootstrap_servers:
        raise ConfigError("kafka: bootstrap_servers is needed")
    settings = {"bootstrap.servers": bootstrap_servers, **(config or {})}
    return Connection(broker or bootstrap_servers, Consumer, settings, group_prefix)
