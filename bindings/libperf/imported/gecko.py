"""Firefox's profile as Python 3.15's sampler writes it (`python -m profiling.sampling run --gecko`): samples with times.

Its `meta.startTime` is the machine's monotonic clock in milliseconds, which is libperf's clock as well; of a profile that was
replayed from a binary recording it is another time, which the one who joins finds out. A thread's `tid` is the system's id.
"""

from typing import Any

from .looks import NO_STACK, Looks, Malformed, Thread, field, number

__all__ = ["read_gecko"]

SINCE_1970_MS = 1e12  # more than that is no time since a machine has started
MS = 1_000_000


def read_gecko(data: dict[str, Any]) -> Looks:
    """Every thread's samples. Each stands for the mean time between two of its thread."""
    meta = field(data, "meta", dict)
    tool = "Tachyon" if "Tachyon" in str(meta.get("importedFrom", "")) else "Firefox's profile"
    looks = Looks(tool, "gecko")
    begin = int(number(meta.get("startTime"), "meta.startTime") * MS)
    if begin > SINCE_1970_MS * MS:
        looks.zero_wall = begin
    else:
        looks.zero_monotonic = begin
    strings = _strings(data)
    for thread in field(data, "threads", list):
        _add_thread(looks, thread, strings)
    return looks


def _strings(data: dict[str, Any]) -> list[Any]:
    shared = data.get("shared")
    if not isinstance(shared, dict) or not isinstance(shared.get("stringArray"), list):
        raise Malformed("no shared.stringArray: only profiles as Python's sampler writes them are read")
    return list(shared["stringArray"])


def _add_thread(looks: Looks, thread: Any, strings: list[Any]) -> None:
    samples = field(thread, "samples", dict)
    stacks, times = field(samples, "stack", list), field(samples, "time", list)
    if len(stacks) != len(times):
        raise Malformed(f"{len(stacks):,} stacks and {len(times):,} times")
    nodes = _nodes(looks, thread, strings)
    system = thread.get("tid")
    known = Thread(system if type(system) is int and 0 < system < 2**31 else 0, thread.get("isMainThread") is True)
    number_ = looks.add_thread(known)
    moments = [number(time, "a sample's time") * MS for time in times]
    period = (moments[-1] - moments[0]) / (len(moments) - 1) if len(moments) > 1 else 0.0
    if period < 0:
        raise Malformed("its samples are not in the order of their times")
    looks.precision = max(looks.precision, int(min(period, 1e12)))
    for stack, time in zip(stacks, moments, strict=True):
        if stack is None:
            continue
        node = nodes[_index(stack, nodes, "stack")]
        looks.add(number_, time - period / 2, time + period / 2, period, node)


def _nodes(looks: Looks, thread: dict[str, Any], strings: list[Any]) -> list[int]:
    """The stack of each entry of the thread's table; callers lie before those they call."""
    functions, frames = field(thread, "funcTable", dict), field(thread, "frameTable", dict)
    table = field(thread, "stackTable", dict)
    names, files = field(functions, "name", list), field(functions, "fileName", list)
    of, lines = field(frames, "func", list), field(frames, "line", list)
    found: list[int] = []
    for frame, prefix in zip(field(table, "frame", list), field(table, "prefix", list), strict=False):
        caller = NO_STACK if prefix is None else found[_index(prefix, found, "stack")]
        at = _index(frame, of, "frame")
        function = _index(of[at], names, "function")
        line = lines[at] if at < len(lines) else None
        file = files[function] if function < len(files) else None
        text = _text(strings, names[function])
        found.append(looks.inside(caller, text, _text(strings, file), line if type(line) is int and line > 0 else 0))
    return found


def _index(value: Any, table: list[Any], what: str) -> int:
    if type(value) is not int or not 0 <= value < len(table):
        raise Malformed(f"it names {what} {str(value)[:20]} of {len(table):,}")
    return value


def _text(strings: list[Any], index: Any) -> str:
    return "" if index is None else str(strings[_index(index, strings, "text")])
