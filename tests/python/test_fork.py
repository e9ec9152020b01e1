"""Fork: the child records into a segment of its own, below the span it was forked in, and never into its parent's."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import libperf
from libperf.errors import ClosedError
from libperf.reader import Reader, Record, find_segment

needs_fork = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")


def in_child(work: Callable[[], object]) -> int:
    """Run `work` in a forked child and wait for it; it must not raise. Returns its process id."""
    pid = os.fork()
    if not pid:
        status = 1
        try:
            work()
            libperf.flush()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    return pid


class Child:
    """What a process that has ended left behind."""

    def __init__(self, pid: int) -> None:
        with Reader(find_segment(pid)) as reader:
            self.info = reader.info
            self.records = list(reader.records())
            self.open = reader.open_spans()
            self.counts = {name.text: reader.totals(name).count for name in reader.names}

    def span(self, name: str) -> Record:
        (found,) = (record for record in self.records if record.name == name)
        return found


@pytest.fixture
def recorded(name: str) -> Iterator[None]:
    """This process has a segment before it forks."""
    libperf.Counter(name).add()
    yield


def segments_of(pid: int) -> list[Path]:
    own = libperf.segment_path()
    assert own is not None
    return sorted(own.parent.glob(f"{pid}-*.perf"))


# ---- os.fork ----


def test_a_child_in_the_middle_of_a_span(seen: Any, name: str) -> None:
    """Its spans are children of the open one, in its trace, in another file; the parent's goes on as if alone."""
    with libperf.span(f"{name}.outer") as outer:
        before = outer.traceparent

        def work() -> None:
            assert libperf.current_span().traceparent == before
            with libperf.span(f"{name}.inner", here=1):
                pass

        child = Child(in_child(work))
        assert libperf.current_span().traceparent == before
        assert outer.set(after=2)
    inner, found = child.span(f"{name}.inner"), seen.span(f"{name}.outer")
    assert (f"{inner.parent:016x}", f"{inner.trace_id:032x}") == (outer.id, outer.trace_id)
    assert inner.attributes == {"here": 1}
    assert found.attributes == {"after": 2}
    assert (seen.spans(f"{name}.inner"), seen.totals(f"{name}.outer").count) == ([], 1)


def test_a_child_has_one_segment_and_says_who_it_is(recorded: None, name: str) -> None:
    """Process id, finished, no longer alive; the parent's file is the same as before."""
    own = libperf.segment_path()
    read, write = os.pipe()

    def work() -> None:
        assert libperf.segment_path() is None  # nothing recorded yet
        libperf.trace(name)(lambda: None)()
        path = libperf.segment_path()
        assert path is not None and path != own
        os.write(write, bytes(path))

    pid = in_child(work)
    os.close(write)
    assert Path(os.fsdecode(os.read(read, 4096))) == find_segment(pid)
    os.close(read)
    child = Child(pid)
    assert (child.info.pid, child.info.finished, child.info.alive) == (pid, True, False)
    assert child.counts[name] == 1
    assert libperf.segment_path() == own
    with Reader(own) as reader:
        assert (reader.info.pid, reader.info.alive) == (os.getpid(), True)


def test_a_child_that_records_nothing_has_no_segment(recorded: None) -> None:
    """A file is made at the first record, not by the fork."""
    assert segments_of(in_child(lambda: None)) == []


def test_a_child_starts_at_zero(seen: Any, name: str) -> None:
    """Counters, calls and lost values are of the process that recorded them; none counts twice."""
    counter = libperf.Counter(name)
    counter.add(5)
    traced = libperf.trace(name)(lambda: None)
    traced()

    def work() -> None:
        counter.add(2)
        traced()
        with Reader() as reader:
            values = {(found.kind, found.text): reader.totals(found) for found in reader.names}
        assert values[libperf.Kind.COUNTER, name].value == 2
        assert values[libperf.Kind.SPAN, name].count == 1

    in_child(work)
    assert seen.totals(name, libperf.Kind.COUNTER).value == 5
    assert seen.totals(name).count == 1


def test_ending_the_parents_span_in_the_child_does_nothing(seen: Any, name: str) -> None:
    """It is not recorded there, gets no attribute from there, and stays open in the parent."""
    outer = libperf.span(name, a=1)
    outer.__enter__()

    def work() -> None:
        assert not outer.set(b=2)
        assert outer.log("from the child")  # a line is written now, by whoever writes it
        outer.__exit__(None, None, None)
        assert not libperf.current_span()
        with Reader() as reader:
            assert [(record.type, record.parent) for record in reader.records()] == [("log", int(outer.id, 16))]
            assert reader.open_spans() == []
            assert [reader.totals(found).count for found in reader.names if found.text == name] == [0]

    in_child(work)
    assert [span.attributes for span in seen.open(name)] == [{"a": 1}]
    outer.__exit__(None, None, None)
    assert seen.span(name).attributes == {"a": 1}
    assert seen.logs(name) == []


