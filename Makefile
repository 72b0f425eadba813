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
SCENARIO ?= *

##@ This machine

.PHONY: deploy
deploy: setup ## Deploy the production stack on this machine (ARGS: ansible-playbook's)
	@started=$$SECONDS
	files/local/engine start
	ansible-playbook playbooks/deploy.yml $(ARGS)
	echo "make deploy took $$((SECONDS - started)) s"

.PHONY: undeploy
undeploy: setup ## Stop the stack; data and secrets stay
	ansible-playbook playbooks/remove.yml $(ARGS)

.PHONY: purge
purge: setup ## Stop the stack and delete its data: make purge CONFIRM=letta
	@if [ -z "$(CONFIRM)" ]; then
	  echo "This deletes the database and the secrets of the stack. To go on, name its project: make purge CONFIRM=letta" >&2
	  exit 2
	fi
	ansible-playbook playbooks/remove.yml -e letta_stack_remove_data='$(CONFIRM)' $(ARGS)

.PHONY: setup
setup: $(LINK) ## Virtual environment for deploying (every target runs it when it is needed)
	@files/local/venv deploy

##@ Tests

.PHONY: test
test: ## Everything: lint, unit, sanity, integration, molecule; stops at the first failure
	@tests/tools/run-steps lint unit sanity integration molecule

.PHONY: lint
lint: setup-test ## Formatting, types, YAML, roles, shell, Dockerfiles, changelog, generated documentation
	@tests/tools/lint

.PHONY: unit
unit: setup-test ## Fast tests of the code (PYTEST_ARGS: pytest's)
	pytest tests/unit $(PYTEST_ARGS)

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
