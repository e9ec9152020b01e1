"""Objectives: every call of this process is judged exactly, budgets burn, alerts come once and end."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import libperf
from libperf import slo as module
from libperf.slo import SLO, BurnAlert, find_objectives

MONTH_OF_WAITING = 1e9  # a limit that no call of a test reaches


@pytest.fixture
def make(name: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., SLO]]:
    """Makes an objective for the operation `name`; the thread that looks does not."""
    monkeypatch.setattr(module, "_watch", lambda: None)
    made: list[SLO] = []

    def make(operation: str = name, /, **settings: Any) -> SLO:
        made.append(SLO(operation, **settings))
        return made[-1]

    yield make
    for each in made:
        each.close()


def call(name: str, count: int = 1, *, fail: bool = False, kind: str = "span") -> None:
    for _ in range(count):
        try:
            with libperf.span(name, kind=kind):
                if fail:
                    raise KeyError
        except KeyError:
            pass


# ---- which calls are good ----


def test_in_time_and_without_an_error(make: Callable[..., SLO], name: str) -> None:
    """Good; an error is bad, whatever it took."""
    slo = make(latency=MONTH_OF_WAITING, objective=0.9)
    call(name, 7)
    call(name, 3, fail=True)
    status = slo.status()
    assert (status.calls, status.bad, status.good) == (10, 3, 0.7)
    assert status.budget == pytest.approx(-2)
    assert (status.name, status.objective, status.latency) == (name, 0.9, MONTH_OF_WAITING)


def test_too_long_is_bad(make: Callable[..., SLO], name: str) -> None:
    """Longer than no time at all is every call."""
    slo = make(latency=0)
    call(name, 4)
    assert (slo.status().calls, slo.status().bad) == (4, 4)


def test_without_a_latency_only_errors_are_bad(make: Callable[..., SLO], name: str) -> None:
    """However long it takes."""
    slo = make()
    call(name, 4)
    call(name, 1, fail=True)
    assert (slo.status().calls, slo.status().bad) == (5, 1)


def test_no_call_says_nothing(make: Callable[..., SLO]) -> None:
    """Neither good nor bad."""
    status = make().status()
    assert (status.calls, status.good, status.budget, status.alerting) == (0, None, None, False)


def test_a_cancelled_call_is_no_call(make: Callable[..., SLO], name: str) -> None:
    """Its caller went away; one that a time limit ended was too late."""
    patient, strict = make(latency=MONTH_OF_WAITING), make(latency=0, name=f"{name}.strict")

    @libperf.trace(name)
    async def forever() -> None:
        await asyncio.get_running_loop().create_future()

    async def cancelled() -> None:
        task = asyncio.ensure_future(forever())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])

    asyncio.run(cancelled())
    assert (patient.status().calls, strict.status().calls, strict.status().bad) == (0, 1, 1)


@pytest.mark.parametrize("kind", ["span", "llm", "tool", "request"])
def test_only_operations_of_its_kind(make: Callable[..., SLO], name: str, kind: str) -> None:
    """A model and a function may have the same name."""
    slo = make(kind=kind)
    for each in ("span", "llm", "tool", "request"):
        call(name, 1 + (each == kind), kind=each)
    assert slo.status().calls == 2


@pytest.mark.parametrize("form", ["def", "async def", "generator", "async generator"])
def test_every_kind_of_function(make: Callable[..., SLO], name: str, form: str) -> None:
    """Whatever traces it."""
    slo = make(latency=0)

    async def coroutine() -> None: ...
    def generator() -> Iterator[int]:
        yield 1

    async def async_generator() -> Any:
        yield 1

    async def main() -> None:
        if form == "def":
            libperf.trace(name)(lambda: None)()
        elif form == "async def":
            await libperf.trace(name)(coroutine)()
        elif form == "generator":
            list(libperf.trace(name)(generator)())
        else:
            async for _ in libperf.trace(name)(async_generator)():
                pass

    asyncio.run(main())
    assert (slo.status().calls, slo.status().bad) == (1, 1)


def test_calls_before_it_was_made_do_not_count(make: Callable[..., SLO], name: str) -> None:
    """Nor those after close(); a new one begins at zero."""
    call(name, 5)
    slo = make()
    call(name, 3)
    assert slo.status().calls == 3
    slo.close()
    slo.close()
    call(name, 2)
    assert slo.status().calls == 3
    assert make().status().calls == 0


def test_many_threads(make: Callable[..., SLO], name: str) -> None:
    """Nothing is lost, and bad ones are never more than all."""
    slo = make(latency=0)

    def work() -> None:
        for _ in range(500):
            call(name)
            status = slo.status()
            assert status.bad <= status.calls

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (slo.status().calls, slo.status().bad) == (3000, 3000)


# ---- alerts ----


def test_an_alert_comes_once_and_again_after_it_was_calm(make: Callable[..., SLO], name: str, caplog: Any) -> None:
    """Logged, told, with what it rests on; time is passed in."""
    slo = make(objective=0.99)
    told: list[BurnAlert] = []
    take_back = slo.on_alert(told.append)
    slo._rates = module.BurnRates(0.99)
    slo._rates.observe_at(0, 0, 0)
    call(name, 200, fail=True)
    alerts = slo.check(now=60)
    assert [alert.factor for alert in alerts] == [14.4, 6, 1]
    assert told == alerts
    assert (alerts[0].name, alerts[0].calls, alerts[0].bad) == (name, 200, 200)
    assert (alerts[0].long_burn, alerts[0].long_window, alerts[0].short_window) == (pytest.approx(100), 3600, 300)
    assert len(caplog.records) == 3
    assert caplog.messages[0] == (
        f"objective {name}: 200 of 200 calls were bad, the budget burns 100.0 times too fast over 1 h and 100.0 times over 5 min"
    )
    assert slo.check(now=70) == []
    assert slo.status(now=70).alerting
    assert slo.check(now=8 * 86400) == slo.check(now=9 * 86400) == []
    assert not slo.status(now=9 * 86400).alerting
    call(name, 200, fail=True)
    assert len(slo.check(now=9 * 86400 + 10)) == 3
    take_back()
    assert len(told) == 6


def test_a_callback_that_raises_is_logged(make: Callable[..., SLO], name: str, caplog: Any) -> None:
    """The others are told."""
    slo, told = make(objective=0.5, min_calls=1), []
    slo.on_alert(lambda alert: 1 / 0)
    slo.on_alert(told.append)
    slo._rates.pairs = slo._rates.pairs[2:]
    call(name, 5, fail=True)
    assert len(slo.check()) == len(told) == 1
    assert "ZeroDivisionError" in caplog.text


def test_the_thread_looks(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """By itself, every so often; it is one, and a daemon."""
    monkeypatch.setattr(module, "INTERVAL", 0.01)
    monkeypatch.setattr(module, "_thread", None)
    came = threading.Event()
    slo = SLO(name, objective=0.5, min_calls=1)
    other = SLO(f"{name}.other")
    slo.on_alert(lambda alert: came.set())
    call(name, 5, fail=True)
    assert came.wait(60)
    threads = [thread for thread in threading.enumerate() if thread.name == "libperf-slo"]
    assert module._thread in threads and all(thread.daemon for thread in threads)
    slo.close()
    other.close()


FORK = """
import os, sys, libperf
slo = libperf.SLO("work", latency=1e6)
def work(count):
    for _ in range(count):
        with libperf.span("work"): pass
