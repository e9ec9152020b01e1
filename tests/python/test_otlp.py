"""libperf.otlp: one exporter a process, its arguments and the environment."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import libperf
import libperf.otlp
from libperf.errors import InvalidError, OutOfRangeError, StartedError
from libperf.otlp.settings import settle
from support_otlp import BOUND, LONG, Receiver, needs_curl, receivers, record

pytestmark = needs_curl


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    yield from receivers()


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
