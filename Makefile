# `make run` and `make test` are all the set-up there is; `make help` lists the rest.
# Debian's interpreter first: it is what production runs, and other builds of 3.11 hide its faults.
PYTHON ?= $(shell command -v /usr/bin/python3.11 || command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
SOURCES := hitobit_portal accounts apikeys tests bench manage.py
# A command in an environment as strict as production's, with throwaway secrets and data.
PRODUCTION := $(BIN)/python -m tests.support.production
DEMO := PORTAL_DEMO=true
CATALOGUES := $(patsubst %.po,%.mo,$(wildcard locale/*/LC_MESSAGES/django.po))
PROCESSES ?= 2
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.DEFAULT_GOAL := help
.PHONY: help run gateway test verify core hunt mutants lint check format migrations messages screenshots bench docs sbom lock clean
.DELETE_ON_ERROR:

help: ## Show this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

run: $(VENV)/runtime.stamp $(CATALOGUES) ## Run the demo on http://127.0.0.1:8000 (PORT and PORTAL_DATA_DIR move it)
	@exec env $(DEMO) $(BIN)/python manage.py run_demo

gateway: $(VENV)/runtime.stamp ## Run the demo's authorization API alone on http://127.0.0.1:8001 (PORTAL_GATEWAY_PORT moves it)
	@exec env $(DEMO) $(BIN)/python manage.py run_gateway

test: lint check $(CATALOGUES) ## Everything that has to hold: lint, types, settings, then all tests on both databases
	$(BIN)/python -m pytest -n $(PROCESSES) -m "not verify"
	PORTAL_TEST_DATABASE=sqlite $(BIN)/python -m pytest -n $(PROCESSES) -m "django_db and not browser and not postgres and not verify" \
	  --ignore=tests/accounts/access/test_default_deny.py

verify: $(VENV)/development.stamp $(CATALOGUES) ## The matrix of proxies: each shipped configuration started, each case sent through it
	$(BIN)/python -m pytest -n $(PROCESSES) --dist=load tests/deploy/recipes/test_matrix.py

# What decides, counts and compares: codes, signatures, networks, the gateway's fast path and the races about them.
CORE := $(addprefix tests/,accounts/access accounts/factors accounts/login accounts/choices apikeys/verification \
  apikeys/policy apikeys/models apikeys/actions apikeys/gateway apikeys/client_api apikeys/usage races structure/test_patterns.py \
  portal/test_client_ip.py portal/test_crypto.py portal/test_fields.py portal/test_ratelimits.py portal/test_security_review.py)

core: $(VENV)/development.stamp $(CATALOGUES) ## The tests of the security core alone, for a second Python (PYTHON=..., VENV=...)
# Python 3.13 warns of SQLite connections that a finished test left to the garbage collector; 3.11 does not know the warning.
	$(BIN)/python -m pytest -n $(PROCESSES) -W "default:unclosed database:ResourceWarning" $(CORE)

hunt: $(VENV)/development.stamp $(CATALOGUES) ## Property tests with fifty times as many random examples; 10,000 sequences of customer actions
	$(BIN)/python -m tests.support.power --processes $(PROCESSES)
	env -u CI PORTAL_TEST_FACTOR=50 $(BIN)/python -m pytest -n $(PROCESSES) -m "hypothesis and not browser"

mutants: $(VENV)/development.stamp $(CATALOGUES) ## Change the security core a little and see that tests notice (MUTANTS="--most 5")
	$(BIN)/python -m tests.support.mutants $(MUTANTS)

lint: $(VENV)/development.stamp ## Style, types and known-bad patterns
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(PRODUCTION) $(BIN)/mypy $(SOURCES)
	$(BIN)/bandit --quiet --configfile pyproject.toml --recursive hitobit_portal accounts apikeys manage.py

check: $(VENV)/development.stamp ## Settings, migrations and message catalogues
	$(PRODUCTION) $(BIN)/python -W error manage.py check --deploy --fail-level WARNING
	$(PRODUCTION) $(BIN)/python -W error manage.py makemigrations --check --dry-run
	$(BIN)/python -m hitobit_portal.i18n.catalogue --check

format: $(VENV)/development.stamp ## Rewrite the sources in the project's style
	$(BIN)/ruff check --fix $(SOURCES)
	$(BIN)/ruff format $(SOURCES)

migrations: $(VENV)/development.stamp ## Write the migrations that the models ask for
	$(PRODUCTION) $(BIN)/python manage.py makemigrations

messages: $(VENV)/runtime.stamp ## Bring locale/ up to date with the sources, and compile it
	$(BIN)/python -m hitobit_portal.i18n.catalogue
	$(BIN)/pybabel -q compile -D django -d locale

screenshots: $(VENV)/development.stamp $(CATALOGUES) ## Take the pictures in docs/screenshots anew, in Chromium
	mkdir -p docs/screenshots
	PORTAL_TEST_SCREENSHOTS=docs/screenshots $(BIN)/python -m pytest -m browser

bench: $(VENV)/development.stamp $(CATALOGUES) ## Measure decisions, pages, logins, a rotation and the gateway (bench/results.md)
	$(BIN)/python -m bench
	$(BIN)/python -m bench.debugger
	$(BIN)/python -m bench.logins
	$(BIN)/python -m bench.rotation
	$(BIN)/python -m bench.gateway

docs: $(VENV)/development.stamp ## Build the documentation site into var/site
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "The site is in var/site: open var/site/index.html"

sbom: $(VENV)/development.stamp ## Write the software bill of materials of requirements.txt to var/sbom.json (CycloneDX)
	@mkdir -p var
	$(BIN)/cyclonedx-py requirements requirements.txt --output-reproducible --output-format JSON --output-file var/sbom.json

lock: $(VENV)/development.stamp ## Pin the newest versions that requirements*.in admit, with hashes
	for name in requirements requirements-grpc requirements-dev; do \
	  $(BIN)/pip-compile --quiet --upgrade --strip-extras --allow-unsafe --generate-hashes --no-header \
	    --no-emit-options --no-emit-index-url --no-emit-find-links --no-emit-trusted-host \
	    --output-file $$name.txt $$name.in || exit 1; \
	done

clean: ## Remove what was built (keeps var/, the demo's data)
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis $(CATALOGUES)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; '$(PYTHON)' is not. Try: make run PYTHON=/path/to/python3.11" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/runtime.stamp: requirements.txt | $(BIN)/python
	$(BIN)/python -m pip install -qq --require-hashes -r requirements.txt
	@touch $@

$(VENV)/development.stamp: requirements.txt requirements-grpc.txt requirements-dev.txt | $(BIN)/python
	$(BIN)/python -m pip install -qq --require-hashes -r requirements.txt -r requirements-grpc.txt -r requirements-dev.txt
	@touch $@ $(VENV)/runtime.stamp

%.mo: %.po | $(VENV)/runtime.stamp
	@$(BIN)/pybabel -q compile -D django -i $< -o $@
