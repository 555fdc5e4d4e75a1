# Selvage: a bare `make` prints the targets. Each sets up what it needs, says so, and does it once.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c

# Which lab (docs/lab.md).
export LAB_NAME ?= default
export LAB_PREFIX ?= 198.18.0
export LAB_RELEASE ?= trixie
export LAB_MIRROR ?=
export ANSIBLE_CONFIG := $(CURDIR)/ansible.cfg

LAB_HOME := /var/lib/selvage-lab/$(LAB_NAME)
VENV := .venv
# Debian's own where it is new enough: nodes run it, and others are often built without optimisation.
PYTHON = $(firstword $(foreach python,/usr/bin/python3 python3,$(shell $(python) -c \
  'import sys; sys.version_info >= (3, 11) and print("$(python)")' 2>/dev/null)))
VENV_READY := $(VENV)/.ready
BIN := $(CURDIR)/$(VENV)/bin
# Root needs no sudo; others are asked for their password once, unless sudo knows them.
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
ASK := $(shell [ "$$(id -u)" = 0 ] || sudo -n true 2>/dev/null || echo --ask-become-pass)
# Over Mitogen: the lab's hosts share this computer's cores (docs/decisions.md).
MITOGEN := ANSIBLE_STRATEGY=lab_linear ANSIBLE_STRATEGY_PLUGINS=$(CURDIR)/molecule/strategy ANSIBLE_TIMEOUT=120 \
  ANSIBLE_SSH_ARGS="-o ControlMaster=no -o ControlPath=none -o ConnectTimeout=20"
PLAYBOOK := $(MITOGEN) $(BIN)/ansible-playbook $(ASK) -i inventories/lab

SCENARIOS := default data edge others accounts
# What takes longest begins first. Most of them wait for programs or a lab of their own: so they run
# side by side.
SIDE_BY_SIDE := molecule-default molecule-data integration integration-trixie molecule-others unit molecule-accounts lint

.PHONY: help venv lab lab-check lab-hosts lab-down lab-status ssh test lint unit integration mysql-sid molecule bench soak variables clean

help: ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' Makefile

venv: $(VENV_READY) ## bring ansible-core and the tools into .venv

lab: lab-hosts ## build the lab on this computer and provision it with playbooks/lab/site.yml (minutes)
	$(PLAYBOOK) playbooks/lab/site.yml
	@$(MAKE) --no-print-directory lab-status

lab-check:
	@python3 -B roles/lab_host/files/lab check $(LAB_HOME) $(LAB_PREFIX) $(LAB_RELEASE)

lab-hosts: lab-check $(VENV_READY)
	$(PLAYBOOK) playbooks/lab/up.yml

lab-status: ## show the lab's hosts, the services and their instances
	@python3 -B roles/lab_host/files/lab status $(LAB_HOME)
	@printf '\nThe services, as app1 sees them:\n\n'
	@ssh -F $(LAB_HOME)/ssh/config app1 'if command -v selvage >/dev/null; then selvage status; \
	  else echo "  not provisioned yet: run make lab"; fi'
	@printf '\nTry next (docs/lab.md has more):\n\n'
	@printf '  make ssh HOST=app1     and there: curl 127.0.0.1:3000, a few times\n'
	@printf '  make ssh HOST=app2     and there: systemctl stop demo-inventory\n'
	@printf '  make lab-down          removes everything\n'

lab-down: $(VENV_READY) ## remove the lab: hosts, network, files
	$(PLAYBOOK) playbooks/lab/down.yml

ssh: ## open a shell on a lab host: make ssh HOST=app1
	@[ -n "$(HOST)" ] || { echo "make ssh: name a host, such as make ssh HOST=app1" >&2; exit 2; }
	@ssh -F $(LAB_HOME)/ssh/config $(HOST)

