"""A C function lets go of the GIL if and only if its name ends in `_blocking`: by its machine code, and by what it does."""

from __future__ import annotations

import functools
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import libperf
from libperf import _core
from libperf._core import ffi, lib
from libperf.drain import Drain
from libperf.reader import Reader

ROOT = Path(__file__).parents[2]
HEADERS = [h for part in ("libperf", "batcher", "profiler") for h in ROOT.glob(f"{part}/include/libperf/*.h")]
FUNCTIONS = sorted(name for name in dir(lib) if callable(getattr(lib, name)))
BLOCKING = {name for name in FUNCTIONS if name.endswith("_blocking")}

LABEL = re.compile(r"^[0-9a-f]+ <(\w+)(\.[\w.]+)?(@plt)?>:$")  # a cold part, "name.cold", belongs to its function
TARGET = re.compile(r"<(Py\w+)(?:@\w+)?(?:\+0x[0-9a-f]+)?>$")


@functools.cache
def calls_of_python() -> dict[str, list[str]]:
    """For each function in the module's machine code: which functions of Python's it calls, in order."""
    found: dict[str, list[str]] = {}
    here = ""
    command = ["objdump", "--disassemble", "--no-show-raw-insn", _core.__file__]
    for line in subprocess.run(command, text=True, capture_output=True, check=True).stdout.splitlines():
        if label := LABEL.match(line):
            here = "" if label[3] else label[1]
            found.setdefault(here, [])
        elif here and (target := TARGET.search(line)):
            found[here].append(target[1])
    return found


needs_objdump = pytest.mark.skipif(not shutil.which("objdump"), reason="objdump (binutils) is not installed")


# ---- which functions there are ----


def declared() -> set[str]:
    """What the headers declare, found without the preprocessor that cffi's declarations come from."""
    found: set[str] = set()
    for header in HEADERS:
        text = re.sub(r"/\*.*?\*/", "", header.read_text(), flags=re.DOTALL)
        found |= set(re.findall(r"PERF_API[\s\w*]*?\b(perf_\w+)\s*\(", text))
    return found


def test_every_public_function_is_there() -> None:
    """The module has exactly the functions that the public headers declare."""
    assert set(FUNCTIONS) == declared()
    assert len(FUNCTIONS) > 60


def test_some_functions_block() -> None:
    """The rule is about something: those that copy a file may wait."""
    assert {"perf_reader_open_blocking", "perf_reader_refresh_blocking"} <= BLOCKING < set(FUNCTIONS)


# ---- by the machine code ----


@needs_objdump
def test_every_function_has_machine_code() -> None:
    """Nothing of what follows is empty: each wrapper is found, and calls Python."""
    code = calls_of_python()
    assert [name for name in FUNCTIONS if f"_cffi_f_{name}" not in code] == []
    assert sum(bool(calls) for calls in code.values()) > 40


@needs_objdump
@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_gil_is_released_where_the_name_says_so(name: str) -> None:
    """PyEval_SaveThread is called by `_blocking` functions, once, and by no other; and it is taken back."""
    calls = calls_of_python()[f"_cffi_f_{name}"]
    gil = {call for call in calls if call in ("PyEval_SaveThread", "PyEval_RestoreThread")}
    assert gil == ({"PyEval_SaveThread", "PyEval_RestoreThread"} if name in BLOCKING else set())


@needs_objdump
def test_nothing_else_in_the_module_releases_it() -> None:
    """No helper that the wrappers share does it for them."""
    releasing = {function for function, calls in calls_of_python().items() if "PyEval_SaveThread" in calls}
    assert releasing == {f"_cffi_f_{name}" for name in BLOCKING}


# ---- by what it does ----


def make_arena() -> Any:
    """Destroyed with its last reference, as is the following."""
    out = ffi.new("perf_allocator **")
    assert lib.perf_allocator_arena_create(out) == lib.PERF_OK
    return ffi.gc(out[0], lib.perf_allocator_arena_destroy)


def make_cache() -> Any:
    out = ffi.new("perf_cache **")
    assert lib.perf_cache_create(ffi.new("perf_cache_config *", {"max_bytes": 1 << 20}), out) == lib.PERF_OK
    return ffi.gc(out[0], lib.perf_cache_destroy)


