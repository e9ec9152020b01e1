# A façade: each target is a command you could type. `make` alone lists them.
.DEFAULT_GOAL := help
.PHONY: help setup demo score test test-c test-python lint wheel asan tsan asan-python tsan-python fuzz soak bench peers bench-peers results format clean

PYTHON = .venv/bin/python

help:           ## list the targets
	@sed -n 's/^\([a-z -]*\):[^#]*## /\1\t/p' Makefile | expand -t 14

setup:          ## system packages, jemalloc, .venv, build
	@sh tools/setup.sh

demo: setup     ## run a research agent against a local mock LLM, report on it, and follow the advice
	@.venv/bin/libperf mock --seed 7 --latency 'gpt-4o-mini=0.2;*=0.4' --quiet -- sh -c ' \
	    .venv/bin/libperf run --json build/demo.json examples/research_agent.py --slots 2 "How do bees find flowers?" && \
	    .venv/bin/python examples/prove_advice.py build/demo.json'

test: setup lint test-c test-python ## everything: lint, C, Python

lint: setup
	$(PYTHON) -m ruff check --quiet bindings tests bench examples tools setup.py
	$(PYTHON) -m mypy

test-c: setup
	@mkdir -p build
	cmake --preset dev >build/dev.log && cmake --build --preset dev >>build/dev.log || { cat build/dev.log; exit 1; }
	ctest --preset dev

test-python: setup
	@sh tools/viewers.sh
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
	PYTHONPATH=$$(echo $(CURDIR)/build/py-asan/lib.*) PYTHONMALLOC=malloc \
	ASAN_OPTIONS=detect_leaks=0:handle_segv=0:quarantine_size_mb=1 \
	LD_PRELOAD="$$(cc -print-file-name=libasan.so) $$(cc -print-file-name=libubsan.so)" $(PYTHON) -m pytest -q

tsan-python: setup ## the sampler's Python tests with ThreadSanitizer in it and in the core; Python itself is not looked into
	CFLAGS="-O1 -g -fsanitize=thread" LDFLAGS="-fsanitize=thread" \
	LIBPERF_CMAKE_ARGS="-DPERF_SANITIZE=thread -DPERF_ALLOCATOR=libc" \
		$(PYTHON) setup.py -q build -b build/py-tsan
	PYTHONPATH=$$(echo $(CURDIR)/build/py-tsan/lib.*) TSAN_OPTIONS=report_thread_leaks=0:report_signal_unsafe=0 \
	LD_PRELOAD="$$(cc -print-file-name=libtsan.so)" setarch -R $(PYTHON) -m pytest -q -k "not fork" \
		tests/python/test_sampler.py tests/python/test_profiled.py tests/python/test_watchdog.py

FUZZ_SECONDS = 60
fuzz: setup     ## libFuzzer over everything that reads bytes from outside (needs clang); FUZZ_SECONDS=60
	@command -v clang >/dev/null || { echo "make fuzz needs clang: apt-get install clang libclang-rt-14-dev" >&2; exit 1; }
	cmake --preset fuzz && cmake --build --preset fuzz
	for target in build/fuzz/tests/fuzz/fuzz_*; do case $$target in *.*) continue ;; esac; \
	    mkdir -p build/corpus/$$(basename $$target); \
	    $$target -max_total_time=$(FUZZ_SECONDS) -print_final_stats=0 -verbosity=0 -artifact_prefix=build/corpus/ build/corpus/$$(basename $$target) || exit 1; done

SOAK_MINUTES = 5
soak: setup     ## processes that are killed at any moment while readers read; SOAK_MINUTES=5
	$(PYTHON) tests/soak/storm.py --minutes $(SOAK_MINUTES)

score: setup    ## agents whose bottleneck is known: how many libperf names, how near its promises are
	$(PYTHON) tests/scenarios/agents/measure.py score

bench: setup    ## C benchmarks
	cmake --preset release >/dev/null && cmake --build --preset release --target perf-bench >/dev/null && build/release/bench/perf-bench

peers: setup
	@sh tools/peers.sh

bench-peers: peers ## Python side by side with other libraries, in a venv of their own: traced and cached calls, disk, Redis, batches, scrapes, memory, OTLP, profilers
	for script in trace cache disk redis batch scrape memory otlp; do .venv-peers/bin/python bench/peers/$${script}_cost.py || exit 1; done
	$$(ls -d .venv-peers-new .venv-peers 2>/dev/null | tail -1)/bin/python bench/peers/profile_cost.py
	.venv-peers/bin/python bench/peers/batch_faults.py

results: peers  ## rewrite bench/RESULTS.md from fresh measurements; LIBPERF_TRACES= and LIBPERF_LLM_CALLS= name what to play
	$(PYTHON) bench/results.py

format:         ## clang-format and ruff (needs clang-format)
	clang-format -i $$(git ls-files '*.c' '*.h')
	$(PYTHON) -m ruff format --quiet bindings tests bench examples tools setup.py

clean:          ## remove what was built (keeps .deps and .venv)
	rm -rf build dist bindings/*.egg-info bindings/libperf/*.so .venv/.built
