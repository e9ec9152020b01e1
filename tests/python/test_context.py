"""Which span is current: in tasks, generators, loops and copied contexts, and after they end out of order."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import logging
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from typing import Any

import pytest

import libperf


def current() -> str:
    return libperf.current_span().id


@pytest.fixture(autouse=True)
def complaints(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """What asyncio logs: exceptions that nobody caught."""
    caplog.set_level(logging.WARNING)
    return caplog.records


def plain_generator(name: str) -> Callable[[], AsyncGenerator[str, None]]:
    """Traced."""

    @libperf.trace(name)
    async def generator() -> AsyncGenerator[str, None]:
        try:
            while True:
                await asyncio.sleep(0)
                yield current()
        finally:
            await asyncio.sleep(0)
            await asyncio.sleep(0)

    return generator


def span_inside(name: str) -> Callable[[], AsyncGenerator[str, None]]:
    """Traced, and with a span by hand around its yields."""

    @libperf.trace(f"{name}.outer")
    async def generator() -> AsyncGenerator[str, None]:
        with libperf.span(name):
            try:
                while True:
                    await asyncio.sleep(0)
                    yield current()
            finally:
                await asyncio.sleep(0)
                await asyncio.sleep(0)

    return generator


def span_only(name: str) -> Callable[[], AsyncGenerator[str, None]]:
    """Not traced: only a span by hand around its yields."""

    async def generator() -> AsyncGenerator[str, None]:
        with libperf.span(name):
            try:
                while True:
                    await asyncio.sleep(0)
                    yield current()
            finally:
                await asyncio.sleep(0)

    return generator


TRACED = pytest.mark.parametrize("make", [plain_generator, span_inside])
ALL = pytest.mark.parametrize("make", [plain_generator, span_inside, span_only])


# ---- async generators that begin and end in different tasks ----


@TRACED
def test_started_in_one_task_closed_in_another(seen: Any, name: str, make: Any, complaints: list[Any]) -> None:
    """Both tasks keep their own current span, and nothing is raised or logged."""

    async def main() -> list[bool]:
        generator = make(name)()
        kept: list[bool] = []

        async def begin() -> None:
            with libperf.span(f"{name}.begin") as mine:
                await anext(generator)
                kept.append(current() == mine.id)

        async def end() -> None:
            with libperf.span(f"{name}.end") as mine:
                await generator.aclose()
                kept.append(current() == mine.id)

        await asyncio.create_task(begin())
        await asyncio.create_task(end())
        kept.append(not libperf.current_span())
        return kept

    assert asyncio.run(main()) == [True] * 3
    assert complaints == []
    assert seen.counts(name) == (1, 0, 0) if make is plain_generator else (1, 0, 1)


@ALL
def test_closing_in_another_task_never_raises(name: str, make: Any, complaints: list[Any]) -> None:
    """Also with a span by hand alone, the task that closes keeps its current span."""

    async def main() -> bool:
        generator = make(name)()
        await asyncio.create_task(anext(generator))

        async def end() -> bool:
            with libperf.span(f"{name}.end") as mine:
                await generator.aclose()
                return current() == mine.id

        return await asyncio.create_task(end())

    assert asyncio.run(main())
    assert complaints == []


@ALL
def test_left_to_the_loop_to_close(seen: Any, name: str, make: Any, complaints: list[Any]) -> None:
    """loop.shutdown_asyncgens() closes it without a complaint, and its span ends."""
    held: list[Any] = []

    async def main() -> None:
        held.append(make(name)())
        await asyncio.create_task(anext(held[0]))

    asyncio.run(main())
    assert complaints == []
    assert seen.totals(name).count == 1
    assert seen.open(name) == []


@TRACED
def test_left_to_the_garbage_collector(seen: Any, name: str, make: Any, complaints: list[Any]) -> None:
    """Dropped in the middle, it is closed by the loop; whoever ran meanwhile keeps its current span."""

    async def main() -> bool:
        with libperf.span(f"{name}.main") as mine:
            await anext(make(name)())
            gc.collect()
            for _ in range(10):
                await asyncio.sleep(0)
            return current() == mine.id

    assert asyncio.run(main())
    assert complaints == []
    assert seen.totals(name).count == 1


def test_a_circle_is_collected_in_peace(seen: Any, name: str, complaints: list[Any]) -> None:
    """A generator that refers to itself is finalised together with the one it wraps: only one of them is closed."""
    closed: list[str] = []

    @libperf.trace(name)
    async def circle(holder: list[Any]) -> AsyncGenerator[int, None]:
        try:
            yield len(holder)
        finally:
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            closed.append("closed")

    async def main() -> None:
        holder: list[Any] = []
        holder.append(circle(holder))
        await anext(holder[0])
        del holder
        gc.collect()
        for _ in range(10):
            await asyncio.sleep(0)

    asyncio.run(main())
    assert complaints == []
    assert closed == ["closed"]
    assert seen.counts(name) == (1, 0, 0)


def test_the_loop_knows_one_generator_only(name: str) -> None:
    """The one inside is nobody's but the traced one's, and the hooks are as they were."""
    known: list[Any] = []

    async def main() -> bool:
        import sys

        hooks = sys.get_asyncgen_hooks()

        def first(generator: Any) -> None:
            known.append(generator)
            hooks.firstiter(generator)

        sys.set_asyncgen_hooks(firstiter=first)
        generator = plain_generator(name)()
        await anext(generator)
        same = sys.get_asyncgen_hooks().firstiter is first
        sys.set_asyncgen_hooks(*hooks)
        await generator.aclose()
        return same and known == [generator]

    assert asyncio.run(main())


def test_a_generator_closed_in_another_thread(name: str) -> None:
    """A plain generator may end where it did not begin."""

    @libperf.trace(name)
    def generator() -> Generator[str, None, None]:
        with libperf.span(f"{name}.inside"):
            yield current()

    running = generator()
    next(running)
    kept: list[bool] = []

    def close() -> None:
        with libperf.span(f"{name}.thread") as mine:
            running.close()
            kept.append(current() == mine.id)

    thread = threading.Thread(target=close)
    thread.start()
    thread.join()
    assert kept == [True]
    assert not libperf.current_span()


# ---- side by side ----


def test_interleaved_generators_see_their_own_span(name: str) -> None:
    """Two generators resumed in turn never see each other's current span, nor does their consumer."""

    @libperf.trace(name)
    def generator() -> Generator[tuple[str, str], None, None]:
        outer = current()
        with libperf.span(f"{name}.inside") as mine:
            for _ in range(5):
                yield mine.id, current()
        assert current() == outer

    with libperf.span(f"{name}.main") as main:
        for one, other in zip(generator(), generator(), strict=True):
            assert one[0] == one[1]
            assert other[0] == other[1]
            assert one[0] != other[0]
            assert current() == main.id


