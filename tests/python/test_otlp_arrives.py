"""The exporter and a real receiver on this machine: what arrives, once each."""

from __future__ import annotations

import shutil
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import libperf
import libperf.otlp
from support_otlp import (
    BOUND,
    Receiver,
    another_process,
    attributes,
    exporters,
    free_port,
    metrics_of,
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


def test_the_gil_is_never_taken(name: str) -> None:
    """While one thread keeps the interpreter, and nobody else gets a turn, spans are read, encoded and sent: the receiver
    is another process."""
    port = free_port()
    process = another_process(port)
    found = start(f"http://127.0.0.1:{port}", interval=0.02)
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
    assert told(distrusting, "certificate")
    distrusting.close()
    assert receiver.requests == []
    trusting = start(receiver, certificate=certificate[0])
    assert trusting.flush(BOUND)
    assert name in receiver.names()
    trusting.close()
    receiver.close()
