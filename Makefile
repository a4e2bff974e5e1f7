# Two commands do everything on a fresh machine:
#   make run    the daemon on embedded defaults, with a practice night and its page
#   make test   lint, types, import contracts and all tests
# The rest is for people who work on mmcoord.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(VENV)/.pip
PACKAGES := $(VENV)/.packages
STAMP := $(VENV)/.installed

.PHONY: run test check tom tom-events lint types contracts pytest kill-test fault-test infer-fault-test
.PHONY: infer-measure long-test soak-test docs helm chart-check format clean

run: $(STAMP)
	$(BIN)/mmcoord serve --practice

# Two things at a time: our packages and the TOM's, then kernels and types.
test:
	$(MAKE) --no-print-directory -j2 tom $(STAMP) check
	sh tests/system_parts.sh $(BIN)/python
	$(MAKE) --no-print-directory pytest

check: lint types contracts

# The real TOM's environment for its tests, once. Where it cannot be made its tests say so.
tom: $(PIP)
	-$(BIN)/python -c 'from tests.tom_server import prepare; prepare()'

# One that has tom_nonlocalizedevents: 1.4 GB. It lives in PostgreSQL.
tom-events: $(PIP)
	-$(BIN)/python -c 'from tests.tom_server import prepare; prepare(events=True)'

lint: $(PACKAGES)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(PACKAGES)
	$(BIN)/mypy

contracts: $(PACKAGES)
	$(BIN)/lint-imports

# Three workers on two cores: a test that waits for a server, a browser or a clock leaves room.
pytest: $(STAMP)
	$(BIN)/python -m pytest -q -n 3 --dist loadfile --durations=15 -m "not long"

# What takes long: brokers that are killed, clusters, workers in processes of their own, updates of posteriors, notebooks,
# a second TOM. The same tests as the others otherwise.
long-test: $(STAMP) tom-events
	sh tests/system_parts.sh $(BIN)/python
	$(BIN)/python -m pytest -q --durations=15 -m long

# Longer than a test should be: kill -9 a replay at random instants, compare the ends.
kill-test: $(STAMP)
	$(BIN)/python -m benchmarks.kill_replay --kills 10

# On a real Kafka: kill -9 the consumer and the broker, cut the network, count what is stored.
fault-test: $(STAMP)
	$(BIN)/python -m benchmarks.listeners_faults

# On a real PostgreSQL and on SQLite: kill -9 engines and workers, terminate connections.
infer-fault-test: $(STAMP)
	$(BIN)/python -m benchmarks.inference_faults

# Every figure of inference, one after another, for a quiet machine and a long time; one thread for
# the calibration. The calibration goes on where it was.
MEASURED ?= var/measured
AT2017GFO ?= ../shared/data/kn/photometry/AT2017gfo_corrected.dat
infer-measure: $(STAMP)
	mkdir -p $(MEASURED)
	$(BIN)/python -m benchmarks.inference_kernel > $(MEASURED)/kernel.json
	$(BIN)/python -m benchmarks.inference_at2017gfo $(AT2017GFO) > $(MEASURED)/at2017gfo.json
	$(BIN)/python -m benchmarks.inference_update $(AT2017GFO) > $(MEASURED)/update.json
	$(BIN)/python -m benchmarks.service_cached > $(MEASURED)/cached.json
	$(BIN)/python -m benchmarks.service_cached --store postgresql > $(MEASURED)/cached_pg.json
	$(BIN)/python -m benchmarks.service_coalesce > $(MEASURED)/coalesce.json
	NUMBA_NUM_THREADS=1 $(BIN)/python -m benchmarks.inference_sbc --simulations 300 \
		--ranks $(MEASURED)/sbc.jsonl --picture docs/img/sbc.png > $(MEASURED)/sbc.json
	$(BIN)/python -m benchmarks.inference_peers $(AT2017GFO) --walks 25 100 200 --nautilus \
		> $(MEASURED)/peers.json

# helm from its own module, built with Go; some minutes, once.
helm:
	test -x .cache/helm/helm || GOBIN=$(CURDIR)/.cache/helm go install helm.sh/helm/v3/cmd/helm@v3.22.0

# What comes of the chart, against Kubernetes' schemas.
chart-check: $(STAMP) helm
	$(BIN)/python -m pytest -q tests/deploy/test_helm.py

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

# The environment is made once and again only when pyproject.toml changes. Our own modules are
# compiled too: where Python may write no bytecode, each command would do so anew. httpx is what the
# making of the TOM needs.
$(PIP):
	$(PYTHON) -c 'import sys; sys.exit("mmcoord needs Python 3.11 or newer" if sys.version_info < (3, 11) else 0)'
	test -x $(BIN)/pip || $(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip httpx
	touch $@

$(PACKAGES): pyproject.toml | $(PIP)
	$(BIN)/python -m pip install --quiet --quiet --editable '.[dev]'
	$(BIN)/python -m compileall -q mmcoord listeners followup skymaps tests
	touch $@

$(STAMP): $(PACKAGES)
	$(BIN)/python -m mmcoord.warm
	touch $@

clean:
	rm -rf $(VENV) .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis build *.egg-info