def memory_cache_cases() -> dict[str, Callable[[], Any]]:
    """Every verb that does not block."""
    cache, room, stats = make_cache(), ffi.new("char[]", 8), ffi.new("perf_cache_stats *")
    text, cursor = ffi.new("char[]", b"key"), ffi.new("uint64_t *")
    keys, hits = ffi.new("perf_cache_key[]", [(text, 3)]), ffi.new("perf_cache_hit[]", 1)
    return {
        "perf_cache_set": lambda: lib.perf_cache_set(cache, text, 3, b"value", 5, ffi.NULL),
        "perf_cache_get": lambda: lib.perf_cache_get(cache, text, 3, room, 8, ffi.NULL),
        "perf_cache_get_many_at": lambda: lib.perf_cache_get_many_at(cache, keys, 1, room, 8, hits, 1),
        "perf_cache_next_at": lambda: lib.perf_cache_next_at(cache, cursor, room, 8, hits, 1),
        "perf_cache_delete": lambda: lib.perf_cache_delete(cache, text, 3),
        "perf_cache_expire_at": lambda: lib.perf_cache_expire_at(cache, 100, 1),
        "perf_cache_stats_now": lambda: lib.perf_cache_stats_now(cache, stats),
    }


class Other:
    """A thread that counts its turns. It gets one only when somebody lets go of the GIL."""

    def __init__(self) -> None:
        self.turns = 0
        self._stop = False
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop:
            self.turns += 1
            time.sleep(0)  # lets go, and asks for the GIL again

    def stop(self) -> None:
        self._stop = True
        self._thread.join()


