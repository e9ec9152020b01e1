"""What actors did, told from events written by hand."""

from __future__ import annotations

from libperf._core import lib
from libperf.events import ActorKind, Code
from libperf.html.actors import read_history
from libperf.names import Kind
from support_html import LOOP, MAIN, Recording

TASK, OTHER, TIMER, CALLBACK, IO, WORK = 10, 11, 20, 21, 22, 23
FUTURE, RESOURCE, SPAN = 30, 40, 50


def started() -> Recording:
    """The main thread makes a task and lends itself to a loop, where the task runs in a span from 1 ms on."""
    recording = Recording()
    recording(0, Code.SPAWN, TASK)
    recording(1, Code.HOST, TASK, more=LOOP)
    recording.run(1, TASK)
    recording(1, Code.SPAN_BEGIN, SPAN, arg=recording.name("fetch"))
    return recording


def test_a_task_waits_for_a_timer_until_it_is_due() -> None:
    recording = started()
    recording(2, Code.TIMER, TIMER, more=5, span=SPAN)
    recording(2, Code.SUSPEND, FUTURE, span=SPAN)
    recording(5.2, Code.SELECT, more=2)
    recording.run(5.2, TIMER, ActorKind.TIMER)
    recording(5.2, Code.RESOLVE, FUTURE)
    recording(5.2, Code.END)
    recording.run(5.3, TASK)
    recording(6, Code.END, span=SPAN)
    assert recording.pieces(TASK) == [
        (0, 1, "LAG", "", ""),
        (1, 2, "RUN", "fetch", ""),
        (2, 5.3, "OUTSIDE", "fetch", "a timer"),
        (5.3, 6, "RUN", "fetch", ""),
    ]


def test_a_loop_that_is_busy_when_a_timer_is_due_is_what_the_task_waits_for() -> None:
    recording = started()
    recording(2, Code.TIMER, TIMER, more=5)
    recording(2, Code.SUSPEND, FUTURE, span=SPAN)
    recording.run(2, OTHER)
    recording(9, Code.END)
    recording(9, Code.SELECT, more=9)  # it has no need to wait: the timer is late
    recording.run(9, TIMER, ActorKind.TIMER)
    recording(9, Code.RESOLVE, FUTURE)
    recording(9, Code.END)
    recording.run(9, TASK)
    assert recording.pieces(TASK)[-2:] == [
        (2, 5, "OUTSIDE", "fetch", "a timer"),
        (5, 9, "LAG", "fetch", ""),
    ]


def test_a_task_waits_for_another_through_callbacks() -> None:
    """As in asyncio.gather(): the other's end makes a callback ready, which resolves what the task awaits."""
    recording = started()
    recording(2, Code.SPAWN, OTHER, span=SPAN)
    recording(2, Code.SUSPEND, FUTURE, span=SPAN)
    recording.run(3, OTHER)
    recording(3, Code.SPAN_BEGIN, SPAN + 1, more=SPAN, arg=recording.name("parse"))
    recording(7, Code.SPAWN, CALLBACK, span=SPAN + 1)
    recording(7, Code.END)
    recording.run(7, CALLBACK, ActorKind.CALLBACK)
    recording(7, Code.RESOLVE, FUTURE)
    recording(7, Code.END)
    recording.run(7, TASK)
    assert recording.pieces(TASK)[-1] == (2, 7, "OTHER", "fetch", "parse")


def test_what_the_selector_makes_ready_is_outside() -> None:
    recording = started()
    recording(2, Code.SUSPEND, FUTURE, span=SPAN)
    recording(6, Code.SELECT, more=2)
    recording.run(6, IO, ActorKind.IO)
    recording(6, Code.RESOLVE, FUTURE)
    recording(6, Code.END)
    recording.run(6, TASK)
    assert recording.pieces(TASK)[-1] == (2, 6, "OUTSIDE", "fetch", "I/O")


def test_a_task_waits_for_a_semaphore_and_then_for_its_loop() -> None:
    recording = started()
    name = recording.name("api", Kind.TEXT)
    recording(2, Code.RESOURCE, RESOURCE, arg=name, more=lib.PERF_RESOURCE_SEMAPHORE | 2 << 8)
    recording(2, Code.ACQUIRE, RESOURCE, span=SPAN)
    recording(2, Code.SUSPEND, FUTURE, span=SPAN)
    recording.run(2, OTHER)
    recording(6, Code.RELEASE, RESOURCE)
    recording(6, Code.RESOLVE, FUTURE)
    recording(9, Code.END)
    recording.run(9, TASK)
    recording(9, Code.ACQUIRED, RESOURCE, span=SPAN)
    recording(10, Code.SUSPEND, 0, span=SPAN)
    assert recording.pieces(TASK)[2:] == [
        (2, 6, "RESOURCE", "fetch", "semaphore api"),
        (6, 9, "LAG", "fetch", ""),
        (9, 10, "RUN", "fetch", ""),
    ]


