"""How a BatchProcessor ends: close, exit, fork, forgotten ones; and how many threads it has."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

import libperf
from libperf.batcher import timekeeper, workers
from support_batcher import LIMIT, Gate, accounts, both_kinds, limit, outcomes, run_python

KINDS = ["def", "async def"]


@pytest.fixture(autouse=True)
def _limit() -> Iterator[None]:
    with limit():
        yield


async def echo(items: list[Any]) -> list[Any]:
    return items


# ---- close ----


@pytest.mark.parametrize("kind", KINDS)
def test_close_with_eight_waiting_processes_them(kind: str) -> None:
    """What is queued goes at once, though it waits for more; then nothing is taken any more."""
    processor: libperf.BatchProcessor[int, int] = libperf.BatchProcessor(
        both_kinds(list)[kind], min_batch_size=100, max_batch_size=100, max_wait_time=1000
    )
    futures = [processor.submit(i) for i in range(8)]
    assert processor.close() and processor.close() and processor.closed
    assert outcomes(futures) == list(range(8))
    assert processor.get_stats()["dispatch_reasons"]["drain"] == 1
    with pytest.raises(libperf.BatcherClosed):
        processor.submit(1)
    accounts(processor)


def test_close_without_draining_gives_up_what_is_queued_and_waits_for_what_runs() -> None:
    """BatcherClosed for the first; False, for something was left."""
    gate = Gate()
    processor: libperf.BatchProcessor[int, int] = libperf.BatchProcessor(gate)
    running = processor.submit(0)
    assert gate.entered.acquire(timeout=LIMIT)
    queued = [processor.submit(i) for i in range(1, 9)]
    closed: list[bool] = []
    closer = threading.Thread(target=lambda: closed.append(processor.close(drain=False)))
    closer.start()
    assert [type(each) for each in outcomes(queued)] == [libperf.BatcherClosed] * 8
    assert not running.done() and not closed
    gate.open.set()
    assert running.result(LIMIT) == 0
    closer.join(LIMIT)
    assert closed == [False]
    accounts(processor)


@pytest.mark.parametrize("drain", [True, False])
def test_close_whose_time_is_over_gives_up_all_of_it(drain: bool) -> None:
    """Also what runs, and what waits outside: nobody is left waiting, whatever the function does."""
    gate = Gate()
    processor: libperf.BatchProcessor[int, int] = libperf.BatchProcessor(gate, max_queue=3)
    futures = [processor.submit(0)]
    assert gate.entered.acquire(timeout=LIMIT)
    futures += [processor.submit(i) for i in range(1, 4)]
    assert not processor.close(drain=drain, timeout=0.01)
    assert [type(each) for each in outcomes(futures)] == [libperf.BatcherClosed] * 4
    gate.open.set()
    accounts(processor)


def test_aclose_whose_time_is_over_cancels_the_coroutine() -> None:
    """And tells everybody."""
    cancelled: list[int] = []
    over = asyncio.Event()

    async def fn(items: list[int]) -> list[int]:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.append(len(items))
            over.set()
        return items

    async def main() -> None:
        processor: libperf.BatchProcessor[int, int] = libperf.BatchProcessor(fn, max_batch_size=2)
        futures = [processor.submit(i) for i in range(5)]
        assert not await processor.aclose(timeout=0.01)
        found = await asyncio.gather(*futures, return_exceptions=True)
        assert [type(each) for each in found] == [libperf.BatcherClosed] * 5
        await over.wait()
        assert cancelled == [2]
        accounts(processor)

    asyncio.run(main())


def test_close_in_the_thread_of_a_loop_says_what_to_do() -> None:
    """It would wait for itself. With nothing left it need not wait."""

    async def main() -> None:
        processor: libperf.BatchProcessor[int, int] = libperf.BatchProcessor(echo)
        future = processor.submit(1)
        with pytest.raises(RuntimeError, match=r"use `await aclose\(\)`"):
            processor.close()
        assert await future == 1 and not processor.closed
        assert await processor.submit(2) == 2
        assert processor.close()

    asyncio.run(main())


def test_result_in_the_thread_of_a_loop_says_what_to_do() -> None:
    """The same: await it."""

    async def main() -> None:
        processor: libperf.BatchProcessor[int, int] = libperf.BatchProcessor(echo)
        future = processor.submit(1)
        with pytest.raises(asyncio.InvalidStateError, match="await"):
            future.result()
        assert await future == 1

    asyncio.run(main())


@pytest.mark.parametrize("kind", KINDS)
def test_the_function_itself_may_close(kind: str) -> None:
    """It does not wait for itself, and its items get their results."""

    def fn(items: list[int]) -> list[int]:
        assert processor.close() is False
        return items

    processor: libperf.BatchProcessor[int, int] = libperf.BatchProcessor(both_kinds(fn)[kind], min_batch_size=2)
    assert outcomes([processor.submit(1), processor.submit(2)]) == [1, 2]
    assert processor.close()


def test_with_closes() -> None:
    """`with` in threads, `async with` in loops; what was submitted is done then."""
    with libperf.BatchProcessor[int, int](list, min_batch_size=10, max_wait_time=1000) as processor:
        future = processor.submit(1)
    assert future.result(0) == 1 and processor.closed

    async def main() -> None:
        async with libperf.BatchProcessor[int, int](echo, min_batch_size=10, max_wait_time=1000) as processor:
            future = processor.submit(1)
        assert future.done() and await future == 1 and processor.closed

    asyncio.run(main())


def test_a_wrong_time_to_close_is_an_error() -> None:
    """And closes nothing."""
    processor: libperf.BatchProcessor[int, int] = libperf.BatchProcessor(list)
    with pytest.raises(ValueError, match="timeout=-1"):
        processor.close(timeout=-1)
    assert not processor.closed and processor.submit(1).result(LIMIT) == 1


# ---- exit ----

EXIT = """
import atexit, threading, libperf
entered = threading.Event()
{kind} fn(items):
    entered.set()
    {body}
    return items
