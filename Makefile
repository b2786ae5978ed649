# Everything runs in .venv, which this file makes. `make help` lists the targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := PIP_CONSTRAINT=constraints.txt $(BIN)/python -m pip --disable-pip-version-check
# Tests wait as much as they compute.
WORKERS ?= $(shell expr 2 \* $$(getconf _NPROCESSORS_ONLN))
SOURCES := bigcode_cli model scripts tests benchmarks

.DEFAULT_GOAL := help
.PHONY: help install demo check test test-fast docs bench clean

help:  ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/.made:
	$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or newer is needed")'
	$(PYTHON) -m venv $(VENV)
	@touch $@

# A changed pyproject.toml or constraints.txt installs again.
$(VENV)/.installed: pyproject.toml constraints.txt $(VENV)/.made
	@# torch first and alone: without the pin an index may offer a build with gigabytes of CUDA.
	$(PIP) install --quiet torch numpy
	$(PIP) install --quiet --editable .
	@touch $@

$(VENV)/.tested: $(VENV)/.installed
	$(PIP) install --quiet --editable '.[corpus,test,check]'
	@sh scripts/install_test_tools.sh
	@touch $@

install: $(VENV)/.installed  ## install bigcode into .venv

demo: $(VENV)/.installed  ## install, then complete real code with the built-in model, offline
	@sh scripts/demo.sh $(CURDIR)/$(BIN)/bigcode

check: $(VENV)/.tested  ## lint, format, types, layers, generated files
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/mypy
	@# Twice, because two folders of tests have a conftest of their own.
	$(BIN)/mypy --exclude tests/server tests scripts benchmarks model/training
	$(BIN)/mypy tests/server
	$(BIN)/lint-imports --no-logo
	$(BIN)/python scripts/generate_reference.py --check

test: $(VENV)/.tested  ## install, then run every test
	$(BIN)/python -m pytest -q -n $(WORKERS) --dist worksteal -m "not timing"
	$(BIN)/python -m pytest -q -m timing

test-fast: $(VENV)/.tested  ## the quick tests
	$(BIN)/python -m pytest -q -n $(WORKERS) --dist worksteal -m "not timing and not slow"

docs: $(VENV)/.tested  ## write the man pages and the completions
	$(BIN)/python scripts/generate_reference.py

# Quick forms; each program's first lines say how to run it at full size.
bench: $(VENV)/.tested  ## measure this machine beside peers: one table per subject
	$(BIN)/python benchmarks/startup.py --runs 3
	$(BIN)/python benchmarks/decode.py tiny_starcoder_py --runs 2
	$(BIN)/python benchmarks/score.py --runs 3 --files 12
	$(BIN)/python benchmarks/label.py --runs 3 --files 24
	$(BIN)/python benchmarks/speculation.py --cases 4

clean:  ## remove .venv and caches
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
