# `make` alone prints the targets; each sets up what it needs first.
# Debian's own Python where it will do: every user can run it, one below a closed home only its owner
PYTHON ?= $(shell /usr/bin/python3 -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo /usr/bin/python3 || echo python3)
VENV   := .venv
BIN    := $(VENV)/bin
WAJS   := waguard/wajs/node_modules/@wppconnect/wa-js/dist/wppconnect-wa.js
AXE    := tests/page/axe/node_modules/axe-core/axe.min.js
REAL   := tests/worker/wa-version/node_modules/@wppconnect/wa-version/html
SWAGGER := waguard/api/swagger/node_modules/swagger-ui-dist/swagger-ui-bundle.js
UPLOT  := waguard/api/swagger/node_modules/uplot/dist/uPlot.esm.js
SHA256 := 5bfb88027f14a4d8c9e319374e8bb4083201906881cf8c74f75789b32e4106bd
SWAGGER_SHA256 := e6a898692f2d768e807c3ba4626068a69a2c5dd960dd6c76f3e4d3a3de180af2
UPLOT_SHA256 := 5dd9b3281aa64b461b42d9945f6adb2649d346502b12281a9ae0d46599a80eba
PREFIX  ?= /opt/waguard
DESTDIR ?=
ARGS   ?=
ORIGINS ?=

.PHONY: help demo lab-cluster test test-long axe screenshots simulate mutants walk words texts coverage hooks servers run setup system lint wheel deb extension image sbom install upgrade uninstall clean

help: ## these targets
	@awk -F ':|## ' '/^[a-z][a-z -]*:.*## / {printf "  %-16s %s\n", $$1, substr($$0, index($$0, "## ") + 3)}' $(MAKEFILE_LIST)

demo: setup ## watch a session live on a stand-in of WhatsApp Web (ARGS=--once ends after the tour)
	$(BIN)/waguard demo $(ARGS)

lab-cluster: setup servers ## three hosts, three etcd and the stand-in on this machine to play with (ARGS="--sessions 1")
	$(BIN)/waguard lab cluster $(ARGS)

# compiled by the first process that imports it, not by each of thousands
test: setup servers $(AXE) ## everything that CI runs; says what was skipped and what took longest
	@$(MAKE) --no-print-directory --jobs=2 lint $(VENV)/.compiled
	env -u PYTHONDONTWRITEBYTECODE $(BIN)/pytest -n 4 --dist loadfile --no-loadscope-reorder -m "not long" --durations=30 $(ARGS)

test-long: setup servers $(REAL) $(AXE) ## what takes longer than that; what passed on this commit is not run again
	$(BIN)/python .ci/long.py $(ARGS)

coverage: setup servers ## which lines and branches no test of `make test` runs; ARGS=tests/core for a part. Shown, not enforced
	@mkdir -p .coverage
	$(BIN)/pytest -n 4 --dist loadfile --no-loadscope-reorder -m "not long" --cov --cov-report=term --cov-report=html:.coverage/html $(ARGS)

hooks: setup ## `make lint` before each commit of yours
	$(BIN)/pre-commit install

simulate: setup ## years of a fleet's life in minutes: make simulate SEED=1 YEARS=1 SESSIONS=100
	$(BIN)/python -m tests.simulation --seed $(or $(SEED),1) --years $(or $(YEARS),1) --sessions $(or $(SESSIONS),100) $(ARGS)

mutants: setup ## does a test notice each small change of the core? FILES="waguard/core/fleet/slots.py" SHARE=0.3 ARGS=--again
	$(BIN)/python -m tests.mutants $(FILES) --share $(or $(SHARE),1) $(ARGS)

screenshots: setup ## docs/page/*.png: the status page, as the documents show it
	WAGUARD_PICTURES=docs/page $(BIN)/pytest -q tests/page/test_every_view.py -k pictures

walk: setup ## how many files, functions and forms a message passes; ARGS=--list names them
	@$(BIN)/python -m bench.walk $(ARGS)

words: setup ## names against docs/glossary.md; FILES="waguard/host" lists only what is there
	@$(BIN)/python -m tests.house.words $(FILES)

texts: setup ## every text that a user can meet: file, line, kind, text; FILES="waguard/host" for these only
	@$(BIN)/python -m tests.house.texts $(FILES)

