"""The exporter and a receiver that does not do what it should: what becomes of what was sent."""

from __future__ import annotations

import datetime
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from email.utils import format_datetime

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

import libperf
import libperf.otlp
from support_otlp import (
    BOUND,
    Answer,
    Receiver,
    another_process,
    attributes,
    exporters,
    free_port,
    needs_curl,
    receivers,
    record,
    start,
    told,
)

Run = Callable[..., "subprocess.CompletedProcess[str]"]
pytestmark = needs_curl


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    yield from receivers()


@pytest.fixture
def exporter(receiver: Receiver) -> Iterator[libperf.otlp.Exporter]:
    yield from exporters(receiver)


# ---- what it answers ----


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_retryable_answers(exporter: libperf.otlp.Exporter, receiver: Receiver, name: str, status: int) -> None:
    """It is sent again until it is taken."""
    receiver.answers["traces"] = [Answer(status), Answer(status)]
    record(name)
    assert exporter.flush(BOUND)
    assert receiver.names() == [name] * 3
    stats = exporter.stats()
    assert (stats.traces.failures, stats.traces.dropped, stats.traces.rejected) == (2, 0, 0)
    assert stats.error == f"traces: HTTP {status}"


@pytest.mark.parametrize("status", [301, 307, 400, 401, 404, 408, 413, 500, 501])
def test_final_answers(exporter: libperf.otlp.Exporter, receiver: Receiver, name: str, status: int) -> None:
    """It is never sent again, and nowhere else; what the receiver says is told."""
    body = b"\x12\x06no\nway"  # google.rpc.Status, whose field 2 is its message
    headers = (("Content-Type", "application/x-protobuf"), ("Location", f"{receiver.url}/elsewhere"))
    receiver.answers["traces"] = [Answer(status, body, headers)]
    record(name)
    assert exporter.flush(BOUND)
    record(name + "2")
    assert exporter.flush(BOUND)
    assert receiver.names() == [name, name + "2"]
    assert {request.path for request in receiver.requests} == {"/v1/traces"}
    stats = exporter.stats()
    assert (stats.traces.rejected, stats.traces.failures) == (1, 0)
    assert stats.error == f"traces: HTTP {status}: no way"


@pytest.mark.parametrize("json_", [False, True])
def test_partial_success(exporter: libperf.otlp.Exporter, receiver: Receiver, name: str, json_: bool) -> None:
    """What was refused is counted, and nothing is sent again."""
    response = ExportTraceServiceResponse()
    response.partial_success.rejected_spans = 2
    response.partial_success.error_message = "too old"
    body, kind = response.SerializeToString(), "application/x-protobuf"
    if json_:
        body, kind = b'{"partialSuccess": {"rejectedSpans": "2", "errorMessage": "too old"}}', "application/json"
    receiver.answers["traces"] = [Answer(200, body, (("Content-Type", kind),))]
    before = exporter.stats().traces.sent
    for _ in range(3):
        record(name)
    assert exporter.flush(BOUND)
    stats = exporter.stats()
    assert (stats.traces.sent - before, stats.traces.rejected) == (1, 2)
    assert stats.error == "traces: 2 refused: too old"
    assert len(receiver.requests) == 1


def test_retry_after(exporter: libperf.otlp.Exporter, receiver: Receiver, name: str) -> None:
    """Seconds and dates are waited for, though the backoff is shorter."""
    receiver.answers["traces"] = [Answer(429, headers=(("Retry-After", "1"),))]
    record(name)
    assert exporter.flush(BOUND)
    first, second = receiver.requests
    assert second.at - first.at >= 1.0
    date = datetime.datetime.now(datetime.UTC).replace(microsecond=0) + datetime.timedelta(seconds=2)
    ahead = time.time() - time.monotonic()
    receiver.answers["traces"] = [Answer(503, headers=(("retry-after", format_datetime(date, usegmt=True)),))]
    record(name)
    assert exporter.flush(BOUND)
    assert len(receiver.requests) == 4
    assert receiver.requests[3].at + ahead >= date.timestamp() - 0.1  # two clocks, read one after the other


GARBAGE = [b"\xff" * 50, b"\x0a\xff\xff\xff\xff\x0f", b"\x0a\x02\x08", b"<html>", os.urandom(20_000), b"{" * 5000]


@pytest.mark.parametrize("kind", ["application/x-protobuf", "application/json", "text/html"])
@pytest.mark.parametrize("status", [200, 400])
def test_garbage(exporter: libperf.otlp.Exporter, receiver: Receiver, name: str, kind: str, status: int) -> None:
    """An answer's status counts, whatever follows."""
    receiver.answers["traces"] = [Answer(status, body, (("Content-Type", kind),)) for body in GARBAGE]
    before = exporter.stats().traces
    for _ in GARBAGE:
        record(name)
        assert exporter.flush(BOUND)
    after = exporter.stats().traces
    assert len(receiver.requests) == len(GARBAGE)
    assert after.sent - before.sent + after.rejected - before.rejected == len(GARBAGE)
    if status == 400:
        assert after.rejected - before.rejected == len(GARBAGE)


def test_an_answer_without_end(exporter: libperf.otlp.Exporter, receiver: Receiver, name: str) -> None:
    """More than some megabytes of it are not taken."""
    receiver.answers["traces"] = [Answer(200, b"x" * (16 << 20))]
    record(name)
    assert exporter.flush(BOUND)
    assert receiver.names() == [name]


