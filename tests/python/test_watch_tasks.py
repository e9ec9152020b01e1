"""Events of tasks, callbacks and timers: what the schedulers of a small program did."""

from __future__ import annotations

import asyncio
import contextvars
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any

import pytest

import libperf
import libperf.langchain
from libperf import handles
from libperf.context import get_current
from libperf.names import Kind, intern
from support_events import Events, record


def run(main: Callable[[], Any]) -> Events:
    return record(lambda: asyncio.run(main()))


def test_a_sleep_is_a_timer_that_resolves_a_future() -> None:
    """AWAIT, SUSPEND, the timer's RUN, RESOLVE, END, and the task's RUN: all about one future."""

    async def main() -> None:
        await asyncio.sleep(0.001)

    events = run(main)
    timer = events.one("TIMER")
    awaited = events.by(timer.actor).of("AWAIT")[0].key
    after = events[events.index(timer) + 1 :]
    assert [(e.code, e.key) for e in after[:7]] == [
        ("AWAIT", awaited),
        ("SUSPEND", awaited),
        ("SELECT", 0),
        ("RUN", timer.key),
        ("RESOLVE", awaited),
        ("END", timer.key),
        ("RUN", timer.actor),
    ]
    assert events.one("RUN", key=timer.key).kind == "timer"
    assert 0 < events.one("RUN", key=timer.key).time - timer.more < 10**9


def test_tasks_are_spawned_run_and_end() -> None:
    """Each task: SPAWN by its parent, a RUN and SUSPEND a step, one END; gather's callbacks are one group."""

    async def child() -> None:
        await asyncio.sleep(0)

    async def main() -> None:
        await asyncio.gather(child(), child())

    events = run(main)
    main_task = events.of("HOST")[0].key
    children = [e.key for e in events.of("SPAWN") if e.actor == main_task and not e.more][:2]
    for key in children:
        assert events.by(key).codes() == ["RUN", "SUSPEND", "RUN", "SPAWN", "END"]
        assert {e.kind for e in events.by(key)} == {"task"}
        assert [e.key for e in events.by(key).of("SUSPEND")] == [0]
        assert {e.more for e in events.by(key).of("RUN")} == {events.of("HOST")[0].more}
    done = [events.by(key).one("SPAWN") for key in children]
    assert [e.more for e in done] == children
    assert done[0].arg == done[1].arg != 0
    assert [events.one("RUN", key=e.key).kind for e in done] == ["callback", "callback"]


def test_a_finished_future_that_is_awaited() -> None:
    """Nothing suspends, but AWAIT says what was needed (without it the awaiter would overtake)."""

    async def main() -> None:
        future = asyncio.get_running_loop().create_future()
        future.set_result(1)
        task = asyncio.ensure_future(asyncio.sleep(0))
        await asyncio.sleep(0.001)
        assert task.done()
        await task
        await future

    events = run(main)
    host = events.of("HOST")[0].key
    resolved = events.by(host).of("RESOLVE")[0].key
    task = events.by(host).of("SPAWN")[0].key
    assert [e.key for e in events.by(host).of("AWAIT")][1:] == [task, resolved]


def test_gather_is_awaited_and_resolved() -> None:
    """Its future is one of its own class, that the loop has not made; that it is finished already changes nothing."""

    async def main() -> None:
        tasks = [asyncio.ensure_future(asyncio.sleep(0)) for _ in range(2)]
        await asyncio.sleep(0.001)
        gathered = asyncio.gather(*tasks)
        await asyncio.sleep(0.001)
        assert gathered.done()
        await gathered

    events = run(main)
    awaited = events.by(events.of("HOST")[0].key).of("AWAIT")[-1].key
    resolved = [e for e in events.of("RESOLVE") if e.key == awaited]
    assert len(resolved) == 1  # by a callback; since Python 3.12 by gather() itself


