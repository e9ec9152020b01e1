"""The class of a finding: what is beyond a threshold belongs to it, what is exactly at it does not."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from libperf.analysis import Label, Resource, classes
from libperf.analysis.classes import Thresholds

T = Thresholds()
QUIET: dict[str, Any] = {"wall": 10.0, "lag": 0.0, "lock_wait": 0.0, "threads": 1, "memory": (0, 0, 0), "merges": []}
LABEL = Label(
    number=2,
    kind="span",
    name="work",
    inside=0,
    calls=4,
    siblings=0,
    retried=0,
    cpu=0.0,
    block=0.0,
    delay=4.0,
    loop=0.0,
    span=4.0,
    gap=0.0,
    first=1.0,
    median=1.0,
    tail=0.0,
    barrier=0.0,
    grown=0,
)
RESOURCE = Resource(
    numbers=(0,),
    kind="semaphore",
    name="db",
    where="app.py:7",
    capacity=2,
    workers=0,
    sleeps=False,
    uses=10,
    waited=0.0,
    held=10.0,
    active=10.0,
    contended=0,
)


def category(label: dict[str, Any], analysis: dict[str, Any]) -> str:
    return classes.of_label(replace(LABEL, **label), SimpleNamespace(**QUIET | analysis), T).category  # type: ignore[arg-type]


MIB = 1 << 20


@pytest.mark.parametrize(
    ("label", "analysis", "expected"),
    [
        ({}, {}, "critical"),
        ({"kind": "graph"}, {}, "framework-gap"),
        ({"calls": 100, "retried": 5}, {}, "critical"),
        ({"calls": 100, "retried": 6}, {}, "retry"),
        ({"calls": 0, "retried": 0}, {}, "critical"),
        ({"loop": 2.0}, {"lag": 5.0}, "critical"),
        ({"loop": 2.1}, {"lag": 1.0}, "critical"),
        ({"loop": 2.1}, {"lag": 1.1}, "loop-bound"),
        ({"cpu": 4.1}, {"threads": 2, "lock_wait": 1.1}, "gil-bound"),
        ({"cpu": 4.0}, {"threads": 2, "lock_wait": 1.1}, "critical"),
        ({"cpu": 4.1}, {"threads": 1, "lock_wait": 1.1}, "critical"),
        ({"cpu": 4.1}, {"threads": 2, "lock_wait": 1.0}, "critical"),
        ({"first": 3.1}, {}, "first-use"),
        ({"first": 3.0}, {}, "critical"),
        ({"first": 3.1, "calls": 1}, {}, "critical"),
        ({"first": 3.1, "delay": 8.4}, {}, "critical"),  # a quarter of its own time
        ({"first": 0.6, "median": 0.1, "delay": 1.0}, {}, "critical"),  # a twentieth of the wall
        ({"grown": 17 * MIB}, {"memory": (0, 33 * MIB, 33 * MIB)}, "memory-growth"),
        ({"grown": 17 * MIB}, {"memory": (0, 32 * MIB, 32 * MIB)}, "critical"),
        ({"grown": 16 * MIB}, {"memory": (0, 33 * MIB, 33 * MIB)}, "critical"),
        ({"calls": 20, "tail": 2.1}, {}, "slow-tail"),
        ({"calls": 19, "tail": 2.1}, {}, "critical"),
        ({"calls": 20, "tail": 2.0}, {}, "critical"),
        ({"barrier": 1.1}, {}, "barrier"),
        ({"barrier": 1.0}, {}, "critical"),
        ({"barrier": 1.1, "calls": 20, "tail": 2.1}, {}, "slow-tail"),  # the first that fits
        ({"loop": 4.0, "cpu": 4.1, "retried": 1}, {"lag": 9.0, "threads": 2, "lock_wait": 9.0}, "retry"),
    ],
    ids=str,
)
def test_classes_of_names(label: dict[str, Any], analysis: dict[str, Any], expected: str) -> None:
    """Each threshold, from both sides."""
    assert category(label, analysis) == expected


@pytest.mark.parametrize(
    ("resource", "gain", "expected"),
    [
        ({}, 0.0, "idle"),
        ({"held": 16.0, "waited": 16.0}, 0.0, "saturated"),
        ({"held": 15.9, "waited": 16.0}, 0.0, "idle"),
        ({"held": 16.0, "waited": 15.9}, 0.0, "idle"),
        ({"held": 15.9, "waited": 16.0}, 0.05, "undersized"),
        ({"held": 15.9, "waited": 16.0}, 0.049, "idle"),
        ({"numbers": (0, 1), "held": 32.0, "waited": 32.0}, 0.0, "saturated"),
        ({"numbers": (0, 1), "held": 31.0, "waited": 32.0}, 0.0, "idle"),
        ({"kind": "queue", "workers": 1, "held": 8.0}, 0.0, "saturated"),
        ({"kind": "queue", "workers": 1, "held": 7.9}, 0.2, "undersized"),
        ({"kind": "lock", "capacity": 1, "held": 5.9, "waited": 6.0}, 0.3, "convoy"),
        ({"kind": "lock", "capacity": 1, "held": 6.0, "waited": 7.0}, 0.3, "undersized"),
        ({"kind": "lock", "capacity": 1, "held": 5.9, "waited": 5.9}, 0.3, "undersized"),
        ({"active": 5.0, "held": 8.0, "waited": 8.0}, 0.0, "saturated"),
        ({"active": 0.0, "held": 16.0, "waited": 16.0}, 0.0, "saturated"),
        ({"kind": "lock", "capacity": 1, "sleeps": True, "held": 9.0, "waited": 90.0}, 0.3, "rate-limited"),
    ],
    ids=str,
)
def test_classes_of_resources(resource: dict[str, Any], gain: float, expected: str) -> None:
    """Use is a share of all places, and of the ten seconds in which somebody wanted it."""
    found = classes.of_resource(replace(RESOURCE, **resource), gain, SimpleNamespace(**QUIET), T)  # type: ignore[arg-type]
    assert found.category == expected


def test_advice_tells_work_from_waiting() -> None:
    """On the loop, CPU work needs a process and a blocking call a thread; models, many calls and few are told apart."""

    def advice(**label: Any) -> str:
        lagging: Any = SimpleNamespace(**QUIET | {"lag": 5.0})
        return classes.of_label(replace(LABEL, **label), lagging, T).advice

    assert "ProcessPoolExecutor" in advice(loop=4.0, cpu=4.0, delay=0.0)
    assert "asyncio.to_thread(work, …)" in advice(loop=4.0, block=4.0, delay=0.0)
    assert "smaller model" in advice(kind="llm")
    assert "batch the 8 calls of work" in advice(calls=8)
    assert "batch" not in advice(calls=7)


def test_a_recording_without_time() -> None:
    """Nothing is divided by zero when nothing took any time."""
    nothing: Any = SimpleNamespace(**QUIET | {"wall": 0.0})
    idle = replace(LABEL, calls=0, delay=0.0, span=0.0, first=0.0, median=0.0)
    assert classes.of_label(idle, nothing, T).category == "critical"
    unused = replace(RESOURCE, capacity=0, uses=0, held=0.0, active=0.0)
    assert classes.of_resource(unused, 0.0, nothing, T).category == "idle"


def test_imports_are_named_the_longest_first() -> None:
    """Three of them by name and time, the others by number."""
    times = {"a": 5, "b": 4, "c": 3, "d": 2, "e": 1}
    imported = [replace(LABEL, kind="import", name=name, delay=seconds) for name, seconds in times.items()]
    found = classes.of_imports(imported)
    assert found.why == "imports a (5.00 s), b (4.00 s), c (3.00 s) and 2 more while the program works"
    assert found.advice.startswith("import a when the program starts")
    assert "more" not in classes.of_imports(imported[:3]).why