def test_interleaved_async_generators_see_their_own_span(name: str) -> None:
    """The same for async generators in one task."""

    @libperf.trace(name)
    async def generator() -> AsyncGenerator[tuple[str, str], None]:
        with libperf.span(f"{name}.inside") as mine:
            for _ in range(5):
                await asyncio.sleep(0)
                yield mine.id, current()

    async def main() -> None:
        one, other = generator(), generator()
        with libperf.span(f"{name}.main") as mine:
            for _ in range(5):
                first, second = await anext(one), await anext(other)
                assert first[0] == first[1]
                assert second[0] == second[1]
                assert first[0] != second[0]
                assert current() == mine.id
        await one.aclose()
        await other.aclose()

    asyncio.run(main())


def test_coroutines_driven_by_hand_see_their_own_span(name: str) -> None:
    """Two coroutines resumed in turn in one context do not mix."""
    seen_inside: list[tuple[str, str]] = []

    @libperf.trace(name)
    async def coroutine() -> None:
        mine = current()
        for _ in range(3):
            await asyncio.sleep(0)
            seen_inside.append((mine, current()))

    one, other = coroutine(), coroutine()
    for _ in range(4):
        for running in (one, other):
            try:
                running.send(None)
            except StopIteration:
                assert len(seen_inside) >= 3
            assert not libperf.current_span()
    assert [mine == now for mine, now in seen_inside] == [True] * 6
    assert len({mine for mine, _ in seen_inside}) == 2


