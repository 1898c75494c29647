# Each target sets up what it needs by itself: Python 3.11 or later, git and make are enough.

PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do command -v $$p >/dev/null && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test lint types bench fmt clean

demo: $(VENV)/.runtime
	@$(BIN)/python -m fixtures.demo

test: $(VENV)/.tests
	@sh fixtures/system-packages.sh
	$(MAKE) --no-print-directory lint types
	$(BIN)/python -m pytest

lint: $(VENV)/.tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.tests
	$(BIN)/mypy

bench: $(VENV)/.tests
	@sh fixtures/system-packages.sh reprozip care buildah pax-utils hyperfine
	$(BIN)/python -m tests.bench

fmt: $(VENV)/.tests
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# A venv needs ensurepip, which Debian and Ubuntu ship apart (python3-venv): where it is missing and may be
# installed it is, else virtualenv does.
$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or later is needed: apt-get install python3" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) 2>/dev/null || { rm -rf $(VENV); sh fixtures/venv.sh "$(PYTHON)" $(VENV); }

$(VENV)/.runtime: $(VENV)/bin/python pyproject.toml
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.tests: $(VENV)/bin/python pyproject.toml
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	@touch $@ $(VENV)/.runtime

clean:
	rm -rf $(VENV) slim-out build dist .mypy_cache .ruff_cache .pytest_cache
