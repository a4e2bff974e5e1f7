# Two commands do everything on a fresh machine:
#   make run    the daemon on embedded defaults, with a practice night and its page
#   make test   lint, types, import contracts and all tests
# The rest is for people who work on mmcoord.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: run test check lint types contracts pytest kill-test fault-test infer-fault-test soak-test docs format clean

run: $(STAMP)
	$(BIN)/mmcoord serve --practice

test: $(STAMP)
	sh tests/system_parts.sh $(BIN)/python
	$(MAKE) --no-print-directory check pytest

check: lint types contracts

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/mypy

contracts: $(STAMP)
	$(BIN)/lint-imports

pytest: $(STAMP)
	$(BIN)/python -m pytest -q -n 2 --dist loadfile --durations=15

# Longer than a test should be: kill -9 a replay at random instants, compare the ends.
kill-test: $(STAMP)
	$(BIN)/python -m benchmarks.kill_replay --kills 10

# On a real Kafka: kill -9 the consumer and the broker, cut the network, count what is stored.
fault-test: $(STAMP)
	$(BIN)/python -m benchmarks.listeners_faults

# On a real PostgreSQL and on SQLite: kill -9 engines and workers, terminate connections.
infer-fault-test: $(STAMP)
	$(BIN)/python -m benchmarks.inference_faults

# An hour of practice at 500 rows/s with a superevent every five minutes; MINUTES=10 for less.
MINUTES ?= 60
soak-test: $(STAMP)
	$(BIN)/python -m benchmarks.practice_soak --minutes $(MINUTES)

docs: $(STAMP)
	$(BIN)/python -m mmcoord.reference
	$(BIN)/python -m mkdocs build --strict

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# The environment is made once and again only when pyproject.toml changes.
$(STAMP): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("mmcoord needs Python 3.11 or newer" if sys.version_info < (3, 11) else 0)'
	test -x $(BIN)/pip || $(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	$(BIN)/python -m mmcoord.warm
	touch $(STAMP)

clean:
	rm -rf $(VENV) .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis build *.egg-info