run: setup ## the real thing, on web.whatsapp.com
	@chmod 700 sessions # git knows no such mode, and waguard keeps no credentials where others can read
	@$(BIN)/waguard run $(ARGS)

setup: system $(VENV)/.installed $(WAJS) $(SWAGGER) $(UPLOT) ## the environment in .venv, wa-js, swagger-ui, uPlot, Chromium
	@echo "$(SHA256)  $(WAJS)" | sha256sum --check --quiet
	@echo "$(SWAGGER_SHA256)  $(SWAGGER)" | sha256sum --check --quiet
	@echo "$(UPLOT_SHA256)  $(UPLOT)" | sha256sum --check --quiet

# Chromium and Python's venv come from Debian; without root the one line says what to do, before anything long.
system:
	@.ci/system-packages base chromium

# The store is tested on real servers too: the tests start their own. Without root: the same line, and skips.
servers:
	@.ci/system-packages tests

$(VENV)/.installed: .ci/requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$(PYTHON) is older than 3.11: name another one, PYTHON=…"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "Python's venv is missing: run as root: apt-get install python3-venv"; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes --no-deps --only-binary :all: -r .ci/requirements.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

$(WAJS): waguard/wajs/package-lock.json
	cd waguard/wajs && npm ci --silent --ignore-scripts --no-audit --no-fund
	touch $@

$(SWAGGER) $(UPLOT) &: waguard/api/swagger/package-lock.json
	cd waguard/api/swagger && npm ci --silent --ignore-scripts --no-audit --no-fund
	touch $(SWAGGER) $(UPLOT)

axe: $(AXE) ## axe-core, which reads the status page in tests

$(AXE): tests/page/axe/package-lock.json
	cd tests/page/axe && npm ci --silent --ignore-scripts --no-audit --no-fund
	touch $@

# 442 documents of WhatsApp Web, 270 MB: for `make test-long` alone
$(REAL): tests/worker/wa-version/package-lock.json
	cd tests/worker/wa-version && npm ci --silent --ignore-scripts --no-audit --no-fund
	touch $@

lint: setup ## style, types, layers, spelling
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell

# the tests with their asserts rewritten: mypy leaves a core free, and pytest's processes would each do all of it
$(VENV)/.compiled: $(shell find tests -name '*.py')
	@-env -u PYTHONDONTWRITEBYTECODE $(BIN)/pytest --collect-only -qq > /dev/null
	@touch $@

wheel: setup ## dist/waguard-*.whl with wa-js, swagger-ui, uPlot, their licences, the page and the migrations
	$(BIN)/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .

# the same commit makes the same package
deb: export SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct)
deb: setup ## dist/waguard_*.deb for this machine's Debian and Python
	@.ci/system-packages deb
	@rm -rf dist/install
	@env -u SOURCE_DATE_EPOCH $(BIN)/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist/install .
	@$(BIN)/python systemd/deb/build.py --wheel dist/install/*.whl $(if $(shell git tag --points-at HEAD),,--snapshot)

extension: ## dist/extension, with which the status page asks for a passkey (docs/passkey.md): ORIGINS="https://host"
	@set -f; $(PYTHON) extension/build.py $(ORIGINS)

sbom: $(VENV)/.installed ## dist/waguard.cdx.json: what waguard consists of (CycloneDX), from the lock files
	@$(BIN)/python .ci/sbom.py dist/waguard.cdx.json

install upgrade: setup ## as root: the service below PREFIX=/opt/waguard; DESTDIR= stages it
	@rm -rf dist/install
	@$(BIN)/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist/install .
	@$(BIN)/python systemd/install.py $@ --wheel dist/install/*.whl --prefix $(PREFIX) --destdir "$(DESTDIR)" $(ARGS)

image: setup ## as root: dist/waguard-VERSION.oci.tar, a container image (docs/container.md)
	@$(BIN)/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist/image .
	@$(BIN)/python systemd/image/build.py --wheel dist/image/*.whl --to dist

uninstall: ## as root: configuration and data stay
	@$(PYTHON) systemd/install.py $@ --prefix $(PREFIX) --destdir "$(DESTDIR)"

clean: ## remove what the commands above made
	rm -rf $(VENV) dist waguard/wajs/node_modules waguard/api/swagger/node_modules tests/worker/wa-version/node_modules tests/page/axe/node_modules .mypy_cache .ruff_cache .pytest_cache .long .mutants .coverage
