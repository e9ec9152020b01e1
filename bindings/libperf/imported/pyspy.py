"""What py-spy writes: a Chrome trace, which has times; speedscope's JSON and folded stacks, which have none.

| `--format` | a look is | times |
|---|---|---|
| chrometrace | a stack, for as long as nothing else was seen on its thread | since py-spy began |
| speedscope | a sample; who waits is left out, so their order is no time | none |
| raw | all samples of one stack | none |

With `--threads` each stack begins with a frame that holds the system's id of its thread. Python 3.15's `--collapsed` has
folded stacks, too.
"""

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO, TextIO

from .looks import FARTHEST, NO_STACK, Looks, Malformed, Thread, field, number

__all__ = ["looks_like_folded", "read_chrometrace", "read_folded", "read_speedscope"]

CHUNK = 1 << 18  # bytes read at a time
TICK = 10_000_000  # nanoseconds between two looks at a thread, unless py-spy was told --rate; the file does not say
LONGEST = 1 << 20  # characters of one event, or of one line
OF_THREAD = re.compile(r"thread \((0x[0-9A-Fa-f]+|\d+)\)(?:: (.*))?")  # py-spy's frame for a thread, with --threads
OF_PROCESS = re.compile(r"process (\d+)[: ]?.*", re.DOTALL)  # and for a process, with --subprocesses
PROFILE = re.compile(r"(?:Process (\d+) )?Thread (\d+)(?: \"(.*)\")?", re.DOTALL)
FOLDED = re.compile(r"(?P<stack>.+) (?P<count>\d+)", re.DOTALL)
PYSPY_FRAME = re.compile(r"(.*) \((.*?)(?::(\d+))?\)", re.DOTALL)
TACHYON_FRAME = re.compile(r"(.*?):(.*):(-?\d+)", re.DOTALL)  # and "tid:4711" for the thread
SCALES = {"nanoseconds": 1.0, "microseconds": 1e3, "milliseconds": 1e6, "seconds": 1e9}


class Other(Malformed):
    """A file of another process."""


# ---- chrometrace ----


def _objects(file: TextIO) -> Iterator[Any]:
    """The elements of a JSON array, one by one: the file is never in memory."""
    decode = json.JSONDecoder().raw_decode
    text = file.read(CHUNK).lstrip()[1:]  # the "["
    at, ended = 0, False
    while True:
        while at < len(text) and text[at] in " \t\r\n,":
            at += 1
        if at < len(text) and text[at] == "]":
            return
        try:
            found, at = decode(text, at)
        except json.JSONDecodeError as error:
            if ended:
                raise Malformed(f"it ends in the middle, or is no JSON: {error.msg}") from None
            if len(text) - at > LONGEST:
                raise Malformed(f"an event of more than {LONGEST:,} characters, or no JSON: {error.msg}") from None
            more = file.read(max(CHUNK, len(text) - at))
            text, at, ended = text[at:] + more, 0, not more
            continue
        except RecursionError:
            raise Malformed("its JSON is nested too deeply") from None
        yield found


class _Track:
    """One thread of a Chrome trace, and the stack that it has now."""

    def __init__(self, looks: Looks) -> None:
        self.looks = looks
        self.number = looks.add_thread(Thread())
        self.stack: list[int] = []
        self.since = 0.0

    def step(self, begins: bool, time: float, name: str, args: dict[str, Any]) -> None:
        if self.stack and time > self.since:
            self.looks.add(self.number, self.since, time, time - self.since, self.stack[-1])
        self.since = max(self.since, time)
        if not begins:
            if self.stack:
                self.stack.pop()
            return
        caller = self.stack[-1] if self.stack else NO_STACK
        file = args.get("filename")
        file = file if isinstance(file, str) else ""
        self.stack.append(caller if self.is_head(name, file) else self.frame(caller, name, file, args))

    def is_head(self, name: str, file: str) -> bool:
        """Whether it stands for a thread or process, and no code."""
        thread = self.looks.threads[self.number]
        if file:
            return False
        if match := OF_THREAD.fullmatch(name):
            thread.system, thread.name = _system(match[1]), match[2] or ""
        return match is not None or OF_PROCESS.fullmatch(name) is not None

    def frame(self, caller: int, name: str, file: str, args: dict[str, Any]) -> int:
        if caller == NO_STACK and name == "<module>":
            self.looks.threads[self.number].main = True
        line = args.get("line")
        return self.looks.inside(caller, name, file, line if type(line) is int and 0 <= line < 2**31 else 0)


def _system(text: str) -> int:
    found = int(text, 0) if text.startswith("0x") else int(text)
    return found if found < 2**31 else 0  # else it is a pointer of libpthread's


