# Everything runs from .venv, which `make setup` builds from the lock. Python 3.11, 3.12 or 3.13 is all that it needs.
# .venv is built with the newest of these that bin/find-python finds, or with PYTHON=/path/to/python3.
PYTHON ?=
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PLATFORMS := $(VENV)/.platforms
DESCRIBE_PYTHON := -c 'import platform, sys; print(f"Python {platform.python_version()} ({sys._base_executable})")'

BUILD_DOCS := $(BIN)/mkdocs build --quiet --strict

# The demo's own settings: LOGS and FORMAT name real session logs; without them a simulated shop writes seven days.
# LOOP=1 lets simulated shoppers see the lists of the service, and has a home of its own.
LOGS ?=
FORMAT ?=
DAYS ?= 7
LOOP ?=
DEMO := $(if $(filter-out 0,$(LOOP)),loop,demo)
export LASTAISLE_HOME ?= $(CURDIR)/.lastaisle$(if $(filter loop,$(DEMO)),/loop)
export AIRFLOW_HOME ?= $(LASTAISLE_HOME)/airflow
# Without byte code TensorFlow takes 17 s to import instead of 7 s, in every task.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup demo up test test-fast faults soak lint docs platforms sbom format bench lock clean

help:  ## Show this help
	@echo "Lastaisle: session logs in, registered checkout recommendation models out."
	@echo
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 11
	@echo
	@echo "The loop:   make demo LOOP=1    (simulated shoppers see the lists of the service, and models learn from them)"
	@echo "Real logs:  make demo LOGS=clicks.tsv FORMAT=yoochoose    (formats: $(BIN)/lastaisle ingest --help)"

setup: $(READY)  ## Build .venv from the lock (about a minute)
ifneq ($(filter setup,$(MAKECMDGOALS)),)
	@echo "$(VENV) is ready, with $$($(BIN)/python $(DESCRIBE_PYTHON))"
	@$(if $(PYTHON),echo "For another Python run: rm -r $(VENV); make setup PYTHON=$(PYTHON)")
endif

$(READY): requirements.txt pyproject.toml
	@if $(BIN)/python --version >/dev/null 2>&1; then \
	    echo "Bringing $(VENV) to requirements.txt, with its $$($(BIN)/python $(DESCRIBE_PYTHON)) ..."; \
	else \
	    python=$$(bin/find-python $(if $(PYTHON),"$(PYTHON)")) || exit 1; \
	    echo "Setting up $(VENV) from requirements.txt, with $$("$$python" $(DESCRIBE_PYTHON)) ..."; \
	    "$$python" -m venv --clear $(VENV); \
	fi
	@awk '/^uv==/ {p = 1} p {print} p && !/\\$$/ {exit}' requirements.txt > $(VENV)/uv.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(VENV)/uv.txt
	@$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes --compile-bytecode requirements.txt
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

demo: setup  ## Run the main job on a real scheduler, seven days; leaves all services up until Ctrl-C
	@$(BIN)/python -m lastaisle_airflow.local.$(DEMO) --days $(DAYS) $(if $(LOGS),--logs "$(LOGS)") $(if $(FORMAT),--format $(FORMAT))

up: setup  ## Start Airflow, MLflow and the service on 127.0.0.1, without the demo's work
	@$(BIN)/python -m lastaisle_airflow.local.services

# Three processes on two cores: the tests of a real scheduler mostly wait.
test: setup  ## Run all tests, with real services (32 minutes to an hour on two idle cores, by their speed)
	@$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

test-fast: setup  ## Run the tests that start no service and train no model (about 5 minutes)
	@$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --fast

faults: setup  ## Let every fault strike at every step of ingestion, and print the matrix (four minutes)
	@$(BIN)/python -m tests.faults.matrix

soak: setup  ## Half an hour of mixed traffic and random kills, every row accounted for
	@$(BIN)/python benchmarks/soak.py

lint: setup $(PLATFORMS)  ## Check style, types, imports, docs, contract versions, and the lock's platforms
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/deptry . --config .ci/deptry.toml --no-ansi
	@LASTAISLE=$(BIN)/lastaisle .ci/contracts
	@$(BUILD_DOCS)

docs: setup  ## Build docs/ into .site, and check its links
	@$(BUILD_DOCS)

platforms: setup  ## Check that the lock installs on Linux (x86-64, ARM) and macOS (ARM), on Python 3.11 to 3.13
	@UV=$(BIN)/uv .ci/platforms

$(PLATFORMS): requirements.txt .ci/platforms | $(READY)
	@UV=$(BIN)/uv .ci/platforms
	@touch $@

sbom: setup  ## Write the bill of materials of the lock (CycloneDX) into .cache/lastaisle.cdx.json
	@UV=$(BIN)/uv PYTHON=$(BIN)/python .ci/sbom

format: setup  ## Format the code
	@$(BIN)/ruff check --fix . ; $(BIN)/ruff format .

bench: setup  ## Run the benchmarks behind README's figures
	@for script in $(filter-out benchmarks/soak.py,$(wildcard benchmarks/*.py)); do echo "== $$script"; $(BIN)/python $$script || exit 1; done

lock: setup  ## Write requirements.txt anew from requirements.in; newer versions only with UPGRADE=1
	@$(BIN)/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 $(if $(UPGRADE),--upgrade) \
	    requirements.in -o requirements.txt
	@$(BIN)/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 $(if $(UPGRADE),--upgrade) \
	    .ci/sbom.in -o .ci/sbom.txt
	@for folder in environments/*/; do \
	    $(BIN)/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 $(if $(UPGRADE),--upgrade) \
	        $${folder}requirements.in -o $${folder}requirements.txt || exit 1; \
	done
	@UV=$(BIN)/uv .ci/platforms

clean:  ## Remove the demo's data (.lastaisle) and the environment
	rm -rf .lastaisle $(VENV)