processor = libperf.BatchProcessor(fn, min_batch_size={least}, max_batch_size=8, max_wait_time=1000)
futures = []
atexit.register(lambda: print(*(future.exception(0) or future.result(0) for future in futures)))
import libperf.batcher.life as life
atexit.unregister(life._close_all)
atexit.register(life._close_all)  # the last one is called first
futures += [processor.submit(i) for i in range(3)]
"""


@pytest.mark.parametrize("kind", KINDS)
def test_at_exit_what_is_queued_is_processed(kind: str) -> None:
    """Though it waited for more items; a coroutine function without any loop, too."""
    assert run_python(EXIT.format(kind=kind, body="pass", least=8)) == "0 1 2\n"


@pytest.mark.parametrize("kind", KINDS)
def test_at_exit_a_function_that_does_not_end_holds_up_nobody(kind: str) -> None:
    """The interpreter ends with workers in the middle of it, and whoever still waits is told."""
    source = EXIT.format(kind=kind, body="threading.Event().wait()", least=1) + "life.AT_EXIT = 0.05\nentered.wait()\n"
    printed = run_python(source)
    assert printed.count("closed before the item was done") >= 1, printed
    assert "closed" in printed and "None" not in printed, printed


LEFT = """
import asyncio, threading, libperf, libperf.batcher.life
libperf.batcher.life.AT_EXIT = 0.05
entered = threading.Event()
{kind} fn(items):
    if 0 not in items: return items
    entered.set()
    {forever}
processor = libperf.BatchProcessor(fn, max_queue=2, max_batch_size=1)
def wait(item):
    try: processor.submit(item).result()
    except (libperf.BatcherClosed, libperf.BatchError): pass
async def main():
    future = processor.submit(0)
    while not entered.is_set(): await asyncio.sleep(0)
    for i in range(1, 9): threading.Thread(target=wait, args=(i,), daemon=True).start()
    while processor.get_stats()["blocked"] < 4: await asyncio.sleep(0)
