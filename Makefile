# make demo | demo-real | test | lint | clean — each makes .venv itself when it is missing.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.installed
export PATH := $(CURDIR)/$(BIN):$(PATH)
export OMP_NUM_THREADS ?= 1

.PHONY: demo demo-real test test-slow lint clean
.DEFAULT_GOAL := help

help:
	@sed -n 's/^# //p' Makefile

$(READY): pyproject.toml
	test -d .venv || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $(READY)

test: $(READY)
	$(BIN)/python -m pytest

test-slow: $(READY)
	$(BIN)/python -m pytest -m slow

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

clean:
	rm -rf .venv demo .pytest_cache .mypy_cache .ruff_cache .import_linter_cache *.egg-info
