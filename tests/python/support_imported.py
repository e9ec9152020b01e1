"""Files of other profilers written by hand, in the words of their formats, and what joins them with recordings by hand."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from libperf.imported import Joined, join_trace
from support_exports import BEGIN, MS, PID, Recording

EPOCH_S = 1_700_000_000 + BEGIN / 1e9  # when recordings by hand begin
ZERO_MS = 20  # of files by hand, after the recording has begun


class Chrome:
    """py-spy's chrometrace: stacks with the time from which on they are seen; milliseconds since the recording began."""

    def __init__(self, pid: int = PID, ids: bool = True) -> None:
        self.pid = pid
        self.ids = ids
        self.events: list[dict[str, Any]] = []
        self.now: dict[int, list[str]] = {}

    def see(self, time: float, thread: int, *stack: str) -> None:
        """A frame is "function" or "function:line"; each lies in app.py."""
        head = [f"thread ({thread}): T"] if self.ids else []
        wanted, have = [*head, *stack] if stack else [], self.now.get(thread, [])
        same = 0
        while same < min(len(wanted), len(have)) and wanted[same] == have[same]:
            same += 1
        for frame in reversed(have[same:]):
            self.add("E", time, thread, frame)
        for frame in wanted[same:]:
            self.add("B", time, thread, frame)
        self.now[thread] = wanted

    def add(self, phase: str, time: float, thread: int, frame: str) -> None:
        name, _, line = frame.rpartition(":") if not frame.startswith("thread") else (frame, "", "")
        name, line = (name, line) if name and line.isdecimal() else (frame, "0")
        file = "" if frame.startswith("thread") else "/srv/app.py"
        self.events.append(
            {
                "args": {"filename": file, "line": int(line)},
                "cat": "py-spy",
                "name": name,
                "ph": phase,
                "pid": self.pid,
                "tid": 0x7F0000000000 + thread,
                "ts": round((time - ZERO_MS) * 1000),
            }
        )

    def write(self, path: Path, end: float) -> Path:
        """As of a moment at which everything ends; that is also the file's time."""
        for thread in list(self.now):
            self.see(end, thread)
        path.write_text(json.dumps(self.events))
        touch(path, end)
        return path


def touch(path: Path, time: float) -> None:
    """Say that a file was written that many milliseconds after the recording began."""
    os.utime(path, ns=(0, round((EPOCH_S * 1e3 + time) * MS)))


def gecko(samples: dict[int, list[tuple[float, tuple[str, ...]]]], start_ms: float) -> dict[str, Any]:
    """Firefox's profile as CPython's gecko_collector.py builds it. samples: by thread; milliseconds since `start_ms`."""
    strings: list[str] = ["(root)"]

    def text(word: str) -> int:
        if word not in strings:
            strings.append(word)
        return strings.index(word)

    def thread(tid: int, seen: list[tuple[float, tuple[str, ...]]]) -> dict[str, Any]:
        names: list[str] = []
        stacks: list[tuple[int, int | None]] = []
        found: list[int] = []
        for _, stack in seen:
            node: int | None = None
            for name in stack:
                names += [name] if name not in names else []
                entry = (names.index(name), node)
                stacks += [entry] if entry not in stacks else []
                node = stacks.index(entry)
            assert node is not None
            found.append(node)
        return {
            "name": f"Thread-{tid}",
            "isMainThread": tid == PID,
            "tid": tid,
            "pid": "999",  # the profiler's own
            "samples": {"stack": found, "time": [time for time, _ in seen], "weight": None, "length": len(seen)},
            "stackTable": {"frame": [frame for frame, _ in stacks], "prefix": [prefix for _, prefix in stacks]},
            "frameTable": {"func": list(range(len(names))), "line": [7 + place for place in range(len(names))]},
            "funcTable": {"name": [text(name) for name in names], "fileName": [text("app.py") for _ in names]},
        }

    threads = [thread(tid, seen) for tid, seen in samples.items()]
    meta = {"interval": 1.0, "startTime": start_ms, "importedFrom": "Tachyon Sampling Profiler"}
    return {"meta": meta, "libs": [], "threads": threads, "pages": [], "shared": {"stringArray": strings}}


def join_by_hand(recording: Recording, path: Path, start: float | None = None) -> Joined:
    return join_trace(recording.trace(latest_ns=BEGIN + 10_000 * MS), path, start)


def shares(found: Joined) -> dict[str, float]:
    """Milliseconds, bytes or samples of each operation."""
    scale = 1000 if found.unit == "seconds" else 1
    return {each.name: round(each.weight * scale, 3) for each in found.operations}