loop = asyncio.new_event_loop()
{end}
"""


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "end",
    ["asyncio.run(main())", "loop.run_until_complete(main())", "loop.run_until_complete(main()); loop.close()",
     "threading.Thread(target=lambda: (loop.create_task(main()), loop.run_forever()), daemon=True).start(); entered.wait()"],
    ids=["run", "stopped", "closed", "in a thread"],
)  # fmt: skip
def test_an_interpreter_ends_with_a_loop_left_in_the_middle(kind: str, end: str) -> None:
    """Threads wait in result(), and outside of a full queue: it ends with status 0, and complains about nothing."""
    forever = "threading.Event().wait()" if kind == "def" else "await asyncio.Event().wait()"
    run_python(LEFT.format(kind=kind, end=end, forever=forever))


@pytest.mark.parametrize("kind", KINDS)
def test_submit_in_handlers_of_the_exit(kind: str) -> None:
    """Those that come before ours are answered, those after it are told; a destructor's, too."""
    source = (
        "import atexit, sys, libperf\n"
        "def late():\n"
        "    try: print(processor.submit(5).result(10))\n"
        "    except libperf.BatcherClosed: print('closed')\n"
        "class Late:\n"
        "    def __del__(self): late()\n"
        f"{kind} fn(items): return items\n"
        "processor = libperf.BatchProcessor(fn)\n"
        "import libperf.batcher.life as life\n"
        "atexit.unregister(life._close_all)\n"
        "for each in (late, life._close_all, late): atexit.register(each)\n"
        "Late()\n"
    )
    assert run_python(source) == "5\n5\nclosed\n"


# ---- fork ----

FORK = """
import asyncio, os, threading, warnings, libperf
warnings.simplefilter("ignore", DeprecationWarning)
entered, go = threading.Event(), threading.Event()
def fn(items):
    entered.set()
    if items[0] == "slow": go.wait()
    return [item.upper() for item in items]
{make}
running = processor.submit("slow")
entered.wait()
queued = [processor.submit(f"item{{i}}") for i in range(20)]
child = os.fork()
if child == 0:
    code = 1
    try:
        for future in [running, *queued]:
            try: future.result(5)
            except libperf.BatcherClosed: continue
            raise SystemExit("the child has a parent's result")
        assert processor.get_stats()["queued"] == processor.get_stats()["running"] == 0
        assert processor.submit("child").result(10) == "CHILD"
        async def main(): return await processor.map(["a", "b"])
        assert asyncio.run(main()) == ["A", "B"]
        assert processor.close()
        code = 0
    finally:
        os._exit(code)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
go.set()
assert running.result(10) == "SLOW"
assert [future.result(10) for future in queued] == [f"ITEM{{i}}" for i in range(20)]
assert processor.submit("parent").result(10) == "PARENT"
print("fine")
"""


@pytest.mark.parametrize(
    "make",
    [
        "processor = libperf.BatchProcessor(fn)",
        "async def afn(items): return await asyncio.to_thread(fn, items)\nprocessor = libperf.BatchProcessor(afn)",
    ],
    ids=KINDS,
)
def test_fork_with_a_full_queue(make: str) -> None:
    """The child has an empty processor that works; the parent's items are the parent's."""
    assert run_python(FORK.format(make=make)) == "fine\n"


def test_fork_in_the_function() -> None:
    """The child's copy of the batch is for nobody, and its processor works."""
    printed = run_python(
        "import os, warnings, libperf\n"
        "warnings.simplefilter('ignore', DeprecationWarning)\n"
        "def fn(items):\n"
        "    if items == ['fork']:\n"
        "        child = os.fork()\n"
        "        if child == 0:\n"
        "            os._exit(0 if processor.submit('in child').result(10) == 'in child' else 1)\n"
        "        return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])]\n"
        "    return items\n"
        "processor = libperf.BatchProcessor(fn)\n"
        "print(processor.submit('fork').result(10))\n"
    )
    assert printed == "0\n"


SPAWNED = """
import asyncio, multiprocessing, sys, warnings, libperf
warnings.simplefilter("ignore", DeprecationWarning)
{kind} fn(items): return [work() if item == "work" else item for item in items]
processor = libperf.BatchProcessor(fn)
def child():
    asyncio._set_running_loop(None)
    async def main(): return await processor.submit(4)
    assert processor.submit(3).result(10) == 3 and asyncio.run(main()) == 4
def work():
    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    process.join(10)
    return process.exitcode
async def in_loop():
    futures = [processor.submit(i) for i in range(3)]
    return work(), *await asyncio.gather(*futures)
print(processor.submit("work").result(10), *asyncio.run(in_loop()))
"""


