# Everything a fresh checkout needs: Python 3.11 or later, make and git. Every target sets up .venv by itself, once.

PYTHON ?= python3
VENV ?= .venv
# Quiet, because pip's own lines drown what matters; `make install PIP_FLAGS=` shows them.
PIP_FLAGS ?= --quiet --quiet
BIN := $(VENV)/bin
READY := $(VENV)/.installed

.PHONY: help install demo test test-slow lint types format wheel constraints clean
.DEFAULT_GOAL := help

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(READY) ## set up .venv with the pinned versions (the other targets do it too, where it is missing)

# Anew only when the declared or the pinned versions change.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed, found " + sys.version.split()[0] + "; name one: make PYTHON=python3.11")'
	@echo "Setting up $(VENV): some minutes, this once"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install $(PIP_FLAGS) --editable '.[dev]' --constraint constraints.txt
	@touch $@

demo: $(READY) ## train, test and report on synthetic scans: no data, no GPU, a few minutes
	$(BIN)/python -m kidney_lab

# Two workers share the cores: one thread each.
test test-slow: export OMP_NUM_THREADS := 1

test: $(READY) ## run the tests, without the slow ones
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow"

test-slow: $(READY) ## run the slow tests
	$(BIN)/python -m pytest -m slow

lint: $(READY) ## check style and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY) ## check types
	$(BIN)/python -m mypy

format: $(READY) ## mend formatting, and style where that is mechanical
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

wheel: $(READY) ## build the wheel into dist/
	$(BIN)/python -m hatchling build --target wheel

# torch and torchvision stay at the two lines that name them; everything else moves to the newest that fits.
constraints: ## pin anew: newest versions that pyproject.toml allows, into constraints.txt
	$(PYTHON) -m venv --clear build/constraints
	build/constraints/bin/python -m pip install $(PIP_FLAGS) --editable '.[dev]' $(shell grep -E '^torch(vision)?==' constraints.txt)
	{ grep '^#' constraints.txt; build/constraints/bin/python -m pip freeze --exclude-editable \
		| sed 's/+[0-9a-z.]*$$//' | grep -vE '^(#|nvidia|triton|cuda)'; } > build/constraints.txt
	mv build/constraints.txt constraints.txt
	rm -rf build/constraints

clean: ## remove build products and caches; .venv, data and runs stay
	rm -rf build dist .mypy_cache .pytest_cache .ruff_cache
	find . -name .venv -prune -o -type d -name __pycache__ -prune -exec rm -rf {} +