def test_a_hundred_tasks_have_the_right_parents(seen: Any, name: str) -> None:
    """gather(): each task's inner span has that task's outer span as its parent, and all have main's."""

    @libperf.trace(f"{name}.inner")
    async def inner(number: int) -> None:
        await asyncio.sleep(0)
        libperf.current_span().set(number=number)

    @libperf.trace(f"{name}.outer")
    async def outer(number: int) -> None:
        libperf.current_span().set(number=number)
        await asyncio.sleep(0)
        await inner(number)

    async def main() -> None:
        with libperf.span(f"{name}.main"):
            await asyncio.gather(*(outer(number) for number in range(100)))

    asyncio.run(main())
    outers = {span.attributes["number"]: span for span in seen.spans(f"{name}.outer")}
    inners = {span.attributes["number"]: span for span in seen.spans(f"{name}.inner")}
    assert {number: span.parent for number, span in inners.items()} == {n: span.id for n, span in outers.items()}
    assert {span.parent for span in outers.values()} == {seen.span(f"{name}.main").id}
    assert len({span.task for span in outers.values()}) == 100


def test_a_task_may_outlive_its_parent(seen: Any, name: str) -> None:
    """A span that began after its parent's end still has it as its parent."""

    async def late(go: asyncio.Event) -> None:
        await go.wait()
        with libperf.span(f"{name}.late"):
            pass

    async def main() -> None:
        go = asyncio.Event()
        with libperf.span(f"{name}.parent"):
            task = asyncio.create_task(late(go))
        go.set()
        await task

    asyncio.run(main())
    parent, child = seen.span(f"{name}.parent"), seen.span(f"{name}.late")
    assert (child.parent, child.trace_id) == (parent.id, parent.trace_id)
    assert child.start >= parent.end


def test_a_generator_may_outlive_its_parent(seen: Any, name: str) -> None:
    """The parent of a generator's span is what was current when it began to run."""

    @libperf.trace(name)
    def generator() -> Generator[None, None, None]:
        yield

    running = generator()
    with libperf.span(f"{name}.parent"):
        next(running)
    assert list(running) == []
    assert seen.span(name).parent == seen.span(f"{name}.parent").id


def test_siblings_are_no_parents(seen: Any, name: str) -> None:
    """A span opened in one task is not current in another that runs at the same time."""

    async def holds(opened: asyncio.Event, done: asyncio.Event) -> None:
        with libperf.span(f"{name}.holds"):
            opened.set()
            await done.wait()

    async def other(opened: asyncio.Event, done: asyncio.Event) -> None:
        await opened.wait()
        with libperf.span(f"{name}.other"):
            done.set()

    async def main() -> None:
        opened, done = asyncio.Event(), asyncio.Event()
        await asyncio.gather(holds(opened, done), other(opened, done))

    asyncio.run(main())
    assert seen.span(f"{name}.other").parent == 0


# ---- loops and contexts ----


