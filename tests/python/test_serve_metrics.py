"""`libperf serve-metrics`: a real server in a process of its own, real processes, real scrapes."""

from __future__ import annotations

import gzip
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from libperf.metrics_server import CONNECTIONS_MAX, MetricsServer
from libperf.prometheus import Gathering
from support_metrics import PROGRAM, check_histograms, classic, openmetrics, value
from test_openmetrics import PROMETHEUS
from test_processes import end, make_hostile, more_work

Start = Callable[..., "subprocess.Popen[str]"]
COUNT = "libperf_operation_duration_seconds_count"


class Server:
    """A running `libperf serve-metrics`."""

    def __init__(self, folder: Path, *words: str) -> None:
        environment = {name: text for name, text in os.environ.items() if not name.startswith("LIBPERF_")}
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            [sys.executable, "-m", "libperf", "serve-metrics", "--port", "0", "--json", *words],
            env=environment | {"LIBPERF_DIR": str(folder)},
            text=True,
            stdout=pipe,
            stderr=pipe,
        )
        assert self.process.stdout is not None
        self.url = str(json.loads(self.process.stdout.readline())["url"])

    def get(self, path: str = "/metrics", method: str = "GET", **headers: str) -> tuple[int, Any, bytes]:
        request = urllib.request.Request(
            self.url.removesuffix("/metrics") + path,
            method=method,
            headers={name.replace("_", "-"): text for name, text in headers.items()},
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers, error.read()

    def scrape(self) -> Any:
        _, _, body = self.get(Accept=PROMETHEUS)
        return openmetrics(body.decode())

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        self.process.send_signal(number)
        _, err = self.process.communicate(timeout=60)
        return self.process.returncode, err


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []

    def serve(*words: str) -> Server:
        servers.append(Server(tmp_path, *words))
        return servers[-1]

    yield serve
    for server in servers:
        server.process.kill()
        server.process.communicate()


def test_both_formats(serve: Callable[..., Server], start: Start) -> None:
    """By the Accept header; each says which it is."""
    start(PROGRAM, "api", 3)
    server = serve()
    status, headers, body = server.get(Accept=PROMETHEUS)
    assert (status, headers["Content-Type"]) == (200, "application/openmetrics-text; version=1.0.0; charset=utf-8")
    found = openmetrics(body.decode())
    assert value(found, COUNT, name="work", service="api") == 3
    assert check_histograms(found) > 3
    status, headers, body = server.get()
    assert (status, headers["Content-Type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert value(classic(body.decode()), COUNT, name="work") == 3
    assert headers["Vary"] == "Accept, Accept-Encoding"


def test_gzip(serve: Callable[..., Server], start: Start) -> None:
    """For who takes it."""
    start(PROGRAM, "api", 3)
    server = serve()
    _, headers, body = server.get(Accept_Encoding="br, gzip")
    assert headers["Content-Encoding"] == "gzip"
    assert value(classic(gzip.decompress(body).decode()), COUNT, name="work") == 3
    for refuses in ("identity", "gzip;q=0", "br"):
        assert server.get(Accept_Encoding=refuses)[1]["Content-Encoding"] is None


def test_other_paths_and_methods(serve: Callable[..., Server], start: Start) -> None:
    """/healthz for whoever watches; others are refused in words."""
    start(PROGRAM, "api", 3)
    server = serve()
    server.scrape()
    status, _, body = server.get("/healthz")
    assert (status, json.loads(body)) == (200, {"status": "ok", "processes": 1, "scrapes": 1})
    assert server.get("/")[0] == 200
    assert server.get("/metrics?x=1")[0] == 200
    assert server.get("/nothing")[0] == 404
    assert server.get(method="POST")[0] == 501
    status, headers, body = server.get(method="HEAD")
    assert (status, body) == (200, b"") and int(headers["Content-Length"]) > 100


def test_processes_come_and_go(serve: Callable[..., Server], start: Start) -> None:
    """Between scrapes: killed ones keep what they counted."""
    server = serve()
    assert value(server.scrape(), "libperf_processes", state="running") == 0
    one = start(PROGRAM, "api", 3)
    assert value(server.scrape(), COUNT, name="work") == 3
    more_work(one, 4)
    end(one, "killed")
    start(PROGRAM, "api", 5)
    found = server.scrape()
    assert value(found, COUNT, name="work") == 12
    assert value(found, "libperf_processes", state="killed") == 1


def test_some_processes(serve: Callable[..., Server], start: Start) -> None:
    """--pid, --service, --per-process, --buckets, --gauges and the two that leave something out."""
    one, two = start(PROGRAM, "api", 3, 1), start(PROGRAM, "worker", 4, 2)
    assert value(serve("--pid", str(one.pid)).scrape(), COUNT, name="work") == 3
    assert value(serve("--service", "worker", "other").scrape(), COUNT, name="work") == 4
    found = serve("--per-process", "--gauges", "max").scrape()
    assert value(found, COUNT, name="work", pid=str(two.pid)) == 4
    found = serve("--buckets", "0.25,1", "--no-gen-ai", "--no-exemplars", "--service", "api").scrape()
    bounds = {dict(labels)["le"] for name, labels in found if name.endswith("_bucket")}
    assert bounds == {"0.25", "1.0", "+Inf"}
    assert not any(name.startswith("gen_ai") for name, _ in found)
    assert not any(sample.exemplar for sample in found.values())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_well(serve: Callable[..., Server], number: int) -> None:
    """Status 0, nothing on standard error; also with a connection open."""
    server = serve()
    host, port = server.url.removeprefix("http://").partition("/")[0].split(":")
    with socket.create_connection((host, int(port)), timeout=30):
        assert server.stop(number) == (0, "")


def command(folder: Path, *words: str) -> tuple[int, str]:
    environment = {**os.environ, "LIBPERF_DIR": str(folder)}
    done = subprocess.run(
        [sys.executable, "-m", "libperf", "serve-metrics", *words],
        env=environment,
        text=True,
        capture_output=True,
        timeout=60,
    )
    return done.returncode, done.stderr


def test_a_port_in_use(tmp_path: Path) -> None:
    """One line that names it."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        status, err = command(tmp_path, "--port", port)
    assert (status, err.count("\n")) == (1, 1)
    assert f"cannot listen at 127.0.0.1 port {port} (Address already in use)" in err and "--port" in err


@pytest.mark.parametrize(
    ("words", "status", "text"),
    [
        (["--host", "nowhere.invalid"], 1, "cannot listen at nowhere.invalid"),
        (["--pid", "999999999"], 1, "process 999999999 has recorded nothing in"),
        (["--port", "70000"], 2, "70000 is no port"),
        (["--port", "x"], 2, "invalid"),
        (["--buckets", "2,1"], 2, "not ascending"),
        (["--buckets", "x"], 2, "'x'"),
        (["--gauges", "mean"], 2, "invalid choice"),
    ],
)
def test_wrong_words(tmp_path: Path, words: list[str], status: int, text: str) -> None:
    """A message that names the value."""
    found, err = command(tmp_path, *words)
    assert (found, text in err, "Traceback" in err) == (status, True, False)


def test_hostile_files(serve: Callable[..., Server], start: Start, tmp_path: Path) -> None:
    """In the folder: skipped, counted by why; the rest is served."""
    start(PROGRAM, "api", 3)
    (home,) = tmp_path.glob("libperf-*")
    make_hostile(home, next(home.iterdir()).read_bytes())
    server = serve()
    found = server.scrape()
    work = value(found, COUNT, name="work", service="api")
    assert work is not None and work >= 3
    skipped = [sample.value for (name, _), sample in found.items() if name == "libperf_segments_skipped"]
    assert sum(skipped) >= 9
    assert server.stop() == (0, "")


def test_many_scrapes_at_once(serve: Callable[..., Server], start: Start) -> None:
    """While a process works: each is whole, and no counter falls from one to the next of a client."""
    process = start(PROGRAM, "api", 3)
    server = serve()
    wrong: list[Any] = []

    def client() -> None:
        last = 0.0
        for _ in range(8):
            found = server.scrape()
            here = value(found, COUNT, name="work") or 0.0
            if here < last or not check_histograms(found):
                wrong.append((here, last))
            last = here

    threads = [threading.Thread(target=client) for _ in range(6)]
    for thread in threads:
        thread.start()
    for _ in range(20):
        more_work(process, 5)
    for thread in threads:
        thread.join()
    assert wrong == []
    assert value(server.scrape(), COUNT, name="work") == 103


def test_connections_are_bounded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Silent clients take no more than so many threads; when they leave, others are served."""
    monkeypatch.setenv("LIBPERF_DIR", str(tmp_path))
    with MetricsServer(Gathering(), port=0) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        host, port = server.server_address[:2]
        before = threading.active_count()
        idle = [socket.create_connection((str(host), int(port)), timeout=30) for _ in range(CONNECTIONS_MAX + 5)]
        assert [client.recv(1) for client in idle[CONNECTIONS_MAX:]] == [b""] * 5  # turned away
        assert threading.active_count() - before <= CONNECTIONS_MAX
        for client in idle:
            client.close()
        for _ in range(1000):  # until the threads have noticed
            connection = http.client.HTTPConnection(str(host), int(port), timeout=30)
            try:
                connection.request("GET", "/healthz")
                assert connection.getresponse().status == 200
                break
            except (ConnectionError, http.client.HTTPException):
                continue
            finally:
                connection.close()
        else:
            pytest.fail("nobody was served again")
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    "raw", [b"\r\n\r\n", b"GET\r\n\r\n", b"GET /metrics HTTP/9\r\n\r\n", os.urandom(300) + b"\r\n\r\n"]
)
def test_what_is_no_request(serve: Callable[..., Server], raw: bytes) -> None:
    """Does not disturb the server."""
    server = serve()
    host, port = server.url.removeprefix("http://").partition("/")[0].split(":")
    with socket.create_connection((host, int(port)), timeout=30) as client:
        client.sendall(raw)
        client.shutdown(socket.SHUT_WR)
        while client.recv(4096):
            pass
    assert server.get()[0] == 200
    assert server.stop() == (0, "")


def test_a_reading_that_fails_is_an_answer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """500, and why."""
    monkeypatch.setenv("LIBPERF_DIR", str(tmp_path))
    gathering = Gathering()

    def fails(**_: Any) -> None:
        raise RuntimeError("no luck")

    monkeypatch.setattr(gathering, "families", fails)
    with MetricsServer(gathering, port=0) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        with pytest.raises(urllib.error.HTTPError) as answer:
            urllib.request.urlopen(server.url, timeout=30)
        assert (answer.value.code, b"no luck" in answer.value.read()) == (500, True)
        answer.value.close()
        server.shutdown()
        thread.join()


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6")
def test_ipv6(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An address with colons; its URL has brackets."""
    monkeypatch.setenv("LIBPERF_DIR", str(tmp_path))
    try:
        server = MetricsServer(Gathering(), "::1", 0)
    except OSError:
        pytest.skip("no IPv6 here")
    with server:
        assert server.url.startswith("http://[::1]:")


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool (package prometheus) is not installed")
def test_promtool(serve: Callable[..., Server], start: Start) -> None:
    """Prometheus's own checker reads it."""
    start(PROGRAM, "api", 3, 2.5)
    _, _, body = serve().get()
    done = subprocess.run(["promtool", "check", "metrics"], input=body, capture_output=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, b"")