def test_a_group_waits_for_all_of_its_tasks() -> None:
    """Those that have finished included."""

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            quick = group.create_task(asyncio.sleep(0))
            group.create_task(asyncio.sleep(0.002))
            await asyncio.sleep(0.001)
            assert quick.done()

    events = run(main)
    host = events.of("HOST")[0].key
    tasks = [e.key for e in events.by(host).of("SPAWN") if not e.more]
    assert [e.key for e in events.by(host).of("AWAIT")][1:3] == tasks[:2]


def test_a_callback_that_resolves_its_argument_does_not_wait_for_it() -> None:
    """call_soon(set_state, future): the first argument counts only when it is done."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        first, second = loop.create_future(), loop.create_future()
        second.set_result(0)
        loop.call_soon(lambda future: future.set_result(1), first)
        loop.call_soon(lambda future: None, second)
        await first

    events = run(main)
    spawned = events.by(events.of("HOST")[0].key).of("SPAWN")
    assert [(bool(e.more), bool(e.arg)) for e in spawned][:2] == [(False, False), (True, True)]
    assert spawned[1].more == events.of("RESOLVE")[0].key


def test_callbacks_from_other_threads_have_their_actor_at_once() -> None:
    """The loop may run the handle before call_soon_threadsafe returns: none of 200 is taken for the selector's."""

    async def main() -> None:
        loop, done = asyncio.get_running_loop(), asyncio.Event()

        def other() -> None:
            for _ in range(200):
                loop.call_soon_threadsafe(int)
            loop.call_soon_threadsafe(done.set)

        thread = threading.Thread(target=other)
        thread.start()
        await done.wait()
        thread.join()

    events = run(main)
    (thread,) = {e.actor for e in events if e.kind == "thread" and e.code == "SPAWN"} & {
        e.key for e in events.of("SPAWN")
    }
    spawned = [e.key for e in events.by(thread).of("SPAWN")]
    assert len(spawned) == 201
    assert {events.one("RUN", key=key).kind for key in spawned} == {"callback"}


def test_the_selector_makes_actors_of_their_own() -> None:
    """A socket's reader runs as "io", each time as another actor; SELECT says since when the loop waited."""

    async def main() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(await reader.readline())
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
        writer.write(b"hello\n")
        assert await reader.readline() == b"hello\n"
        writer.close()
        server.close()

    events = run(main)
    io = [e.key for e in events.of("RUN") if e.kind == "io"]
    assert len(io) == len(set(io)) >= 3
    assert all(0 < e.more <= e.time for e in events.of("SELECT"))


@pytest.mark.parametrize("how", ["wait_for", "timeout", "cancel", "sleep"])
def test_time_limits_are_told_from_timers(how: str) -> None:
    """Nobody waits for a limit that is not reached."""

    async def main() -> None:
        if how == "wait_for":
            await asyncio.wait_for(asyncio.sleep(0), 9)
        elif how == "timeout":
            async with asyncio.timeout(9):
                await asyncio.sleep(0)
        elif how == "cancel":
            asyncio.get_running_loop().call_later(9, asyncio.ensure_future(asyncio.sleep(0)).cancel)
        else:
            await asyncio.sleep(0.001)

    assert [e.arg for e in run(main).of("TIMER")] == [how != "sleep"]


def test_cancelling() -> None:
    """CANCEL of the task by who asked, RESOLVE of what it waited for, and its END; a second one changes nothing."""

    async def main() -> None:
        task = asyncio.ensure_future(asyncio.sleep(9))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        task.cancel()

    events = run(main)
    cancel = events.one("CANCEL")
    awaited = events.by(cancel.key).one("SUSPEND").key
    codes = [(e.code, e.key) for e in events if e.time >= cancel.time][:4]
    assert codes == [
        ("CANCEL", cancel.key),
        ("RESOLVE", awaited),
        ("AWAIT", cancel.key),
        ("SUSPEND", cancel.key),
    ]
    assert events.by(cancel.key).codes()[-1] == "END"


