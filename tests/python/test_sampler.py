"""CPU sampling: who used the CPU is seen, with its span and task; who waits is not; nothing breaks."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import libperf
from libperf import _sampler
from libperf.errors import StartedError
from libperf.profiler import sampler
from libperf.reader import Reader, find_segment
from libperf.samples import Sample, read_samples

exact = pytest.mark.skipif(sys.version_info < (3, 13), reason="the main thread looks at itself from Python 3.13 on")
BOUND_S = 30


@pytest.fixture
def samples() -> Iterator[Callable[[], list[Sample]]]:
    """Samples of this process since the test began, as often as asked; nobody samples afterwards."""
    reader = Reader()
    for _ in read_samples(reader):
        pass
    found: list[Sample] = []

    def look() -> list[Sample]:
        reader.refresh()
        found.extend(sample for sample in read_samples(reader) if sample.what == "cpu")
        return found

    try:
        yield look
    finally:
        sampler.stop()
        reader.close()


def spin(rounds: int = 2000) -> int:
    total = 0
    for number in range(rounds):
        total += number * number
    return total


def until(condition: Callable[[], bool], work: Callable[[], object] = spin) -> None:
    """Work until it is so."""
    end = time.monotonic() + BOUND_S
    while not condition():
        assert time.monotonic() < end
        for _ in range(100):
            work()


def functions(sample: Sample) -> set[str]:
    return {frame.function for frame in sample.stack}


def test_who_computes_is_seen(samples: Callable[[], list[Sample]]) -> None:
    """With its whole stack; the weights are the CPU time that was used."""
    sampler.start()
    before = time.process_time_ns()
    until(lambda: sum("spin" in functions(sample) for sample in samples()) >= 10)
    used = time.process_time_ns() - before
    sampler.stop()
    weight = sum(sample.weight for sample in samples())
    assert 0.2 * used < weight < 1.1 * used + 20_000_000
    sample = next(sample for sample in samples() if "spin" in functions(sample))
    names = [frame.function for frame in sample.stack]
    assert names.index("test_who_computes_is_seen") < names.index("until") < names.index("spin")
    frame = sample.stack[names.index("spin")]
    assert frame.file == __file__ and spin.__code__.co_firstlineno <= frame.line < spin.__code__.co_firstlineno + 6


def test_who_sleeps_is_not(samples: Callable[[], list[Sample]]) -> None:
    """Waiting is no CPU time, however long."""
    sampler.start()
    threading.Event().wait(0.3)
    sampler.stop()
    assert sum(sample.weight for sample in samples()) < 100_000_000


def test_spans_and_tasks_are_said(samples: Callable[[], list[Sample]]) -> None:
    """Of the main thread's tasks, though they take turns."""
    import asyncio

    from libperf.task import number_of

    tasks: dict[str, int] = {}
    ids: dict[str, str] = {}

    async def work(name: str) -> None:
        current = asyncio.current_task()
        tasks[name] = number_of(current)
        with libperf.span(f"test_sampler.{name}") as span:
            ids[name] = span.id
            while len(seen(name)) < 5:
                for _ in range(50):
                    spin()
                await asyncio.sleep(0)

    def seen(name: str) -> list[Sample]:
        return [sample for sample in samples() if sample.span == int(ids[name], 16)]

    async def main() -> None:
        await asyncio.gather(work("one"), work("two"))

    sampler.start()
    asyncio.run(asyncio.wait_for(main(), BOUND_S))
    for name in ("one", "two"):
        assert {sample.task for sample in seen(name)} == {tasks[name]}
    assert tasks["one"] != tasks["two"]


