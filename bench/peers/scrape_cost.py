"""What a scrape of many processes costs: libperf's segments beside prometheus_client's multiprocess mode.

Each worker counts the same calls with both: so many names, a thousand calls each, in as many buckets. Then the workers
live on, each calls every name between two scrapes, so no number is the one it was, and this process scrapes: reads
everything of all of them and makes the text. libperf is measured as it comes: it keeps the dead in its sums, counts
errors and cancellations as well, and finds an example for each bucket; a form without examples is beside it.
prometheus_client has a histogram and nothing else. Both read files on a memory file system.
"""

from __future__ import annotations

import argparse
import functools
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from time import perf_counter_ns

from measure import Row, positive, rounds, write

NAMES, CALLS = 20, 1000
WORKER = f"""
import sys, time, libperf, prometheus_client
from libperf.exports.families import DURATION_BOUNDS
seconds = prometheus_client.Histogram("work_seconds", "of each", ["name"], buckets=DURATION_BOUNDS.seconds)
for number in range({NAMES}):
    name = f"work {{number}}"
    theirs = seconds.labels(name)
    for i in range({CALLS}):
        with libperf.span(name) as span: pass
        theirs.observe(span.duration)
print("ready", flush=True)
for line in sys.stdin:
    for number in range({NAMES}):
        with libperf.span(f"work {{number}}") as span: pass
        seconds.labels(f"work {{number}}").observe(span.duration)
    print("done", flush=True)
"""


def workers(count: int, folder: str) -> list[subprocess.Popen[str]]:
    environment = {**os.environ, "LIBPERF_DIR": folder, "PROMETHEUS_MULTIPROC_DIR": f"{folder}/prometheus"}
    pipe = subprocess.PIPE
    started = []
    for _ in range(count):
        worker = subprocess.Popen([sys.executable, "-c", WORKER], env=environment, text=True, stdin=pipe, stdout=pipe)
        assert worker.stdout is not None and worker.stdout.readline() == "ready\n"
        started.append(worker)
    return started


def ours(exemplars: bool) -> Callable[[], str]:
    from libperf.exports.openmetrics import render
    from libperf.prometheus import Gathering

    gathering = Gathering(exemplars=exemplars)
    return lambda: "".join(render(gathering.families()))


def theirs(folder: str) -> Callable[[], str]:
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = f"{folder}/prometheus"
    from prometheus_client import CollectorRegistry, generate_latest
    from prometheus_client.multiprocess import MultiProcessCollector

    def scrape() -> str:
        registry = CollectorRegistry()
        MultiProcessCollector(registry)
        return generate_latest(registry).decode()

    return scrape


def call(started: list[subprocess.Popen[str]]) -> None:
    """Every name of each, so that nobody can say again what he said before."""
    for worker in started:
        assert worker.stdin is not None and worker.stdout is not None
        worker.stdin.write("\n")
        worker.stdin.flush()
    for worker in started:
        assert worker.stdout is not None
        worker.stdout.readline()


def timed(scrape: Callable[[], str], started: list[subprocess.Popen[str]]) -> float:
    call(started)
    start = perf_counter_ns()
    scrape()
    return (perf_counter_ns() - start) / 1e6


def counted(text: str, metric: str) -> float:
    """The calls that a text knows of."""
    lines = [line for line in text.splitlines() if line.startswith(f"{metric}_count")]
    return sum(float(line.rpartition(" ")[2]) for line in lines)


def rows_of(count: int, repetitions: int) -> list[Row]:
    shared = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    folder = tempfile.mkdtemp(dir=shared)
    os.mkdir(f"{folder}/prometheus")  # noqa: PTH102
    os.environ["LIBPERF_DIR"] = folder
    started = workers(count, folder)
    try:
        forms = {"libperf": ours(True), "libperf, no examples": ours(False), "prometheus_client": theirs(folder)}
        for name, scrape in forms.items():
            metric = "work_seconds" if name == "prometheus_client" else "libperf_operation_duration_seconds"
            found = counted(scrape(), metric)
            if found != count * NAMES * CALLS:
                sys.exit(f"{name} has seen {found:.0f} calls of {count * NAMES * CALLS}")
        found = rounds({name: functools.partial(timed, scrape, started) for name, scrape in forms.items()}, repetitions)
    finally:
        for worker in started:
            worker.communicate("")
        shutil.rmtree(folder)
    rows = []
    for name, samples in found.items():
        over, over_plain = (
            round(statistics.median(a / b for a, b in zip(samples, found[ours], strict=True)), 2)
            for ours in ("libperf", "libperf, no examples")
        )
        label = name.replace(", ", "/").replace(" ", "-")
        what = f"{name}: a scrape of {count} process{'es' * (count > 1)}"
        rows.append(
            Row(f"scrape/{label}/{count}", what, "ms", samples, {"over_libperf": over, "over_plain": over_plain})
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="example: .venv-peers/bin/python bench/peers/scrape_cost.py --rounds 31 --json scrape.jsonl",
    )
    parser.add_argument("--rounds", type=positive, default=21, metavar="N", help="at least 15 to be quoted (21)")
    parser.add_argument("--processes", type=positive, nargs="+", default=[1, 10, 50], metavar="N", help="(1 10 50)")
    parser.add_argument("--json", metavar="FILE", help="also write a line of JSON per row; - is standard output")
    arguments = parser.parse_args()
    write([row for count in arguments.processes for row in rows_of(count, arguments.rounds)], arguments.json)


if __name__ == "__main__":
    main()