def test_plain_futures_are_resolved_by_their_wake_up() -> None:
    """asyncio.Future() is C and not ours: the task's wake-up says that it is done."""

    async def main() -> None:
        future: asyncio.Future[int] = asyncio.Future()
        asyncio.get_running_loop().call_soon(future.set_result, 1)
        await future

    events = run(main)
    host = events.of("HOST")[0].key
    awaited = events.by(host).of("SUSPEND")[0].key
    assert awaited in [e.key for e in events.of("RESOLVE")]


def test_tasks_of_other_factories() -> None:
    """A program's own factory makes its own tasks; they are seen all the same."""

    class Own(asyncio.Task):  # type: ignore[type-arg]
        pass

    async def main() -> None:
        asyncio.get_running_loop().set_task_factory(lambda loop, coro, **more: Own(coro, loop=loop, **more))
        task = asyncio.create_task(asyncio.sleep(0.001))
        assert type(task) is Own
        await task

    events = run(main)
    key = events.by(events.of("HOST")[0].key).of("SPAWN")[0].key
    assert events.by(key).codes() == ["RUN", "TIMER", "AWAIT", "SUSPEND", "RUN", "RESOLVE", "END"]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks are new in Python 3.12")
def test_eager_tasks_run_inside_of_their_parents() -> None:
    """The first step is a RUN on top of the parent's; one that never waits has ended after it."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined, unused-ignore]
        await asyncio.create_task(asyncio.sleep(0.001))
        await asyncio.create_task(asyncio.sleep(-1))

    events = run(main)
    host = events.of("HOST")[0].key
    first, second = [e.key for e in events.by(host).of("SPAWN") if not e.more][:2]
    assert events.by(first).codes("SPAWN") == ["RUN", "TIMER", "AWAIT", "SUSPEND", "RUN", "END"]
    assert events.by(second).codes()[:1] == ["RUN"]
    assert {e.kind for e in events.by(first)} == {"task"}


def test_errors_in_callbacks_end_them() -> None:
    """The actor ends; asyncio's handler is told the same as ever: message, handle, traceback."""

    def fail(number: int) -> float:
        return 1 / number

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda loop, context: told.append(context))
        handles.append(loop.call_soon(fail, 0))
        await asyncio.sleep(0)

    told: list[dict[str, Any]] = []
    handles: list[asyncio.Handle] = []
    asyncio.run(main())
    events = run(main)
    shown = [(c["message"], "".join(traceback.format_exception(c["exception"]))) for c in told]
    assert shown[0] == shown[1]
    assert "fail" in shown[0][0]
    assert [context["handle"] for context in told] == handles
    key = events.by(events.of("HOST")[0].key).of("SPAWN")[0].key
    assert events.by(key).codes() == ["RUN", "END"]


def test_arguments_of_callbacks() -> None:
    """However many, and a context of one's own, which is the callback's."""
    variable: contextvars.ContextVar[int] = contextvars.ContextVar("variable")
    context = contextvars.Context()
    context.run(variable.set, 7)
    seen: list[tuple[int, ...]] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.call_soon(lambda *numbers: seen.append((variable.get(), *numbers)), *range(20), context=context)
        loop.call_later(0, lambda *numbers: seen.append(numbers), *range(20))
        with pytest.raises(TypeError):
            loop.call_soon()  # type: ignore[call-arg]
        with pytest.raises(TypeError):
            loop.call_at(None, int)  # type: ignore[arg-type]
        await asyncio.sleep(0.001)

    run(main)
    assert seen == [(7, *range(20)), tuple(range(20))]


def test_what_ends_the_loop_ends_its_actors() -> None:
    """SystemExit goes through; RUN and END stay in pairs."""

    async def main() -> None:
        raise SystemExit(3)

    def program() -> None:
        with pytest.raises(SystemExit):
            asyncio.run(main())

    events = record(program)
    assert len(events.of("RUN")) == len(events.of("SUSPEND", "END"))
    assert len(events.of("HOST")) == len(events.of("HOSTED"))


