# Two commands on a fresh machine: `make demo` and `make test`. Only make and Python >= 3.11 are assumed.

PY := .venv/bin/python
ARGS ?=
MINUTES ?= 15
UV_VERSION := 0.9.11

.DEFAULT_GOAL := help
.PHONY: help setup check test test-unit test-docker prove soak demo stage bench stack lock clean

help: ## list the targets
	@echo 'make TARGET, where TARGET is one of'
	@awk -F ':[^#]*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo 'BROKER=external|jvm|docker|memory and DATABASE=external|wheel|system|docker choose the servers,'
	@echo 'PYTHON=... the interpreter; ARGS=... goes to pytest or to the benchmarks.'

setup: .venv/ready ## make .venv with what requirements/dev.txt pins (the other targets do this by themselves)

.venv/ready: requirements/dev.txt deploy/make-venv.sh
	@sh deploy/make-venv.sh .venv requirements/dev.txt $(PYTHON)
	@touch $@

check: setup ## format, lint, types and import rules
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(PY) -m mypy
	.venv/bin/lint-imports

test: setup ## unit, scenario, simulated, integration and end-to-end tests, the last two on real Kafka and Postgres
	$(PY) -m pytest tests/unit tests/scenarios tests/checker tests/simulation tests/integration tests/e2e $(ARGS)

test-unit: setup ## only what needs neither Kafka nor Postgres
	$(PY) -m pytest tests/unit tests/scenarios $(ARGS)

test-docker: setup ## the image and docker-compose.yml for real; each test says so when no engine answers
	$(PY) -m pytest tests/docker $(ARGS)

prove: setup ## prove what docs/reliability.md promises, up to two hours; goes on where it was ended (ARGS=soak: one tier)
	$(PY) -m tests.prove $(ARGS)

soak: setup ## random sagas, faults and kills on real servers for MINUTES=15
	$(PY) -m tests.soak --minutes $(MINUTES) $(ARGS)

# STORY, KEEP, BROKER and DATABASE reach the programs below through the environment, as make does by itself.
demo: setup ## stories through real servers (STORY=order, bank, travel, choreography, all or one by name; KEEP=1 to stay up)
	$(PY) -m deploy.demo

stage: setup ## everything that docs/tour.md needs, until Ctrl-C: a coordinator with keys, participants to break, alerts
	$(PY) -m deploy.stage

bench: setup ## measure sagas per second on a stack of its own
	$(PY) -m benchmarks $(ARGS)

stack: setup ## keep a Kafka and a Postgres running until Ctrl-C
	$(PY) -m deploy.local $(ARGS)

.local/uv/bin/uv:
	$(PY) -m venv .local/uv
	.local/uv/bin/python -m pip install --quiet uv==$(UV_VERSION)

# No index address and no path of this machine gets into the files.
COMPILE = .local/uv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --custom-compile-command "make lock"

lock: setup .local/uv/bin/uv ## pin requirements/*.in anew, keeping pins that still fit (ARGS=--upgrade for the newest)
	$(COMPILE) $(ARGS) requirements/base.in -o requirements/base.txt
	$(COMPILE) $(ARGS) requirements/dev.in -o requirements/dev.txt

clean: ## remove everything that these targets made
	rm -rf .venv .local .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