@pytest.mark.parametrize("kind", KINDS)
def test_multiprocessing_out_of_the_function_and_out_of_a_loop(kind: str) -> None:
    """Its child is a fork that goes on in Python, and ends as programs do."""
    assert run_python(SPAWNED.format(kind=kind)) == "0 0 0 1 2\n"


# ---- forgotten ----


@pytest.mark.parametrize("kind", KINDS)
def test_a_forgotten_processor_is_collected_and_its_threads_end(kind: str) -> None:
    """Nothing of its own keeps it, also after items with time limits."""
    before = set(threading.enumerate())
    processor: libperf.BatchProcessor[int, int] = libperf.BatchProcessor(both_kinds(list)[kind], timeout=1000)
    assert outcomes([processor.submit(i) for i in range(20)]) == list(range(20))
    driver = weakref.ref(processor._driver)
    mine = set(threading.enumerate()) - before
    assert mine
    del processor
    until = time.monotonic() + workers.IDLE / 2  # a thread may be on its way out of the last batch
    while driver() is not None and time.monotonic() < until:
        gc.collect()
    assert driver() is None
    for thread in mine:
        thread.join(workers.IDLE / 2)
        assert not thread.is_alive()


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_forgotten_processor_still_has_to_do_is_done(kind: str) -> None:
    """Whoever submitted, and kept nothing but the future, or not even that."""
    done = threading.Event()

    def fn(items: list[int]) -> list[int]:
        if 7 in items:
            done.set()
        return items

    def submit(item: int) -> Any:
        processor: libperf.BatchProcessor[int, int] = libperf.BatchProcessor(
            both_kinds(fn)[kind], min_batch_size=2, max_wait_time=0.02
        )
        return processor.submit(item)

    future = submit(1)
    gc.collect()
    assert future.result(LIMIT) == 1
    submit(7)
    gc.collect()
    assert done.wait(LIMIT)


def test_idle_workers_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a while without work, the timekeeper too; the next item starts them again."""
    monkeypatch.setattr(workers, "IDLE", 0.01)
    monkeypatch.setattr(timekeeper, "IDLE", 0.01)
    before = set(threading.enumerate())
    processor: libperf.BatchProcessor[int, int] = libperf.BatchProcessor(
        list, concurrency=3, max_batch_size=1, min_batch_size=1, timeout=0.05
    )
    for _ in range(3):
        assert outcomes([processor.submit(i) for i in range(10)]) == list(range(10))
        for thread in set(threading.enumerate()) - before:
            thread.join(LIMIT)
            assert not thread.is_alive()
    assert processor.close()


def test_threads_are_as_many_as_are_needed() -> None:
    """One item after the other: one worker. The timekeeper is there only where something has a time."""
    before = set(threading.enumerate())
    processor: libperf.BatchProcessor[int, int] = libperf.BatchProcessor(list, concurrency=8)
    for i in range(200):
        assert processor.submit(i).result(LIMIT) == i
    assert len(set(threading.enumerate()) - before) <= 2  # the worker may not be back when the next item comes
    assert processor.submit(1, timeout=1000).result(LIMIT) == 1
    names = sorted(thread.name for thread in set(threading.enumerate()) - before)
    assert names.count("libperf time of list") == 1, names
    assert processor.close()


@pytest.mark.parametrize("kind", KINDS)
def test_where_no_thread_can_be_started_nobody_waits_for_ever(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The items fail, with the reason as the cause; once there are threads again it works."""

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    processor: libperf.BatchProcessor[int, int] = libperf.BatchProcessor(both_kinds(list)[kind], isolate="bisect")
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        error = processor.submit(1, timeout=1000).exception(LIMIT)
    assert isinstance(error, libperf.BatchError) and "can't start new thread" in str(error.__cause__)
    assert outcomes([processor.submit(i, timeout=1000) for i in range(3)]) == [0, 1, 2]
    assert processor.close()
    accounts(processor)