def test_the_parents_span_may_end_before_the_childs(name: str) -> None:
    """A child that outlives the span it was forked in still records below it."""
    read, write = os.pipe()
    with libperf.span(f"{name}.outer") as outer:
        pid = os.fork()
        if not pid:
            try:
                os.close(write)
                os.read(read, 1)  # until the parent has ended its span
                with libperf.span(f"{name}.inner"):
                    pass
                libperf.flush()
            finally:
                os._exit(0)
    os.close(read)
    os.close(write)
    os.waitpid(pid, 0)
    assert f"{Child(pid).span(f'{name}.inner').parent:016x}" == outer.id


def test_a_chain_of_children(name: str) -> None:
    """A child's child is the child's: three processes, three segments, one trace."""
    read, write = os.pipe()

    def grandchild() -> None:
        with libperf.span(f"{name}.third"):
            pass

    def child() -> None:
        with libperf.span(f"{name}.second"):
            os.write(write, str(in_child(grandchild)).encode())

    with libperf.span(f"{name}.first") as first:
        second = Child(in_child(child)).span(f"{name}.second")
    third = Child(int(os.read(read, 20))).span(f"{name}.third")
    os.close(read)
    os.close(write)
    assert (f"{second.parent:016x}", third.parent) == (first.id, second.id)
    assert f"{first.trace_id}" == f"{second.trace_id:032x}" == f"{third.trace_id:032x}"


def test_ids_of_parent_and_children_differ(seen: Any, name: str) -> None:
    """Forked copies do not go on with the same sequence of numbers."""
    traced = libperf.trace(name)(lambda: None)

    def work() -> None:
        for _ in range(100):
            traced()

    children = [Child(in_child(work)) for _ in range(3)]
    work()
    records = [*seen.spans(name), *(record for child in children for record in child.records)]
    assert len(records) == 400
    assert len({record.id for record in records}) == 400
    assert len({record.trace_id for record in records}) == 400


@needs_fork
def test_an_inherited_reader_is_closed(recorded: None) -> None:
    """In the child it says so, and what to do, in place of telling the parent's numbers as the child's."""
    with libperf.Reader() as reader:
        pid = os.fork()
        if not pid:
            try:
                reader.refresh()
            except ClosedError as error:
                os._exit(3 if "Reader()" in str(error) else 2)
            finally:
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 3
        reader.refresh()


def test_a_killed_childs_open_span_is_read(recorded: None, name: str) -> None:
    """SIGKILL in the middle of a span: not finished, not alive, and the span is open."""
    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            with libperf.span(name, step="x"):
                os.write(write, b"!")
                signal.pause()
        finally:
            os._exit(1)
    os.read(read, 1)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    os.close(read)
    os.close(write)
    child = Child(pid)
    assert (child.info.finished, child.info.alive) == (False, False)
    assert [(span.name, span.attributes) for span in child.open] == [(name, {"step": "x"})]


@needs_fork
def test_forks_while_threads_record(seen: Any, name: str) -> None:
    """No child hangs on a lock that a thread held, each can intern and record, and the parent's counts stay exact."""
    stop = threading.Event()
    made: list[int] = []

    def record(number: int) -> None:
        count = 0
        while not stop.is_set():
            libperf.trace(f"{name}.{number}.{count % 20}")(lambda: None)()
            thread = threading.Thread(target=libperf.trace(f"{name}.short")(lambda: None))
            thread.start()
            thread.join()
            count += 1
        made.append(count)

    def work() -> None:
        for _ in range(10):
            libperf.trace(f"{name}.child")(lambda: None)()

    threads = [threading.Thread(target=record, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    children = [Child(in_child(work)) for _ in range(25)]
    stop.set()
    for thread in threads:
        thread.join()
    assert [child.counts[f"{name}.child"] for child in children] == [10] * 25
    assert seen.totals(f"{name}.short").count == sum(made) > 0
    assert sum(seen.totals(f"{name}.{i}.{j}").count for i in range(4) for j in range(20)) == sum(made)
    assert seen.totals(f"{name}.child").count == 0


# ---- multiprocessing ----


def pooled(number: int) -> tuple[int, str]:
    """Runs in a worker process."""
    with libperf.span("pooled", number=number):
        libperf.flush()  # workers of a pool are terminated
        return os.getpid(), libperf.current_span().trace_id


@needs_fork
@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_workers_of_multiprocessing(recorded: None, name: str, method: Any, tmp_path: Path) -> None:
    """Each worker has its own segment, whichever way it was started; only forked ones know the parent's span."""
    with libperf.span(name) as outer, multiprocessing.get_context(method).Pool(2) as pool:
        results = pool.map(pooled, range(20), chunksize=1)
    pids = {pid for pid, _ in results}
    children = {pid: Child(pid) for pid in pids}
    spans = [span for child in children.values() for span in (*child.records, *child.open)]
    assert sorted(span.attributes["number"] for span in spans) == list(range(20))
    assert os.getpid() not in pids
    assert {pid: child.info.pid for pid, child in children.items()} == {pid: pid for pid in pids}
    inherited = {f"{span.parent:016x}" == outer.id for span in spans}
    assert inherited == {method == "fork"}
    assert all((trace == outer.trace_id) == (method == "fork") for _, trace in results)