def test_two_loops_in_two_threads(seen: Any, name: str) -> None:
    """Each loop's spans stay in its own tree."""
    barrier = threading.Barrier(2)

    async def work(thread: int) -> None:
        with libperf.span(f"{name}.root", thread=thread):
            for _ in range(20):
                barrier.wait(30)
                async with libperf.span(f"{name}.leaf", thread=thread):
                    await asyncio.sleep(0)

    threads = [threading.Thread(target=lambda n=n: asyncio.run(work(n))) for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    roots = {span.attributes["thread"]: span.id for span in seen.spans(f"{name}.root")}
    leaves = seen.spans(f"{name}.leaf")
    assert len(leaves) == 40
    assert [leaf.parent for leaf in leaves] == [roots[leaf.attributes["thread"]] for leaf in leaves]


def test_a_new_loop_inside_a_span(seen: Any, name: str) -> None:
    """asyncio.run() in a traced function: its spans are children, and the span is current again afterwards."""

    @libperf.trace(f"{name}.inner")
    async def inner() -> None:
        await asyncio.sleep(0)

    with libperf.span(name) as outer:
        asyncio.run(inner())
        assert current() == outer.id
    assert seen.span(f"{name}.inner").parent == seen.span(name).id


@pytest.mark.parametrize("how", ["timeout", "wait_for"])
def test_a_timeout_cancels_and_puts_back(seen: Any, name: str, how: str) -> None:
    """The span inside counts as cancelled, the one outside is current again."""

    @libperf.trace(name)
    async def hangs() -> None:
        await asyncio.Event().wait()

    async def main() -> bool:
        with libperf.span(f"{name}.outer") as outer:
            with pytest.raises(TimeoutError):
                if how == "timeout":
                    async with asyncio.timeout(0.001):
                        await hangs()
                else:
                    await asyncio.wait_for(hangs(), 0.001)
            return current() == outer.id

    assert asyncio.run(main())
    assert seen.counts(name) == (1, 0, 1)


def test_a_task_group_cancels_siblings(seen: Any, name: str) -> None:
    """The one that fails is an error, the other is cancelled."""

    @libperf.trace(f"{name}.hangs")
    async def hangs() -> None:
        await asyncio.Event().wait()

    @libperf.trace(f"{name}.fails")
    async def fails() -> None:
        await asyncio.sleep(0)
        raise LookupError

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(hangs())
            group.create_task(fails())

    with pytest.raises(ExceptionGroup):
        asyncio.run(main())
    assert (seen.counts(f"{name}.hangs"), seen.counts(f"{name}.fails")) == ((1, 0, 1), (1, 1, 0))


def test_a_copied_context_keeps_its_span(seen: Any, name: str) -> None:
    """What runs in a copy made inside a span has it as its parent, also after its end, and changes nothing outside."""
    with libperf.span(name):
        context = contextvars.copy_context()

    @libperf.trace(f"{name}.child")
    def child() -> None: ...

    context.run(child)
    assert not libperf.current_span()
    assert seen.span(f"{name}.child").parent == seen.span(name).id


def test_a_span_ended_in_another_context(name: str) -> None:
    """__exit__ in a context where the span is not current leaves that one's alone."""
    inside = libperf.span(name)
    context = contextvars.copy_context()
    context.run(inside.__enter__)
    with libperf.span(f"{name}.outer") as outer:
        inside.__exit__(None, None, None)
        assert current() == outer.id


def test_spans_ended_in_the_wrong_order(seen: Any, name: str) -> None:
    """Both are recorded, and none stays current in the end."""

    def crossed() -> str:
        first, second = libperf.span(f"{name}.first"), libperf.span(f"{name}.second")
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        still = current() == second.id
        second.__exit__(None, None, None)
        return "second" if still else "other"

    assert contextvars.copy_context().run(crossed) == "second"
    assert (seen.totals(f"{name}.first").count, seen.totals(f"{name}.second").count) == (1, 1)


def test_tasks_have_numbers(seen: Any, name: str) -> None:
    """Spans of one task carry the same number, other tasks' another, and 0 stands for none."""

    async def twice() -> None:
        for _ in range(2):
            with libperf.span(name):
                await asyncio.sleep(0)

    async def main() -> None:
        first: Awaitable[None] = asyncio.create_task(twice())
        second: Awaitable[None] = asyncio.create_task(twice())
        await first
        await second

    asyncio.run(main())
    with libperf.span(name):
        pass
    tasks = [span.task for span in seen.spans(name)]
    assert sorted(tasks.count(task) for task in set(tasks)) == [1, 2, 2]
    assert tasks[-1] == 0


def test_asyncio_may_be_half_imported(monkeypatch: pytest.MonkeyPatch, name: str, seen: Any) -> None:
    """While another thread is importing asyncio, spans are recorded, in no task."""
    import sys
    import types

    monkeypatch.setitem(sys.modules, "asyncio", types.ModuleType("asyncio"))
    with libperf.span(name):
        pass
    assert seen.span(name).task == 0
