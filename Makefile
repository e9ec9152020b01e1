# A façade: each target is a command you could type. `make` alone lists them.
.DEFAULT_GOAL := help
.PHONY: help setup demo test test-c test-python lint wheel asan tsan asan-python soak fuzz bench bench-peers format clean

PYTHON = .venv/bin/python

help:           ## list the targets
	@sed -n 's/^\([a-z-]*\):[^#]*## /\1\t/p' Makefile | expand -t 14

setup:          ## system packages, jemalloc, .venv, build
	@sh tools/setup.sh

demo: setup     ## run a research agent against a local mock LLM, and report on it
	@.venv/bin/libperf mock --seed 7 --latency lognormal:0.12,0.3 --quiet -- \
	    .venv/bin/libperf run examples/research_agent.py "How do bees find flowers?"

test: setup lint test-c test-python ## everything: lint, C, Python

lint: setup
	$(PYTHON) -m ruff check --quiet bindings tests bench examples setup.py
	$(PYTHON) -m mypy

test-c: setup
	@mkdir -p build
	cmake --preset dev >build/dev.log && cmake --build --preset dev >>build/dev.log || { cat build/dev.log; exit 1; }
	ctest --preset dev

test-python: setup
	$(PYTHON) -m pytest -q

wheel: setup    ## dist/*.whl for this Python on this machine
	$(PYTHON) -m pip -q --disable-pip-version-check wheel --no-deps --no-build-isolation -w dist .

asan tsan: setup ## C tests under AddressSanitizer + UBSan, or ThreadSanitizer
	cmake --preset $@ && cmake --build --preset $@ && ctest --preset $@

SANITIZE = -fsanitize=address,undefined -fno-sanitize-recover=undefined
asan-python: setup ## Python tests over a core built with ASan and UBSan
	CFLAGS="-O1 -g -fno-omit-frame-pointer $(SANITIZE)" LDFLAGS="$(SANITIZE)" \
	LIBPERF_CMAKE_ARGS="-DPERF_SANITIZE=address,undefined -DPERF_ALLOCATOR=libc" \
		$(PYTHON) setup.py -q build -b build/py-asan
	PYTHONPATH=$$(echo build/py-asan/lib.*) PYTHONMALLOC=malloc ASAN_OPTIONS=detect_leaks=0 \
	LD_PRELOAD="$$(cc -print-file-name=libasan.so) $$(cc -print-file-name=libubsan.so)" $(PYTHON) -m pytest -q

clean:          ## remove what was built (keeps .deps and .venv)
	rm -rf build dist bindings/*.egg-info bindings/libperf/*.so .venv/.built
