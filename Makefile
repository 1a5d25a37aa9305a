# Everything a person or CI does here. `make` alone lists it.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip --disable-pip-version-check --quiet install --no-compile --constraint constraints.txt
# On all cores, which pip does not; where nobody writes bytecode, each start would compile ccxt anew.
COMPILE := $(BIN)/python -m compileall -q -j 0 $(VENV)/lib > /dev/null || true
DB ?=
Q ?=
ARGS ?=
export PYTHON PREFIX DESTDIR SYSCONFDIR UNITDIR

# Every command reads the same configuration: the one that INGEST_CONFIG names, else ./ingest.toml, which is then made.
CONFIG := $(if $(INGEST_CONFIG),,ingest.toml)
ifndef INGEST_CONFIG
unexport INGEST_CONFIG
endif

.DEFAULT_GOAL := help
.PHONY: help setup setup-dev backup restore doctor demo run migrate check-config status db-up db-down db-status db-destroy psql \
        test test-long test-fault test-backfill test-page page-picture test-community bench chaos soak lint types format constraints schema reference clean install-service backfill backfill-all sql export import

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# Setting up

setup: $(VENV)/.runtime ## Create .venv with what the daemon needs
setup-dev: $(VENV)/.dev ## The same, with what tests and checks need

$(VENV)/.runtime: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) --editable '.[parquet]'
	@$(COMPILE)
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) --editable '.[dev]'
	@$(COMPILE)
	@touch $@ $(VENV)/.runtime

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys, venv, ensurepip; assert sys.version_info >= (3, 11)' 2>/dev/null || { \
	  echo 'ingest needs Python 3.11 or newer with venv. On Debian 12 or newer:'; \
	  echo '  apt install -y git make python3 python3-venv ca-certificates'; exit 1; }
	$(PYTHON) -m venv $(VENV)

# Running

demo: setup ## Stream a simulated exchange for 20 s, query the result, compare it with the exchange's ledger
	$(BIN)/ingest demo

run: setup $(CONFIG) migrate ## Collect what ingest.toml (or $INGEST_CONFIG) says, until Ctrl-C
	$(BIN)/ingest run

ingest.toml:
	cp ingest.example.toml $@
	@echo 'made ingest.toml from ingest.example.toml; edit it to choose exchanges and symbols'

migrate: setup ## Bring the database to this version's schema
	$(BIN)/ingest migrate

check-config: setup $(CONFIG) ## Print every setting with its origin, what would run, and how much it would store
	$(BIN)/ingest check-config

# History

backfill: setup ## Fetch missing history (EXCHANGE= SYMBOL='BTC/USDT ETH/*' FROM=2024-01-01 TO= CHANNEL= TIMEFRAME= ARGS=--dry-run)
	@set -f; $(BIN)/ingest backfill run $(or $(EXCHANGE),$(error name the exchange: EXCHANGE=binance)) \
	  $(or $(SYMBOL),$(error name the symbols: SYMBOL='BTC/USDT ETH/*')) \
	  --from "$(or $(FROM),$(error name the start: FROM=2024-01-01))" $(if $(TO),--to "$(TO)") \
	  $(if $(CHANNEL),--channel $(CHANNEL)) $(if $(TIMEFRAME),--timeframe $(TIMEFRAME)) $(ARGS)

backfill-all: setup ## Fetch what is missing of every [[backfill]] block of ingest.toml; for cron
	@$(BIN)/ingest backfill all $(ARGS)

# As a service

install-service: ## Install a systemd service, as root (PREFIX=/opt/ingest; DESTDIR=FOLDER to try it)
	@deploy/install-service.sh

# The database

db-up: setup ## Start the database (DATABASE_URL, else a container, else embedded)
	@$(BIN)/ingest db up

db-down: setup ## Stop the container or the embedded server; data is kept
	@$(BIN)/ingest db down

db-status: setup ## Which database, whether it runs, versions and sizes
	@$(BIN)/ingest db status

db-destroy: setup ## Delete the embedded server and its data
	@$(BIN)/ingest db destroy

psql: setup ## Open psql as an analyst, schema market first (DB=ingest_demo for the demo's database)
	@$(BIN)/ingest db psql $(if $(DB),--database $(DB))

sql: setup ## Ask a question of sql/analyst (Q=vwap ARGS='--symbol ETH/USDT'); without Q list them
	@$(BIN)/ingest sql $(Q) $(ARGS) $(if $(DB),--database $(DB))

