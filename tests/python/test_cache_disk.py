"""The disk tier as the cache uses it: nothing raises once it is open, and what fails is a miss."""

from __future__ import annotations

import asyncio
import gc
import os
import stat
import subprocess
import sys
import textwrap
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from time import time_ns

import pytest

from libperf.cache.disk import DiskTier
from libperf.cache.folder import default_folder
from libperf.cache.keys import Key, label_of_tag, make_key
from libperf.cache.values import NEVER, Values
from libperf.errors import DeniedError, InvalidError, OutOfRangeError

NOW = time_ns() // 1_000_000
values = Values(None)


def key(name: object) -> Key:
    return make_key("test", None, name)


def entry(name: object, value: object = 1, *, labels: tuple[int, ...] = (), expires_ms: int = NEVER) -> bytes:
    return values.pack(value, key(name), labels=labels, created_ms=NOW, expires_ms=expires_ms)


@pytest.fixture
def tier(tmp_path: Path) -> Iterator[DiskTier]:
    with DiskTier(tmp_path / "cache") as tier:
        yield tier


def in_another_process(tier: DiskTier, code: str) -> str:
    """Runs `code` with `tier` open on the same folder."""
    program = textwrap.dedent(
        f"""
        import sys
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        from test_cache_disk import *
        tier = DiskTier({str(tier.path)!r})
        """
    ) + textwrap.dedent(code)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


# ---- entries ----


def test_what_was_put_is_found_at_once_and_by_others(tier: DiskTier) -> None:
    """Small and large entries, before and after they are written."""
    entries = {name: entry(name, os.urandom(name)) for name in (1, 100, 5000, 16_000, 17_000, 900_000)}
    for name, bytes_ in entries.items():
        assert tier.get(key(name)) is None
        tier.put(key(name), bytes_)
    for _ in range(2):
        assert {name: tier.get(key(name)) for name in entries} == entries
        assert tier.get_many([key(1), key("no"), key(100)]) == [entries[1], None, entries[100]]
        tier.flush()
    in_another_process(tier, "for n in (1, 100, 5000, 16_000, 17_000, 900_000): assert tier.get(key(n)) is not None, n")
    tier.delete([key(1), key("no")])
    assert tier.get(key(1)) is None
    stats = tier.stats()
    assert stats["entries"] == 6 and stats["hits"] >= 12 and stats["misses"] >= 9 and stats["errors"] == 0


def test_expired_and_damaged_entries_are_misses(tier: DiskTier) -> None:
    """Counted apart."""
    tier.put(key("old"), entry("old", expires_ms=NOW - 1))
    tier.put(key("bad"), entry("bad")[:-1] + b"!")
    tier.put(key("other"), entry("another"))
    tier.put(key("short"), b"x")
    assert tier.get_many([key(name) for name in ("old", "bad", "other", "short")]) == [None] * 4
    assert tier.stats()["expired"] == 1 and tier.stats()["errors"] == 3


def test_invalidation_is_seen_by_every_process(tier: DiskTier) -> None:
    """A label's entries that were begun before are gone, here and there; later ones are not."""
    tag = label_of_tag("t")
    tier.put(key("tagged"), entry("tagged", labels=(tag,)))
    tier.put(key("plain"), entry("plain"))
    tier.flush()
    assert tier.label_ms(tag) == 0
    in_another_process(tier, f"tier.invalidate([label_of_tag('t')], {NOW})")
    assert tier.label_ms(tag) == NOW
    assert tier.get(key("tagged")) is None and tier.get(key("plain")) is not None
    tier.put(key("tagged"), values.pack(2, key("tagged"), labels=(tag,), created_ms=NOW + 1))
    assert tier.get(key("tagged")) is not None
    asyncio.run(tier.ainvalidate([tag], NOW + 1))
    assert tier.get(key("tagged")) is None


def test_async_forms(tier: DiskTier) -> None:
    """They give what the others give."""

    async def main() -> None:
        tier.put(key("a"), entry("a"))
        assert await tier.aget(key("a")) == entry("a")
        assert await tier.aget_many([key("a"), key("b")]) == [entry("a"), None]
        await tier.adelete([key("a")])
        assert await tier.aget(key("a")) is None
        lease = await tier.alease(key("a"), 5)
        assert lease is not None
        lease.release()

    asyncio.run(main())


