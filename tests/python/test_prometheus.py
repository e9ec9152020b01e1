"""libperf.prometheus: a collector in a real registry, and sums over processes without PROMETHEUS_MULTIPROC_DIR."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import prometheus_client
import pytest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

import libperf
from libperf.errors import UnsupportedError
from libperf.exports.openmetrics import render
from libperf.prometheus import Collector, Gathering
from support_metrics import PROGRAM, Samples, check_histograms, classic, openmetrics, value
from test_processes import end, more_work

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def gather(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[..., Gathering]]:
    """Makes a Gathering of this test's folder."""
    monkeypatch.setenv("LIBPERF_DIR", str(tmp_path))
    made: list[Gathering] = []

    def gather(**settings: Any) -> Gathering:
        made.append(Gathering(**settings))
        return made[-1]

    yield gather
    for each in made:
        each.processes.close()


def samples(gathering: Gathering, **settings: Any) -> Samples:
    return openmetrics("".join(render(gathering.families(**settings))))


# ---- the collector ----


def scraped(collector: Collector) -> Samples:
    """As prometheus_client writes it, in both of its formats."""
    registry = prometheus_client.CollectorRegistry()
    registry.register(collector)
    found = openmetrics(generate_openmetrics(registry).decode())
    assert len(classic(prometheus_client.generate_latest(registry).decode())) >= len(found)
    return found


def test_this_process(name: str) -> None:
    """A registry has what this process recorded, with units, exemplars and all."""
    with libperf.span(name):
        pass
    libperf.Counter(name).add(3)
    libperf.Gauge(name).set(-2.5)
    found = scraped(Collector())
    assert value(found, "libperf_operation_duration_seconds_count", name=name, kind="span") == 1
    assert value(found, "libperf_count_total", name=name) == 3
    assert value(found, "libperf_value", name=name) == -2.5
    assert check_histograms(found) > 0
    assert any(sample.exemplar for sample in found.values())


def test_this_process_again_and_again(name: str) -> None:
    """One collector: each scrape has what came since, and examples stay when nothing came."""
    collector = Collector()
    for calls in range(1, 4):
        with libperf.span(name):
            pass
        for _ in range(2):
            found = scraped(collector)  # which collects it twice
            assert value(found, "libperf_operation_duration_seconds_count", name=name, kind="span") == calls
            assert any(sample.exemplar for (_, labels), sample in found.items() if ("name", name) in labels)


FORK = """
import os, sys, prometheus_client, libperf
from support_metrics import openmetrics, value
from prometheus_client.openmetrics.exposition import generate_latest
registry = prometheus_client.CollectorRegistry()
registry.register(libperf.prometheus.Collector())
def calls():
    found = openmetrics(generate_latest(registry).decode())
    print(value(found, "libperf_operation_duration_seconds_count", name="work"), flush=True)
for _ in range(3):
    with libperf.span("work"): pass
calls()
if not os.fork():
    with libperf.span("work"): pass
    calls()
    calls()
    os._exit(0)
os.wait()
calls()
"""


def test_a_forked_child_collects_its_own(run: Callable[..., Any]) -> None:
    """With the collector of its parent, which goes on as well."""
    answer = run(FORK, PYTHONPATH=str(Path(__file__).parent))
    assert (answer.stderr, answer.stdout) == ("", "3.0\n1.0\n1.0\n3.0\n")


def test_without_exemplars(name: str) -> None:
    """Not when nobody wants them."""
    with libperf.span(name):
        pass
    assert not any(sample.exemplar for sample in scraped(Collector(exemplars=False)).values())


def test_beside_other_metrics(name: str) -> None:
    """In the default registry it is one of several."""
    registry = prometheus_client.CollectorRegistry()
    prometheus_client.Counter("own", "of the program", registry=registry).inc(2)
    registry.register(Collector())
    libperf.Counter(name).add(1)
    found = openmetrics(generate_openmetrics(registry).decode())
    assert value(found, "own_total") == 2
    assert value(found, "libperf_count_total", name=name) == 1


ALL = """
import sys, prometheus_client, libperf
from support_metrics import openmetrics, value
from prometheus_client.openmetrics.exposition import generate_latest
with libperf.span("work"): pass
registry = prometheus_client.CollectorRegistry()
registry.register(libperf.prometheus.Collector(all_processes=True))
found = openmetrics(generate_latest(registry).decode())
names = "libperf_operation_duration_seconds_count"
own = [s.value for (n, l), s in found.items() if n == names and {"name", "service"} & dict(l).keys() == {"name"}]
print(value(found, names, name="work", service="api"), own)
"""


def test_all_processes(start: Start, run: Callable[..., Any]) -> None:
    """Of this user, this one too."""
    start(PROGRAM, "api", 3)
    answer = run(ALL, PYTHONPATH=str(Path(__file__).parent))
    assert (answer.stderr, answer.stdout) == ("", "3.0 [1.0]\n")


def test_private_memory(run: Callable[..., Any]) -> None:
    """With LIBPERF_DIR=off there is this process alone to be seen, and it is."""
    answer = run(ALL, PYTHONPATH=str(Path(__file__).parent), LIBPERF_DIR="off")
    assert (answer.stderr, answer.stdout) == ("", "None [1.0]\n")