export: setup ## Write a view or a question's answer to a file (Q=trades OUT=trades.parquet ARGS='--from today')
	@$(BIN)/ingest export $(Q) $(OUT) $(ARGS) $(if $(DB),--database $(DB))

import: setup ## Load dump files (FILE='BTCUSDT-1m-2026-10.zip …' ARGS='--exchange binance')
	@$(BIN)/ingest import $(or $(FILE),$(error name the files: make import FILE=…)) $(ARGS)

backup: setup ## Write the whole database into FILE, beside a running daemon
	@$(BIN)/ingest backup $(or $(FILE),$(error name the file: make backup FILE=…)) $(if $(METHOD),--method $(METHOD))

restore: setup ## Bring FILE into an empty database, and count its rows
	@$(BIN)/ingest restore $(or $(FILE),$(error name the file: make restore FILE=…))

doctor: setup ## Examine the database and its server; say what to do
	@$(BIN)/ingest doctor

# Checking

# Most tests wait for processes and servers, so more workers than cores are no waste.
test: setup-dev ## The test suite, on a real TimescaleDB (one for each of its workers)
	$(BIN)/pytest --numprocesses 4 --dist worksteal -m 'not long and not page'

test-long: setup-dev ## What takes too long for every day: more forms of the same scenarios
	$(BIN)/pytest --numprocesses 2 --dist worksteal -m long

test-fault: setup-dev ## Of these, outages, cuts, kills, bad input: each ends with the tables held against the ledger
	$(BIN)/pytest --numprocesses 2 --dist worksteal tests/fault

test-backfill: setup-dev ## Backfill under faults and kills, for longer (ROUNDS=20)
	BACKFILL_ROUNDS=$(or $(ROUNDS),20) $(BIN)/pytest --timeout=0 tests/fault/test_backfill.py

test-page: $(VENV)/.page ## The status page in headless Chromium, against a real daemon and the simulator
	$(BIN)/pytest tests/page

page-picture: $(VENV)/.page ## Take the README's picture of the status page anew
	$(BIN)/python -m tests.page.picture docs/images/status.png

# Chromium is the distribution's own; who is not root installs it by hand, else the tests say so and skip.
$(VENV)/.page: $(VENV)/.dev
	$(PIP) --editable '.[dev,page]'
	@command -v chromium >/dev/null || [ "$$(id -u)" != 0 ] || \
	  { apt-get update -qq && apt-get install -y --no-install-recommends chromium fonts-dejavu-core; }
	@touch $@

test-community: setup-dev ## The tests that need TimescaleDB Community; fails where there is none
	REQUIRE_COMMUNITY=1 $(BIN)/pytest -m community

soak: setup-dev ## 2,000 trades a second with faults, a line each minute; then the tables must equal the ledger (MINUTES=30)
	$(BIN)/python -m tests.fault.soak --minutes $(or $(MINUTES),30) $(ARGS)

chaos: setup-dev ## Everything goes wrong for a while, then the tables must equal the ledger (SEED=1 MINUTES=10)
	$(BIN)/python -m tests.fault.chaos --seed $(or $(SEED),1) --minutes $(or $(MINUTES),10)

bench: setup-dev ## Measure, print a table, keep it in docs/benchmarks.md (ONLY=name JSON=FILE)
	$(BIN)/python -m tests.bench $(if $(ONLY),--only $(ONLY)) $(if $(JSON),--json $(JSON))

lint: setup-dev ## ruff: rules and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: setup-dev ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: setup-dev ## mypy --strict
	$(BIN)/mypy

schema: setup-dev ## Write tests/db/schema.txt anew from the migrations
	$(BIN)/python -m tests.db.schema

reference: setup-dev ## Write the generated parts of docs/reference anew
	$(BIN)/python -m tests.reference
	UPDATE_REFERENCE=1 $(BIN)/pytest -q tests/db/test_cookbook.py tests/unit/test_schema_reference.py

constraints: setup-dev ## Write constraints.txt anew from .venv
	@(echo '# Exact versions of everything that `make` installs. Refresh: make constraints'; \
	  $(BIN)/pip freeze --exclude-editable --exclude pip --exclude setuptools | grep -v '^-e\|@') > constraints.txt

clean: ## Remove .venv and caches; databases stay
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis dist
