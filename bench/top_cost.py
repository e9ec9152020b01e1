"""What `libperf top` costs, and whether the programs it watches notice.

The command runs on a terminal of 80 by 24, once with few looks and once with many: the difference of their CPU times is
what a look costs, reading, computing and drawing. Beside 1, 10 and 50 processes that record all the time, and looking
closer at one of them. Then a program counts how many spans it records in a second with nobody looking, and with a
`libperf top` that looks ten times a second, in turns.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import pty
import select
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from peers.measure import Row, positive, write

FEW, LOOKS_S = 5, 0.05
CROWD = """
import os, random, signal, sys, time
import libperf

@libperf.trace("work")
def work(): pass

names = [f"step {number}" for number in range(20)]
for _ in range(int(sys.argv[1])):
    if not os.fork():
        dice = random.Random(os.getpid())
        for name in names:
            libperf.span(name, kind="node").__enter__()
        while True:
            for name in dice.sample(names, 3):
                with libperf.span(name, kind="node"):
                    work()
            libperf.Counter("cache.users.memory.hits").add(1)
            time.sleep(0.05)
print("ready", flush=True)
sys.stdin.read()
signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.killpg(0, signal.SIGKILL)
"""
SPINNER = """
import sys, time
import libperf

@libperf.trace
def work(): pass

for line in sys.stdin:
    end, count = time.process_time() + float(line), 0
    while time.process_time() < end:
        for _ in range(100): work()
        count += 100
    print(count, flush=True)
"""


@contextmanager
def started(code: str, *words: str, folder: str) -> Iterator[subprocess.Popen[str]]:
    """A program in a session of its own, with its segments in a folder of its own."""
    process = subprocess.Popen(
        [sys.executable, "-c", code, *words],
        env={**os.environ, "LIBPERF_DIR": folder},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        process.communicate()


def terminal() -> tuple[int, int]:
    near, far = pty.openpty()
    fcntl.ioctl(near, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    return near, far


def drain(near: int, drawn: threading.Event, stop: threading.Event) -> None:
    while not stop.is_set():
        if select.select([near], [], [], 0.1)[0]:
            os.read(near, 65536)
            drawn.set()


@contextmanager
def top(folder: str, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    """`libperf top` on a terminal that somebody reads, from its first picture on."""
    near, far = terminal()
    drawn, stop = threading.Event(), threading.Event()
    reader = threading.Thread(target=drain, args=(near, drawn, stop))
    reader.start()
    environment = {**os.environ, "LIBPERF_DIR": folder, "TERM": "xterm-256color"}
    command = [sys.executable, "-m", "libperf", "top", *words]
    process = subprocess.Popen(command, env=environment, stdin=far, stdout=far, stderr=far, start_new_session=True)
    try:
        drawn.wait(60)
        yield process
    finally:
        process.terminate()
        process.wait()
        stop.set()
        reader.join()
        os.close(near)
        os.close(far)


def cpu_seconds(folder: str, looks: int, *words: str) -> float:
    """CPU time of a whole `libperf top` that looks so many times."""
    with top(folder, "--interval", str(LOOKS_S), "-n", str(looks), *words) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, process.returncode
    return usage.ru_utime + usage.ru_stime


def look_ms(folder: str, many: int, *words: str) -> float:
    few = cpu_seconds(folder, FEW, *words)
    return (cpu_seconds(folder, FEW + many, *words) - few) / many * 1e3


def costs(rounds: int, many: int) -> list[Row]:
    """A look a second, as a share of a core: its milliseconds of CPU time / 10."""
    cases = [("1", 1, False), ("10", 10, False), ("50", 50, False), ("one of 50, looked at closer", 50, True)]
    samples: dict[str, list[float]] = {name: [] for name, _, _ in cases}
    for _ in range(rounds):
        for name, processes, closer in cases:
            with tempfile.TemporaryDirectory(dir="/dev/shm") as folder, crowd(folder, processes):
                words = [some_pid(folder)] if closer else []
                samples[name].append(look_ms(folder, many, *words) / 10)
    return [
        Row(f"top/cpu/{processes}{'/closer' if closer else ''}", f"libperf top, once a second: {name}", "% of a core", samples[name])
        for name, processes, closer in cases
    ]  # fmt: skip


@contextmanager
def crowd(folder: str, processes: int) -> Iterator[None]:
    """So many processes that record until the end."""
    with started(CROWD, str(processes), folder=folder) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield


def some_pid(folder: str) -> str:
    while not (found := list(Path(folder).glob("libperf-*/*.perf"))):
        pass
    return found[0].name.partition("-")[0]


def beside(rounds: int, seconds: float) -> Row:
    """How many spans a program records with somebody looking, against nobody, in turns."""
    ratios = []
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder, started(SPINNER, folder=folder) as process:

        def count() -> int:
            assert process.stdin is not None and process.stdout is not None
            process.stdin.write(f"{seconds}\n")
            process.stdin.flush()
            return int(process.stdout.readline())

        count()
        for number in range(rounds):
            alone = [count()]
            with top(folder, "--interval", "0.1"):
                watched = count()
            alone.append(count())
            if number:
                ratios.append(watched / statistics.mean(alone))
    return Row(
        "top/watched", "spans in a second of CPU time, beside a `libperf top` that looks 10 times a second", "x", ratios
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="example: .venv/bin/python bench/top_cost.py --json top.jsonl",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rounds", type=positive, default=5, metavar="N", help="rounds (5)")
    parser.add_argument("--looks", type=positive, default=60, metavar="N", help="looks that are measured (60)")
    parser.add_argument("--seconds", type=float, default=1.0, metavar="S", help="a turn of the watched program (1)")
    parser.add_argument("--json", metavar="FILE", help="also write a line of JSON per row; - is standard output")
    arguments = parser.parse_args()
    rows = costs(arguments.rounds, arguments.looks)
    write([*rows, beside(arguments.rounds + 1, arguments.seconds)], arguments.json)


if __name__ == "__main__":
    main()