work(5)
if os.fork() == 0:
    import threading
    work(2)
    print(slo.status().calls, [t.name for t in threading.enumerate() if t.name == "libperf-slo"], flush=True)
    with libperf.Reader() as reader:
        names = {name.text: reader.totals(name) for name in reader.names}
    print(names["slo.work.calls"].value, names["slo.work.objective"].gauge, flush=True)
    os._exit(0)
os.wait()
work(1)
print(slo.status().calls)
"""


def test_a_forked_child(run: Callable[..., Any]) -> None:
    """Counts from zero, in a segment of its own, and looks by itself."""
    answer = run(FORK, PYTHONWARNINGS="ignore::DeprecationWarning")  # from 3.12 on: of a fork beside threads
    assert (answer.stderr, answer.stdout) == ("", "2 ['libperf-slo']\n2 0.99\n6\n")


def test_a_program_ends_with_it(run: Callable[..., Any]) -> None:
    """The thread keeps nobody alive."""
    answer = run("import libperf; libperf.SLO('x'); print('done')")
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, "done\n", "")


# ---- what others see ----


def test_readers_see_it(make: Callable[..., SLO], name: str, seen: Any) -> None:
    """As counters and gauges of the segment."""
    make(latency=MONTH_OF_WAITING, objective=0.75)
    call(name, 3, fail=True)
    kinds = libperf.Kind
    assert seen.totals(f"slo.{name}.calls", kinds.COUNTER).value == 3
    assert seen.totals(f"slo.{name}.bad", kinds.COUNTER).value == 3
    assert seen.totals(f"slo.{name}.limit", kinds.GAUGE).gauge == MONTH_OF_WAITING
    assert seen.totals(f"slo.{name}.objective", kinds.GAUGE).gauge == 0.75


def test_objectives_of_series() -> None:
    """By name; damaged ones are left out."""
    counters = {"slo.a.b.calls": 9, "slo.a.b.bad": 2, "slo.torn.calls": 1, "slo.torn.bad": 5, "slo.none.calls": 1}
    gauges = {"slo.a.b.objective": 0.9, "slo.a.b.limit": 0.5, "slo.torn.objective": 0.5, "slo.odd.objective": 7.0}
    assert find_objectives(counters, gauges) == [("a.b", 9, 2, 0.9, 0.5), ("torn", 1, 1, 0.5, None)]


# ---- bad input ----


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"objective": 0}, "objective=0 is no share"),
        ({"objective": 1}, "objective=1"),
        ({"objective": 99}, "objective=99"),
        ({"objective": "0.9"}, "objective='0.9'"),
        ({"objective": float("nan")}, "objective=nan"),
        ({"latency": -1}, "latency=-1 is not a number of seconds"),
        ({"latency": "1"}, "latency='1'"),
        ({"kind": "counter"}, "kind='counter'"),
        ({"min_calls": 0}, "min_calls=0"),
        ({"name": ""}, "'' is no name"),
        ({"name": "x" * 181}, "x is no name|no name of an objective"),
    ],
)
def test_what_is_wrong_is_named(make: Callable[..., SLO], settings: dict[str, Any], words: str) -> None:
    """ValueError, and nothing is left behind."""
    with pytest.raises(ValueError, match=words):
        make(**settings)
    make()


def test_two_of_one_name(make: Callable[..., SLO], name: str) -> None:
    """Are an error that says what to do, unless they are the same: then callbacks go on."""
    told: list[Any] = []
    first = make(latency=1)
    first.on_alert(told.append)
    with pytest.raises(ValueError, match="give this one another name="):
        make(latency=2)
    again = make(latency=1, min_calls=1)
    again._rates.pairs = again._rates.pairs[2:]
    first.close()  # is no longer the one
    call(name, 500, fail=True)
    assert again.check() == told != []
    assert make(latency=2, name=f"{name}.two").status().calls == 0


def test_too_many() -> None:
    """FullError says how many there may be; what failed is forgotten."""
    code = """
import libperf
for i in range(256): libperf.SLO("x", name=f"x{i}")
try: libperf.SLO("x", name="more")
except libperf.errors.FullError as error: print(error)
libperf.SLO("x", name="x0")
"""
    done = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True, timeout=60)
    assert (done.stderr, done.stdout) == ("", "SLO('x'): there are 256 objectives already\n")


def test_what_it_looks_like(make: Callable[..., SLO], name: str) -> None:
    """In a debugger."""
    assert repr(make(latency=0.5)) == f"<libperf.SLO {name!r} latency=0.5 objective=0.99>"
