"""Files of other profilers may hold anything: each is read, or refused with its name and a reason, in bounded memory."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from libperf import imported
from libperf.errors import InvalidError, NotFoundError, PerfError
from libperf.imported import looks, read_looks
from support_exports import BEGIN, MS, NASTY, PID, Recording
from support_imported import EPOCH_S, ZERO_MS, Chrome, gecko, join_by_hand

SEEN = {PID: [(time, ("<module>", "plan", "spin")) for time in range(0, 100, 10)]}


def chrome() -> list[dict[str, Any]]:
    found = Chrome()
    found.see(100, PID, "<module>:9", "plan:1", "spin:5")
    found.see(200, PID, "<module>:9", "rest:1")
    found.see(300, PID)
    return found.events


def speedscope() -> dict[str, Any]:
    frames = [{"name": "plan", "file": "app.py", "line": 4}, {"name": "spin", "file": "app.py"}]
    profile = {
        "type": "sampled",
        "name": f'Thread {PID} "x"',
        "unit": "seconds",
        "samples": [[0], [0, 1]],
        "weights": [0.01, 0.01],
    }
    return {"exporter": "py-spy@0.4.1", "profiles": [profile], "shared": {"frames": frames}}


VALID: dict[str, Callable[[], Any]] = {
    "chrometrace": chrome,
    "speedscope": speedscope,
    "gecko": lambda: gecko(SEEN, BEGIN / MS),
}


def app() -> Recording:
    found = Recording()
    found.span("plan", 0, 150)
    return found


def refused(path: Path, reason: str, kind: type[PerfError] = InvalidError) -> None:
    with pytest.raises(kind, match=reason) as raised:
        join_by_hand(app(), path)
    assert str(path) in str(raised.value)


# ---- what is no file of a profiler ----


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is empty"),
        (b"\n \n", "it is empty"),
        (b"hello world\n", "its format is not known: py-spy's chrometrace, .* are read"),
        (b"\x00\xff" * 100, "its format is not known"),
        (b"\x1f\x8b\x08\x00", "it is compressed: unpack it with gunzip"),
        (b"{}", "this JSON is of no format that is known"),
        (b'{"traceEvents": []}', "this JSON is of no format that is known"),
        (b"[" * 100_000, "its JSON is nested too deeply"),
        (b'{"a":' * 100_000, "its JSON is nested too deeply"),
        (b'["x', "it ends in the middle"),
        (b"[1, 2]", "'ph' is missing where a str belongs"),
        (b'[{"ph": "B", "pid": "x"}]', "pid is 'x', no number"),
        (b'[{"ph": "B", "pid": 100, "tid": 1, "ts": NaN}]', "ts is nan, no time"),
        (b'[{"ph": "B", "pid": 100, "tid": 1, "ts": 1e400}]', "ts is inf, no time"),
        (b'[{"ph": "B", "pid": 100, "tid": 1, "ts": %s}]' % (b"9" * 4000), "ts is 9{37}"),
        (b'[{"ph": "X", "pid": 100, "tid": 1, "ts": 1, "dur": 3}]', "events of type X, which py-spy does not write"),
        (b"a;b 3\nno number\n", "line 2 is no stack with a number behind it"),
        (b"\x04\x22\x4d\x18\x40\x40\xc0\x29memray\0rubbish", "memray"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, content: bytes, reason: str) -> None:
    """With the file and the reason."""
    path = tmp_path / "samples"
    path.write_bytes(content)
    refused(path, reason, PerfError)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    """None, a folder, and one without any sample of the process."""
    refused(tmp_path / "nowhere", "there is no file", NotFoundError)
    refused(tmp_path, "cannot read", PerfError)
    path = tmp_path / "x"
    path.write_text("[]")
    refused(path, f"there is no sample of process {PID} in it", NotFoundError)


def test_speedscope_of_another_kind(tmp_path: Path) -> None:
    """Evented profiles, units that are no time, and numbers of frames that do not exist."""
    path = tmp_path / "x"
    for field, value, reason in (
        ("type", "evented", "a profile of type 'evented': only sampled ones"),
        ("unit", "bytes", "its unit is 'bytes'"),
        ("weights", [1], "2 samples and 1 weights"),
        ("samples", [[0], [2]], "a stack names frame 2 of 2"),
        ("samples", [[0], [-1]], "a stack names frame -1 of 2"),
        ("samples", [[0], [True]], "a stack names frame True of 2"),
    ):
        data = speedscope()
        data["profiles"][0][field] = value
        path.write_text(json.dumps(data))
        refused(path, reason)


# ---- broken on purpose ----


@pytest.mark.parametrize("format", VALID)
def test_a_file_cut_anywhere(tmp_path: Path, format: str) -> None:
    """Never another error than ours, and never a result."""
    text = json.dumps(VALID[format]())
    path = tmp_path / "x"
    for length in range(0, len(text) - 1, 3):
        path.write_text(text[:length])
        with pytest.raises(PerfError):
            join_by_hand(app(), path)


JUNK: list[Any] = [
    None, True, -1, 0, 2**31, 2**70, -(2**63), 1e308, -0.5, "", "x", "9" * 30, [], [1], {}, {"a": 1}, "\ud800", "\x1b[31m", [[]],
]  # fmt: skip


def places(data: Any) -> list[tuple[Any, Any]]:
    """Every container of a JSON value with each of its keys."""
    found: list[tuple[Any, Any]] = []
    keys = list(data) if isinstance(data, dict) else range(len(data)) if isinstance(data, list) else ()
    for key in keys:
        found += [(data, key), *places(data[key])]
    return found


@pytest.mark.parametrize("format", VALID)
def test_wrong_types_anywhere(tmp_path: Path, format: str) -> None:
    """Each value of a file in turn is something else: it is read, or refused by an error of ours that names the file."""
    path = tmp_path / "x"
    count = len(places(VALID[format]()))
    chance, kept = random.Random(1), 0
    for number in range(count):
        for junk in chance.sample(JUNK, 8):
            data = VALID[format]()
            within, key = places(data)[number]
            within[key] = junk
            path.write_text(json.dumps(data))
            try:
                kept += bool(
                    str(join_by_hand(app(), path, EPOCH_S + ZERO_MS / 1e3 if format != "speedscope" else None))
                )
            except PerfError as error:
                assert str(path) in str(error)
    assert kept > count  # not everything is refused


@pytest.mark.parametrize("format", VALID)
def test_names_that_steer_a_terminal(tmp_path: Path, format: str) -> None:
    """The table has none of it; the data has all, as JSON."""
    recording = app()
    path = tmp_path / "x"
    for nasty in NASTY:
        text = (
            json.dumps(VALID[format]()).replace('"spin"', json.dumps(nasty)).replace("app.py", json.dumps(nasty)[1:-1])
        )
        path.write_text(text)
        found = join_by_hand(recording, path, EPOCH_S + ZERO_MS / 1e3 if format != "speedscope" else None)
        found.notes.append(nasty)
        assert all(char.isprintable() for line in str(found).splitlines() for char in line)
        names = {line["function"] for each in found.to_dict()["operations"] for line in each["lines"]}
        assert format == "speedscope" or nasty[: looks.TEXT] in names or not nasty
        json.dumps(found.to_dict()).encode()


# ---- large ----

MEASURED = """\
import resource, sys
from pathlib import Path
from libperf.imported import looks, read_looks
looks.NODES = int(sys.argv[2])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
found = read_looks(Path(sys.argv[1]), 100)
print(len(found), len(found.frames), found.cut, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10)
"""


def measured(path: Path, nodes: int = looks.NODES) -> tuple[int, int, int, int]:
    """Looks, nodes of stacks, frames that were cut, and MiB that reading took, in a process of its own."""
    out = subprocess.check_output([sys.executable, "-c", MEASURED, str(path), str(nodes)], text=True, timeout=100)
    first, second, third, fourth = map(int, out.split())
    return first, second, third, fourth


def test_a_million_samples_in_little_memory(tmp_path: Path) -> None:
    """The file is read piece by piece: 120 MiB of it take less than half of that."""
    path = tmp_path / "x.json"
    with path.open("w") as file:
        file.write('[{"ph": "B", "pid": 100, "tid": 1, "ts": 0, "name": "<module>"}')
        for number in range(500_000):
            event = f'"pid": 100, "tid": 1, "name": "f{number % 300}", "args": {{"filename": "/srv/agent/app.py", "line": 7}}'
            file.write(
                f',{{"ph": "B", "ts": {number * 20}, {event}}}\n,{{"ph": "E", "ts": {number * 20 + 10}, {event}}}'
            )
        file.write("]")
    assert path.stat().st_size > 100 << 20
    found, nodes, cut, mib = measured(path)
    assert (found, nodes, cut) == (2 * 500_000 - 1, 302, 0)
    assert mib < 60


def test_stacks_without_an_end(tmp_path: Path) -> None:
    """A program whose stack only grows, and each time differently: frames beyond the limit count as their callers."""
    path = tmp_path / "x.json"
    with path.open("w") as file:
        file.write(
            "[" + ",".join(f'{{"ph":"B","pid":100,"tid":1,"ts":{n},"name":"f{n}"}}' for n in range(200_000)) + "]"
        )
    found, nodes, cut, mib = measured(path, 20_000)
    assert (found, nodes, cut) == (199_999, 20_000, 200_000 - 20_000 + 1)
    assert mib < 60


def test_limits_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of samples, and of files that must be in memory as a whole: with what to do."""
    path = tmp_path / "x"
    path.write_text(json.dumps(speedscope()))
    monkeypatch.setattr(imported, "JSON_BYTES", 1 << 4)
    refused(path, "it has 0 MiB, of which 0 can be read in this format: record for a shorter time, .* chrometrace")
    path.write_text(json.dumps(chrome()))
    monkeypatch.setattr(looks, "LOOKS", 1)
    refused(path, "more than 1 samples: record for a shorter time, or fewer a second")
    assert read_looks is imported.read_looks


def test_samples_that_all_lie_across_each_other(tmp_path: Path) -> None:
    """Five thousand of a file that lies, each as long as the recording, over as many spans: no product of both."""
    recording = Recording()
    for number in range(5_000):
        recording.span("plan", number * 0.4, number * 0.4 + 0.2)
    seen = {PID: [(0.0, ("plan",))] * 5_000 + [(1e7, ("plan",))]}
    path = tmp_path / "x"
    path.write_text(json.dumps(gecko(seen, BEGIN / MS)))
    try:
        assert join_by_hand(recording, path).samples == 5_001
    except InvalidError as error:
        assert "of its samples" in str(error)