def test_a_semaphore_that_is_free_is_no_wait() -> None:
    recording = started()
    recording(2, Code.ACQUIRE, RESOURCE, span=SPAN)
    recording(2.05, Code.ACQUIRED, RESOURCE, span=SPAN)
    recording(3, Code.END, span=SPAN)
    assert [piece[2] for piece in recording.pieces(TASK)] == ["LAG", "RUN"]


def test_work_waits_for_a_thread_of_its_executor() -> None:
    recording = started()
    recording(1, Code.RESOURCE, RESOURCE, arg=recording.name("pool"), more=lib.PERF_RESOURCE_EXECUTOR | 1 << 8)
    recording(2, Code.SUBMIT, WORK, more=RESOURCE, span=SPAN)
    recording(2, Code.THREAD, 3, arg=ActorKind.THREAD, block=1)
    recording.run(8, WORK, ActorKind.WORK, span=SPAN, block=1)
    recording(9, Code.END, span=SPAN, block=1)
    assert recording.pieces(WORK) == [
        (2, 8, "RESOURCE", "fetch", "a free thread of executor pool"),
        (8, 9, "RUN", "fetch", ""),
    ]


def test_time_without_cpu_is_blocked_or_the_interpreters() -> None:
    """It was blocked from 2 to 12 ms; from 12 to 22 ms another thread used the CPU."""
    recording = started()
    recording(2, Code.LABEL, cpu=1)
    recording(12, Code.LABEL, span=SPAN, cpu=1)
    recording(22, Code.LABEL, cpu=4)
    recording(22, Code.END)
    recording(12, Code.THREAD, 3, arg=ActorKind.THREAD, block=1, cpu=5)
    recording(22, Code.LABEL, block=1, cpu=12)
    assert recording.pieces(TASK)[-3:] == [
        (2, 12, "BLOCKED", "fetch", "a blocking call, or no free CPU"),
        (12, 22, "RUN", "", ""),
        (12, 22, "INTERPRETER", "", ""),
    ]
    history = recording.history()
    assert [ring.is_pool for ring in history.rings] == [False, False]


def test_the_parts_of_a_piece_without_order_fill_the_lane() -> None:
    from libperf.html.explain import Explainer

    recording = started()
    recording(2, Code.LABEL, cpu=1)
    recording(12, Code.LABEL, cpu=4, span=SPAN)
    history = recording.history()
    *_, ran, blocked = Explainer(history, recording.names).pieces(history.actors[TASK])
    assert (ran.part, blocked.part) == (30, -70)


def test_a_thread_sleeps_waits_and_imports() -> None:
    recording = Recording()
    recording(0, Code.SPAN_BEGIN, SPAN, arg=recording.name("serve"))
    recording(1, Code.SLEEP, span=SPAN)
    recording(3, Code.SLEPT, span=SPAN)
    recording(3, Code.THREAD, 3, arg=ActorKind.THREAD, block=1)
    recording(5, Code.RESOLVE, FUTURE, block=1)
    recording(3, Code.WAIT_FOR, FUTURE, span=SPAN)
    recording(3, Code.WAIT, span=SPAN)
    recording(5, Code.WAITED, span=SPAN)
    recording(5, Code.IMPORT, arg=recording.name("json"), span=SPAN)
    recording(5, Code.IMPORT, arg=recording.name("json.decoder"), span=SPAN)
    recording(6, Code.IMPORTED, span=SPAN)
    recording(7, Code.IMPORTED, span=SPAN)
    assert recording.pieces(MAIN) == [
        (0, 1, "RUN", "serve", ""),
        (1, 3, "BLOCKED", "serve", "time.sleep()"),
        (3, 5, "OTHER", "serve", "thread 1"),
        (5, 7, "RUN", "serve", "import json"),
    ]


def test_a_thread_that_runs_a_loop_is_not_running_itself() -> None:
    recording = started()
    recording(2, Code.END)
    recording(5, Code.SELECT, more=2)
    recording(6, Code.HOSTED)
    recording(7, Code.LABEL)
    assert recording.pieces(MAIN) == [(0, 1, "RUN", "", ""), (6, 7, "RUN", "", "")]


def test_what_nobody_resolved_is_not_known() -> None:
    recording = started()
    recording(2, Code.SUSPEND, FUTURE, span=SPAN)
    recording.run(5, TASK)
    assert recording.pieces(TASK)[-1] == (2, 5, "UNKNOWN", "fetch", "something that was not recorded")


def test_a_ring_whose_beginning_is_lost_and_codes_from_the_future_are_read() -> None:
    recording = Recording()
    recording.events.clear()
    recording.run(1, TASK)
    recording.events.append(recording.events[0]._replace(code=999))
    recording(2, Code.END)
    recording(3, Code.END)  # nobody is left to leave
    assert recording.pieces(TASK) == [(1, 2, "RUN", "", "")]


def test_nothing_is_a_history_too() -> None:
    assert read_history([]).actors == {}