def test_labels(name: str) -> None:
    """Time in a traced coroutine is labelled with its span, also the wait: what is put back is told before."""

    @libperf.trace(name)
    async def work() -> None:
        await asyncio.sleep(0.001)

    async def main() -> None:
        await work()

    events = run(main)
    host = events.of("HOST")[0].key
    mine = [e for e in events.by(host) if e.code != "RUN"]
    labels = [(e.code, e.span) for e in mine]
    assert labels[:6] == [
        ("SPAN_BEGIN", ""),
        ("LABEL", ""),
        ("TIMER", name),
        ("AWAIT", name),
        ("LABEL", name),
        ("SUSPEND", name),
    ]
    assert labels[6:9] == [("LABEL", ""), ("LABEL", name), ("SPAN_END", name)]


def test_handles_run_in_their_own_context(name: str) -> None:
    """A task that nobody traces has the span that was current where it was made."""

    async def main() -> None:
        with libperf.span(name):
            task = asyncio.create_task(asyncio.sleep(0.001))
        await task

    events = run(main)
    key = events.by(events.of("HOST")[0].key).of("SPAWN")[0].key
    assert {e.span for e in events.by(key)} == {name}


def test_handles_that_become_other_spans(name: str) -> None:
    """LangChain tells the end of a run in another task: the handle that is current becomes the outer span."""

    async def main() -> None:
        with libperf.span(f"{name}.outer"):
            outer = get_current()
            node = libperf.langchain._Run(handles.begin(intern(Kind.NODE, f"{name}.node"), outer), True)
            node.make_current(outer)
            await asyncio.sleep(0)
            await asyncio.create_task(end(node), context=contextvars.Context())
            await asyncio.sleep(0)

    async def end(node: libperf.langchain._Run) -> None:
        node.put_back()
        handles.end(node.handle)

    events = run(main)
    host = events.of("HOST")[0].key
    assert [e.span for e in events.by(host).of("SUSPEND")] == [f"{name}.node", f"{name}.node", f"{name}.outer"]


def test_a_loop_that_is_stopped() -> None:
    """run_forever() lends the thread until somebody calls stop()."""

    def program() -> None:
        loop = asyncio.new_event_loop()
        loop.call_soon(loop.stop)
        loop.run_forever()
        loop.close()

    events = record(program)
    host = events.one("HOST")
    assert (host.kind, events.one("RESOLVE").key) == ("main", host.key)
    assert events.codes("THREAD", "IMPORT", "IMPORTED") == ["SPAWN", "HOST", "RUN", "RESOLVE", "END", "HOSTED"]


def test_two_loops_in_two_threads() -> None:
    """Each thread's actors are its own, and name their loop."""

    async def main() -> None:
        await asyncio.gather(asyncio.sleep(0.001), asyncio.sleep(0.001))

    def work() -> None:
        both.wait()
        asyncio.run(main())
        both.wait()

    both = threading.Barrier(2)

    def program() -> None:
        threads = [threading.Thread(target=work) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    events = record(program)
    hosts = [e for e in events.of("HOST") if len(events.by(e.key)) > 6]
    assert len({e.more for e in hosts}) == len({e.block for e in hosts}) == 2
    for host in hosts:
        tasks = {e.key for e in events.of("RUN") if e.more == host.more}
        assert {e.block for e in events if e.actor in tasks} == {host.block}
    assert len(events.of("RUN")) == len(events.of("SUSPEND", "END")) - 2  # the threads' own ends


def test_an_event_that_was_set() -> None:
    """Waiting for it takes no time, but needed whoever set it."""

    async def main() -> None:
        event = asyncio.Event()
        event.set()
        await event.wait()

    events = run(main)
    assert events.of("RESOLVE")[0].key == events.of("AWAIT")[0].key