def test_other_threads_are_seen(samples: Callable[[], list[Sample]]) -> None:
    """With the system's number of the thread, and their own spans; while the main one sleeps."""
    ids: list[int] = []
    stop = threading.Event()

    def in_thread() -> None:
        ids.append(threading.get_native_id())
        with libperf.span("test_sampler.thread") as span:
            ids.append(int(span.id, 16))
            while not stop.is_set():
                spin()

    thread = threading.Thread(target=in_thread)
    sampler.start()
    thread.start()
    end = time.monotonic() + BOUND_S

    def found() -> list[Sample]:
        return [sample for sample in samples() if sample.thread == ids[0] and "spin" in functions(sample)]

    while len(found()) < 5:
        assert time.monotonic() < end
        time.sleep(0.02)
    stop.set()
    thread.join()
    assert {sample.span for sample in found()} == {ids[1]}
    assert len({sample.block for sample in found()}) == 1


@exact
def test_known_shares(samples: Callable[[], list[Sample]]) -> None:
    """Functions that take 70, 20 and 10 of 100 are seen as such: five standard deviations of what chance does."""

    def work() -> None:
        seventy()
        twenty()
        ten()

    def seventy() -> None:
        spin(7000)

    def twenty() -> None:
        spin(2000)

    def ten() -> None:
        spin(1000)

    sampler.start(5000)
    until(lambda: len(samples()) >= 3000, work)
    sampler.stop()
    weights: Counter[str] = Counter()
    for sample in samples():
        for name in functions(sample):
            weights[name.rpartition(".")[2]] += sample.weight
    times = {}
    for function in (seventy, twenty, ten):  # as they are on this machine
        before = time.thread_time_ns()
        for _ in range(300):
            function()
        times[function.__name__] = time.thread_time_ns() - before
    for name, took in times.items():
        share = weights[name] / sum(weights[each] for each in times)
        assert abs(share - took / sum(times.values())) < 0.06, (name, weights, times)


def test_started_twice(samples: Callable[[], list[Sample]]) -> None:
    """The second is told so, and the first goes on; stop() is taken from any thread, and again."""
    sampler.start()
    with pytest.raises(StartedError, match=r"sampled already: stop\(\) that first"):
        sampler.start()
    until(lambda: len(samples()) >= 2)
    other = threading.Thread(target=sampler.stop)
    other.start()
    other.join()
    sampler.stop()
    count = len(samples())
    for _ in range(500):
        spin()
    assert len(samples()) == count
    sampler.start()
    until(lambda: len(samples()) >= count + 2)


@pytest.mark.parametrize("hz", [0, 0.5, 10_001, float("nan"), "fast", None])
def test_wrong_rates(hz: Any) -> None:
    with pytest.raises(ValueError, match="from 1 to 10,000"):
        sampler.start(hz)


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_forked_child_goes_on(samples: Callable[[], list[Sample]]) -> None:
    """In its own segment; the parent goes on, too."""
    sampler.start()
    until(lambda: len(samples()) >= 1)
    pid = os.fork()
    if not pid:
        status = 1
        try:
            with Reader() as own:
                until(lambda: own.refresh() is None and any("spin" in functions(each) for each in read_samples(own)))
            sampler.stop()
            libperf.flush()
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(pid, 0)[1] == 0
    with Reader(find_segment(pid)) as child:
        assert any("spin" in functions(sample) for sample in read_samples(child))
    count = len(samples())
    until(lambda: len(samples()) > count)


FORKED_IN_THREAD = """
import os, sys, threading, time
import libperf
from libperf import _sampler
from libperf.profiler import sampler
def spin():
    end = time.monotonic() + 30
    before = _sampler.stats()["samples"]
    while _sampler.stats()["samples"] < before + 3 and time.monotonic() < end: sum(range(1000))
    return _sampler.stats()["samples"] >= before + 3
sampler.start()
def fork():
    if pid := os.fork():
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        return
    fine = spin()
    sampler.stop()
    os._exit(0 if fine else 1)
thread = threading.Thread(target=fork)
thread.start()
thread.join()
print(spin())
"""


def test_a_fork_in_another_thread(run: Callable[..., Any]) -> None:
    """Who forked is the child's main thread, and is sampled as such; the parent's own goes on."""
    answer = run("import warnings; warnings.simplefilter('ignore')\n" + FORKED_IN_THREAD)
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, "0\nTrue\n", "")