# ---- what others do ----


def test_changes_of_other_processes_are_told(tier: DiskTier) -> None:
    """Their digests; everything, when a label was invalidated; nothing of one's own."""
    tier.put(key("own"), entry("own"))
    tier.flush()
    word = tier.change_word[0]
    assert tier.changed() == [] or tier.changed() == ()
    in_another_process(tier, "tier.put(key('a'), entry('a')); tier.delete([key('own')]); tier.flush()")
    assert tier.change_word[0] != word
    assert tier.changed() == [key("a").digest, key("own").digest]
    assert tier.changed() == ()
    in_another_process(tier, "tier.invalidate([5], NOW)")
    assert tier.changed() is None
    assert tier.changed() == ()


def test_a_lease_is_one_process_at_a_time(tier: DiskTier) -> None:
    """It ends with release(), and with its process."""
    lease = tier.lease(key("k"), 100)
    assert lease is not None
    assert in_another_process(tier, "print(tier.lease(key('k'), 100))").strip() == "None"
    lease.release()
    lease.release()
    tier.flush()
    assert "DiskLease" in in_another_process(tier, "print(tier.lease(key('k'), 100))")
    assert tier.lease(key("k"), 100) is not None


def test_dictionaries_are_shared(tier: DiskTier) -> None:
    """By id."""
    assert tier.dictionary(7) is None
    in_another_process(tier, "tier.put_dictionary(7, b'words' * 9999)")
    assert tier.dictionary(7) == b"words" * 9999


def test_a_forked_child_has_the_tier_too(tier: DiskTier) -> None:
    """Reads, writes, leases, changes work in the child, and in the parent after it."""
    tier.put(key("a"), entry("a"))
    tier.flush()
    pid = os.fork()
    if not pid:
        code = 1
        try:
            assert tier.get(key("a")) == entry("a")
            tier.put(key("b"), entry("b"))
            assert tier.get(key("b")) == entry("b")
            assert tier.lease(key("l"), 1) is not None
            tier.changed()
            tier.close()
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(pid, 0)[1] == 0
    assert tier.get(key("b")) == entry("b")
    tier.put(key("c"), entry("c"))
    tier.flush()
    assert tier.get(key("c")) == entry("c")


def test_the_first_call_after_a_fork_may_be_any(tier: DiskTier) -> None:
    """Each call opens the folder again by itself."""
    tier.put(key("a"), entry("a"))
    tier.flush()
    calls = [
        lambda: tier.put(key("x"), entry("x")) is None and tier.get(key("x")) is not None,
        lambda: tier.lease(key("y"), 1) is not None,
        lambda: tier.invalidate([9], 5) is None and tier.label_ms(9) == 5,
        lambda: tier.flush() is None,
        lambda: tier.stats() is not None,
        lambda: tier.changed() is None or tier.changed() == (),
        lambda: tier.delete([key("a")]) is None and tier.get(key("a")) is None,
        lambda: tier.close() is None,
    ]
    for call in calls:
        pid = os.fork()
        if not pid:
            os._exit(0 if call() else 1)
        assert os.waitpid(pid, 0)[1] == 0


# ---- threads, the end ----


def test_threads_share_a_tier(tier: DiskTier) -> None:
    """Each reads its own writes; none gets another's bytes."""
    wrong: list[object] = []

    def work(number: int) -> None:
        for step in range(300):
            mine = entry(number, bytes([number]) * (step * 80))
            tier.put(key(number), mine)
            if tier.get(key(number)) != mine:
                wrong.append((number, step))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_closed_tier_has_nothing_and_raises_nothing(tmp_path: Path) -> None:
    """Closing twice is allowed; what was queued is written first."""
    tier = DiskTier(tmp_path / "cache")
    tier.put(key("a"), entry("a"))
    tier.close()
    tier.close()
    assert tier.closed
    assert tier.get(key("a")) is None
    tier.put(key("b"), entry("b"))
    tier.delete([key("a")])
    tier.invalidate([1], 1)
    tier.put_dictionary(1, b"x")
    tier.flush()
    assert tier.dictionary(1) is None and tier.changed() in (None, ()) and tier.stats()["hits"] == 0
    lease = tier.lease(key("a"), 1)
    assert lease is not None  # nobody is kept from computing
    lease.release()
    with DiskTier(tmp_path / "cache") as again:
        assert again.get(key("a")) == entry("a")


