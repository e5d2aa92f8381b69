# The development loop. `make help` lists the targets; their descriptions are the comments behind `##`.

PYTHON ?= python3
VENV    = .venv
PY      = $(VENV)/bin/python
PYTEST  = $(PY) -m pytest
TESTS  ?= tests
# Processes that run tests. Much of a test's time is waiting; a file's tests stay together, in order, as they share servers.
JOBS   ?= 2
TOGETHER = -n $(JOBS) --dist loadfile
SECONDS ?= 60
INSTALLED = $(VENV)/installed
# Compiles what changed (or everything that is not from this kind of build) and puts the modules in place.
COMPILE = $(PY) setup.py -q build_ext --inplace

.DEFAULT_GOAL := build
.PHONY: help build debug run test interop test-debug asan valgrind bench bench-engine bench-admission bench-authentication bench-services soak lint fuzz clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):[^#]*## /\1\t/p' Makefile | awk -F '\t' '{ printf "  make %-20s %s\n", $$1, $$2 }'

$(INSTALLED): pyproject.toml
	@PYTHON="$(PYTHON)" sh tests/install-packages.sh build
	@test -x $(PY) || { echo "creating $(VENV)"; $(PYTHON) -m venv $(VENV); }
	@echo "installing mailfilter and its dependencies into $(VENV)"
	@$(PY) -m pip install -q --disable-pip-version-check --upgrade "setuptools>=77" "Cython>=3.1,<4"
	@$(PY) -m pip install -q --disable-pip-version-check --no-build-isolation -e ".[test,bench,lint]"
	@touch $@

build: $(INSTALLED) ## make .venv with everything in it; .venv/bin/mailfilter is the program
	@$(COMPILE)

debug: export MAILFILTER_BUILD = debug
debug: $(INSTALLED) ## the same with assertions in the compiled core (`make build` goes back)
	@$(COMPILE)

run: build ## serve js/policies/mx.js on 127.0.0.1:8025, mail goes to var/Maildir
	@mkdir -p var
	@printf '%s\n' "" \
		"  Send a first message from another terminal, with either of:" "" \
		"    swaks --server 127.0.0.1:8025 --from you@example.net --to me@example.org" "" \
		"    printf 'Subject: first\n\nHello.\n' | curl smtp://127.0.0.1:8025/example.net --crlf \\" \
		"        --mail-from you@example.net --mail-rcpt me@example.org --upload-file -" "" \
		"  It arrives as a file in $(CURDIR)/var/Maildir/new. Ctrl-C stops the server." ""
	@exec $(VENV)/bin/mailfilter serve js/policies/mx.js --listen 127.0.0.1:8025 \
		--set domains=example.org --set maildir=$(CURDIR)/var/Maildir

test: build ## run the tests; TESTS=tests/net chooses some, JOBS=0 runs them in one process; as root on Debian it installs what they need
	@PYTHON="$(PYTHON)" sh tests/install-packages.sh test
	@$(PYTEST) $(TOGETHER) $(TESTS)

interop: build ## the tests with real mail programs and the drills with kill -9, with ten times as much of everything (minutes)
	@PYTHON="$(PYTHON)" sh tests/install-packages.sh test
	@SCALE=10 $(PYTEST) tests/interop

test-debug: debug ## run the tests on the debug build with asyncio's checks, then put the release build back
	@PYTHONASYNCIODEBUG=1 $(PYTEST) $(TOGETHER) $(TESTS); status=$$?; MAILFILTER_BUILD=release $(COMPILE); exit $$status

# What of the tests is about the JavaScript engine and the memory that heaps share.
ENGINE_TESTS = $(wildcard tests/core/test_heap.py tests/core/test_image.py tests/core/test_isolation.py tests/core/test_watch.py)

asan: export MAILFILTER_BUILD = asan
asan: $(INSTALLED) ## run the tests of the core and of the engine under AddressSanitizer and UBSan, then put the release build back
	@$(COMPILE)
	@ASAN_OPTIONS=detect_leaks=0 LD_PRELOAD=$$($(CC) -print-file-name=libasan.so) $(PYTEST) tests/core tests/policy tests/js \
		tests/fuzz; status=$$?; MAILFILTER_BUILD=release $(COMPILE); exit $$status

valgrind: debug ## run the engine's tests under valgrind (minutes), then put the release build back
	@PYTHONMALLOC=malloc valgrind --quiet --error-exitcode=9 --num-callers=25 --suppressions=tests/valgrind.supp $(PYTEST) \
		-p slow_engine -p no:cacheprovider -o faulthandler_timeout=0 $(ENGINE_TESTS) \
		-k "not generated and not capped and not leak and not leave_nothing and not long_texts"; \
		status=$$?; MAILFILTER_BUILD=release $(COMPILE); exit $$status

bench: build ## measure server CPU per message beside other mail servers (minutes); LONG=1: longer, RECORD=1: kept, BENCH=--help
	@PYTHON="$(PYTHON)" sh tests/install-packages.sh bench
	@$(PY) -m bench $(if $(LONG),--long) $(if $(RECORD),--record) $(BENCH)

bench-engine: build ## measure what a JavaScript heap for every connection costs, in CPU and in memory
	@$(PY) -m bench.engine

bench-admission: build ## measure what a refused connection costs, and what 10,000 slow clients do (minutes)
	@$(PY) -m bench.admission

bench-authentication: build ## measure what SPF, blocklists, DKIM and DMARC cost, and how long clients wait when the DNS is slow
	@$(PY) -m bench.authentication

bench-services: build ## measure what scanners, databases, stores, HTTP and large maps cost a message (minutes)
	@PYTHON="$(PYTHON)" sh tests/install-packages.sh test
	@$(PY) -m bench.services

soak: build ## 100,000 sessions in one worker, half of them ended by a limit: memory must stay flat (minutes)
	@$(PY) -m bench.soak

lint: build ## ruff, ES5 check of js/, warnings of Cython and of the C compiler as errors
	@$(VENV)/bin/ruff check --no-cache .
	@$(PY) tests/meta/es5.py js
	@$(CC) -O1 -fsyntax-only -Wall -Wextra -Wshadow -Werror -Wno-unused-parameter \
		$$($(PY) -c 'import sysconfig; print("-I" + sysconfig.get_path("include"))') mailfilter/_core/*.c
	@MAILFILTER_STRICT=1 $(PY) setup.py -q build_ext
	@echo "lint: clean"

fuzz: build ## run each fuzz target for SECONDS (60), then the property tests with many more examples than usual
	@for target in $(notdir $(wildcard tests/fuzz/corpus/*)); do \
		$(PY) -m tests.fuzz.$$target --seconds $(SECONDS) --seed $$(date +%s) || exit 1; done
	@$(PYTEST) -m hypothesis --hypothesis-profile=fuzz $(TESTS)

clean: ## remove everything that was built or installed here (not var/, where mail may lie)
	rm -rf build dist .venv bench/.peers *.egg-info .pytest_cache .ruff_cache .hypothesis
	rm -f mailfilter/*/*.so mailfilter/_core/_build.py mailfilter/_core/*.new
	find mailfilter tests bench -name __pycache__ -type d -prune -exec rm -rf {} +
