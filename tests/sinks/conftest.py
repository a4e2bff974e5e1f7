"""The real Kafka of the listeners' tests, for the sink that speaks to one."""

from __future__ import annotations

from tests.listeners.conftest import broker, made_topic, topic

__all__ = ["broker", "made_topic", "topic"]