@pytest.fixture
def other() -> Iterator[Other]:
    """Python itself makes no thread give way, so every turn of the other thread is one that was given."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1000)
    other = Other()
    try:
        yield other
    finally:
        sys.setswitchinterval(interval)
        other.stop()


def turns_during(other: Other, call: Callable[[], Any], times: int) -> int:
    """How many turns the other thread got while `call` was called at most so often."""
    before = other.turns
    for _ in range(times):
        call()
        if other.turns != before:
            break
    return other.turns - before


def policy_cases() -> dict[str, Callable[[], Any]]:
    """A policy of ten entries."""
    made = ffi.new("perf_policy **")
    assert lib.perf_policy_create(ffi.new("perf_policy_config *", {"max_entries": 10}), made) == lib.PERF_OK
    policy = ffi.gc(made[0], lib.perf_policy_destroy)
    entry = ffi.new("perf_policy_entry *", {"hash": 1, "weight": 1, "expires_ns": 1000})
    slots = ffi.new("int32_t[]", [0, 1, 2])
    return {
        "perf_policy_insert_at, victim": lambda: (
            lib.perf_policy_insert_at(policy, entry, 0),
            lib.perf_policy_victim(policy),
        ),
        "perf_policy_touch_many": lambda: lib.perf_policy_touch_many(policy, slots, 3),
        "perf_policy_expired_at": lambda: lib.perf_policy_expired_at(policy, 10),
    }


def batch_cases() -> dict[str, Callable[[], Any]]:
    """A queue of batches: an item goes in, out in a batch, and comes to its end."""
    made, learned = ffi.new("perf_batch_queue **"), ffi.new("perf_batch_cost **")
    config, threads = ffi.new("perf_batch_config *"), ffi.new("perf_batcher_config *")
    lib.perf_batch_config_init(config)
    assert lib.perf_batch_queue_create(config, made) == lib.PERF_OK
    assert lib.perf_batch_cost_create(ffi.NULL, learned) == lib.PERF_OK
    queue = ffi.gc(made[0], lib.perf_batch_queue_destroy)
    cost = ffi.gc(learned[0], lib.perf_batch_cost_destroy)
    item, batch, tenant = ffi.new("perf_batch_item *"), ffi.new("perf_batch *"), ffi.new("uint32_t *")
    stats, cost_stats = ffi.new("perf_batch_stats *"), ffi.new("perf_batch_cost_stats *")
    item.deadline_ns = 2**63
    none = ffi.new("perf_batcher **")

    def pass_through() -> None:
        assert lib.perf_batch_queue_submit_at(queue, item, 1) == lib.PERF_OK
        assert lib.perf_batch_queue_take_at(queue, batch, 1)
        lib.perf_batch_queue_fill_at(queue, batch, 1, 1, 1)
        lib.perf_batch_queue_done_at(queue, batch, lib.PERF_BATCH_OK, 0, 2)

    return {
        "perf_batch_queue_submit_at, take_at, fill_at, done_at": pass_through,
        "perf_batch_queue_submit_at, cancel_at": lambda: (
            lib.perf_batch_queue_submit_at(queue, item, 1),
            lib.perf_batch_queue_cancel_at(queue, item, 1),
        ),
        "perf_batch_queue_submit_at, discard, dropped_at": lambda: (
            lib.perf_batch_queue_submit_at(queue, item, 1),
            lib.perf_batch_queue_discard(queue),
            lib.perf_batch_queue_dropped_at(queue, 1),
        ),
        "perf_batch_queue_tenant_add": lambda: lib.perf_batch_queue_tenant_add(queue, 1.0, tenant),
        "perf_batch_queue_wake_at": lambda: lib.perf_batch_queue_wake_at(queue, 1),
        "perf_batch_queue_retry_after": lambda: lib.perf_batch_queue_retry_after(queue),
        "perf_batch_queue_stats_now": lambda: lib.perf_batch_queue_stats_now(queue, stats),
        "perf_batch_config_check": lambda: lib.perf_batch_config_check(config),
        "perf_batch_cost_observe, predict, bound": lambda: (
            lib.perf_batch_cost_observe(cost, 3, 1000),
            lib.perf_batch_cost_predict(cost, 5),
            lib.perf_batch_cost_bound(cost, 5),
        ),
        "perf_batch_cost_fix, stats_now": lambda: (
            lib.perf_batch_cost_fix(lib.perf_batch_queue_cost(queue), 1.0, 1.0),
            lib.perf_batch_cost_stats_now(cost, cost_stats),
        ),
        "perf_batch_queue_create, close, forget, destroy": lambda: (
            lib.perf_batch_queue_create(config, made),
            lib.perf_batch_queue_close(made[0]),
            lib.perf_batch_queue_forget(made[0]),
            lib.perf_batch_queue_destroy(made[0]),
        ),
        "perf_batcher_create": lambda: (
            lib.perf_batcher_config_init(threads),
            lib.perf_batcher_create(threads, none),  # it has no function: refused
        ),
    }


def batcher_calls() -> dict[str, Callable[[], Any]]:
    """What waits: calls that are refused let go as well; they are made often."""
    null, out = ffi.NULL, ffi.new("uint32_t *")
    return {
        "perf_batcher_cancel_blocking": lambda: often(lib.perf_batcher_cancel_blocking, null, null),
        "perf_batcher_close_blocking": lambda: often(lib.perf_batcher_close_blocking, null, 0),
        "perf_batcher_destroy_blocking": lambda: often(lib.perf_batcher_destroy_blocking, null),
        "perf_batcher_stats_blocking": lambda: often(lib.perf_batcher_stats_blocking, null, null, null),
        "perf_batcher_submit_blocking": lambda: often(lib.perf_batcher_submit_blocking, null, null),
        "perf_batcher_submit_many_blocking": lambda: often(lib.perf_batcher_submit_many_blocking, null, null, 0, null),
        "perf_batcher_tenant_add_blocking": lambda: often(lib.perf_batcher_tenant_add_blocking, null, 1.0, out),
        "perf_batcher_wait_blocking": lambda: often(lib.perf_batcher_wait_blocking, null, null, 0),
    }


def cases(redis: Any) -> dict[str, Callable[[], Any]]:
    """One call of each kind of function: clock, names, spans, attributes, metrics, histograms, reading a copy."""
    histogram = libperf.Histogram([0.1, 0.2])
    reader = Reader()
    number = lib.perf_name(lib.PERF_KIND_SPAN, b"test_gil", 8)
    counter = lib.perf_name(lib.PERF_KIND_COUNTER, b"test_gil", 8)
    key = lib.perf_name(lib.PERF_KIND_KEY, b"test_gil", 8)
    bad = lib.perf_name(lib.PERF_KIND_COUNTER, b"test_gil.bad", 12)
    bounds, counts = ffi.new("uint64_t[]", [1, 2]), ffi.new("uint64_t[]", 2)
    none = ffi.new("perf_span *")[0]
    ended = lib.perf_span_begin(number, none)
    lib.perf_span_end(ended)
    totals, info = ffi.new("perf_totals *"), ffi.new("perf_reader_info *")
    digest, writer = ffi.new("uint8_t[32]"), ffi.new("perf_codec_writer *")
    token, entry = ffi.new("perf_token *", {"kind": lib.PERF_TOKEN_NONE}), ffi.new("perf_entry *")
    port = ffi.new("perf_redis_port **")
    assert lib.perf_redis_port_create(ffi.NULL, port) == lib.PERF_OK
    many, compared = libperf.Histogram([0.1] * 50), ffi.new("perf_comparison *")
    chances, cursor, bucket = ffi.new("double[2]"), ffi.new("uint32_t *"), ffi.new("perf_histogram_bucket *")
    done, stats = ffi.new("perf_redis_done[]", 8), ffi.new("perf_redis_stats *")
    return {
        "perf_codec_put": lambda: (
            lib.perf_codec_start(writer, ffi.NULL, 0, 0, ffi.NULL),
            lib.perf_codec_put(writer, token),
            lib.perf_codec_stop(writer),
        ),
        "perf_entry_read": lambda: lib.perf_entry_read(digest, 32, entry),
        "perf_hash": lambda: lib.perf_hash(digest, 32),
        "perf_clock_now_ns": lib.perf_clock_now_ns,
        "perf_name": lambda: lib.perf_name(lib.PERF_KIND_SPAN, b"test_gil", 8),
        "perf_span_begin, end": lambda: lib.perf_span_end(lib.perf_span_begin(number, none)),
        "perf_span_set_int": lambda: lib.perf_span_set_int(ended, key, 1),
        "perf_metric_add": lambda: lib.perf_metric_add(counter, 1),
        "perf_histogram_record": lambda: lib.perf_histogram_record(histogram._get(), 7),
        "perf_histogram_quantile": lambda: lib.perf_histogram_quantile(histogram._get(), 0.5),
        "perf_metric_total": lambda: lib.perf_metric_total(counter),
        "perf_slo_set, remove": lambda: (lib.perf_slo_set(number, 1, counter, bad), lib.perf_slo_remove(counter)),
        "perf_histogram_next": lambda: lib.perf_histogram_next(histogram._get(), cursor, bucket),
        "perf_regression_shift, tail": lambda: (
            lib.perf_regression_shift(many._get(), many._get(), ffi.NULL, compared),
            lib.perf_regression_tail(many._get(), many._get(), 0.9, ffi.NULL, compared),
        ),
        "perf_regression_rate, adjust": lambda: (
            lib.perf_regression_rate(1, 100, 3, 100, ffi.NULL, compared),
            lib.perf_regression_adjust(chances, 2, ffi.NULL),
        ),
        "perf_reader_totals": lambda: lib.perf_reader_totals(reader._get(), number, totals),
        "perf_reader_counts": lambda: lib.perf_reader_counts(reader._get(), bounds, 2, 1, totals, counts),
        "perf_reader_forget_news": lambda: lib.perf_reader_forget_news(reader._get()),
        "perf_reader_buckets": lambda: lib.perf_reader_buckets(reader._get(), number, ffi.NULL, 0),
        "perf_reader_info_get": lambda: lib.perf_reader_info_get(reader._get(), info),
        "perf_redis_submit, is_done, release": lambda: redis_round(redis),
        "perf_redis_port_take": lambda: lib.perf_redis_port_take(port[0], done, 8),
        "perf_redis_stats_now": lambda: lib.perf_redis_stats_now(redis, stats),
        "perf_segment_stats_now": lambda: lib.perf_segment_stats_now(ffi.NULL),
        "perf_otlp_create, records, metrics, rest, stats_now, destroy": functools.partial(otlp_round, reader),
        "perf_exporter_features, stats_now": lambda: (
            lib.perf_exporter_features(),
            lib.perf_exporter_stats_now(ffi.NULL, ffi.new("perf_exporter_stats *")),
        ),
        **memory_cache_cases(),
    }


def otlp_round(reader: Reader) -> None:
    """Everything that was recorded, as a request."""
    out, body, stats = ffi.new("perf_otlp **"), ffi.new("perf_otlp_body *"), ffi.new("perf_otlp_stats *")
    assert lib.perf_otlp_create(reader._get(), ffi.NULL, out) == lib.PERF_OK
    lib.perf_otlp_records(out[0], body)
    lib.perf_otlp_metrics(out[0], 0, body)
    lib.perf_otlp_rest(out[0], body)
    lib.perf_otlp_stats_now(out[0], stats)
    lib.perf_otlp_destroy(out[0])


def exporter_calls() -> dict[str, Callable[[], Any]]:
    """What waits; calls that are refused let go as well, and are made often."""
    null, out = ffi.NULL, ffi.new("perf_exporter **")
    return {
        "perf_exporter_start_blocking": lambda: often(lib.perf_exporter_start_blocking, null, null, out),
        "perf_exporter_flush_blocking": lambda: often(lib.perf_exporter_flush_blocking, null, 0),
        "perf_exporter_stop_blocking": lambda: often(lib.perf_exporter_stop_blocking, null, 0),
        "perf_exporter_destroy_blocking": lambda: often(lib.perf_exporter_destroy_blocking, null),
    }


def redis_to_nowhere() -> Any:
    """A client whose server is away."""
    config, out = ffi.new("perf_redis_config *"), ffi.new("perf_redis **")
    lib.perf_redis_config_init(config, ffi.sizeof("perf_redis_config"))
    path = ffi.new("char[]", b"/nowhere/redis.sock")
    config.path, config.failures = path, 2**31  # the breaker stays closed
    assert lib.perf_redis_create(config, out) == lib.PERF_OK
    return out[0]


def redis_ticket(redis: Any) -> Any:
    """A command that is on its way."""
    out, ping = ffi.new("perf_redis_ticket **"), b"*1\r\n$4\r\nPING\r\n"
    assert lib.perf_redis_submit(redis, ping, len(ping), ffi.NULL, out) == lib.PERF_OK
    return out[0]


def redis_round(redis: Any) -> None:
    ticket = redis_ticket(redis)
    lib.perf_redis_is_done(ticket, ffi.NULL)
    lib.perf_redis_release(ticket)


@pytest.fixture
def redis() -> Iterator[Any]:
    redis = redis_to_nowhere()
    yield redis
    lib.perf_redis_destroy_blocking(redis)


def test_a_held_gil_gives_no_turn(other: Other, redis: Any) -> None:
    """However often functions without `_blocking` are called, the other thread stands still."""
    given = {
        case: turns_during(other, call, 2000) for case, call in (cases(redis) | policy_cases() | batch_cases()).items()
    }
    assert given == dict.fromkeys(given, 0)


def open_disk(folder: Path) -> Any:
    """A perf_disk *."""
    config, disk = ffi.new("perf_disk_config *"), ffi.new("perf_disk **")
    lib.perf_disk_config_init(config, ffi.sizeof("perf_disk_config"))
    path = ffi.new("char[]", bytes(folder))
    config.path = path
    assert lib.perf_disk_open_blocking(config, ffi.NULL, disk) == lib.PERF_OK
    return disk[0]


def often(function: Callable[..., Any], *args: Any) -> None:
    for _ in range(1000):
        function(*args)


def disk_calls(disk: Any) -> dict[str, Callable[[], Any]]:
    """What waits, on a disk. A call that finds nothing to do is over before anybody wakes up: it is made often."""
    digest, token, out = ffi.new("uint8_t[16]"), ffi.new("uint64_t *"), ffi.new("perf_disk **")
    config = ffi.new("perf_disk_config *")  # of another version: it is refused, after letting go

    return {
        "perf_disk_open_blocking": lambda: often(lib.perf_disk_open_blocking, config, ffi.NULL, out),
        "perf_disk_reopen_blocking": lambda: often(lib.perf_disk_reopen_blocking, disk),
        "perf_disk_put_blocking": lambda: lib.perf_disk_put_blocking(disk, digest, b"x", 1, 1000),
        "perf_disk_flush_blocking": lambda: lib.perf_disk_flush_blocking(disk, 1000),
        "perf_disk_next_blocking": lambda: often(lib.perf_disk_next_blocking, disk, digest, ffi.NULL, 0, 0),
        "perf_disk_invalidate_blocking": lambda: lib.perf_disk_invalidate_blocking(disk, token, 1, 1),
        "perf_disk_lease_blocking": lambda: lib.perf_disk_lease_blocking(disk, digest, 1, 1, 1000, token),
        "perf_disk_put_dictionary_blocking": lambda: lib.perf_disk_put_dictionary_blocking(disk, 1, b"x", 1, 1000),
        "perf_disk_stop_blocking": lambda: often(lib.perf_disk_stop_blocking, disk),
        "perf_disk_close_blocking": lambda: often(lib.perf_disk_close_blocking, ffi.NULL),
    }


def test_a_held_gil_gives_no_turn_on_disk(other: Other, tmp_path: Path) -> None:
    """Reading, queueing and asking what has changed keep the GIL."""
    disk, digest = open_disk(tmp_path / "disk"), ffi.new("uint8_t[16]")
    out, stats, cursor = ffi.new("char[100]"), ffi.new("perf_disk_stats *"), ffi.new("perf_disk_cursor *")
    calls: dict[str, Callable[[], Any]] = {
        "perf_disk_get": lambda: lib.perf_disk_get(disk, digest, b"k", 1, out, 100),
        "perf_disk_put": lambda: lib.perf_disk_put(disk, digest, b"x", 1),
        "perf_disk_delete": lambda: lib.perf_disk_delete(disk, digest),
        "perf_disk_release": lambda: lib.perf_disk_release(disk, digest, 1),
        "perf_disk_dictionary": lambda: lib.perf_disk_dictionary(disk, 1, out, 100),
        "perf_disk_label_ms": lambda: lib.perf_disk_label_ms(disk, 1),
        "perf_disk_changes": lambda: lib.perf_disk_changes(disk, cursor, ffi.NULL, 0),
        "perf_disk_change_word": lambda: lib.perf_disk_change_word(disk),
        "perf_disk_stats_now": lambda: lib.perf_disk_stats_now(disk, stats),
    }
    given = {case: turns_during(other, call, 2000) for case, call in calls.items()}
    lib.perf_disk_close_blocking(disk)
    assert given == dict.fromkeys(given, 0)


@pytest.fixture
def profiler() -> libperf.Profiler:
    """It has seen one span."""
    with libperf.Profiler() as profiler, libperf.span("test_gil"):
        pass
    return profiler


@pytest.mark.parametrize("name", sorted(BLOCKING))
def test_a_released_gil_gives_a_turn(
    name: str, profiler: libperf.Profiler, redis: Any, other: Other, tmp_path: Path
) -> None:
    """While a `_blocking` function copies a segment, or replays a program, the other thread goes on."""
    libperf.Counter("test_gil").add()
    own = libperf.segment_path()
    assert own is not None
    trace = tmp_path / "trace.perf"
    out, drained, analysed = ffi.new("perf_reader **"), ffi.new("perf_drain **"), ffi.new("perf_analysis **")
    steps, count, ns = ffi.new("perf_path_step **"), ffi.new("size_t *"), ffi.new("uint64_t *")
    kept = ffi.new("perf_exemplars **")
    assert lib.perf_exemplars_create(ffi.NULL, ffi.NULL, 0, kept) == lib.PERF_OK
    exemplars = ffi.gc(kept[0], lib.perf_exemplars_destroy)
    samples, sizes, room = bytes(range(256)) * 100, ffi.new("size_t[]", [256] * 100), ffi.new("char[4096]")
    times = ffi.new("uint64_t[]", list(range(1000)))
    with Reader() as reader, Drain(own, trace) as drain, profiler.analyze() as analysis:

        def redis_waited() -> None:
            ticket = redis_ticket(redis)
            assert lib.perf_redis_wait_blocking(ticket, 2**64 - 1) != lib.PERF_OK
            lib.perf_redis_release(ticket)

        def redis_closed() -> None:
            other = redis_to_nowhere()
            lib.perf_redis_release(redis_ticket(other))
            lib.perf_redis_close_blocking(other)
            lib.perf_redis_destroy_blocking(other)

        def redis_destroyed() -> None:
            other = redis_to_nowhere()
            lib.perf_redis_release(redis_ticket(other))
            lib.perf_redis_destroy_blocking(other)

        def opened(err: int) -> None:
            assert err == lib.PERF_OK
            lib.perf_reader_close(out[0])

        def drain_opened(err: int) -> None:
            assert err == lib.PERF_OK
            lib.perf_drain_close(drained[0])

        def analysis_created(err: int) -> None:
            assert err in (lib.PERF_OK, lib.PERF_ERR_NOT_FOUND)  # the first call has taken the events
            lib.perf_analysis_destroy(analysed[0])
            analysed[0] = ffi.NULL

        calls: dict[str, Callable[[], Any]] = {
            "perf_analysis_create_blocking": lambda: analysis_created(
                lib.perf_analysis_create_blocking(reader._get(), profiler.session, ffi.NULL, analysed)
            ),
            "perf_analysis_path_blocking": lambda: lib.perf_analysis_path_blocking(analysis._get(), 0, steps, count),
            "perf_analysis_replay_blocking": lambda: lib.perf_analysis_replay_blocking(
                analysis._get(), ffi.NULL, 0, 0, 0, ns
            ),
            "perf_compressor_train_blocking": lambda: lib.perf_compressor_train_blocking(
                samples, sizes, 100, 0, room, 4096, count
            ),
            "perf_regression_dependence_blocking": lambda: lib.perf_regression_dependence_blocking(
                times, times, bytes(len(times)), len(times), 0.99, ffi.NULL, ffi.new("perf_dependence *")
            ),
            "perf_drain_open_blocking": lambda: drain_opened(
                lib.perf_drain_open_blocking(bytes(own), bytes(trace), ffi.NULL, drained)
            ),
            "perf_drain_step_blocking": lambda: lib.perf_drain_step_blocking(drain._get()),
            "perf_drain_finish_blocking": lambda: lib.perf_drain_finish_blocking(drain._get()),
            "perf_exemplars_take_blocking": lambda: often(
                lib.perf_exemplars_take_blocking, exemplars, reader._get(), 1
            ),
            "perf_reader_open_blocking": lambda: opened(lib.perf_reader_open_blocking(bytes(own), ffi.NULL, out)),
            "perf_reader_open_counts_blocking": lambda: opened(
                lib.perf_reader_open_counts_blocking(bytes(own), ffi.NULL, out)
            ),
            "perf_reader_open_self_blocking": lambda: opened(lib.perf_reader_open_self_blocking(ffi.NULL, out)),
            "perf_reader_refresh_blocking": lambda: lib.perf_reader_refresh_blocking(reader._get()),
            "perf_reader_refresh_counts_blocking": lambda: lib.perf_reader_refresh_counts_blocking(reader._get()),
            "perf_reader_refresh_news_blocking": lambda: lib.perf_reader_refresh_news_blocking(reader._get()),
            "perf_redis_close_blocking": redis_closed,
            "perf_redis_destroy_blocking": redis_destroyed,
            "perf_redis_wait_blocking": redis_waited,
            "perf_allocator_stats_blocking": functools.partial(
                lib.perf_allocator_stats_blocking, ffi.new("perf_allocator_stats *")
            ),
            "perf_allocator_arena_purge_blocking": functools.partial(
                lib.perf_allocator_arena_purge_blocking, make_arena()
            ),
            "perf_cache_clear_blocking": functools.partial(lib.perf_cache_clear_blocking, make_cache()),
            "perf_cache_trim_blocking": functools.partial(lib.perf_cache_trim_blocking, make_cache()),
        }
        disk = open_disk(tmp_path / "disk")
        calls |= disk_calls(disk) | batcher_calls() | exporter_calls()
        turns = turns_during(other, calls[name], 20_000)
        lib.perf_disk_close_blocking(disk)
        assert turns > 0
