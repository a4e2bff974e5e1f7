"""Fetch Apache Kafka for the tests: ``python -m tests.listeners.broker [--if-absent]``."""

import sys

from tests.listeners.broker import fetch, is_fetched

if __name__ == "__main__":
    if "--if-absent" not in sys.argv or not is_fetched():
        print("tests: fetching Apache Kafka by Maven", flush=True)
        fetch()
