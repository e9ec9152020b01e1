"""A real redis-server on a unix socket, one that answers nonsense, and entries to put there."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

import pytest

from libperf._core import ffi, lib
from libperf.cache.keys import Key

NEVER = 2**64 - 1


def find_server(folder: Path) -> Path:
    """The program; Debian's redis-tools holds the whole server under another name. Skips the test without one."""
    found = shutil.which("redis-server") or shutil.which("valkey-server") or shutil.which("redis-check-rdb")
    if found is None:
        pytest.skip("no redis-server here")
    program = folder / "redis-server"
    program.unlink(missing_ok=True)
    program.symlink_to(found)
    return program


class RedisServer:
    """Runs in a folder of its own; ended when the test is."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.folder, self.arguments = folder, arguments
        self.path = folder / "redis.sock"
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"unix://{self.path}"

    def start(self) -> None:
        settings = f"--port 0 --unixsocket {self.path} --loglevel warning --dir {self.folder}".split()
        command = [find_server(self.folder), *settings, "--save", "", *self.arguments]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        while not self.says(b"PING\r\n"):
            assert self.process.poll() is None, "redis-server ended before it was ready"
            time.sleep(0.002)

    def says(self, text: bytes) -> bytes:
        """The first bytes of its answer, in a connection of their own."""
        with socket.socket(socket.AF_UNIX) as s:
            try:
                s.connect(str(self.path))
                s.sendall(text)
                return s.recv(65536)
            except OSError:
                return b""

    def signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


class Answering:
    """A server that is none: it sends `answer` back for whatever comes."""

    def __init__(self, path: Path, answer: bytes) -> None:
        self.url = f"unix://{path}"
        self._answer = answer
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(path))
        self._listening.listen()
        self._open: list[socket.socket] = []
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            self._open.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            while connection.recv(65536):
                connection.sendall(self._answer)
        except OSError:
            pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join()
        for connection in self._open:
            connection.close()


# ---- keys and entries ----


def key_of(text: str) -> Key:
    full, digest = text.encode(), ffi.new("uint8_t[16]")
    lib.perf_digest(full, len(full), digest)
    return Key(full, bytes(ffi.buffer(digest)))


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def entry_of(
    key: Key, value: bytes, *, labels: Sequence[int] = (), created_ms: int | None = None, expires_ms: int = NEVER
) -> bytes:
    entry = ffi.new("perf_entry *")
    marks = ffi.new("uint8_t[]", max(1, 8 * len(labels)))
    for number, label in enumerate(labels):
        lib.perf_entry_put_label(label, marks + 8 * number)
    parts = (ffi.from_buffer(key.full), ffi.from_buffer(value))
    entry.created_ms = now_ms() if created_ms is None else created_ms
    entry.fresh_ms = entry.expires_ms = expires_ms
    entry.label, entry.label_count = marks, len(labels)
    entry.key, entry.key_size, entry.value, entry.value_size = parts[0], len(key.full), parts[1], len(value)
    entry.raw_size = len(value)
    out = ffi.new("uint8_t[]", lib.perf_entry_size(entry))
    assert lib.perf_entry_write(entry, out, len(out)) == lib.PERF_OK
    return bytes(ffi.buffer(out))


def value_of(entry: bytes | None) -> bytes | None:
    if entry is None:
        return None
    found = ffi.new("perf_entry *")
    assert lib.perf_entry_read(entry, len(entry), found) == lib.PERF_OK
    return bytes(ffi.buffer(found.value, found.value_size))


class Distant:
    """A server that is further away: what is said to it arrives `seconds` later."""

    def __init__(self, server: RedisServer, seconds: float) -> None:
        self.path = server.path.with_name("distant.sock")
        self.url = f"unix://{self.path}"
        self._server, self._seconds = server, seconds
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(self.path))
        self._listening.listen()
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            try:
                near, _ = self._listening.accept()
            except OSError:
                return
            far = socket.socket(socket.AF_UNIX)
            far.connect(str(self._server.path))
            threading.Thread(target=self._pass_on, args=(near, far, self._seconds), daemon=True).start()
            threading.Thread(target=self._pass_on, args=(far, near, 0), daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket, seconds: float) -> None:
        with contextlib.suppress(OSError):
            while said := source.recv(65536):
                time.sleep(seconds)
                target.sendall(said)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()


def until(what: Callable[[], Any], seconds: float = 20.0) -> Any:
    """Ask again and again until it is true: for what another process does in its own time."""
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.002)
    return found


def stop(server: RedisServer) -> None:
    server.signal(signal.SIGSTOP)
    assert server.process is not None
    os.waitid(os.P_PID, server.process.pid, os.WSTOPPED | os.WNOWAIT)
