"""Threads: however many come and go, every call is counted; and work handed to a thread knows its parent."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import libperf
from libperf.reader import Reader


def in_threads(count: int, work: Callable[[int], object]) -> None:
    """Run work(0), work(1), … at once, each in a thread of its own. What one raises is raised here."""
    barrier = threading.Barrier(count)
    errors: list[BaseException] = []

    def run(number: int) -> None:
        try:
            barrier.wait(60)
            work(number)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


# ---- counts ----


def test_thousands_of_threads_one_after_another(seen: Any, name: str) -> None:
    """Each records one call and ends; none is missing, and their blocks are used again."""
    with Reader() as reader:
        before = reader.info

    @libperf.trace(name)
    def work() -> None:
        pass

    for _ in range(2000):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert seen.totals(name).count == 2000
    assert len(seen.spans(name)) == 2000
    with Reader() as reader:
        after = reader.info
    assert after.threads - before.threads <= 2
    assert after.losses == before.losses


def test_a_thousand_threads_at_once(run: Any) -> None:
    """All are open at one time; every call, count and attribute is there at the end."""
    code = """if True:
        import threading
        import libperf
        from libperf.reader import Reader

        threading.stack_size(256 * 1024)
        inside, go = threading.Semaphore(0), threading.Event()
        counter = libperf.Counter("begun")

        def work(number):
            with libperf.span("work", number=number):
                counter.add()
                inside.release()
                go.wait()

        threads = [threading.Thread(target=work, args=(number,)) for number in range(1000)]
        for thread in threads:
            thread.start()
        for _ in threads:
            inside.acquire()
        with Reader() as reader:
            print(len(reader.open_spans()), len({span.thread for span in reader.open_spans()}))
        go.set()
        for thread in threads:
            thread.join()
        with Reader() as reader:
            totals = {name.text: reader.totals(name) for name in reader.names}
            numbers = sorted(record.attributes["number"] for record in reader.records())
            print(totals["work"].count, totals["begun"].value, len(reader.open_spans()))
            print(numbers == list(range(1000)), reader.info.losses)
        """
    done = run(code, LIBPERF_MAX_BYTES=str(512 << 20))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["1000 1000", "1000 1000 0", "True {}"]


def test_one_name_in_many_threads(seen: Any, name: str) -> None:
    """Sixteen threads that call one traced function at once are counted exactly, errors apart."""

    @libperf.trace(name)
    def work(number: int) -> None:
        if number % 5 == 0:
            raise ValueError(number)

    def many(_: int) -> None:
        for number in range(500):
            if number % 5:
                work(number)
            else:
                with pytest.raises(ValueError):
                    work(number)

    in_threads(16, many)
    assert seen.counts(name) == (16 * 500, 16 * 100, 0)
    spans = seen.spans(name)
    assert len({span.id for span in spans}) == len(spans) == 16 * 500
    assert len({span.thread for span in spans}) == 16
    assert seen.totals(name).sum == pytest.approx(
        sum(span.end - span.start for span in spans) / 1e9,
        abs=len(spans) * 1e-9,  # both are whole ns
    )


def test_one_name_interned_by_many_threads_at_once(seen: Any, name: str) -> None:
    """Whoever comes first, it is one name: threads that decorate at once add to one row."""

    def decorate_and_call(_: int) -> None:
        for number in range(20):
            libperf.trace(f"{name}.{number}")(lambda: None)()

    in_threads(32, decorate_and_call)
    assert [seen.totals(f"{name}.{number}").count for number in range(20)] == [32] * 20


def test_counters_and_timings_of_many_threads_add_up(seen: Any, name: str) -> None:
    """No addition is lost, whichever thread made it."""
    counter, timing, gauge = libperf.Counter(name), libperf.Timing(name), libperf.Gauge(name)

    def work(number: int) -> None:
        dice = random.Random(number)
        for _ in range(300):
            counter.add(dice.randrange(1000))
            timing.record(0.001 * (number + 1))
            gauge.set(float(number))

    in_threads(12, work)
    expected = 0
    for number in range(12):
        dice = random.Random(number)
        expected += sum(dice.randrange(1000) for _ in range(300))
    assert seen.totals(name, libperf.Kind.COUNTER).value == expected
    timings = seen.totals(name, libperf.Kind.TIMING)
    assert (timings.count, timings.min, timings.max) == (3600, 0.001, 0.012)
    assert timings.sum == pytest.approx(300 * sum(0.001 * (number + 1) for number in range(12)))
    assert seen.totals(name, libperf.Kind.GAUGE).gauge in {float(number) for number in range(12)}


def test_a_reader_beside_writing_threads_sees_only_more(name: str) -> None:
    """Pictures taken while threads write are whole: counts never fall, and every record is read once."""

    def write() -> None:
        for count in range(2000):
            with libperf.span(name, count=count):
                pass

    threads = [threading.Thread(target=write) for _ in range(4)]
    with Reader() as reader:
        for _ in reader.records():
            pass
        counts, ids, lost = [], [], reader.lost

        def look() -> None:
            reader.refresh()
            counts.extend(reader.totals(found).count for found in reader.names if found.text == name)
            ids.extend(record.id for record in reader.records() if record.name == name)

        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            look()
        look()
        assert counts == sorted(counts)
        assert counts[-1] == 8000
        assert len(ids) == len(set(ids)) == 8000 - (reader.lost - lost)


# ---- spans across threads ----


def test_a_thread_starts_without_a_span(seen: Any, name: str) -> None:
    """What a plain thread records is a root, whatever is current where it was started."""
    with libperf.span(f"{name}.outer"):
        thread = threading.Thread(target=libperf.trace(name)(lambda: None))
        thread.start()
        thread.join()
    assert seen.span(name).parent == 0


def test_wrap_carries_the_current_span(seen: Any, name: str) -> None:
    """A thread whose target is wrapped is a child of where it was wrapped, and leaves nothing behind in its thread."""
    after: list[str] = []

    def target(wrapped: Callable[[int], int]) -> None:
        assert wrapped(3) == 6
        after.append(libperf.current_span().id)

    with libperf.span(f"{name}.outer"):
        wrapped = libperf.wrap(libperf.trace(name)(lambda value: value * 2))
    with libperf.span(f"{name}.other"):
        thread = threading.Thread(target=target, args=(wrapped,))
        thread.start()
        thread.join()
    assert seen.span(name).parent == seen.span(f"{name}.outer").id
    assert after == ["0" * 16]


def test_wrap_keeps_the_function(name: str) -> None:
    """Name, docstring, arguments, result and exceptions are the function's own; the caller's span comes back."""

    def divide(a: int, *, by: int) -> float:
        """Doc."""
        return a / by

    with libperf.span(name):
        wrapped = libperf.wrap(divide)
    assert (wrapped.__name__, wrapped.__doc__) == ("divide", "Doc.")
    assert wrapped(6, by=3) == 2
    with libperf.span(name) as here:
        with pytest.raises(ZeroDivisionError):
            wrapped(1, by=0)
        assert libperf.current_span().id == here.id


def test_one_wrapped_function_in_many_threads(seen: Any, name: str) -> None:
    """It may run in several at once: all are children of the one span, in its trace."""
    with libperf.span(f"{name}.outer"):
        wrapped = libperf.wrap(libperf.trace(name)(lambda _: None))
    in_threads(16, wrapped)
    outer = seen.span(f"{name}.outer")
    assert [(span.parent, span.trace_id) for span in seen.spans(name)] == [(outer.id, outer.trace_id)] * 16


def test_context_executor_carries_the_submitters_span(seen: Any, name: str) -> None:
    """Work submitted in one span is its child, also in a thread that ran another's before; the plain pool's is not."""
    work = libperf.trace(name)(lambda value: value)
    with libperf.ContextExecutor(max_workers=1) as pool:
        for outer in ("first", "second"):
            with libperf.span(f"{name}.{outer}"):
                assert pool.submit(work, outer).result() == outer
        pool.submit(work, "none").result()
    with ThreadPoolExecutor(1) as plain, libperf.span(f"{name}.plain"):
        plain.submit(work, "plain").result()
    parents = [seen.span(f"{name}.{outer}").id for outer in ("first", "second")]
    assert [span.parent for span in seen.spans(name)] == [*parents, 0, 0]


def test_context_executor_is_a_thread_pool(name: str) -> None:
    """map(), keyword arguments, exceptions and run_in_executor work as with the class it is made of."""

    def current(prefix: str = "") -> str:
        return prefix + libperf.current_span().id

    async def in_loop(pool: ThreadPoolExecutor) -> str:
        return await asyncio.get_running_loop().run_in_executor(pool, current)

    with libperf.ContextExecutor(4, thread_name_prefix="mine") as pool, libperf.span(name) as span:
        assert isinstance(pool, ThreadPoolExecutor)
        assert list(pool.map(lambda _: current(), range(20))) == [span.id] * 20
        assert pool.submit(current, prefix="=").result() == f"={span.id}"
        assert pool.submit(lambda: threading.current_thread().name).result().startswith("mine")
        assert asyncio.run(in_loop(pool)) == span.id
        with pytest.raises(ZeroDivisionError):
            pool.submit(lambda: 1 / 0).result()


def test_a_span_may_end_in_another_thread(seen: Any, name: str) -> None:
    """Begun here, given attributes and ended there: one call, whose duration is from begin to end."""
    span = libperf.span(name)
    span.__enter__()
    current = libperf.current_span()

    def end() -> None:
        assert span.set(there=1)
        span.__exit__(None, None, None)

    thread = threading.Thread(target=end)
    thread.start()
    thread.join()
    assert libperf.current_span().id == current.id  # the other thread cannot change what is current here
    span.__exit__(None, None, None)  # ended before: this only puts back what was current
    assert seen.totals(name).count == 1
    assert seen.span(name).attributes == {"there": 1}
