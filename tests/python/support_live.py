"""What the tests of `libperf.live` share: a program that does what it is told, and time that is passed in."""

from __future__ import annotations

import subprocess
from typing import Any

from libperf._core import lib
from libperf.live import Picture
from libperf.live.watched import SECOND, Watched

PROGRAM = """if True:
    import os, signal, sys
    import libperf

    libperf.configure(service=os.environ.get("SERVICE"))
    work = libperf.trace("work", kind="tool")(lambda fail: 1 / (not fail))
    keep = []
    print("ready", flush=True)
    for line in sys.stdin:
        match line.split():
            case ["work", count, errors]:
                for i in range(int(count)):
                    try:
                        work(i < int(errors))
                    except ZeroDivisionError:
                        pass
            case ["time", name, *seconds]:
                for value in seconds:
                    libperf.Timing(name).record(float(value))
            case ["count", name, amount]:
                libperf.Counter(name).add(int(amount))
            case ["open", *names]:
                for name in names:
                    keep.append(libperf.span(name, step=len(keep)))
                    keep[-1].__enter__()
            case ["fork"]:
                pid = os.fork()
                if not pid:
                    work(False)
                    print(os.getpid(), flush=True)
                    signal.pause()
                continue
            case ["exit"]:
                break
        print("done", flush=True)
    """


def tell(process: subprocess.Popen[str], *lines: str) -> None:
    """Let the program do something, and wait until it has."""
    assert process.stdin is not None and process.stdout is not None
    for line in lines:
        process.stdin.write(f"{line}\n")
        process.stdin.flush()
        assert process.stdout.readline() == "done\n"


class Clock:
    """Time that is passed in. It begins with the machine's, as the segments do."""

    def __init__(self) -> None:
        self.now = int(lib.perf_clock_now_ns())

    def later(self, seconds: float) -> int:
        self.now += int(seconds * SECOND)
        return self.now


def only(picture: Picture) -> Watched:
    (process,) = picture.processes
    return process


def row(process: Watched, name: str, window: float | None) -> Any:
    window_ns = None if window is None else int(window * SECOND)
    (found,) = [each for each in process.operations(window_ns) if each.row.name == name]
    return found
