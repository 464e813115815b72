# Everything runs from .venv, which `make setup` builds from the lock; nothing else is needed first but Python 3.11.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# The demo's own settings: LOGS and FORMAT name real session logs; without them a simulated shop writes seven days.
LOGS ?=
FORMAT ?=
DAYS ?= 7
export LASTAISLE_HOME ?= $(CURDIR)/.lastaisle
export AIRFLOW_HOME ?= $(LASTAISLE_HOME)/airflow
# Without byte code TensorFlow takes 17 s to import instead of 7 s, in every task.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup demo up test faults soak lint format bench lock clean

help:  ## Show this help
	@echo "Lastaisle: session logs in, registered checkout recommendation models out."
	@echo
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10
	@echo
	@echo "Real logs:  make demo LOGS=clicks.tsv FORMAT=yoochoose    (formats: $(BIN)/lastaisle ingest --help)"

setup: $(READY)  ## Build .venv from the lock (about a minute)

$(READY): requirements.txt pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "Lastaisle needs Python 3.11; set PYTHON=/path/to/python3.11"; exit 1; }
	@echo "Setting up $(VENV) from requirements.txt ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@awk '/^uv==/ {p = 1} p {print} p && !/\\$$/ {exit}' requirements.txt > $(VENV)/uv.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(VENV)/uv.txt
	@$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes --compile-bytecode requirements.txt
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

demo: setup  ## Run the main job on a real scheduler, seven days; leaves Airflow and MLflow up until Ctrl-C
	@$(BIN)/python -m lastaisle_airflow.local.demo --days $(DAYS) $(if $(LOGS),--logs "$(LOGS)") $(if $(FORMAT),--format $(FORMAT))

up: setup  ## Start Airflow and MLflow on 127.0.0.1, without the demo's work
	@$(BIN)/python -m lastaisle_airflow.local.services

test: setup  ## Run all tests
	@$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

faults: setup  ## Let every fault strike at every step of ingestion, and print the matrix (four minutes)
	@$(BIN)/python -m tests.faults.matrix

soak: setup  ## Half an hour of mixed traffic and random kills, every row accounted for
	@$(BIN)/python benchmarks/soak.py

lint: setup  ## Check style, types, import floors, contract versions
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@LASTAISLE=$(BIN)/lastaisle .ci/contracts

format: setup  ## Format the code
	@$(BIN)/ruff check --fix . ; $(BIN)/ruff format .

bench: setup  ## Run the benchmarks behind README's figures
	@for script in $(filter-out benchmarks/soak.py,$(wildcard benchmarks/*.py)); do echo "== $$script"; $(BIN)/python $$script || exit 1; done

lock: setup  ## Make requirements.txt anew from requirements.in
	@$(BIN)/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 $(UPGRADE) requirements.in -o requirements.txt

clean:  ## Remove the demo's data (.lastaisle) and the environment
	rm -rf .lastaisle $(VENV)
