"""The watchdog of event loops: who holds one up is seen, for exactly as long; loops that come round cost nothing."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import libperf
from libperf.profiler import watchdog
from libperf.reader import Reader
from libperf.samples import Sample, read_samples


@pytest.fixture
def stalls() -> Iterator[Callable[[], list[Sample]]]:
    """Stalls of this process since the test began."""
    reader = Reader()
    for _ in read_samples(reader):
        pass
    found: dict[int, Sample] = {}

    def look() -> list[Sample]:
        reader.refresh()
        for sample in read_samples(reader):
            if sample.what == "stall":  # the longer one of the same takes its place
                since = sample.time - sample.weight
                if since not in found or found[since].weight < sample.weight:
                    found[since] = sample
        return list(found.values())

    yield look
    reader.close()


def blocks(seconds: float) -> None:
    time.sleep(seconds)


def computes(seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


def keeps_the_lock(seconds: float) -> None:
    """One call of C, that does not give the interpreter lock away."""
    end, rounds = time.monotonic() + seconds, 4_000_000
    before = time.monotonic()
    sum(range(rounds))
    each = (time.monotonic() - before) / rounds
    sum(range(int(max(end - before, seconds) / each)))


@pytest.mark.parametrize("blocker", [blocks, computes, keeps_the_lock])
@pytest.mark.parametrize("profiled", [False, True])
def test_a_blocker_is_seen(
    stalls: Callable[[], list[Sample]], blocker: Callable[[float], None], profiled: bool
) -> None:
    """Whatever it does: sleeps, computes, keeps the lock in C. Its stack, span and task, and how long it was."""
    seen: dict[str, Any] = {}

    async def main() -> None:
        if not profiled:
            libperf.watch_loop(0.05)
        await asyncio.sleep(0.01)
        with libperf.span("test_watchdog") as span:
            seen["span"] = int(span.id, 16)
            before = time.monotonic_ns()
            blocker(0.4)
            seen["took"] = time.monotonic_ns() - before
        await asyncio.sleep(0.01)

    if profiled:
        with libperf.Profiler():
            asyncio.run(main())
    else:
        asyncio.run(main())
    found = [sample for sample in stalls() if sample.span == seen["span"]]
    assert len(found) == 1
    assert seen["took"] <= found[0].weight < seen["took"] + 300_000_000
    assert blocker.__name__ in [frame.function for frame in found[0].stack]
    assert found[0].task != 0


def test_a_loop_that_comes_round_is_not(stalls: Callable[[], list[Sample]]) -> None:
    """Waiting in the selector is no stall, nor is much work in small steps, nor what comes after the loop's end."""

    async def main() -> None:
        libperf.watch_loop(0.2)
        await asyncio.sleep(0.5)
        end = time.monotonic() + 0.5
        while time.monotonic() < end:
            sum(range(1000))
            await asyncio.sleep(0)

    asyncio.run(main())
    time.sleep(0.4)
    computes(0.4)
    assert stalls() == []


def test_a_loop_that_is_run_again(stalls: Callable[[], list[Sample]]) -> None:
    """What lies between its runs is nobody's stall; what comes in the second one is."""
    loop = asyncio.new_event_loop()

    async def first() -> None:
        libperf.watch_loop(0.1)
        await asyncio.sleep(0)

    async def second() -> None:
        await asyncio.sleep(0.01)
        blocks(0.3)
        await asyncio.sleep(0.01)

    loop.run_until_complete(first())
    time.sleep(0.4)
    assert stalls() == []
    loop.run_until_complete(second())
    loop.close()
    assert [sample.stack[-1].function for sample in stalls()] == ["blocks"]


