# make demo   sets up everything and runs the whole flow on an embedded made-up scene
# make test   sets up everything and passes the tests
# make check  style and types

PYTHON ?= $(shell command -v python3.12 || command -v python3 || command -v python)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test check setup

demo: $(READY)
	$(BIN)/geosynth demo --out demo

test: $(READY)
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadgroup --no-loadscope-reorder

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 12))' || { \
	  echo "geosynth needs Python 3.12 or newer, and $(PYTHON) is `$(PYTHON) -V 2>&1`."; \
	  echo "Install Python 3.12 and run: make PYTHON=/path/to/python3.12 $(or $(MAKECMDGOALS),setup)"; exit 1; }
	@echo "Setting up $(VENV) (about 6 GB with torch; some minutes) ..."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $(READY)