def read_chrometrace(file: TextIO, pid: int) -> Looks:
    """The looks of one process."""
    looks = Looks("py-spy", "chrometrace")
    looks.precision, looks.lingers = TICK, True
    tracks: dict[int, _Track] = {}
    others: set[int] = set()
    last = 0.0
    for event in _objects(file):
        phase = field(event, "ph", str)
        if phase != "B" and phase != "E":
            if phase == "X":
                raise Malformed(
                    "it has events of type X, which py-spy does not write; export it as speedscope or folded"
                )
            continue
        process = int(number(event.get("pid"), "pid"))
        time = number(event.get("ts"), "ts") * 1e3
        last = max(last, time)
        if process != pid:
            others |= {process} if len(others) < 10 else set()
            continue
        thread = int(number(event.get("tid"), "tid"))
        track = tracks.get(thread)
        if track is None:
            track = tracks[thread] = _Track(looks)
        args = event.get("args")
        name = str(event.get("name", ""))
        track.step(phase == "B", time, name, args if isinstance(args, dict) else {})
    if others and not tracks:
        raise Other(_other(others, pid))
    looks.ended = int(min(last, FARTHEST))
    return looks


def _other(found: Iterable[int], pid: int) -> str:
    listed = ", ".join(map(str, sorted(found)))
    return (
        f"it is of process {listed}, and the recording of process {pid}; with children, `py-spy record --subprocesses`"
    )


# ---- speedscope ----


def read_speedscope(data: dict[str, Any], pid: int) -> Looks:
    """The sampled profiles, one a thread."""
    tool = str(data.get("exporter") or "speedscope").partition("@")[0][:40]
    looks = Looks(tool, "speedscope", timed=False)
    frames = [_place(frame) for frame in field(field(data, "shared", dict), "frames", list)]
    others: set[int] = set()
    for profile in field(data, "profiles", list):
        if field(profile, "type", str) != "sampled":
            raise Malformed(f"a profile of type {profile['type'][:20]!r}: only sampled ones are read")
        match = PROFILE.fullmatch(str(profile.get("name", "")))
        if match and match[1] and int(match[1]) != pid:
            others.add(int(match[1]))
            continue
        thread = Thread(_system(match[2]), False, match[3] or "") if match else Thread()
        _add_profile(looks, looks.add_thread(thread), profile, frames)
    if others and not looks.threads:
        raise Other(_other(others, pid))
    return looks


def _place(frame: Any) -> tuple[str, str, int]:
    line, file = frame.get("line") if isinstance(frame, dict) else None, None
    name = field(frame, "name", str)
    file = frame.get("file")
    return name, file if isinstance(file, str) else "", line if type(line) is int and 0 <= line < 2**31 else 0


def _add_profile(looks: Looks, thread: int, profile: dict[str, Any], frames: list[tuple[str, str, int]]) -> None:
    samples, weights = field(profile, "samples", list), field(profile, "weights", list)
    unit = field(profile, "unit", str)
    if unit not in SCALES and unit != "none":
        raise Malformed(f"its unit is {unit[:20]!r}: time or samples are read")
    looks.unit = "samples" if unit == "none" else "seconds"
    if len(samples) != len(weights):
        raise Malformed(f"{len(samples):,} samples and {len(weights):,} weights")
    for stack, weight in zip(samples, weights, strict=True):
        node = NO_STACK
        for index in stack if isinstance(stack, list) else [stack]:
            if type(index) is not int or not 0 <= index < len(frames):
                raise Malformed(f"a stack names frame {str(index)[:20]} of {len(frames):,}")
            name, file, line = frames[index]
            if file or not (OF_THREAD.fullmatch(name) or OF_PROCESS.fullmatch(name)):
                node = looks.inside(node, name, file, line)
        looks.add(thread, 0, 0, number(weight, "a weight") * SCALES.get(unit, 1.0), node)


# ---- folded ----


def looks_like_folded(head: bytes) -> bool:
    line = head.split(b"\n", 1)[0].decode("utf-8", "replace")
    return FOLDED.fullmatch(line.rstrip()) is not None


def read_folded(file: BinaryIO) -> Looks:
    """Lines of `stack count`: py-spy's raw format, Tachyon's collapsed one, and what has names of functions only."""
    looks = Looks("folded stacks", "raw", unit="samples", timed=False)
    threads: dict[tuple[int, str], int] = {}
    for place, raw in enumerate(iter(lambda: file.readline(LONGEST), b""), 1):
        text = raw.decode("utf-8", "replace").strip()
        if not text:
            continue
        match = FOLDED.fullmatch(text)
        if match is None or len(raw) >= LONGEST:
            raise Malformed(f"line {place:,} is no stack with a number behind it")
        thread, node = Thread(), NO_STACK
        for part in match["stack"].split(";"):
            if head := OF_THREAD.fullmatch(part):
                looks.tool, thread = "py-spy", Thread(_system(head[1]))
            elif part.startswith("tid:") and part[4:].isdecimal():
                looks.tool, looks.format, thread = "Tachyon", "collapsed", Thread(_system(part[4:]))
            elif part and not OF_PROCESS.fullmatch(part):
                node = looks.inside(node, *_folded_frame(part))
        key = thread.system, thread.name
        if key not in threads:
            threads[key] = looks.add_thread(thread)
        looks.add(threads[key], 0, 0, float(match["count"][:18]), node)
    return looks


def _folded_frame(part: str) -> tuple[str, str, int]:
    if match := PYSPY_FRAME.fullmatch(part):
        return match[1], match[2], int((match[3] or "0")[:9])
    if match := TACHYON_FRAME.fullmatch(part):
        return match[2], match[1], max(0, int(match[3][:9]))
    return part, "", 0
