"""The exporter and a real receiver on this machine: what arrives, and what becomes of it when the receiver does not do
what it should."""

from __future__ import annotations

import datetime
import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

import libperf
import libperf.otlp
from libperf._core import lib
from libperf.errors import InvalidError, NotFoundError, OutOfRangeError, StartedError, UnreachableError
from libperf.exports import otlp
from libperf.otlp.settings import settle
from support_otlp import BOUND, Answer, Receiver, attributes, metrics_of, receivers

pytestmark = pytest.mark.skipif(not lib.perf_exporter_features() & 1, reason="built without libcurl")
Run = Callable[..., "subprocess.CompletedProcess[str]"]
LONG = 3600.0  # nothing is read unless somebody asks
QUICK = {"interval": LONG, "metrics_interval": LONG, "backoff": (0.01, 0.02)}


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    yield from receivers()


@pytest.fixture
def exporter(receiver: Receiver) -> Iterator[libperf.otlp.Exporter]:
    """Of spans alone, to the receiver; what this process recorded before is out of the way."""
    found = start(receiver)
    assert found.flush(BOUND)
    receiver.requests.clear()
    yield found
    found.close()


def start(receiver: Receiver, **options: Any) -> libperf.otlp.Exporter:
    settings = settle(**{"endpoint": receiver.url, "signals": ["traces"], **QUICK, **options}, environment={})
    return libperf.otlp.Exporter(settings)


def record(name: str, **given: Any) -> None:
    with libperf.span(name, **given):
        pass


# ---- what arrives ----


@pytest.mark.parametrize("protocol", ["http/protobuf", "http/json"])
@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_everything_arrives(receiver: Receiver, name: str, protocol: str, compression: str) -> None:
    """Spans with events, totals, under the paths that OTLP has, with headers and types."""
    found = start(
        receiver,
        signals=None,
        protocol=protocol,
        compression=compression,
        headers={"Authorization": "Bearer s3cret", "x-empty": ""},
        service="shop",
    )
    with libperf.span(name) as s:
        s.log("hello")
    libperf.Counter(name).add(2)
    assert found.flush(BOUND)
    (span,) = [span for span in receiver.spans() if span.name == name]
    assert [event.name for event in span.events] == ["hello"]
    request = next(r for r in receiver.requests if r.path == "/v1/traces")
    assert request.headers["authorization"] == "Bearer s3cret" and request.headers["x-empty"] == ""
    assert request.headers["user-agent"] == f"libperf/{libperf.__version__}"
    assert attributes(request.message.resource_spans[0].resource)["service.name"] == "shop"
    totals = next(r.message for r in receiver.requests if r.path == "/v1/metrics")
    assert metrics_of(totals)[name].sum.data_points[0].as_int == 2
    stats = found.stats()
    assert (stats.traces.rejected, stats.traces.dropped, stats.error, stats.running) == (0, 0, "", True)
    assert found.stop(BOUND)
    assert not found.stats().running
    found.close()


def test_nothing_is_sent_twice(exporter: libperf.otlp.Exporter, receiver: Receiver, name: str) -> None:
    """Each span once, over one connection, however often somebody asks."""
    for i in range(5):
        record(name, i=i)
        assert exporter.flush(BOUND)
    assert [attributes(span)["i"] for span in receiver.spans()] == list(range(5))
    assert exporter.flush(BOUND)
    assert len(receiver.requests) == 5


def test_by_itself(receiver: Receiver, name: str) -> None:
    """Nobody asks: it reads and sends every `interval`."""
    found = start(receiver, interval=0.02)
    record(name)
    receiver.wait(lambda r: name in r.names())
    found.close()


