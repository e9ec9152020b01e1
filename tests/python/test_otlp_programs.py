"""Whole programs that export: how they begin and end, their forks, and files of what they recorded."""

from __future__ import annotations

import io
import json
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import libperf
from libperf.errors import NotFoundError, UnreachableError
from libperf.exports import otlp
from support_otlp import BOUND, Answer, Receiver, attributes, free_port, needs_curl, receivers

Run = Callable[..., "subprocess.CompletedProcess[str]"]
pytestmark = needs_curl


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    yield from receivers()


AGENT = """
import libperf
with libperf.span("in the program"): pass
"""


def test_a_program_that_knows_nothing_of_it(run: Run, receiver: Receiver) -> None:
    """LIBPERF_OTLP=1: spans arrive, at the end of the program at the latest; configure() still comes in time."""
    code = "import libperf\nlibperf.configure(service='configured')" + AGENT
    answer = run(code, LIBPERF_OTLP="1", OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url)
    assert (answer.returncode, answer.stderr) == (0, "")
    assert receiver.names() == ["in the program"]
    (request,) = [request for request in receiver.requests if request.signal == "traces"]
    assert attributes(request.message.resource_spans[0].resource)["service.name"] == "configured"


def test_wrong_variables_do_not_stop_a_program(run: Run) -> None:
    """It goes on, with one warning; OTEL_SDK_DISABLED is respected."""
    answer = run(AGENT + "print('done')", LIBPERF_OTLP="1", OTEL_EXPORTER_OTLP_ENDPOINT="nonsense")
    assert (answer.returncode, answer.stdout) == (0, "done\n")
    assert "OTLP" in answer.stderr and "nonsense" in answer.stderr and "Traceback" not in answer.stderr
    answer = run(AGENT, LIBPERF_OTLP="1", OTEL_EXPORTER_OTLP_ENDPOINT="nonsense", OTEL_SDK_DISABLED="true")
    assert (answer.returncode, answer.stderr) == (0, "")


def test_the_end_is_bounded(run: Run, receiver: Receiver) -> None:
    """A receiver that does not answer holds a program up for exit_timeout, one that is away not at all."""
    receiver.answers["traces"] = [Answer(how="late")]
    code = "import libperf.otlp, sys\nlibperf.otlp.start(sys.argv[1], signals=['traces'], exit_timeout=0.3)" + AGENT
    for url in (receiver.url, f"http://127.0.0.1:{free_port()}"):
        begun = time.monotonic()
        answer = run(code, url)
        assert (answer.returncode, answer.stderr) == (0, "")
        assert time.monotonic() - begun < BOUND / 2
    receiver.go_on.set()


# ---- several processes ----


FORKS = """
import os, sys, libperf, libperf.otlp
libperf.otlp.start(sys.argv[1], signals=["traces"], interval=3600.0)
with libperf.span("before"): pass
if len(sys.argv) > 2: assert libperf.otlp.flush(30)
children = []
for i in range(4):
    pid = os.fork()
    if not pid:
        with libperf.span(f"child {i}"): pass
        assert libperf.otlp.stop(30)
        os._exit(0)
    children.append(pid)
with libperf.span("after"): pass
assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children] == [0] * 4
assert libperf.otlp.flush(30)
"""


@pytest.mark.parametrize("connected", [False, True])
def test_forks(run: Run, receiver: Receiver, connected: bool) -> None:
    """Each child sends its own, under its own process id; nobody sends another's, and no connection is shared."""
    quiet = "ignore::DeprecationWarning"  # from 3.12 on: of a fork beside threads
    answer = run(FORKS, receiver.url, *(["x"] if connected else []), PYTHONWARNINGS=quiet)
    assert (answer.returncode, answer.stderr) == (0, "")
    names = sorted(receiver.names())
    assert names == ["after", "before", "child 0", "child 1", "child 2", "child 3"]
    pids = {
        span.name: attributes(r.message.resource_spans[0].resource)["process.pid"]
        for r in receiver.requests
        for span in r.message.resource_spans[0].scope_spans[0].spans
    }
    assert len({pid for span, pid in pids.items() if span.startswith("child")}) == 4
    assert pids["before"] == pids["after"]


def test_multiprocessing(run: Run, receiver: Receiver) -> None:
    """Its children end without atexit: they send all the same."""
    answer = run(
        """
import multiprocessing, sys, libperf, libperf.otlp
def work(i):
    with libperf.span(f"work {i}"): pass
if __name__ == "__main__":
    libperf.otlp.start(sys.argv[1], signals=["traces"], interval=3600.0)
    context = multiprocessing.get_context("fork")
    children = [context.Process(target=work, args=(i,)) for i in range(3)]
    for child in children: child.start()
    for child in children: child.join()
    assert [child.exitcode for child in children] == [0] * 3
""",
        receiver.url,
    )
    assert (answer.returncode, answer.stderr) == (0, "")
    assert sorted(receiver.names()) == ["work 0", "work 1", "work 2"]


# ---- files ----


def test_a_file_is_sent(run: Run, receiver: Receiver, segments: Callable[[], list[Path]]) -> None:
    """All of it, through a queue that is smaller than it: it waits for room."""
    code = "import libperf\nfor i in range(20000):\n    with libperf.span('x', i=i): pass"
    assert run(code).returncode == 0
    (path,) = segments()
    stats = otlp.send(path, receiver.url, max_queue_bytes=128 << 10, max_body_bytes=32 << 10)
    assert (stats.traces.sent, stats.traces.dropped, stats.lost) == (20000, 0, 0)
    assert stats.most_queue_bytes <= 128 << 10
    assert sorted(attributes(span)["i"] for span in receiver.spans()) == list(range(20000))
    assert any(request.signal == "metrics" for request in receiver.requests)


def test_a_file_that_is_not_taken(run: Run, segments: Callable[[], list[Path]], tmp_path: Path) -> None:
    """Nobody listens, or there is no such file."""
    assert run(AGENT).returncode == 0
    (path,) = segments()
    with pytest.raises(UnreachableError, match="connect"):
        otlp.send(path, f"http://127.0.0.1:{free_port()}", within=0.2)
    with pytest.raises(NotFoundError, match="nothing"):
        otlp.send(tmp_path / "nothing.perf", "http://127.0.0.1:1")
    with libperf.Reader(path) as reader, pytest.raises(UnreachableError):
        otlp.write(reader, None, endpoint=f"http://127.0.0.1:{free_port()}", within=0.2)


def test_json_is_what_curl_would_send(run: Run, segments: Callable[[], list[Path]]) -> None:
    """Hex ids, numbers of 64 bits as texts, enums as numbers, lowerCamelCase."""
    assert run(AGENT).returncode == 0
    (path,) = segments()
    with libperf.Reader(path) as reader:
        out = io.BytesIO()
        otlp.write(reader, out, signals="traces")
    (span,) = json.loads(out.getvalue())["resourceSpans"][0]["scopeSpans"][0]["spans"]
    assert len(span["traceId"]) == 32 and int(span["spanId"], 16)
    assert isinstance(span["startTimeUnixNano"], str) and span["kind"] == 1
