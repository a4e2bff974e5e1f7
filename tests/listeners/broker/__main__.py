"""Fetch Apache Kafka for the tests."""

from tests.listeners.broker import fetch

if __name__ == "__main__":
    fetch()