def test_a_million_spans(run: Run, receiver: Receiver) -> None:
    """All of them arrive, while a thread makes them as fast as it can and the rings are large enough."""
    answer = run(
        """
import libperf, libperf.otlp, sys
libperf.configure(ring_bytes=256 << 20, max_bytes=512 << 20)
libperf.otlp.start(sys.argv[1], signals=["traces"], interval=0.05, compression="gzip")
begin, end = libperf.handles.begin, libperf.handles.end
root, number = libperf.spans.NO_SPAN, libperf.names.intern(libperf.Kind.SPAN, "x")
for _ in range(1_000_000): end(begin(number, root))
assert libperf.otlp.flush(120)
stats = libperf.otlp.stats()
assert (stats.traces.sent, stats.lost, stats.traces.dropped, stats.unencoded) == (1_000_000, 0, 0, 0), stats
assert stats.most_queue_bytes <= 32 << 20
""",
        receiver.url,
    )
    assert (answer.returncode, answer.stderr) == (0, "")
    assert (
        sum(len(s.spans) for r in receiver.requests for e in r.message.resource_spans for s in e.scope_spans) == 10**6
    )


def test_what_is_overwritten_is_counted(run: Run, receiver: Receiver) -> None:
    """Sent and lost are all there were: in stats(), in the next metrics, in the report."""
    answer = run(
        """
import json, libperf, libperf.otlp, sys
libperf.configure(ring_bytes=65536)
libperf.otlp.start(sys.argv[1], interval=3600.0)
for _ in range(10_000):
    with libperf.span("x"): pass
assert libperf.otlp.flush(30)
stats = libperf.otlp.stats()
assert stats.traces.sent + stats.lost == 10_000 and stats.lost > 0
assert libperf.snapshot()["counters"]["otlp.lost.records"] == stats.lost
assert libperf.otlp.flush(30)
print(stats.lost)
""",
        receiver.url,
    )
    assert (answer.returncode, answer.stderr) == (0, "")
    totals = [r.message for r in receiver.requests if r.signal == "metrics"]
    assert metrics_of(totals[1])["otlp.lost.records"].sum.data_points[0].as_int == int(answer.stdout)


# ---- a receiver that does not take it ----


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
    date = format_datetime(datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=2), usegmt=True)
    receiver.answers["traces"] = [Answer(429, headers=(("Retry-After", "1"),))]
    record(name)
    assert exporter.flush(BOUND)
    first, second = receiver.requests
    assert second.at - first.at >= 1.0
    receiver.answers["traces"] = [Answer(503, headers=(("retry-after", date),))]
    record(name)
    assert exporter.flush(BOUND)
    assert receiver.requests[3].at - receiver.requests[2].at >= 0.9


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


def test_a_slow_receiver(receiver: Receiver, name: str) -> None:
    """A request that takes longer than `timeout` is broken off and made again; the program does not notice."""
    receiver.answers["traces"] = [Answer(how="late")]
    found = start(receiver, timeout=0.2)
    record(name)
    assert found.flush(BOUND)
    assert receiver.names().count(name) == 2
    assert found.stats().traces.failures == 1
    assert "timed out" in found.stats().error.lower()
    receiver.go_on.set()
    found.close()


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


def free_port() -> int:
    import socket

    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def test_a_receiver_that_comes_late(name: str) -> None:
    """Nobody listens; what was recorded meanwhile arrives once somebody does."""
    port = free_port()
    settings = settle(endpoint=f"http://127.0.0.1:{port}", signals=["traces"], environment={}, **QUICK)
    found = libperf.otlp.Exporter(settings)
    record(name)
    assert not found.flush(0.2)
    assert "connect" in found.stats().error
    receiver = Receiver(port=port)
    assert found.flush(BOUND)
    assert name in receiver.names()
    found.close()
    receiver.close()


def test_a_bounded_queue(name: str) -> None:
    """While nobody listens memory is bounded: the oldest are dropped, and counted in the report, too."""
    settings = settle(
        endpoint=f"http://127.0.0.1:{free_port()}",
        signals=["traces"],
        environment={},
        max_queue_bytes=65536,
        **QUICK,
    )
    found = libperf.otlp.Exporter(settings)
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


