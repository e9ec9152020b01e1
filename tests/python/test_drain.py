"""Drain: what a program's rings would write over comes back from the trace file."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import libperf
from libperf.drain import Drain
from libperf.errors import ClosedError, InvalidError, NotFoundError
from libperf.reader import Reader

LAPS = """\
import sys
import libperf
libperf.configure(ring_bytes=1 << 18)
for number in range(10_000):
    with libperf.span("s", number=number): pass
    if number % 300 == 0:  # no more than the ring can hold
        print(libperf.segment_path(), flush=True)
        sys.stdin.readline()
"""


@pytest.fixture
def own() -> Path:
    libperf.Counter("test_drain").add()
    path = libperf.segment_path()
    assert path is not None
    return path


def test_a_ring_that_laps(tmp_path: Path) -> None:
    """Drained in time, every span is in the trace file, each once, in order; the segment itself has lost most."""
    trace = tmp_path / "kept.perf"
    with subprocess.Popen([sys.executable, "-c", LAPS], stdin=-1, stdout=-1, text=True) as program:
        assert program.stdin is not None and program.stdout is not None
        segment = program.stdout.readline().strip()
        with Drain(segment, trace) as drain:
            print(file=program.stdin, flush=True)
            while program.stdout.readline():
                drain.step()
                print(file=program.stdin, flush=True)
            assert program.wait(60) == 0
            drain.step()
            assert drain.chunks > 5
            drain.finish()
    with Reader(segment) as reader:
        assert sum(1 for _ in reader.records()) + reader.lost == 10_000
        assert reader.lost > 5_000
    with Reader(trace) as reader:
        assert [record.attributes["number"] for record in reader.records()] == list(range(10_000))
        assert reader.lost == 0


def test_a_segment_that_has_everything(own: Path, tmp_path: Path) -> None:
    """Nothing needs to be kept, nothing is written before finish(), and the trace says the same."""
    with Drain(own, tmp_path / "kept.perf") as drain:
        drain.step()
        assert list(tmp_path.iterdir()) == []
        drain.finish()
        assert [drain.trace] == list(tmp_path.iterdir())
    with Reader(tmp_path / "kept.perf") as kept:
        (name,) = (name for name in kept.names if name.text == "test_drain")
        assert kept.totals(name).value > 0


def test_errors(own: Path, tmp_path: Path) -> None:
    """Each names the file and says what is wrong."""
    with pytest.raises(NotFoundError, match=r"draining '.*/missing'"):
        Drain(tmp_path / "missing", tmp_path / "kept.perf")
    with pytest.raises(InvalidError, match="NUL"):
        Drain(own, "a\0b")
    drain = Drain(own, tmp_path / "missing" / "kept.perf")
    with pytest.raises(NotFoundError, match=r"cannot write .*/missing/kept\.perf"):
        drain.finish()
    drain.close()
    with pytest.raises(ClosedError, match="Drain is closed"):
        drain.step()
