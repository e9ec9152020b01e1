"""VirtualLoop: time passes only when nothing can run, exactly, and threads and sockets still work."""

from __future__ import annotations

import asyncio
import concurrent.futures
import math
import select
import socket
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

import libperf
from libperf._core import lib
from libperf.events import read_events
from libperf.testing import VirtualLoop, run_virtual, virtual_loop, work

Main = Callable[[], Coroutine[Any, Any, Any]]
START = 1000.0


def now() -> float:
    return asyncio.get_running_loop().time()


async def finish(log: list[tuple[str, float]], name: str, seconds: float) -> None:
    await asyncio.sleep(seconds)
    log.append((name, now()))


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop waits only for what it knows of."""
    monkeypatch.setattr(VirtualLoop, "patience", 0)


@pytest.fixture
def core(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[int, int]]]:
    """What the core is told instead of being told it."""
    told: list[tuple[int, int]] = []

    class Core:
        @staticmethod
        def perf_events_set_time(now_ns: int, cpu_ns: int) -> None:
            told.append((now_ns, cpu_ns))

    monkeypatch.setattr(virtual_loop, "lib", Core)
    yield told


# -- time ---------------------------------------------------------------------------------------------------------


def test_result_and_exceptions_come_back() -> None:
    """run_virtual takes a function or a coroutine, gives its result, and lets its exception out."""

    async def main() -> float:
        await asyncio.sleep(1.5)
        return now()

    async def fail() -> None:
        raise KeyError("as it is")

    assert run_virtual(main) == run_virtual(main()) == START + 1.5
    with pytest.raises(KeyError, match="as it is"):
        run_virtual(fail)


def test_hours_take_no_time() -> None:
    """A year of waiting is over at once; each wait ends at its own time."""

    async def main() -> list[tuple[str, float]]:
        log: list[tuple[str, float]] = []
        await asyncio.gather(finish(log, "year", 365 * 86400), finish(log, "hour", 3600), finish(log, "now", 0))
        return log

    before = time.monotonic()
    assert run_virtual(main) == [("now", START), ("hour", START + 3600), ("year", START + 365 * 86400)]
    assert time.monotonic() - before < 3600


def test_time_does_not_drift() -> None:
    """A tenth of a second, which no float holds exactly, ten thousand times over is a thousand seconds."""

    async def main() -> float:
        for _ in range(10_000):
            await asyncio.sleep(0.1)
        return now()

    assert run_virtual(main) == START + 1000


@pytest.mark.parametrize("seconds", [1e-9, 1e8, 9e9])
def test_very_short_and_very_long_waits_end(seconds: float) -> None:
    """A nanosecond is a wait; and where floats are coarser than that, a wait ends all the same."""

    async def main() -> float:
        await asyncio.sleep(seconds)
        return now() - START

    assert run_virtual(main) == pytest.approx(seconds, rel=1e-3)


def test_equal_times_fire_in_order() -> None:
    """Timers of the same nanosecond fire in the order they were made, also when their floats differ."""

    async def main() -> list[int]:
        fired: list[int] = []
        when = START + 0.3
        for number in range(100):
            asyncio.get_running_loop().call_at(math.nextafter(when, 0) if number % 2 else when, fired.append, number)
        await asyncio.sleep(0.3)
        assert now() == when
        return fired

    assert run_virtual(main) == list(range(100))


def test_time_limits_are_kept() -> None:
    """wait_for and asyncio.timeout end what takes too long at their time; what is in time is not touched."""

    async def main() -> list[float]:
        times = []
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.Event().wait(), 2)
        times.append(now())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3):
                await asyncio.sleep(4)
        times.append(now())
        await asyncio.wait_for(asyncio.sleep(5), 6)
        return [*times, now()]

    assert run_virtual(main) == [START + 2, START + 5, START + 10]


def test_time_goes_on_from_run_to_run() -> None:
    """A loop that is run twice does not go back in time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        for _ in range(2):
            runner.run(asyncio.sleep(7))
        assert runner.get_loop().time() == START + 14


# -- work and time.sleep ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hold", [work, lambda seconds: time.sleep(seconds)])
def test_loop_is_held_up(hold: Callable[[float], None]) -> None:
    """While the loop's thread works or sleeps nothing else runs: a timer that was due meanwhile fires after it."""

    async def main() -> list[tuple[str, float]]:
        log: list[tuple[str, float]] = []
        others = [asyncio.create_task(finish(log, f"{seconds}", seconds)) for seconds in (1.0, 2.5, 4.0)]
        await asyncio.sleep(0)
        hold(3)
        log.append(("held", now()))
        await asyncio.gather(*others)
        return log

    assert run_virtual(main) == [("held", START + 3), ("1.0", START + 3), ("2.5", START + 3), ("4.0", START + 4)]


