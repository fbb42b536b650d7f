# Everything a person or a CI job runs. On a bare Debian with Python 3.11, pip and Node 20, `make demo` and `make test`
# set up what they need first; stamps keep the second run quick, and a set-up that was interrupted is taken up again.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PYTHON ?= python3
PY := .venv/bin/python
PAGE := validators/web/page
DIGITS := examples/digits
PORT ?= 4200
DATABASE ?= sqlite

# A stamp stands inside what it vouches for, so deleting the folder deletes the stamp.
ENVIRONMENT := .venv/.ready
SWIFT := .paritygate/swift/.ready
PYRIGHT := tools/pyright/node_modules

.PHONY: help setup demo test test-quick lint bench server server-stop matrix lock clean postgres wheel-check

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(ENVIRONMENT) ## environment, TF.js converter, browser packages, browser, Prefect's database
	@.venv/bin/paritygate setup

demo: setup ## release the digits model and show the verdict
	rm -rf build/digits.release
	.venv/bin/paritygate release $(DIGITS)/digits.keras --samples $(DIGITS)/samples.npz -o build/digits.release

test: setup $(SWIFT) postgres ## all tests, the quick ones first, in three processes
	$(PY) -m pytest -n 3 --dist loadgroup --no-loadscope-reorder

test-quick: $(ENVIRONMENT) ## tests that need no TensorFlow, browser or Prefect server (seconds)
	$(PY) -m pytest -m 'not slow'

wheel-check: $(ENVIRONMENT) ## install the wheel with plain pip in a new environment and release the digits model (minutes)
	$(PY) -m tools.wheel_check

lint: $(ENVIRONMENT) $(PYRIGHT)/.ready ## ruff, mypy and pyright
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	$(PYRIGHT)/.bin/pyright --project pyproject.toml

bench: setup ## the figures of the README: paritygate against the stock converters (several minutes)
	$(PY) benchmarks/stock.py

server: setup ## a complete local Prefect: server with UI, worker, deployments (PORT=4200, DATABASE=sqlite or postgres)
	@.venv/bin/paritygate server start --port $(PORT) --database $(DATABASE)

server-stop: ## end what `make server` started
	@.venv/bin/paritygate server stop

matrix: $(ENVIRONMENT) ## write the README's matrix from the registries
	$(PY) -m tools.matrix

lock: $(ENVIRONMENT) ## write the lock files from pyproject.toml and the Makefile
	$(UV_COMPILE) pyproject.toml $(SHARED_EXTRAS:%=--extra %) -o requirements.lock
	mkdir -p locks
	for extra in $(LONE_EXTRAS); do \
	  $(UV_COMPILE) pyproject.toml --extra $$extra --constraints requirements.lock --no-annotate -o locks/$$extra.lock; \
	done
	echo 'hatchling>=1.27' | $(UV_COMPILE) pyproject.toml - --extra flow --extra s3 --constraints requirements.lock --no-annotate \
	  -o locks/worker.lock
	echo 'tensorflowjs>=4.22,<5' | $(UV_COMPILE) - --no-deps --no-annotate -o flows/setup/converter.lock
	echo 'uv==$(UV_VERSION)' | $(UV_COMPILE) - --no-annotate -o tools/installer.lock
	echo 'swift>=2.38' | $(UV_COMPILE) - --no-annotate -o tests/object_store/swift.lock

# One environment holds all extras but ort-cuda, which stands in the place of ort. A machine that only validates needs
# the base and one extra; locks/ has a lock for each, of the same versions. A worker adds Prefect, from worker.lock,
# with what builds this project.
EXTRAS := $(shell sed -n '/^\[project.optional/,/^\[project.scripts/s/^\([a-z0-9-]*\) = \[.*/\1/p' pyproject.toml)
SHARED_EXTRAS := $(filter-out ort-cuda all,$(EXTRAS))
LONE_EXTRAS := $(filter-out export flow s3 dev all,$(EXTRAS))

UV_VERSION := 0.13.9
UV_COMPILE := .venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--no-header

clean: ## remove what set-up, the demo and the checks left behind
	rm -rf .venv .paritygate build .mypy_cache .pytest_cache .ruff_cache $(PAGE)/node_modules $(PYRIGHT)

postgres: $(ENVIRONMENT)
	@$(PY) -m flows.deployment.postgres

$(ENVIRONMENT): requirements.lock pyproject.toml tools/installer.lock tools/environment.sh
	@PYTHON='$(PYTHON)' tools/environment.sh
	@touch $@

# The object server of the tests, in an environment of its own: it is no part of paritygate.
$(SWIFT): tests/object_store/swift.lock $(ENVIRONMENT)
	@echo 'setup: OpenStack Swift, the S3 server of the tests (a few seconds)' >&2
	@.venv/bin/python -m venv --clear --without-pip $(@D)
	@.venv/bin/uv pip install --quiet --no-deps --require-hashes --only-binary :all: --python $(@D) -r $<
	@touch $@

# From npm: the pyright of the Python index fetches a Node program of its own choice when it runs.
$(PYRIGHT)/.ready: tools/pyright/package.json tools/pyright/package-lock.json
	@echo 'setup: pyright, the second type checker (a few seconds)' >&2
	@cd tools/pyright && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@
