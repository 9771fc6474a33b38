# Everything Python lives in .venv; constraints.txt pins every package by version and hash.
# Another Python: make PYTHON=python3.12 …; options of a command: make demo ARGS="--machines 500";
# processes that share the tests, each with an engine of its own: make test JOBS=4.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
ARGS ?=
JOBS ?= 2

.DEFAULT_GOAL := help
.PHONY: help demo test test-faults test-system bench bench-docs bench-pipeline check format build golden package pictures wheel docs constraints clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(READY) ## Simulated tenant to a real engine on this machine, all streams
	@$(BIN)/aquila-mde demo $(ARGS)

test: $(READY) ## All tests that need nothing but this machine, with coverage
	@$(BIN)/pytest -n $(JOBS) --dist loadfile -m "not long" --cov --cov-report=term --cov-fail-under=90 $(ARGS)

test-faults: $(READY) ## Kills, outages and refusals, the long runs too
	@$(BIN)/pytest -n $(JOBS) --dist worksteal tests/faults $(ARGS)

test-system: $(READY) ## The system tests against an engine in a container (AQUILA_TEST_IMAGE)
	@AQUILA_TEST_ENGINE=container $(BIN)/pytest tests/system $(ARGS)

bench: $(READY) ## What the collector costs: build/bench/results.json and docs/performance.md
	@$(BIN)/python -m tests.bench $(ARGS)

bench-docs: $(READY) ## Write docs/performance.md from build/bench/results.json
	@$(BIN)/python -m tests.bench.page $(ARGS)

bench-pipeline: $(READY) ## What the ingest pipelines cost; writes build/bench/pipeline.json
	@$(BIN)/python -m tests.bench.pipeline_cost $(ARGS)

check: $(READY) ## Lint, format, types, and whether the built files are up to date
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/aquila-mde build --check

format: $(READY) ## Format the Python files and mend what lint can mend
	@$(BIN)/ruff check --fix-only .
	@$(BIN)/ruff format .

build: $(READY) ## Write every built file: pipelines, fields, sample events, pages
	@$(BIN)/aquila-mde build

golden: $(READY) ## Write the expected documents of the pipeline tests anew
	@$(BIN)/python -m tests.pipeline.golden

package: $(READY) ## Make the zip that Fleet takes, in build/packages, and check it
	@$(BIN)/aquila-mde package build
	@$(BIN)/aquila-mde package check

pictures: $(READY) ## Take a picture of each dashboard of the demonstration, with Chromium
	@$(BIN)/python -m tests.browser.pictures $(ARGS)

wheel: $(READY) ## Make the wheel and the source archive in dist/
	@$(BIN)/hatchling build

docs: $(READY) ## Write the pages in docs/, and check that all documentation is true
	@$(BIN)/aquila-mde build
	@$(BIN)/python -m tests.docs.commands
	@$(BIN)/pytest tests/docs $(ARGS)

constraints: $(READY) ## Pin the newest versions of everything in constraints.txt
	@CUSTOM_COMPILE_COMMAND="make constraints" $(BIN)/pip-compile --quiet --upgrade --all-extras \
	  --generate-hashes --allow-unsafe --strip-extras --no-emit-index-url \
	  --no-emit-find-links --no-emit-trusted-host --output-file constraints.txt pyproject.toml

clean: ## Remove everything that these targets made
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage*
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(READY): .venv/.pinned pyproject.toml manifest.yml
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

.venv/.pinned: constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Python 3.11 or newer is needed; name it: make PYTHON=python3.12 …" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' || { \
	  echo "Python's venv is missing; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@echo "Installing the pinned packages into .venv"
	@$(PYTHON) -m venv .venv
	@# Every package is named there. pip's own search would take a newer coverage[toml] for one
	@# that has no hash, on the day that it comes out.
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r constraints.txt
	@touch $@
