# Everything goes through make; no target needs more than Python 3.11+, make and the package index.

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --only-binary :all:
PYTHON ?= $(shell for python in python3.13 python3.12 python3.11 python3; do \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& echo "$$python" && break; done)
PAGES ?= 0
MEGABYTES ?= 100
DOCUMENTS ?= 1e5 1e6 1e7
STRINGS ?= 1000000
# Kernels of one file of tests are compiled by one process; more than four would wait for each other.
TESTS := $(BIN)/python -m pytest -q --numprocesses auto --maxprocesses 4 --dist loadfile
UV ?= uv

.DEFAULT_GOAL := help
.PHONY: help setup models demo test test-plain check bench bench-neardup bench-tokenizer bench-loader lock clean

help: ## list these targets
	@sed -n 's/^\([a-z-]*\):.*## /  \1\t/p' $(MAKEFILE_LIST) | expand -t 16

setup: $(VENV)/.train ## make .venv with the locked versions (demo, test and the others do it too)

models: $(VENV)/.lid.176 ## fetch the language model

demo: $(VENV)/.train $(VENV)/.lid.176 ## from real pages to a trained model, in minutes
	@$(BIN)/python -m pipelines.demo_crawl --output demo/crawl
	@$(BIN)/curate run pipelines/demo.yaml --input 'demo/crawl/*.warc.gz' --output demo/output

test: $(VENV)/.train $(VENV)/.lid.176 ## run all tests, kernels compiled
	@$(TESTS) $(PYTEST)

test-plain: $(VENV)/.train $(VENV)/.lid.176 ## run the tests of the kernels as plain Python
	@NUMBA_DISABLE_JIT=1 $(TESTS) -m "not ray and not slow" \
		tests/filters tests/dedup tests/lm $(PYTEST)

check: $(VENV)/.train ## lint, format check and strict types
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy

bench: $(VENV)/.train $(VENV)/.lid.176 ## ours beside datatrove, Dolma and NeMo Curator (PAGES=100: fewer)
	@$(BIN)/python -m benchmarks.bench --pages $(PAGES)

bench-neardup: $(VENV)/.train $(VENV)/.lid.176 ## near-duplicates: quality, speed beside three libraries, growth
	@$(BIN)/python -m benchmarks.neardup_quality
	@$(BIN)/python -m benchmarks.minhash_speed
	@$(BIN)/python -m benchmarks.neardup_speed --megabytes $(MEGABYTES)
	@$(BIN)/python -m benchmarks.clusters_growth --documents $(DOCUMENTS)

bench-tokenizer: $(VENV)/.train $(VENV)/.lid.176 ## the tokenizer: speed, memory and exactness beside its peers
	@$(BIN)/python -m benchmarks.tokenizer_speed --megabytes $(MEGABYTES)
	@$(BIN)/python -m benchmarks.tokenizer_exact --megabytes $(MEGABYTES) --strings $(STRINGS)

bench-loader: $(VENV)/.train ## the loader beside those of nanoGPT, datatrove and litdata
	@$(BIN)/python -m benchmarks.loader_speed

lock: ## resolve requirements.lock anew (needs uv)
	@echo 'setuptools>=80' | $(UV) pip compile --quiet pyproject.toml - --extra test --universal \
		--generate-hashes --python-version 3.11 --custom-compile-command 'make lock' \
		-o requirements.lock

clean: ## remove what the targets above made
	rm -rf $(VENV) .venv-peers demo build crawl_to_model.egg-info .pytest_cache .mypy_cache .ruff_cache

# Each file below marks a finished step; its inputs decide when the step is due again.

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "error: no Python 3.11 or newer found; name one with: make PYTHON=/path/to/python3.12 $(MAKECMDGOALS)" >&2; exit 2; }
	@echo "Making $(VENV) with $$($(PYTHON) --version) ..."
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "error: $(PYTHON) cannot make virtual environments; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 2; }

$(VENV)/.core: requirements.lock pyproject.toml | $(VENV)/bin/python
	@echo "Installing the locked versions (a few minutes at first) ..."
	@$(PIP) --require-hashes -r requirements.lock
	@# setuptools comes from the lock; nothing is compiled and nothing more is fetched.
	@$(BIN)/python -m pip --disable-pip-version-check install --quiet --no-index --no-deps \
		--no-build-isolation --editable .
	@touch $@

$(VENV)/.train: requirements-train.lock $(VENV)/.core
	@echo "Installing torch for the trainer ..."
	@$(PIP) -r requirements-train.lock
	@touch $@

$(VENV)/.lid.176: curate/models.py | $(VENV)/.core
	@$(BIN)/curate models fetch lid.176
	@touch $@