def test_closing_while_threads_wait(tmp_path: Path) -> None:
    """Nobody is left hanging."""
    tier = DiskTier(tmp_path / "cache")

    def work(number: int) -> None:
        while not tier.closed:
            tier.put(key(number), entry(number))
            tier.flush()
            tier.lease(key(number), 0.1)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(20):
        tier.flush()
    tier.close()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()


# ---- the folder ----


def test_true_means_the_users_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """$LIBPERF_CACHE_DIR, else $XDG_CACHE_HOME/libperf, else ~/.cache/libperf."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("LIBPERF_CACHE_DIR", raising=False)
    assert default_folder("cache") == tmp_path / "home/.cache/libperf/cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert default_folder("cache") == tmp_path / "xdg/libperf/cache"
    monkeypatch.setenv("LIBPERF_CACHE_DIR", str(tmp_path / "own"))
    with DiskTier(True) as tier:
        assert tier.path == tmp_path / "own/cache"
        assert stat.S_IMODE(tier.path.stat().st_mode) == 0o700


def test_a_folder_that_cannot_be_used_is_an_error_that_says_why(tmp_path: Path) -> None:
    """Links, folders that others may write to, nonsense."""
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(DeniedError, match="symbolic link"):
        DiskTier(tmp_path / "link")
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    with pytest.raises(DeniedError, match="others may write"):
        DiskTier(tmp_path / "open")
    with pytest.raises(OutOfRangeError):
        DiskTier(tmp_path / "a", max_bytes=1000)
    with pytest.raises(InvalidError):
        DiskTier(tmp_path / "a", max_bytes="much")
    with pytest.raises(InvalidError):
        DiskTier(tmp_path / "a", max_bytes=2**70)


def test_damage_is_moved_away_and_said_once(tmp_path: Path) -> None:
    """The next process begins anew, and tells on stderr."""
    with DiskTier(tmp_path / "cache") as tier:
        tier.put(key("a"), entry("a"))
    (tmp_path / "cache/data.mdb").write_bytes(os.urandom(50_000))
    program = f"""
from libperf.cache.disk import DiskTier
from libperf.cache.keys import make_key
for _ in range(2):
    with DiskTier({str(tmp_path / "cache")!r}) as tier:
        assert tier.get(make_key("test", None, "a")) is None
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stderr.count("libperf: the cache on disk is damaged") == 1
    assert (tmp_path / "cache/damaged/data.mdb").stat().st_size == 50_000


# ---- the reader: what get() is ----


def test_a_reader_wants_a_key(tier: DiskTier) -> None:
    """Anything else is a TypeError."""
    good = key("a")
    for wrong in (None, (), (good.full,), (good.full, b"short"), ("full", good.digest), [good.full, good.digest]):
        with pytest.raises(TypeError, match="Key"):
            tier.get(wrong)  # type: ignore[arg-type]
    for call in (lambda: tier.get(), lambda: tier.get(good, good), lambda: tier.get(key=good)):  # type: ignore[call-arg]
        with pytest.raises(TypeError):
            call()


def test_a_reader_keeps_its_disk_and_is_collected(tmp_path: Path) -> None:
    """It may be used when its tier is gone; with it goes the disk."""
    tier = DiskTier(tmp_path / "cache")
    tier.put(key("a"), entry("a"))
    reader = tier.get
    gone = weakref.ref(tier)
    del tier
    gc.collect()
    assert gone() is not None  # the reader needs it, to open the folder again after a fork
    assert reader(key("a")) == entry("a")
    del reader
    gc.collect()
    assert gone() is None


def test_reading_leaks_nothing(tier: DiskTier) -> None:
    """Hits, misses, large ones: the counts of references are what they were."""
    small, large = key("small"), key("large")
    tier.put(small, entry("small"))
    tier.put(large, entry("large", os.urandom(100_000)))
    tier.flush()
    before = sys.getrefcount(small.full), sys.getrefcount(large), sys.getrefcount(None)
    for _ in range(1000):
        tier.get(small), tier.get(large), tier.get(key("no"))
    after = sys.getrefcount(small.full), sys.getrefcount(large), sys.getrefcount(None)
    assert after[:2] == before[:2] and abs(after[2] - before[2]) < 100
