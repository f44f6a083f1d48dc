# Shortcuts for development. Each target is one command that also works without make.

PYTHON ?= .venv/bin/python

.PHONY: help install dev test lint fmt coverage lock

help:  ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

install:  ## make .venv with everything that running, testing and linting need
	python3 manage.py test --version
	$(PYTHON) -m pip install --quiet --no-deps --editable .
	if command -v npm >/dev/null; then npm ci --no-fund --no-audit; fi

dev:  ## serve on port 8001 and restart when Python files change
	$(PYTHON) manage.py migrate --verbosity 0
	DJANGO_DEBUG=1 $(PYTHON) manage.py serve --reload

test:  ## run the tests; ARGS="tests/unit -k pause" selects some
	python3 manage.py test $(ARGS)

lint:  ## every check of CI except the tests
	python3 manage.py check_all --no-tests

fmt:  ## format Python and JavaScript, and fix what can be fixed
	$(PYTHON) -m ruff check --fix-only --quiet .
	$(PYTHON) -m ruff format .
	if [ -d node_modules ]; then npm run --silent fmt; fi

lock:  ## make requirements.lock after a change to requirements.txt (needs uv)
	python3 -m heimdall.lock

coverage:  ## run the unit and integration tests with coverage
	python3 manage.py test tests/unit tests/integration --cov --cov-report=term:skip-covered --cov-report=html $(ARGS)