RECEIVER = """
import sys
sys.path.insert(0, sys.argv[1])
from support_otlp import Receiver
receiver = Receiver(port=int(sys.argv[2]))
print("ready", flush=True)
while True:
    receiver.wait(lambda r: r.requests)
    print(receiver.requests.pop(0).message.resource_spans[0].scope_spans[0].spans[0].name, flush=True)
"""


def test_a_receiver_that_is_killed(name: str) -> None:
    """SIGKILL, and another one takes its place on the same port: nothing that was not answered is lost."""
    port = free_port()

    def begin() -> subprocess.Popen[str]:
        words = [sys.executable, "-c", RECEIVER, str(Path(__file__).parent), str(port)]
        process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        return process

    first = begin()
    settings = settle(endpoint=f"http://127.0.0.1:{port}", signals=["traces"], environment={}, **QUICK)
    found = libperf.otlp.Exporter(settings)
    assert found.flush(BOUND)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    record(name)
    assert not found.flush(0.1)
    second = begin()
    assert found.flush(BOUND)
    assert second.stdout is not None and second.stdout.readline() == f"{name}\n"
    second.kill()
    second.communicate()
    found.close()


# ---- TLS ----


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """For 127.0.0.1, signed by itself."""
    if not shutil.which("openssl"):
        pytest.skip("needs openssl")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    more = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*words, *more], check=True, capture_output=True)
    return certificate, key


def test_tls(certificate: tuple[Path, Path], name: str) -> None:
    """It is trusted when its certificate is given, else nothing is sent, and the reason is told."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    receiver = Receiver(context)
    record(name)
    distrusting = start(receiver)
    assert not distrusting.flush(0.5)
    assert "certificate" in distrusting.stats().error
    distrusting.close()
    assert receiver.requests == []
    trusting = start(receiver, certificate=certificate[0])
    assert trusting.flush(BOUND)
    assert name in receiver.names()
    trusting.close()
    receiver.close()


# ---- the module ----


@pytest.fixture
def module() -> Iterator[Any]:
    yield libperf.otlp
    libperf.otlp.stop(0)


def test_start_and_stop(module: Any, receiver: Receiver, name: str) -> None:
    """One a process; flush() and stats() are about it; stopping twice is allowed."""
    assert not module.flush(0.1)
    assert module.stop()
    with pytest.raises(libperf.errors.ClosedError, match=r"start\(\) it"):
        module.stats()
    module.start(receiver.url, interval=LONG)
    with pytest.raises(StartedError, match=r"stop\(\) it first"):
        module.start(receiver.url)
    record(name)
    assert module.flush(BOUND) and name in receiver.names()
    assert module.stats().traces.sent >= 1
    record(name + "2")
    assert module.stop(BOUND) and name + "2" in receiver.names()
    assert module.stop()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"endpoint": "localhost:4318"}, "not a URL such as"),
        ({"endpoint": "ftp://x"}, "not a URL such as"),
        ({"endpoint": "http://user:pw@x"}, "headers="),
        ({"protocol": "grpc"}, "http/protobuf, http/json"),
        ({"compression": "zstd"}, "none, gzip"),
        ({"signals": ["span"]}, "traces, metrics, logs"),
        ({"signals": []}, "exporting to"),
        ({"headers": {"a": "b\r\nc: d"}}, "exporting to"),
        ({"headers": {"a b": "c"}}, "exporting to"),
        ({"interval": 0.0}, "interval=0.0"),
        ({"timeout": 0.0}, "timeout=0.0"),
        ({"interval": -1.0}, "interval=-1.0"),
        ({"backoff": 3}, "backoff=3"),
        ({"max_queue_bytes": 10}, "max_queue_bytes=10"),
        ({"exit_timeout": "soon"}, "exit_timeout='soon'"),
    ],
)
def test_wrong_arguments(module: Any, options: dict[str, Any], words: str) -> None:
    """The error names the value; a secret in a URL or a header is not in it."""
    with pytest.raises((InvalidError, OutOfRangeError, ValueError), match=words) as caught:
        module.start(**options)
    assert "pw" not in str(caught.value) and "c: d" not in str(caught.value)
    assert module.stop()


def test_the_environment(receiver: Receiver) -> None:
    """OpenTelemetry's variables; one signal's own before all signals', arguments before both."""
    environment = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://general:1/base/",
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://own:2/x",
        "OTEL_EXPORTER_OTLP_HEADERS": "api-key=a%20b,x=y",
        "OTEL_EXPORTER_OTLP_LOGS_HEADERS": "l=1",
        "OTEL_EXPORTER_OTLP_TIMEOUT": "2500",
        "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/json",
        "OTEL_SERVICE_NAME": "named",
        "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test,service.name=other",
        "OTEL_LOGS_EXPORTER": "none",
        "OTEL_EXPORTER_OTLP_CERTIFICATE": "",
    }
    found = settle(environment=environment)
    assert found.urls == {"traces": "http://own:2/x", "metrics": "http://general:1/base/v1/metrics"}
    assert found.headers["traces"] == {"api-key": "a b", "x": "y"}
    assert (found.timeout, found.gzip, found.json, found.certificate) == (2.5, True, True, None)
    assert found.resource["service.name"] == "named"
    assert found.resource["deployment.environment.name"] == "test"
    given = settle(endpoint="http://mine", timeout=1.0, signals=["logs"], compression="none", environment=environment)
    assert (given.urls, given.timeout, given.gzip) == ({"logs": "http://mine/v1/logs"}, 1.0, False)
    assert given.headers == {"logs": {"l": "1"}}
    assert settle(environment={"OTEL_EXPORTER_OTLP_TIMEOUT": "10"}).timeout == 10  # the SDK for Python means seconds
    assert settle(environment={}).urls["traces"] == "http://localhost:4318/v1/traces"
    for name, value in (("TIMEOUT", "soon"), ("HEADERS", "novalue"), ("PROTOCOL", "grpc")):
        with pytest.raises(InvalidError):
            settle(environment={f"OTEL_EXPORTER_OTLP_{name}": value})


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