def test_negative_times_are_refused() -> None:
    """Time does not go backwards."""

    async def main() -> float:
        for hold in (work, time.sleep):
            with pytest.raises(ValueError, match="-1"):
                hold(-1)
        return now()

    assert run_virtual(main) == START


def test_work_needs_a_virtual_loop() -> None:
    """Elsewhere work() says so, and how to get one."""

    async def main() -> None:
        with pytest.raises(RuntimeError, match="run_virtual"):
            work(1)

    asyncio.run(main())
    with pytest.raises(RuntimeError, match="no running event loop"):
        work(1)


def test_sleep_of_other_threads_is_real() -> None:
    """In a thread, while a VirtualLoop runs elsewhere, time.sleep takes real time and no virtual time."""

    async def main() -> float:
        before = time.monotonic()
        await asyncio.to_thread(time.sleep, 0.01)
        assert time.monotonic() - before >= 0.01
        return now()

    assert run_virtual(main) == START


def test_sleep_is_put_back() -> None:
    """time.sleep is the old one after the run, also when the program fails, or replaced it and left it so."""
    real = time.sleep

    async def main() -> None:
        assert time.sleep is not real
        raise KeyError

    async def replace() -> None:
        time.sleep = own

    with pytest.raises(KeyError):
        run_virtual(main)
    assert time.sleep is real

    def own(seconds: Any) -> None: ...

    try:
        run_virtual(replace)
        assert time.sleep is own
    finally:
        time.sleep = real


# -- the core -----------------------------------------------------------------------------------------------------


