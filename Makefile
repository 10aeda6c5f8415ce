# Each target creates what it needs, and can be repeated.
PYTHON ?= python3
BIN := .venv/bin
PORT ?= 8000
# Processes of the tests.
JOBS ?= 2
# uv installs in seconds, pip in minutes. pip is the fallback, because uv does not read pip's configuration.
INSTALL := $(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r
LOCK := $(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header
# A process that has finished its half takes over tests of the other.
PYTEST := $(BIN)/python -m pytest -q -n $(JOBS) --dist worksteal
DEMO := MARKET_CALENDAR=always_open $(BIN)/python manage.py
# Python keeps what it has compiled, even where the environment forbids it: without, the tests take a minute longer.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup demo run test-fast test fmt check audit docs lock screenshots bench faults soak image-test secrets clean

help:  ## List the targets
	@while IFS= read -r line; do case "$$line" in [a-z]*:*"  ## "*) \
		printf '  make %-12s %s\n' "$${line%%:*}" "$${line##*  \#\# }";; esac; done <$(firstword $(MAKEFILE_LIST))

setup: .venv/.ready  ## Create the virtual environment in .venv

.venv/.ready: requirements/dev.txt requirements/uv.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is required: make PYTHON=python3.12 setup")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt
	$(INSTALL) requirements/dev.txt || $(BIN)/python -m pip install --quiet --require-hashes -r requirements/dev.txt
	touch $@

demo: setup  ## Run a demo site with sample data at http://127.0.0.1:8000/ (or PORT=8001)
	$(DEMO) demo --port $(PORT)

run: setup  ## Like demo, with Django's development server, which reloads changed code
	$(DEMO) demo --seed-only --port $(PORT)
	$(DEMO) qworker & trap "kill $$!" EXIT; DEBUG=true $(DEMO) runserver $(PORT)

test-fast: setup  ## Test on SQLite, without processes, browsers and slow tests
	$(PYTEST) --hypothesis-profile=fast -m "not process and not browser and not slow"

test: setup  ## Run all tests on SQLite, then those that depend on the database on PostgreSQL
	$(PYTEST)
	TEST_DATABASE=postgres $(PYTEST) -m "(db or process) and not one_database"

fmt: setup  ## Format code and templates, and fix what can be fixed
	$(BIN)/ruff check --fix --quiet --exit-zero .
	$(BIN)/ruff format --quiet .
	$(BIN)/djlint --quiet --reformat templates || $(BIN)/djlint --quiet --check templates

check: setup  ## Check format, lint, types, layers, spelling, wording, migrations (without network)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy . tests/support
	$(BIN)/lint-imports
	$(BIN)/djlint --quiet --check templates
	$(BIN)/djlint --quiet --lint templates
	$(BIN)/codespell
	$(BIN)/python tools/check_wording.py
	$(BIN)/python manage.py makemigrations --check --dry-run
	$(BIN)/python manage.py check

audit: setup  ## Check pinned dependencies for known vulnerabilities (needs network)
	$(BIN)/python tools/audit.py $(AUDIT_OPTIONS)

docs: setup  ## Write settings and error codes into docs/ and .env.example
	$(BIN)/python -m tools.settings_docs
	$(BIN)/python -m tools.error_docs

lock: setup  ## Pin all dependencies with hashes
	$(LOCK) pyproject.toml -o requirements/main.txt
	$(LOCK) pyproject.toml --group dev -c requirements/main.txt -o requirements/dev.txt
	echo uv | $(LOCK) - -c requirements/dev.txt -o requirements/uv.txt
	$(LOCK) --group bench -c requirements/dev.txt -o requirements/bench.txt

screenshots: setup  ## Update the screenshots in docs/images with a browser test
	SCREENSHOTS=docs/images E2E=require $(BIN)/python -m pytest -q tests/e2e/test_browser.py

bench: setup  ## Run all benchmarks; update the tables in docs/
	$(INSTALL) requirements/bench.txt || $(BIN)/python -m pip install --quiet --require-hashes -r requirements/bench.txt
	$(BIN)/python -m benchmarks.calculator
	$(BIN)/python -m benchmarks.ibkr --database sqlite
	$(BIN)/python -m benchmarks.ibkr --database postgres
	$(BIN)/python -m benchmarks.installation
	$(BIN)/python -m benchmarks.pages

faults: setup  ## Test the fault matrix on SQLite and on PostgreSQL; update docs/faults.md
	$(BIN)/python -m tests.faults

soak: setup  ## Run seeded random events, broker faults and kills; then compare records
	$(BIN)/python -m tests.faults.soak --database postgres
	$(BIN)/python -m tests.faults.soak --database sqlite

image-test: setup  ## Build the image and run its services (as root, with buildah and debootstrap)
	$(BIN)/python -m tests.deploy.image_test

secrets:  ## Create ./secrets for docker-compose.yaml; existing files are not changed
	deploy/secrets.sh

clean:  ## Delete the virtual environment and the site's data in var/
	rm -rf .venv var