test: $(VENV_READY) build/root-trixie ## everything that CI runs (up to an hour)
	@echo "Side by side, what each prints goes to build/test/: $(SIDE_BY_SIDE)"
	@rm -rf build/test && mkdir -p build/test
	@$(MAKE) --no-print-directory --keep-going --jobs=4 $(SIDE_BY_SIDE:%=build/test/%) 2>build/test/make \
	  || { tail --lines=120 build/test/*.failed; exit 1; }

build/test/%:
	@begin=$$(date +%s); result=passed; \
	  $(MAKE) --no-print-directory $* >$@.log 2>&1 || { result=FAILED; mv $@.log $@.failed; }; \
	  echo "$* $$result after $$(( $$(date +%s) - begin )) s"; [ $$result = passed ]

lint: $(VENV_READY) ## ruff, mypy, yamllint, ansible-lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	cd roles/lab_host/files/lab && $(BIN)/mypy --strict *.py
	$(BIN)/yamllint --strict .
	PATH="$(BIN):$$PATH" $(BIN)/ansible-lint --offline

unit: $(VENV_READY) ## the pure parts, with property tests (seconds)
	$(BIN)/pytest tests/unit

integration: $(VENV_READY) build/.packages ## reconciler and registrar against this machine's ZooKeeper and HAProxy; integration-trixie: Debian 13's (minutes)
	$(BIN)/pytest tests/integration

# What asks ZooKeeper alone meets Debian 13's in the scenarios; MariaDB and keepalived are this computer's.
ELSEWHERE := edge_address mariadb mysql_* names_faults registrar registry request_limits
integration-%: $(VENV_READY) build/.packages build/root-%
	SELVAGE_TEST_ROOT=$(CURDIR)/build/root-$* $(BIN)/pytest tests/integration $(ELSEWHERE:%=--ignore-glob='*/test_%.py')

SID_TESTS := versions clone switchover failover roles rotation
# No release has it, so it is no part of `make test`.
mysql-sid: $(VENV_READY) build/.packages build/mysql-sid build/mariadb-trixie ## MySQL itself, of Debian sid: seeding, switchover, failover, checks (minutes)
	SELVAGE_TEST_MYSQL=$(CURDIR)/build/mysql-sid SELVAGE_TEST_MARIADB=$(CURDIR)/build/mariadb-trixie $(BIN)/pytest $(addprefix tests/integration/,$(SID_TESTS:%=test_mysql_%.py))

molecule: $(SCENARIOS:%=molecule-%) ## the fabric on lab hosts: ours, the data tiers, the edge, other people's, a node's ways in (minutes)

molecule-%: $(VENV_READY)
	PATH="$(BIN):$$PATH" $(BIN)/molecule test --scenario-name $*

bench: $(VENV_READY) build/.packages ## ours next to the naive way, as a table and in build/bench.json (15 minutes; docs/scaling.md)
	@PYTHONPATH=$(CURDIR)/tests:$(CURDIR)/module_utils $(BIN)/python -m bench $(BENCH)

soak: $(VENV_READY) build/.packages ## 100,000 changes under traffic, with restarts, reloads and clock jumps (30 minutes; SOAK="--minutes 2 --changes 6000" for a look)
	@PYTHONPATH=$(CURDIR)/tests:$(CURDIR)/module_utils $(BIN)/python -m bench.soak $(SOAK)

variables: $(VENV_READY) ## write docs/variables.md anew, from playbooks/vars/fabric.yml
	$(BIN)/python docs/variables.py > docs/variables.md

clean: ## remove what make left in this checkout (the lab is lab-down's)
	$(if $(wildcard build/root-*),$(SUDO) rm -rf build/root-*)
	rm -rf $(VENV) build .mypy_cache .pytest_cache .ruff_cache .hypothesis .ansible

$(VENV_READY): requirements.txt
	@echo "Setting up Python's packages in $(VENV) (about a minute, once)"
	@[ -n "$(PYTHON)" ] \
	  || { echo "make: Python 3.11 or newer is needed, this is $$(python3 --version)" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null \
	  || { echo "Installing Debian's python3-venv"; $(SUDO) apt-get update -qq; $(SUDO) apt-get install -qq --yes python3-venv; }
	@$(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/pip install --quiet --requirement requirements.txt
	@touch $@

build/.packages:
	@echo "Installing Debian's ZooKeeper, HAProxy, keepalived, Celery, the programs of MariaDB and Redis, mmdebstrap, and fetching its Nginx and Supervisor (about a minute, once)"
	@$(SUDO) apt-get update -qq
	@$(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -qq --yes --no-install-recommends \
	  default-jre-headless haproxy mmdebstrap zookeeper redis-tools \
	  mariadb-backup mariadb-client mariadb-server-core openssl python3-pymysql socat \
	  curl fping iproute2 keepalived python3-celery python3-kazoo python3-redis
	@# Their packages would start servers: they are extracted, not installed.
	@rm -rf build/nginx build/supervisor && mkdir -p build/nginx build/supervisor
	@cd build/nginx && apt-get download -qq -o APT::Sandbox::User=root nginx nginx-common \
	  && for package in *.deb; do dpkg-deb --extract "$$package" .; done && rm *.deb
	@cd build/supervisor && apt-get download -qq -o APT::Sandbox::User=root supervisor \
	  && dpkg-deb --extract *.deb . && rm *.deb
	@touch $@

# Extracted, not installed: nothing in it is ever booted.
.PRECIOUS: build/root-%
build/root-%: | build/.packages
	@echo "Fetching the ZooKeeper, HAProxy, Nginx, Redis and keepalived of Debian's $* (seconds, once)"
	@$(SUDO) rm -rf $@.part
	@$(SUDO) mmdebstrap --quiet --variant=extract --include=curl,fping,haproxy,keepalived,nginx,redis-tools,zookeeper $* $@.part $(LAB_MIRROR)
	@$(SUDO) mv --no-target-directory $@.part $@

# sid's lists are valid for days. Where this machine's apt takes older ones, so does this.
build/mysql-sid build/mariadb-trixie: build/%: | build/.packages
	@echo "Fetching $(word 1,$(subst -, ,$*)) of Debian's $(word 2,$(subst -, ,$*)) (a minute, once)"
	@$(SUDO) rm -rf $@.part
	@$(SUDO) mmdebstrap --quiet --variant=extract \
	  --include=$(word 1,$(subst -, ,$*))-server-core,$(word 1,$(subst -, ,$*))-client-core \
	  --aptopt="$$(apt-config dump --format '%f "%v";%n' Acquire::Check-Valid-Until)" \
	  $(word 2,$(subst -, ,$*)) $@.part $(LAB_MIRROR)
	@$(SUDO) mv --no-target-directory $@.part $@