def test_core_has_the_loops_time(core: list[tuple[int, int]]) -> None:
    """The core is told each new time, with CPU time for work only, and gets its own clocks back at the end."""

    async def main() -> None:
        await asyncio.sleep(1)
        work(0.5)
        time.sleep(0.25)  # noqa: ASYNC251 - it is what is tested

    loop = VirtualLoop()
    try:
        loop.run_until_complete(main())
    finally:
        loop.close()
    second, start = 10**9, 1000 * 10**9
    assert core == [
        (start, start),
        (start + second, start),
        (start + 3 * second // 2, start + second // 2),
        (start + 7 * second // 4, start + second // 2),
        (0, 0),
    ]


def test_spans_take_the_loops_time() -> None:
    """While events are recorded a span is as long as it took on the loop; time goes on as before afterwards."""

    async def main() -> float:
        with libperf.span("virtual") as span:
            await asyncio.sleep(3600)
        return span.duration

    lib.perf_events_switch(True)
    try:
        assert run_virtual(main) == pytest.approx(3600, abs=1e-8)  # kept in ticks
        with libperf.span("real") as span:
            pass
        assert 0 <= span.duration < 3600
    finally:
        lib.perf_events_switch(False)


def test_core_gets_its_clocks_back_after_a_failure(core: list[tuple[int, int]]) -> None:
    """A program that ends by an exception, or in a deadlock, leaves no virtual time behind."""

    async def fail() -> None:
        raise KeyError

    for main, error in ((fail, KeyError), (asyncio.Event().wait, RuntimeError)):
        with pytest.raises(error):
            run_virtual(main)  # type: ignore[arg-type]
        assert core[-1] == (0, 0)


def test_one_loop_runs_at_a_time() -> None:
    """The core has one clock: a second loop in another thread is refused, and the first one goes on."""

    async def main() -> float:
        second = VirtualLoop()
        with pytest.raises(RuntimeError, match="running already"):
            await asyncio.to_thread(second.run_forever)
        second.close()
        await asyncio.sleep(1)
        return now()

    assert run_virtual(main) == START + 1


# -- threads ------------------------------------------------------------------------------------------------------


def test_time_stands_still_for_threads(impatient: None) -> None:
    """What run_in_executor started is waited for, though a timer could fire: every run gives the same times."""

    async def main() -> list[tuple[str, float]]:
        log: list[tuple[str, float]] = []
        may_end = threading.Event()

        async def ask() -> None:
            await asyncio.get_running_loop().run_in_executor(None, may_end.wait)
            log.append(("thread", now()))
            await finish(log, "after", 1)

        async def let_it_end() -> None:
            for _ in range(10):
                await asyncio.sleep(0)
            may_end.set()

        await asyncio.gather(ask(), let_it_end(), finish(log, "timer", 0.5))
        return log

    for _ in range(20):
        assert run_virtual(main) == [("thread", START), ("timer", START + 0.5), ("after", START + 1)]


def test_work_ends_when_its_answer_comes() -> None:
    """A thread that writes late that its work is over, on a busy machine, has worked no longer for that."""

    def linger(_: object) -> None:  # between the answer and the end of the work
        select.select([], [], [], 0.05)

    async def main() -> None:
        go_on = threading.Event()
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            answer = pool.submit(go_on.wait)
            heard = asyncio.wrap_future(answer)
            answer.add_done_callback(linger)  # after the one that wakes the loop
            go_on.set()
            await heard
            work(3.0)

    with virtual_loop.virtual_time(), libperf.Profiler() as profiler:
        run_virtual(main)
    with libperf.Reader() as reader:
        events = list(read_events(reader))
    begun = max(event.time for event in events if event.code == lib.PERF_EVENT_SUBMIT)
    (key,) = [event.key for event in events if event.code == lib.PERF_EVENT_SUBMIT and event.time == begun]
    (end,) = [event.time for event in events if event.code == lib.PERF_EVENT_END and event.key == key]
    assert profiler.analyze().replayed == pytest.approx(3.0)
    assert end == begun


def test_threads_of_an_own_executor_are_waited_for(impatient: None) -> None:
    """As are those of an executor that the program made; a call that fails has answered, too."""

    async def main() -> float:
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            call = asyncio.get_running_loop().run_in_executor
            assert await asyncio.gather(*[call(pool, divmod, number, 2) for number in range(10)]) == [
                divmod(number, 2) for number in range(10)
            ]
            with pytest.raises(ZeroDivisionError):
                await call(pool, divmod, 1, 0)
        await asyncio.sleep(1)
        return now()

    assert run_virtual(main) == START + 1


def test_a_plain_thread_can_wake_the_loop() -> None:
    """With no timer to jump to, the loop waits for call_soon_threadsafe of a thread it knows nothing of."""

    async def main() -> str:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[str] = loop.create_future()
        idle = threading.Event()

        def reply() -> None:
            idle.wait()
            loop.call_soon_threadsafe(answer.set_result, "here")

        threading.Thread(target=reply).start()
        loop.call_soon(idle.set)
        return await answer

    assert run_virtual(main) == "here"


def test_closing_waits_for_threads_and_takes_no_time(impatient: None) -> None:
    """What still runs in the default executor when the program ends is waited for, as by asyncio.run."""
    ended = []

    async def main() -> None:
        may_end = threading.Event()
        asyncio.get_running_loop().run_in_executor(None, lambda: ended.append(may_end.wait()))
        asyncio.get_running_loop().call_soon(may_end.set)

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        loop = runner.get_loop()
        runner.run(main())
    assert ended == [True]
    assert loop.time() == START


# -- nothing can wake the loop ------------------------------------------------------------------------------------


async def _wait_for_nothing() -> None:
    await asyncio.Event().wait()


async def _wait_for_ever() -> None:
    await asyncio.gather(asyncio.sleep(math.inf), asyncio.sleep(1e12))


@pytest.mark.parametrize("wait", [_wait_for_nothing, _wait_for_ever])
def test_a_deadlock_is_an_error(wait: Main, impatient: None) -> None:
    """A loop that nothing can wake raises RuntimeError that names what waits, instead of hanging."""

    async def main() -> None:
        await asyncio.sleep(1)
        await asyncio.create_task(wait(), name="the one")

    with pytest.raises(RuntimeError, match=f"deadlock.*waiting: .*the one in {wait.__name__}"):
        run_virtual(main)


def test_an_idle_thread_does_not_hide_a_deadlock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pool's thread that has nothing to do is given its time, then the deadlock is an error all the same."""
    monkeypatch.setattr(VirtualLoop, "patience", 0.01)

    async def main() -> None:
        await asyncio.to_thread(int)
        await _wait_for_nothing()

    with pytest.raises(RuntimeError, match="deadlock"):
        run_virtual(main)


def test_cancelled_timers_are_not_jumped_to() -> None:
    """Time goes to the next timer that will fire, not to one that was cancelled."""

    async def main() -> float:
        asyncio.get_running_loop().call_later(1, lambda: None).cancel()
        await asyncio.sleep(5)
        return now()

    assert run_virtual(main) == START + 5


# -- sockets ------------------------------------------------------------------------------------------------------


def test_sockets_are_read_before_time_jumps() -> None:
    """Bytes that are there are read now, though a timer is due later."""

    async def main() -> tuple[bytes, float]:
        near, far = socket.socketpair()
        with near, far:
            near.setblocking(False)
            reading = asyncio.create_task(asyncio.get_running_loop().sock_recv(near, 100))
            timer = asyncio.create_task(asyncio.sleep(1))
            await asyncio.sleep(0)
            far.send(b"bytes")
            got = await reading, now()
            await timer
            return got

    assert run_virtual(main) == (b"bytes", START)


def test_a_socket_is_waited_for_when_there_is_no_timer(impatient: None) -> None:
    """A loop that only a socket can wake waits for it really."""

    async def main() -> bytes:
        near, far = socket.socketpair()
        with near, far:
            near.setblocking(False)
            idle = threading.Event()
            thread = threading.Thread(target=lambda: far.send(b"bytes") if idle.wait() else None)
            thread.start()
            asyncio.get_running_loop().call_soon(idle.set)
            try:
                return await asyncio.get_running_loop().sock_recv(near, 100)
            finally:
                thread.join()

    assert run_virtual(main) == b"bytes"
