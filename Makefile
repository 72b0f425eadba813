# Every target does its own set-up; `make help` lists them.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
.DELETE_ON_ERROR:
.ONESHELL:

VENV := $(CURDIR)/.venv
# Tools find each other (molecule runs ansible, ansible-lint runs ansible-playbook) on PATH.
export PATH := $(VENV)/bin:$(PATH)
export ANSIBLE_CONFIG := $(CURDIR)/ansible.cfg
LINK := .ansible/collections/ansible_collections/agentfleet/letta

# Options for ansible-playbook, such as ARGS='--check --diff' or ARGS='-e letta_stack_port=8300'.
ARGS ?=
# Options for pytest, such as PYTEST_ARGS='-k plan -x'.
PYTEST_ARGS ?=
BENCH_ARGS ?=
# How many integration tests run at a time.
WORKERS ?= 4
# A folder of molecule/; all of them when empty.
SCENARIO ?=

##@ This machine

.PHONY: deploy
deploy: setup ## Deploy the production stack on this machine (ARGS: ansible-playbook's)
	@started=$$SECONDS
	files/local/engine start
	ansible-playbook playbooks/deploy.yml $(ARGS)
	echo "make deploy took $$((SECONDS - started)) s"

.PHONY: undeploy
undeploy: setup ## Stop the stack; data and secrets stay
	@files/local/engine start
	ansible-playbook playbooks/remove.yml $(ARGS)

.PHONY: purge
purge: setup ## Stop the stack and delete its data: make purge CONFIRM=letta
	@if [[ -z '$(CONFIRM)' ]]; then
	  echo "This deletes the database and the secrets. To go on, name the stack's project: make purge CONFIRM=letta" >&2
	  exit 2
	fi
	files/local/engine start
	ansible-playbook playbooks/remove.yml -e letta_stack_remove_data='$(CONFIRM)' $(ARGS)

##@ Tests

.PHONY: test
test: ## Everything: lint, unit, sanity, integration, molecule; stops at the first failure
	@tests/tools/run-steps setup-test lint+unit+sanity integration molecule

.PHONY: lint
lint: setup-test ## Formatting, types, YAML, roles, shell, Dockerfiles, changelog, generated documentation
	@tests/tools/lint

.PHONY: unit
unit: setup-test ## Fast tests of the code (PYTEST_ARGS: pytest's)
	@pytest $(if $(filter tests/%,$(PYTEST_ARGS)),,tests/unit) $(PYTEST_ARGS)

.PHONY: fuzz
fuzz: setup-test ## Properties with ten times as many examples, and others each time (PYTEST_ARGS: pytest's)
	@pytest --numprocesses auto --hypothesis-profile search \
	  $(if $(filter tests/%,$(PYTEST_ARGS)),,$$(grep --recursive --files-with-matches '^@given' tests/unit)) $(PYTEST_ARGS)

.PHONY: sanity
sanity: setup-test ## Ansible's own tests of a collection
	@tests/tools/sanity

.PHONY: integration
integration: setup-test ## Modules, images and the tarball against a real engine (PYTEST_ARGS: pytest's)
	@files/local/engine start
	# Side by side, a file at a time, in the order that conftest.py gives them: often they wait for containers.
	pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder \
	  $(if $(filter tests/%,$(PYTEST_ARGS)),,tests/integration) $(PYTEST_ARGS)

.PHONY: molecule
molecule: setup-test ## Whole deployments on fresh test hosts (SCENARIO: one of molecule/)
	@files/local/engine start
	tests/tools/molecule $(SCENARIO)

.PHONY: chaos
chaos: setup-test ## Interrupt and kill rollouts, and see the next run finish them or undo them
	@files/local/engine start
	pytest tests/integration/compose_rollout/test_interruption.py $(PYTEST_ARGS)

.PHONY: bench
bench: setup-test ## What rollouts cost, beside Docker Compose and community.docker (BENCH_ARGS: the bench's, or --help)
	@files/local/engine start
	python -m tests.bench $(BENCH_ARGS)

##@ Documentation and upkeep

.PHONY: build
build: setup ## Build the collection's tarball into build/
	@ansible-galaxy collection build --force --output-path build

.PHONY: docs
docs: setup-test ## Write the tables of variables and the modules' pages from their sources
	@python tests/tools/docs.py

.PHONY: golden
golden: setup-test ## Write tests/golden and the tables of docs/variants anew, for what is to be rendered from now on
	@pytest tests/unit/roles/letta_stack/test_golden.py --rewrite-golden --quiet
	git status --short -- tests/golden docs/variants

.PHONY: format
format: setup-test ## Format the Python files and put right what ruff can put right by itself
	@ruff check --fix-only .
	ruff format .

.PHONY: lock
lock: setup-test ## Renew requirements/*.txt from requirements/*.in
	@tests/tools/lock

.PHONY: setup
setup: $(LINK) ## Make .venv for deploying; every target does its own set-up, so this is for using it by hand
	@files/local/venv deploy

.PHONY: setup-test
setup-test: $(LINK)
	@files/local/venv test

$(LINK):
	@mkdir -p $(@D)
	ln -sfn ../../../.. $@

.PHONY: help
help: ## This list
	@awk 'BEGIN {FS = ":.*## "} \
	  /^##@/ {printf "\n%s\n", substr($$0, 5)} \
	  /^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