STOPS = """
import threading, time
from libperf.profiler import sampler
from libperf.errors import StartedError
stop = threading.Event()
def churn():
    while not stop.is_set():
        try: sampler.start(10_000)
        except StartedError: pass
        sampler.stop()
threads = [threading.Thread(target=churn) for _ in range(3)]
for thread in threads: thread.start()
for _ in range(3000): sum(range(1000))
stop.set()
for thread in threads: thread.join()
sampler.start()
sampler.stop()
"""


def test_stopped_and_started_by_several_threads(run: Callable[..., Any]) -> None:
    """While the main thread computes and is asked: nothing breaks, and it can be started again."""
    answer = run(STOPS)
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, "", "")


BESIDE = """
import cProfile, io, pstats, sys, warnings
import libperf
from libperf import _sampler
from libperf.profiler import sampler
if sys.version_info < (3, 12): warnings.simplefilter("ignore")
def leaf(): return sum(range(200))
@libperf.profile
def root():
    for _ in range(1000): leaf()
sampler.start()
profiler = cProfile.Profile()
profiler.enable()
while _sampler.stats()["samples"] < 20: root()
profiler.disable()
root()
sampler.stop()
out = io.StringIO()
pstats.Stats(profiler, stream=out).print_stats("leaf")
calls = {code.co_name: calls for code, calls, *_ in _sampler.calls_read()}
print(calls["leaf"] == 1000 * calls["root"], "leaf" in out.getvalue())
"""


def test_beside_other_profilers(run: Callable[..., Any]) -> None:
    """@libperf.profile and cProfile, all at once: each gets what it wants."""
    answer = run(BESIDE)
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, "True True\n", "")


def test_it_says_what_it_costs() -> None:
    """The CPU time of its thread when that has ended, and of the main thread's looks at itself."""
    before = _sampler.stats()
    sampler.start(5000)
    until(lambda: _sampler.stats()["samples"] >= before["samples"] + 50)
    sampler.stop()
    after = _sampler.stats()
    ticks = after["ticks"] - before["ticks"]
    assert 100 * ticks < after["thread_ns"] - before["thread_ns"] < 1_000_000 * ticks
    looked = after["looks_ns"] - before["looks_ns"]
    if sys.version_info >= (3, 13):
        assert 100 * 32 < looked < 1_000_000 * (after["samples"] - before["samples"])
    else:
        assert looked == 0


EXITS = """
import sys, threading, time
from libperf.profiler import sampler
sampler.start(10_000)
def work():
    while True: sum(range(1000))
for _ in range(2): threading.Thread(target=work, daemon=True).start()
end = time.monotonic() + 0.3
while time.monotonic() < end: sum(range(1000))
"""


@pytest.mark.parametrize("end", ["", "sys.exit(0)", "import os; os._exit(0)", "sampler.stop()"])
def test_interpreter_exit_while_sampling(run: Callable[..., Any], end: str) -> None:
    """Whatever the main thread does last, with daemon threads at work: a quiet end."""
    for _ in range(3):
        answer = run(EXITS + end)
        assert (answer.returncode, answer.stdout, answer.stderr) == (0, "", "")


CHURN = """
import json, threading
from libperf import _sampler
from libperf.profiler import sampler
sampler.start(10_000)
def work(depth):
    if depth: return work(depth - 1)
    exec("def f():\\n return sum(range(2000))\\nf()")
for _ in range(300):
    threads = [threading.Thread(target=work, args=(n * 30,)) for n in range(6)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    def deep(n): return deep(n - 1) if n else sum(range(1000))
    deep(600)
sampler.stop()
print(json.dumps(_sampler.stats()))
"""


def test_threads_and_code_that_come_and_go(run: Callable[..., Any]) -> None:
    """Thousands of threads, code that is made and forgotten, deep recursion: nothing breaks."""
    answer = run(CHURN)
    assert (answer.returncode, answer.stderr) == (0, "")
    assert json.loads(answer.stdout)["ticks"] > 0
