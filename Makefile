# `make run` and `make test` are all the set-up there is; `make help` lists the rest.
# Debian's interpreter first: it is what production runs, and other builds of 3.11 hide its faults.
PYTHON ?= $(shell command -v /usr/bin/python3.11 || command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
SOURCES := hitobit_portal accounts apikeys tests bench manage.py
STYLED := $(SOURCES) deploy docs
# A command in an environment as strict as production's, with throwaway secrets and data.
PRODUCTION := $(BIN)/python -m tests.support.production
DEMO := PORTAL_DEMO=true
CATALOGUES := $(patsubst %.po,%.mo,$(wildcard locale/*/LC_MESSAGES/django.po))
# The provider that the tests of the login by OpenID Connect talk to.
OPENID := tests/accounts/oidc/provider
# More than cores: tests wait for PostgreSQL, browsers and other processes.
PROCESSES ?= 3
# Clients of Binance's API: PyPI's in an environment of their own, npm's in tests/deploy/clients/node_modules.
CLIENTS := .venv-clients
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.DEFAULT_GOAL := help
.PHONY: help run gateway openid test verify core hunt mutants lint check format migrations messages screenshots bench docs sbom lock clean
.DELETE_ON_ERROR:

help: ## Show this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

run: $(VENV)/runtime.stamp $(CATALOGUES) ## Run the demo on http://127.0.0.1:8000 (PORT and PORTAL_DATA_DIR move it)
	@exec env $(DEMO) $(BIN)/python manage.py run_demo

gateway: $(VENV)/runtime.stamp ## Run the demo's authorization API alone on http://127.0.0.1:8001 (PORTAL_GATEWAY_PORT moves it)
	@exec env $(DEMO) $(BIN)/python manage.py run_gateway

MATRIX := tests/deploy/recipes/test_matrix.py tests/deploy/clients
# Alone on the machine: they count requests that take too long.
UPGRADE := tests/deploy/test_upgrade.py tests/deploy/test_high_availability.py

test: lint check openid $(CLIENTS)/installed.stamp $(CATALOGUES) ## Everything that has to hold: lint, types, settings, and all tests but the heaviest
	$(BIN)/python -m pytest -n $(PROCESSES) -m "not verify"

verify: $(VENV)/development.stamp openid $(CLIENTS)/installed.stamp $(CATALOGUES) ## What is heavier: races, proxies and clients, most browser tests, an upgrade under load, chaos; the database tests on SQLite
	$(BIN)/python -m pytest -n 2 --dist=load $(MATRIX)
	$(BIN)/python -m pytest $(UPGRADE)
	$(BIN)/python -m pytest -n 2 -m verify $(addprefix --ignore=,$(MATRIX) $(UPGRADE))
	PORTAL_TEST_DATABASE=sqlite $(BIN)/python -m pytest -n 2 -m "django_db and not browser and not postgres and not verify"

# What decides, counts and compares: codes, signatures, networks, the gateway's fast path and the races about them.
CORE := $(addprefix tests/,accounts/access accounts/factors accounts/login accounts/choices apikeys/verification \
  apikeys/policy apikeys/models apikeys/actions apikeys/gateway apikeys/client_api apikeys/usage races structure/test_patterns.py \
  portal/test_client_ip.py portal/test_crypto.py portal/test_fields.py portal/test_ratelimits.py portal/test_security_review.py)

openid: $(OPENID)/node_modules/.package-lock.json ## Install the OpenID provider that the tests log in with (npm)

# Without npm the tests of this provider are skipped; with CI=true they fail.
$(OPENID)/node_modules/.package-lock.json: $(OPENID)/package-lock.json
	@if command -v npm >/dev/null; then \
	  npm ci --prefix $(OPENID) --ignore-scripts --no-audit --no-fund --loglevel=error && touch $@; \
	else echo "npm is not installed: tests of the login by OpenID Connect are left out" >&2; fi

core: $(VENV)/development.stamp openid $(CATALOGUES) ## The tests of the security core alone, for a second Python (PYTHON=..., VENV=...)
# Python 3.13 warns of SQLite connections that a finished test left to the garbage collector; 3.11 does not know the warning.
	$(BIN)/python -m pytest -n $(PROCESSES) -W "default:unclosed database:ResourceWarning" $(CORE)

hunt: $(VENV)/development.stamp $(CATALOGUES) ## Property tests with fifty times as many random examples; 10,000 sequences of customer actions
	$(BIN)/python -m tests.support.power --processes $(PROCESSES)
	env -u CI PORTAL_TEST_FACTOR=50 $(BIN)/python -m pytest -n $(PROCESSES) -m "hypothesis and not browser"

mutants: $(VENV)/development.stamp $(CATALOGUES) ## Change the security core a little and see that tests notice (MUTANTS="--most 5")
	$(BIN)/python -m tests.support.mutants $(MUTANTS)

lint: $(VENV)/development.stamp ## Style, types and known-bad patterns
	$(BIN)/ruff check $(STYLED)
	$(BIN)/ruff format --check $(STYLED)
	$(PRODUCTION) $(BIN)/mypy $(SOURCES)
	$(BIN)/bandit --quiet --configfile pyproject.toml --recursive hitobit_portal accounts apikeys manage.py

check: $(VENV)/development.stamp ## Settings, migrations and message catalogues
	$(PRODUCTION) $(BIN)/python -W error manage.py check --deploy --fail-level WARNING
	$(PRODUCTION) $(BIN)/python -W error manage.py makemigrations --check --dry-run
	$(BIN)/python -m hitobit_portal.i18n.catalogue --check

format: $(VENV)/development.stamp ## Rewrite the sources in the project's style
	$(BIN)/ruff check --fix $(STYLED)
	$(BIN)/ruff format $(STYLED)

migrations: $(VENV)/development.stamp ## Write the migrations that the models ask for
	$(PRODUCTION) $(BIN)/python manage.py makemigrations

messages: $(VENV)/runtime.stamp ## Bring locale/ up to date with the sources, and compile it
	$(BIN)/python -m hitobit_portal.i18n.catalogue
	$(BIN)/pybabel -q compile -D django -d locale

screenshots: $(VENV)/development.stamp $(CATALOGUES) ## Take the pictures in docs/screenshots anew, in Chromium
	mkdir -p docs/screenshots
	PORTAL_TEST_SCREENSHOTS=docs/screenshots $(BIN)/python -m pytest -m browser

bench: $(VENV)/development.stamp $(CATALOGUES) ## Measure decisions, pages, logins, passwords, notices, a rotation, an import, webhooks, the management API, pages of staff with much data, the audit trail and the gateway (bench/results.md)
	$(BIN)/python -m bench
	$(BIN)/python -m bench.debugger
	$(BIN)/python -m bench.pages
	$(BIN)/python -m bench.logins
	$(BIN)/python -m bench.passwords
	$(BIN)/python -m bench.notices
	$(BIN)/python -m bench.rotation
	$(BIN)/python -m bench.importing
	$(BIN)/python -m bench.webhooks
	$(BIN)/python -m bench.api_pages
	$(BIN)/python -m bench.gateway
	$(BIN)/python -m bench.growth
	$(BIN)/python -m bench.audit
	$(BIN)/python -m bench.proxies

docs: $(VENV)/development.stamp ## Build the documentation site into var/site
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "The site is in var/site: open var/site/index.html"

sbom: $(VENV)/development.stamp ## Write the software bill of materials of requirements.txt to var/sbom.json (CycloneDX)
	@mkdir -p var
	$(BIN)/cyclonedx-py requirements requirements.txt --output-reproducible --output-format JSON --output-file var/sbom.json

lock: $(VENV)/development.stamp ## Pin the newest versions that requirements*.in admit, with hashes
	for name in requirements requirements-grpc requirements-dev requirements-otel; do \
	  $(BIN)/pip-compile --quiet --upgrade --strip-extras --allow-unsafe --generate-hashes --no-header \
	    --no-emit-options --no-emit-index-url --no-emit-find-links --no-emit-trusted-host \
	    --output-file $$name.txt $$name.in || exit 1; \
	done
	cd tests/deploy/clients && npm update --ignore-scripts --no-audit --no-fund --omit-lockfile-registry-resolved

clean: ## Remove what was built (keeps var/, the demo's data)
	rm -rf $(VENV) $(OPENID)/node_modules .mypy_cache .pytest_cache .ruff_cache .hypothesis $(CATALOGUES)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; '$(PYTHON)' is not. Try: make run PYTHON=/path/to/python3.11" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/runtime.stamp: requirements.txt | $(BIN)/python
	$(BIN)/python -m pip install -qq --require-hashes -r requirements.txt
	@touch $@

$(VENV)/development.stamp: requirements.txt requirements-grpc.txt requirements-otel.txt requirements-dev.txt | $(BIN)/python
	$(BIN)/python -m pip install -qq --require-hashes -r requirements.txt -r requirements-grpc.txt -r requirements-otel.txt -r requirements-dev.txt
	@touch $@ $(VENV)/runtime.stamp

# Without npm, tests of its packages are skipped; with CI=true they fail.
$(CLIENTS)/installed.stamp: requirements-clients.txt tests/deploy/clients/package-lock.json | $(BIN)/python
	$(BIN)/python -m venv $(CLIENTS)
	$(CLIENTS)/bin/python -m pip install -qq --require-hashes -r requirements-clients.txt
	if command -v npm >/dev/null; then npm ci --prefix tests/deploy/clients --ignore-scripts --no-audit --no-fund --loglevel=error; \
	else echo "npm is not installed: tests of its clients, express and fastify are left out" >&2; fi
	@touch $@

%.mo: %.po | $(VENV)/runtime.stamp
	@$(BIN)/pybabel -q compile -D django -i $< -o $@
