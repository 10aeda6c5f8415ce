# Each target creates what it needs, and can be repeated.
PYTHON ?= python3
BIN := .venv/bin
PORT ?= 8000
# Processes of the tests.
JOBS ?= 2
# uv installs in seconds, pip in minutes. pip is the fallback, because uv does not read pip's configuration.
INSTALL := $(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r
LOCK := $(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header

# Tests for which it makes no difference which database is used, so that one run of them is enough.
ON_ANY_DATABASE := tests/calculator tests/brokers/ibkr tests/docs tests/accounts/test_yaml_text.py \
	tests/trading/planning/test_targets.py tests/trading/listener tests/deploy/test_compose.py \
	tests/security/test_canaries.py tests/security/test_slow_clients.py tests/e2e/test_moving.py

.PHONY: setup demo test test-fast check docs bench lock audit screenshots clean secrets image-test faults soak

setup: .venv/.ready

.venv/.ready: requirements/dev.txt requirements/uv.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is required: make PYTHON=python3.12 setup")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt
	$(INSTALL) requirements/dev.txt || $(BIN)/python -m pip install --quiet --require-hashes -r requirements/dev.txt
	touch $@

demo: setup  ## Run a demo site with sample data at http://127.0.0.1:8000/ (or PORT=8001)
	MARKET_CALENDAR=always_open $(BIN)/python manage.py demo --port $(PORT)

test: setup  ## Run the test suite on SQLite and on PostgreSQL
	$(BIN)/python -m pytest -q -n $(JOBS)
	TEST_DATABASE=postgres $(BIN)/python -m pytest -q -n $(JOBS) $(ON_ANY_DATABASE:%=--ignore %)

test-fast: setup  ## Test on SQLite, without browsers, processes and fault injection
	$(BIN)/python -m pytest -q -n $(JOBS) -m "not e2e" --ignore tests/e2e --ignore tests/faults --ignore tests/deploy

faults: setup  ## Test the fault matrix on SQLite and on PostgreSQL; update docs/faults.md
	$(BIN)/python -m tests.faults

soak: setup  ## Run seeded random events, broker faults and kills; then compare records
	$(BIN)/python -m tests.faults.soak --database postgres
	$(BIN)/python -m tests.faults.soak --database sqlite

check: setup  ## Check format, lint, types, layers, spelling, migrations, vulnerabilities
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
	$(BIN)/python tools/audit.py --allow-offline

docs: setup  ## Write settings and error codes into docs/ and .env.example
	$(BIN)/python -m tools.settings_docs
	$(BIN)/python -m tools.error_docs

bench: setup  ## Run all benchmarks; update the tables in docs/
	$(INSTALL) requirements/bench.txt || $(BIN)/python -m pip install --quiet --require-hashes -r requirements/bench.txt
	$(BIN)/python -m benchmarks.calculator
	$(BIN)/python -m benchmarks.ibkr --database sqlite
	$(BIN)/python -m benchmarks.ibkr --database postgres
	$(BIN)/python -m benchmarks.installation
	$(BIN)/python -m benchmarks.pages

lock: setup  ## Pin all dependencies with hashes
	$(LOCK) pyproject.toml -o requirements/main.txt
	$(LOCK) pyproject.toml --group dev -c requirements/main.txt -o requirements/dev.txt
	echo uv | $(LOCK) - -c requirements/dev.txt -o requirements/uv.txt
	$(LOCK) --group bench -c requirements/dev.txt -o requirements/bench.txt

audit: setup  ## Check pinned dependencies for known vulnerabilities
	$(BIN)/python tools/audit.py

clean:
	rm -rf .venv var

screenshots: setup  ## Update the screenshots in docs/images with a browser test
	SCREENSHOTS=docs/images E2E=require $(BIN)/python -m pytest -q tests/e2e/test_browser.py

secrets:  ## Create ./secrets for docker-compose.yaml; existing files are not changed
	deploy/secrets.sh

image-test: setup  ## Build the image and run its services (as root, with buildah and debootstrap)
	$(BIN)/python -m tests.deploy.image_test