def test_a_closed_connection(exporter: libperf.otlp.Exporter, receiver: Receiver, name: str) -> None:
    """Without an answer nobody knows: it is sent again."""
    receiver.answers["traces"] = [Answer(how="close"), Answer(how="close")]
    record(name)
    assert exporter.flush(BOUND)
    assert receiver.names()[-1] == name and len(receiver.requests) >= 3
    assert exporter.stats().traces.dropped == 0


def test_half_an_answer(exporter: libperf.otlp.Exporter, receiver: Receiver, name: str) -> None:
    """It said 200: sent again it would be there twice. It said 503: it is sent again."""
    receiver.answers["traces"] = [Answer(200, b"\x0a", how="half")]
    record(name)
    assert exporter.flush(BOUND)
    assert receiver.names() == [name]
    receiver.answers["traces"] = [Answer(503, b"\x0a", how="half")]
    record(name)
    assert exporter.flush(BOUND)
    assert receiver.names() == [name] * 3


# ---- it takes its time ----


def test_a_slow_receiver(run: Run, receiver: Receiver) -> None:
    """A request that takes longer than `timeout` is broken off and made again; the program does not notice."""
    receiver.answers["traces"] = [Answer(how="never")]
    answer = run(
        """
import libperf, libperf.otlp, sys
libperf.otlp.start(sys.argv[1], signals=["traces"], interval=3600.0, timeout=3.0, backoff=(0.01, 0.02))
with libperf.span("x"): pass
assert libperf.otlp.flush(30)
stats = libperf.otlp.stats()
assert (stats.traces.sent, stats.traces.failures, stats.traces.dropped) == (1, 1, 0), stats
assert "timed out" in stats.error.lower(), stats
""",
        receiver.url,  # a program of its own: one span, not all that the tests before recorded
    )
    assert (answer.returncode, answer.stderr) == (0, "")
    assert receiver.names() == ["x", "x"]


def test_one_signal_does_not_hold_up_another(receiver: Receiver, name: str) -> None:
    """Metrics are told to wait for an hour; spans go on."""
    receiver.answers["metrics"] = [Answer(429, headers=(("Retry-After", "3600"),))]
    found = start(receiver, signals=None)
    assert not found.flush(0.3)
    record(name)
    assert not found.flush(0.3)  # metrics are still waiting
    receiver.wait(lambda r: name in r.names())
    assert found.stats().metrics.waiting > 0
    assert not found.stop(BOUND)  # who asked for time is not asked again at the end
    assert found.stats().metrics.dropped > 0
    found.close()


def test_stopped_while_others_wait(receiver: Receiver, name: str) -> None:
    """A flush that waits for a receiver ends when somebody stops the exporter."""
    receiver.answers["traces"] = [Answer(how="late")]
    found = start(receiver)
    record(name)
    answers: list[bool] = []
    waiting = threading.Thread(target=lambda: answers.append(found.flush(BOUND)))
    waiting.start()
    receiver.wait(lambda r: bool(r.requests))
    found.stop(0.1)
    waiting.join(BOUND)
    assert answers == [False]
    receiver.go_on.set()
    found.close()


# ---- it is not there ----


def test_a_receiver_that_comes_late(name: str) -> None:
    """Nobody listens; what was recorded meanwhile arrives once somebody does."""
    port = free_port()
    found = start(f"http://127.0.0.1:{port}")
    record(name)
    assert told(found, "connect")
    receiver = Receiver(port=port)
    assert found.flush(BOUND)
    assert name in receiver.names()
    found.close()
    receiver.close()


def test_a_bounded_queue(name: str) -> None:
    """While nobody listens memory is bounded: the oldest are dropped, and counted in the report, too."""
    found = start(f"http://127.0.0.1:{free_port()}", max_queue_bytes=65536)
    for _ in range(20):
        for _ in range(300):
            record(name)
        assert not found.flush(0.01)
    found.flush(0.05)
    stats = found.stats()
    assert stats.most_queue_bytes <= 65536 and stats.traces.dropped >= 3000
    assert libperf.snapshot()["counters"]["otlp.dropped.spans"] >= 3000
    begun = time.monotonic()
    assert not found.stop(BOUND)  # one try, which fails at once
    assert time.monotonic() - begun < BOUND / 2
    found.close()


def test_a_burst_beyond_the_queue(receiver: Receiver, name: str) -> None:
    """The receiver is there, but more comes at once than may wait: the latest arrive, the others are counted."""
    found = start(receiver, max_queue_bytes=65536)
    assert found.flush(BOUND)
    before = found.stats().traces
    receiver.requests.clear()
    for i in range(3000):
        record(name, i=i)
    assert found.flush(BOUND)
    stats = found.stats()
    arrived = [attributes(span)["i"] for span in receiver.spans()]
    assert 0 < len(arrived) < 3000 and arrived == list(range(3000 - len(arrived), 3000))
    assert stats.traces.sent - before.sent == len(arrived)
    assert stats.traces.dropped - before.dropped == 3000 - len(arrived)
    found.close()


def test_a_receiver_that_is_killed(name: str) -> None:
    """SIGKILL, and another one takes its place on the same port: nothing that was not answered is lost."""
    port = free_port()
    first = another_process(port)
    found = start(f"http://127.0.0.1:{port}")
    assert found.flush(BOUND)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    record(name)
    assert not found.flush(0.1)
    second = another_process(port)
    assert found.flush(BOUND)
    assert second.stdout is not None and second.stdout.readline() == f"{name}\n"
    second.kill()
    second.communicate()
    found.close()