def test_without_prometheus_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what to install."""
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(UnsupportedError, match=r"pip install 'libperf\[prometheus\]'"):
        Collector()


def test_import_brings_no_prometheus_client() -> None:
    """`libperf.prometheus` is there without; only a Collector needs it."""
    code = "import sys, libperf; libperf.prometheus.Gathering(); print('prometheus_client' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "False\n"


@pytest.mark.parametrize(
    ("wrong", "words"),
    [({"gauges": "mean"}, "gauges='mean'"), ({"buckets": [1, 1]}, "not ascending"), ({"buckets": []}, "no bound")],
)
def test_wrong_settings(wrong: dict[str, Any], words: str) -> None:
    """Are named."""
    with pytest.raises(ValueError, match=words):
        Collector(**wrong)


# ---- sums ----


def test_sums_by_service(start: Start, gather: Callable[..., Gathering]) -> None:
    """Counters and histograms of all processes of a service, dead or alive; how many there are of each state."""
    for calls in (3, 4):
        start(PROGRAM, "api", calls)
    end(start(PROGRAM, "api", 5), "killed")
    start(PROGRAM, "worker", 7)
    found = samples(gather())
    count = "libperf_operation_duration_seconds_count"
    assert value(found, count, name="work", service="api") == 12
    assert value(found, count, name="work", service="worker") == 7
    assert value(found, "libperf_count_total", name="jobs", service="api") == 12
    assert value(found, "libperf_timing_seconds_sum", name="steps", service="api") == 0.75
    assert value(found, "gen_ai_client_token_usage_sum", service="api", gen_ai_token_type="input") == 21
    assert value(found, "libperf_processes", state="running") == 3
    assert value(found, "libperf_processes", state="killed") == 1
    assert value(found, "libperf_build_info", version=libperf.__version__) == 1
    assert not any(label == "pid" for _, labels in found for label, _ in labels)
    assert check_histograms(found) > 0


def test_each_process(start: Start, gather: Callable[..., Gathering]) -> None:
    """With a label pid; one that is gone for five minutes has no series any more."""
    one, two = start(PROGRAM, "api", 3, 1.5), start(PROGRAM, "api", 4, 2.5)
    gathering = gather(per_process=True)
    found = samples(gathering, now=1000)
    count = "libperf_operation_duration_seconds_count"
    assert [value(found, count, name="work", pid=str(p.pid)) for p in (one, two)] == [3, 4]
    assert [value(found, "libperf_value", name="depth", pid=str(p.pid)) for p in (one, two)] == [1.5, 2.5]
    end(one, "killed")
    found = samples(gathering, now=1010)
    assert value(found, count, name="work", pid=str(one.pid)) == 3
    assert value(found, "libperf_value", name="depth", pid=str(one.pid)) is None
    samples(gathering, now=2000)
    found = samples(gathering, now=2010)
    assert value(found, count, name="work", pid=str(one.pid)) is None
    assert value(found, count, name="work", pid=str(two.pid)) == 4


@pytest.mark.parametrize(("how", "want"), [("last", 4), ("max", 9), ("min", -2), ("sum", 11)])
def test_gauges(start: Start, gather: Callable[..., Gathering], how: str, want: float) -> None:
    """Of the living, by choice; a cache's entries are always added up."""
    for depth in (9, -2, 4):
        start(PROGRAM, "api", 1, depth)
    end(start(PROGRAM, "api", 1, 100), "killed")
    found = samples(gather(gauges=how))
    assert value(found, "libperf_value", name="depth") == want
    assert value(found, "libperf_cache_entries", cache="users", tier="memory") == 15
    assert value(found, "libperf_cache_hits_total", cache="users", tier="memory") == 8


def test_counters_never_fall(start: Start, gather: Callable[..., Gathering]) -> None:
    """Through the whole life of processes."""
    gathering = gather()
    now, last = 0.0, 0.0
    for how in ("killed", "finished", "killed"):
        process = start(PROGRAM, "api", 3)
        for step in ("begin", "work", "end", "later"):
            if step == "work":
                more_work(process, 5)
            if step == "end":
                end(process, how)
            now += 400 if step == "later" else 10
            here = value(samples(gathering, now=now), "libperf_operation_duration_seconds_count", name="work")
            assert here is not None and here >= last
            last = here
    assert last == 24


def test_nobody_records(gather: Callable[..., Gathering]) -> None:
    """Still a text: no process."""
    assert value(samples(gather()), "libperf_processes", state="running") == 0


def test_what_cannot_be_read_is_told(gather: Callable[..., Gathering], start: Start, tmp_path: Path) -> None:
    """By its reason; a scrape that runs out of time says so, too."""
    for _ in range(2):
        start(PROGRAM, "api", 1)
    (home,) = tmp_path.glob("libperf-*")
    (home / "1-a.perf").write_bytes(bytes(1 << 16))
    gathering = gather()
    found = samples(gathering, within=0)
    assert value(found, "libperf_segments_late") == 2
    for _ in range(3):
        found = samples(gathering, within=0)
    assert value(found, "libperf_segments_skipped", reason="CorruptError") == 1


