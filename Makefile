# `make demo` and `make test` are all the set-up a newcomer does.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-slow browser check docs format clean

help:            ## say what can be made
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP)  ## make .venv with the pinned packages, if missing or stale

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test,docs]'
	@touch $(STAMP)

demo: setup      ## train on digits with wrong labels, name the wrong ones (about a minute)
	$(BIN)/thresher demo --overwrite

test: setup      ## the test suite
	$(BIN)/python -m pytest -m 'not slow' -n auto --maxprocesses 4 --no-loadscope-reorder

test-slow: setup ## the checks that take minutes
	$(BIN)/python -m pytest -m slow

browser:         ## install Chromium, for the tests of the review page (Debian, as root)
	@command -v chromium >/dev/null || { [ "$$(id -u)" = 0 ] && apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium >/dev/null; } || echo "No chromium here: the tests of the page are skipped. Install it with your system's packages."

check: setup     ## ruff (format, lint) and strict mypy
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

docs: setup      ## the site, into build/docs; a warning is an error
	$(BIN)/sphinx-build -q -W -n --keep-going docs build/docs

format: setup    ## let ruff rewrite what it can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:           ## remove the environment and caches
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache build dist