def test_the_gil_is_never_taken(receiver: Receiver, name: str) -> None:
    """While one thread keeps the interpreter, and nobody else gets a turn, spans are read, encoded and sent: the receiver
    is another process."""
    port = free_port()
    words = [sys.executable, "-c", RECEIVER, str(Path(__file__).parent), str(port)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    settings = settle(
        endpoint=f"http://127.0.0.1:{port}", signals=["traces"], environment={}, **{**QUICK, "interval": 0.02}
    )
    found = libperf.otlp.Exporter(settings)
    assert found.flush(BOUND)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1000)
    try:
        sent = found.stats().traces.sent
        record(name)
        until = time.monotonic() + BOUND
        while found.stats().traces.sent == sent and time.monotonic() < until:
            pass  # never lets go
        assert found.stats().traces.sent > sent
    finally:
        sys.setswitchinterval(interval)
    process.kill()
    process.communicate()
    found.close()


def test_threads(exporter: libperf.otlp.Exporter, receiver: Receiver, name: str) -> None:
    """Flushed from many threads at once while others record: each span once."""

    def work() -> None:
        for _ in range(50):
            record(name)
            assert exporter.flush(BOUND)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert receiver.names().count(name) == 300
    ids = [span.span_id for span in receiver.spans()]
    assert len(ids) == len(set(ids))


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
    import io

    assert run(AGENT).returncode == 0
    (path,) = segments()
    with libperf.Reader(path) as reader:
        out = io.BytesIO()
        otlp.write(reader, out, signals="traces")
    (span,) = json.loads(out.getvalue())["resourceSpans"][0]["scopeSpans"][0]["spans"]
    assert len(span["traceId"]) == 32 and int(span["spanId"], 16)
    assert isinstance(span["startTimeUnixNano"], str) and span["kind"] == 1