def test_two_loops_in_two_threads(stalls: Callable[[], list[Sample]]) -> None:
    """Each has its own threshold and its own stalls."""

    async def main(threshold: float) -> None:
        libperf.watch_loop(threshold)
        await asyncio.sleep(0.01)
        blocks(0.3)
        await asyncio.sleep(0.01)

    threads = [threading.Thread(target=asyncio.run, args=(main(each),)) for each in (0.1, 10.0, 0.1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(stalls()) == 2


def test_stopped(stalls: Callable[[], list[Sample]]) -> None:
    """From then on nobody looks, and the loop's selector is what it was; a second call does nothing."""

    async def main() -> None:
        stop = libperf.watch_loop(0.05)
        selector = asyncio.get_running_loop()._selector  # type: ignore[attr-defined]
        assert "select" in vars(selector)
        stop()
        stop()
        assert "select" not in vars(selector)
        await asyncio.sleep(0.01)
        blocks(0.2)
        await asyncio.sleep(0.01)

    asyncio.run(main())
    assert stalls() == []


def test_a_loop_without_a_selector(stalls: Callable[[], list[Sample]]) -> None:
    """Another library's loop says by a timer that it comes round."""

    class Loop(asyncio.SelectorEventLoop):
        hidden = False

        def __getattribute__(self, name: str) -> Any:
            if name == "_selector" and object.__getattribute__(self, "hidden"):
                raise AttributeError(name)
            return super().__getattribute__(name)

    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        loop.hidden = True
        stop = libperf.watch_loop(0.1)
        loop.hidden = False
        await asyncio.sleep(0.3)
        assert stalls() == []
        blocks(0.4)
        await asyncio.sleep(0.1)
        stop()

    loop = Loop()
    loop.run_until_complete(main())
    loop.close()
    assert len(stalls()) == 1


@pytest.mark.parametrize("threshold", [0, -1, float("nan"), float("inf")])
def test_wrong_thresholds(threshold: float) -> None:
    async def main() -> None:
        libperf.watch_loop(threshold)

    with pytest.raises(ValueError, match=r"watch_loop\(threshold=.*seconds from 0\.001"):
        asyncio.run(main())


def test_wrong_uses() -> None:
    """Outside of a loop; with what is no number."""
    with pytest.raises(RuntimeError, match="inside of the loop"):
        libperf.watch_loop()

    async def main() -> None:
        with pytest.raises(TypeError, match="not str"):
            libperf.watch_loop("0.1")  # type: ignore[arg-type]

    asyncio.run(main())


@pytest.mark.parametrize(
    ("text", "ns"), [("", 10**8), ("0.5", 5 * 10**8), ("off", 0), ("0", 0), ("soon", 10**8), ("-3", 10**8)]
)
def test_the_setting(monkeypatch: pytest.MonkeyPatch, text: str, ns: int) -> None:
    """LIBPERF_STALL in seconds, or off; nonsense is the usual."""
    monkeypatch.setenv("LIBPERF_STALL", text)
    assert watchdog.threshold_ns() == ns


HANGS = """
import asyncio, libperf, threading
def hangs():
    threading.Event().wait()
async def main():
    libperf.watch_loop(0.05)
    await asyncio.sleep(0)
    hangs()
def tell():
    from libperf.reader import Reader
    from libperf.samples import read_samples
    with Reader() as reader:
        while not any(sample.what == "stall" for sample in read_samples(reader)):
            reader.refresh()
    print("ready", flush=True)
threading.Thread(target=tell, daemon=True).start()
asyncio.run(main())
"""


def test_a_process_that_is_killed_in_a_stall(start: Callable[..., Any], segments: Callable[[], list[Path]]) -> None:
    """Its segment says who held it up: nobody had to come back for that."""
    process = start(HANGS)
    process.send_signal(signal.SIGKILL)
    process.wait()
    with Reader(segments()[0]) as reader:
        (stall,) = [sample for sample in read_samples(reader) if sample.what == "stall"]
    assert "hangs" in [frame.function for frame in stall.stack]
    assert stall.weight >= 50_000_000
    assert stall.thread == process.pid


ENDS = """
import asyncio, libperf, time
async def main():
    libperf.watch_loop(0.01)
    asyncio.get_running_loop().call_soon(time.sleep, 0.05)
    await asyncio.sleep(0)
for _ in range(3): asyncio.run(main())
"""


@pytest.mark.parametrize("end", ["", "import sys; sys.exit()", "time.sleep(0.05)"])
def test_interpreter_exit(run: Callable[..., Any], end: str) -> None:
    answer = run(ENDS + end)
    assert (answer.returncode, answer.stderr) == (0, "")
