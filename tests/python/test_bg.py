"""libperf.bg: what is stored stays, in other processes and in the next run."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from libperf import bg
from libperf.cache.values import Unencodable
from libperf.errors import FullError, InvalidError, PerfError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("LIBPERF_CACHE_DIR", str(tmp_path))
    bg.configure()
    yield tmp_path / "store"
    bg._store().close()
    monkeypatch.setattr(bg, "_default", None)


def in_another_process(code: str) -> str:
    program = "from libperf import bg\n" + textwrap.dedent(code)
    return subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout


VALUES: list[Any] = [
    None,
    0,
    -(2**200),
    1.5,
    "ü",
    b"\0",
    [1, [2, (3,)]],
    {"a": {1: None}, (1, 2): {3}},
    date(2026, 1, 2),
    Decimal("1.10"),
    "x" * 100_000,
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: repr(value)[:20])
def test_a_value_comes_back_here_and_in_another_process(folder: Path, value: Any) -> None:
    """Plain values, None among them, with their types."""
    bg.store("name", value)
    found = bg.get("name", default="none")
    assert found == value and type(found) is type(value)
    assert in_another_process("print(repr(bg.get('name')))").strip() == repr(value)


def test_names_delete_default_and_size(folder: Path) -> None:
    """The whole surface, over two processes."""
    assert bg.names() == [] and bg.get("a") is None and bg.get("a", default=5) == 5
    before = bg.size()
    for number in range(40):
        bg.store(f"n{number:02}", [number] * 100)
    in_another_process("bg.store('ünder', 1); assert bg.delete('n07'); bg.store('n08', 'new')")
    assert bg.names() == sorted([*(f"n{number:02}" for number in range(40) if number != 7), "ünder"])
    assert bg.get("n07") is None and bg.get("n08") == "new" and bg.get("ünder") == 1
    assert before < bg.size() < 1 << 20
    assert bg.delete("n08") and not bg.delete("n08") and not bg.delete("never")
    assert bg.get("n08", 3) == 3


def test_async_twins(folder: Path) -> None:
    """astore, aget, adelete."""

    async def main() -> None:
        await bg.astore("a", {"b": 1})
        assert await bg.aget("a") == {"b": 1}
        assert await bg.adelete("a")
        assert await bg.aget("a", default=2) == 2

    asyncio.run(main())


def test_stored_means_stored(folder: Path) -> None:
    """A process that is killed right after store() has returned leaves the value behind."""
    for number in range(5):
        program = f"from libperf import bg; import os; bg.store('k', {number}); os.kill(os.getpid(), {signal.SIGKILL})"
        assert subprocess.run([sys.executable, "-c", program]).returncode == -signal.SIGKILL
        assert bg.get("k") == number


def test_a_forked_child_stores(folder: Path) -> None:
    """The child of a fork uses the same store, and so does the parent after it."""
    bg.store("parent", 1)
    pid = os.fork()
    if not pid:
        code = 1
        try:
            assert bg.get("parent") == 1
            bg.store("child", 2)
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(pid, 0)[1] == 0
    assert bg.get("child") == 2
    bg.store("parent", 3)
    assert bg.get("parent") == 3


def test_a_full_store_says_what_to_do(tmp_path: Path) -> None:
    """Nothing is evicted: FullError. What is deleted makes room."""
    store = bg.Store(tmp_path / "small", max_bytes="1MiB")
    stored = 0
    with pytest.raises(FullError, match=r"delete something, or give it more max_bytes"):
        for stored in range(1000):
            store.store(f"n{stored}", os.urandom(10_000))
    assert 50 < stored < 110
    assert len(store.names()) == stored
    assert store.delete("n0")
    store.store("again", os.urandom(8_000))
    with pytest.raises(FullError):
        store.store("large", os.urandom(1 << 20))
    store.close()
    larger = bg.Store(tmp_path / "small", max_bytes="4MiB")
    larger.store("large", os.urandom(300_000))
    assert len(larger.names()) == stored + 1
    larger.close()


def test_what_cannot_be_stored(folder: Path) -> None:
    """An unknown type is named with its place, and nothing is stored; names are texts."""
    with pytest.raises(Unencodable, match="object"):
        bg.store("a", {"b": [object()]})
    assert bg.names() == []
    for name in ("", 5, None, b"x"):
        with pytest.raises(InvalidError):
            bg.store(name, 1)  # type: ignore[arg-type]


def test_closed_store(tmp_path: Path) -> None:
    """Reading finds nothing, storing says that it is closed."""
    store = bg.Store(tmp_path / "s")
    store.store("a", 1)
    store.close()
    store.close()
    assert store.get("a") is None and store.names() == []
    with pytest.raises(PerfError):
        store.store("a", 2)
