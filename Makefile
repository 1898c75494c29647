# Each target sets up what it needs by itself: Python 3.11 or later, git and make are enough.

# Root's tests also run as other users, so an interpreter in a home that is closed to them comes last.
CANDIDATES := python3.13 python3.12 python3.11 python3 /usr/bin/python3.13 /usr/bin/python3.12 /usr/bin/python3.11
SUITS := import os, pathlib, sys; p = pathlib.Path(sys.executable).resolve(); \
	sys.exit(sys.version_info < (3, 11) or (os.geteuid() == 0 and not all(q.stat().st_mode & 1 for q in (p, *p.parents))))
PYTHON ?= $(shell for p in $(CANDIDATES); do $$p -c '$(SUITS)' 2>/dev/null && echo $$p && exit; done; \
	for p in $(CANDIDATES); do $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && exit; done)
VENV := .venv
BIN := $(VENV)/bin

# Each start of `slim`, and the tests start it a thousand times, would compile all of it anew.
unexport PYTHONDONTWRITEBYTECODE

# make test TESTS="tests/unit -k recipe": these only.
TESTS ?=
# On all cores, but for those that look at all that runs. Each part is run, whatever another one found.
PYTEST := $(BIN)/python -m pytest
SLOW := tests/apps tests/oracle
ALL = failed=0; $(PYTEST) -q -n auto tests/unit || failed=1; \
	$(PYTEST) -n auto --dist loadfile -m "not alone" $(SLOW) || failed=1; \
	$(PYTEST) -m alone $(SLOW) || failed=1; exit $$failed

.PHONY: demo test check test-all-pythons lint types bench reproduce fmt dist pyz image docs clean

demo: $(VENV)/.runtime
	@$(BIN)/python -m fixtures.demo

test: $(VENV)/.tests
	@sh fixtures/system-packages.sh
	$(MAKE) --no-print-directory lint types
	$(if $(TESTS),$(BIN)/python -m pytest $(TESTS),$(ALL))

# What a change must pass before it is shown to anybody: no system packages, no root, no network.
check: $(VENV)/.tests
	@$(MAKE) --no-print-directory lint types
	$(BIN)/python -m pytest -q $(or $(TESTS),-n auto tests/unit)

# The same tests by every supported Python that is there.
test-all-pythons:
	@sh fixtures/all-pythons.sh $(or $(TESTS),tests/unit)

lint: $(VENV)/.tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.tests
	$(BIN)/mypy

bench: $(VENV)/.tests
	@sh fixtures/system-packages.sh reprozip care buildah pax-utils hyperfine
	$(BIN)/python -m tests.bench

# Each fixture application recorded five times under what must not matter.
reproduce: $(VENV)/.tests
	@sh fixtures/system-packages.sh
	$(BIN)/python -m tests.bench.reproduce

fmt: $(VENV)/.tests
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/python -m docs.reference

# A venv needs ensurepip, which Debian and Ubuntu ship apart (python3-venv): where it is missing and may be
# installed it is, else virtualenv does.
$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or later is needed: apt-get install python3" >&2; exit 1; }
	@echo "making a virtual environment in $(VENV) with $(PYTHON)"
	@$(PYTHON) -m venv $(VENV) >/dev/null 2>&1 || { rm -rf $(VENV); sh fixtures/venv.sh "$(PYTHON)" $(VENV); }

$(VENV)/.runtime: $(VENV)/bin/python pyproject.toml
	@echo "installing what slimmer needs into $(VENV); half a minute, once"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.tests: $(VENV)/bin/python pyproject.toml
	@echo "installing what the tests need into $(VENV); a minute, once"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	@touch $@ $(VENV)/.runtime

# A wheel and a source archive, for `pip install dist/slimmer_oci-*.whl`.
dist: $(VENV)/bin/python
	@rm -rf dist
	@echo "building dist/"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check build
	@$(BIN)/python -m build --outdir dist . >dist.log 2>&1 || { cat dist.log; rm -f dist.log; exit 1; }
	@rm -f dist.log; ls dist

# One file that holds slimmer and what it needs, for machines with this version of Python.
pyz: $(VENV)/bin/python
	@mkdir -p dist
	@echo "building dist/slim.pyz"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check shiv
	@$(BIN)/python -m shiv --quiet --compressed --reproducible -e slimmer.cli.main:main \
		-p '/usr/bin/env python3' -o dist/slim.pyz .
	@ls -l dist/slim.pyz

# A container image of slimmer itself, made by slimmer: an OCI layout and an archive, for amd64 and arm64.
image: $(VENV)/.runtime
	@$(BIN)/python -m fixtures.container

# docs/api.md and docs/formats.md anew, and the site in build/docs.
docs: $(VENV)/.tests
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[docs]'
	@$(BIN)/python -m docs.reference
	@$(BIN)/python -m mkdocs build --quiet
	@echo build/docs/index.html

clean:
	rm -rf $(VENV) slim-out build dist .mypy_cache .ruff_cache .pytest_cache