def test_many_at_once(gather: Callable[..., Gathering], start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who comes while another one gathers shares what begins after he came; nobody gets what is older."""
    process = start(PROGRAM, "api", 3)
    gathering = gather()
    gathered = []
    real = gathering._gather
    monkeypatch.setattr(gathering, "_gather", lambda *args: gathered.append(1) or real(*args))
    came = [threading.Event() for _ in range(8)]
    counts: list[float | None] = []

    def scrape(number: int) -> None:
        came[number].set()
        found = openmetrics("".join(render(gathering.families())))
        counts.append(value(found, "libperf_operation_duration_seconds_count", name="work"))

    threads = [threading.Thread(target=scrape, args=(number,)) for number in range(8)]
    with gathering._lock:  # one gathers
        for number, thread in enumerate(threads):
            thread.start()
            assert came[number].wait(60)
        more_work(process, 5)
    for thread in threads:
        thread.join()
    assert counts == [8.0] * 8
    assert 1 <= len(gathered) <= 8


def test_what_began_later_is_shared(gather: Callable[..., Gathering], monkeypatch: pytest.MonkeyPatch) -> None:
    """While somebody waits another gathering begins and ends: that is as good as his own; one that had begun is not."""
    gathering = gather()
    first = gathering.families()
    lock = gathering._lock

    class Meanwhile:
        """A lock that is got after another one gathered."""

        def __init__(self, began: int) -> None:
            self.began = began

        def __enter__(self) -> None:
            lock.acquire()
            gathering._begun += self.began
            gathering._done = gathering._begun

        def __exit__(self, *_: object) -> None:
            lock.release()

    monkeypatch.setattr(gathering, "_lock", Meanwhile(1))
    assert gathering.families() is first
    monkeypatch.setattr(gathering, "_lock", Meanwhile(0))
    assert gathering.families() is not first


def test_a_gathering_that_failed_is_shared_by_nobody(
    gather: Callable[..., Gathering], start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who comes next tries again."""
    start(PROGRAM, "api", 3)
    gathering = gather()
    with monkeypatch.context() as patch:
        patch.setattr(gathering.processes, "refresh", lambda **_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            gathering.families()
    assert value(samples(gathering), "libperf_count_total", name="jobs") == 3


FORKED = """
import os, libperf
gathering = libperf.prometheus.Gathering()
with libperf.span("work"): pass
gathering.families()
with gathering._lock, gathering.processes._lock:
    child = os.fork()
if not child:
    with libperf.span("work"): pass
    print(*[s.value for f in gathering.families() for s in f.samples if dict(s.labels).get("name") == "work" and s.suffix == "_count"])
    os._exit(0)
print(os.waitpid(child, 0)[1])
"""


def test_a_fork_while_somebody_gathers(run: Callable[..., Any]) -> None:
    """The child has locks of its own."""
    answer = run(FORKED.replace("os._exit(0)", "import sys; sys.stdout.flush(); os._exit(0)"))
    assert (answer.stderr, answer.stdout) == ("", "2\n0\n")


# ---- objectives ----

OBJECTIVE = """
import sys, libperf
libperf.configure(service="api")
libperf.SLO("fetch", objective=0.9)
def calls(bad, count):
    for i in range(count):
        try:
            with libperf.span("fetch"):
                if i < bad: raise KeyError
        except KeyError: pass
calls(0, 10)
print("ready", flush=True)
for line in sys.stdin:
    calls(*map(int, line.split()))
    print("done", flush=True)
"""


def test_burn_rates_of_all_processes(start: Start, gather: Callable[..., Gathering]) -> None:
    """Summed over the processes of a service; over what this server has seen of each window."""
    two = [start(OBJECTIVE) for _ in range(2)]
    gathering = gather()
    found = samples(gathering, now=0)
    assert value(found, "libperf_slo_calls_total", slo="fetch", service="api") == 20
    assert value(found, "libperf_slo_objective_ratio", slo="fetch") == 0.9
    assert value(found, "libperf_slo_burn_rate", slo="fetch", window="5min") == 0
    for process in two:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write("70 100\n")
        process.stdin.flush()
        process.stdout.readline()
    found = samples(gathering, now=60)
    assert value(found, "libperf_slo_bad_total", slo="fetch") == 140
    for window in ("5min", "30min", "1h", "6h", "3d"):
        assert value(found, "libperf_slo_burn_rate", slo="fetch", window=window) == pytest.approx(7)
    assert [value(found, "libperf_slo_alerting", factor=factor) for factor in ("14.4", "6", "1")] == [0, 1, 1]
    found = samples(gathering, now=60 + 31 * 60)
    found = samples(gathering, now=60 + 62 * 60)
    assert value(found, "libperf_slo_burn_rate", slo="fetch", window="30min") == 0
    assert [value(found, "libperf_slo_alerting", factor=factor) for factor in ("14.4", "6", "1")] == [0, 0, 1]
