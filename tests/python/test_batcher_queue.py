"""Queue: what submit() takes and refuses, whom it wakes, what it tells. Time stands still; batches are made by hand."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from libperf._batcher import Queue
from libperf._core import ffi, lib
from libperf.batcher.errors import DeadlineExceeded
from support_batch_queue import ERRORS, Bench, data_of, inside

NAN = float("nan")

# ---- what submit() takes ----


def test_items_come_in_order_of_their_priority() -> None:
    bench = Bench(still=True)
    for priority in (3, 2, 1, 0):
        bench.submit(f"p{priority}", priority)
    bench.submit("last", priority=3)
    assert bench.take().data == ["p0", "p1", "p2", "p3", "last"]


def test_arguments_may_be_named_or_not() -> None:
    bench = Bench(still=True)
    bench.submit("a", 2, None)
    bench.submit(data="b", priority=True, timeout=5.0, queue_timeout=3, tenant=None)
    assert bench.take().data == ["b", "a"]
    for bad in (
        lambda: bench.submit(),  # type: ignore[call-arg]
        lambda: bench.submit(1, 2, None, 4.0),  # type: ignore[call-arg]
        lambda: bench.submit(1, data=2),  # type: ignore[misc]
        lambda: bench.submit(1, deadline=2),  # type: ignore[call-arg]
    ):
        with pytest.raises(TypeError):
            bad()  # type: ignore[no-untyped-call]
    assert bench.queue.stats()["submitted"] == 2


@pytest.mark.parametrize("priority", [-1, 4, 2**70, -(2**70), 1.0, "HIGH", None])
def test_an_unknown_priority_is_named(priority: Any) -> None:
    bench = Bench()
    with pytest.raises(ValueError, match=f"priority is {priority!r}"):
        bench.submit(1, priority)
    assert bench.queue.stats()["submitted"] == 0


@pytest.mark.parametrize("name", ["timeout", "queue_timeout"])
@pytest.mark.parametrize("value", [-1, -1e-9, NAN, float("-inf")])
def test_a_time_that_is_none_is_named(name: str, value: float) -> None:
    bench = Bench()
    with pytest.raises(ValueError, match=f"^{name} is {value}"):
        bench.submit(1, **{name: value})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=f"^{name} is {value}"):
        Bench(False, **{name: value})
    with pytest.raises(TypeError):
        bench.submit(1, **{name: "soon"})  # type: ignore[arg-type]
    assert bench.queue.stats()["submitted"] == 0


@pytest.mark.parametrize("name", ["timeout", "queue_timeout"])
def test_no_time_left_is_told_by_the_future(name: str) -> None:
    bench = Bench(still=True)
    future = bench.submit(1, **{name: 0})
    bench.go(1e-9)
    bench.queue.expire()
    with pytest.raises(DeadlineExceeded):
        future.result()
    assert bench.queue.take() is None
    bench.settled()


@pytest.mark.parametrize("value", [float("inf"), 1e300, 2.0**63, 10**30])
def test_endless_times_are_none(value: float) -> None:
    bench = Bench(still=True)
    future = bench.submit(1, timeout=value, queue_timeout=value)
    bench.go(10.0**9)
    assert bench.queue.expire() == 0
    bench.pump()
    assert future.result() == 2


def test_times_count_from_the_submission() -> None:
    bench = Bench(still=True, timeout=2.0, queue_timeout=1.0)
    own = bench.submit("own", timeout=9.0, queue_timeout=8.0)
    begins_late = bench.submit("begins late")
    bench.go(0.999999999)
    assert bench.queue.expire() == 0 and not begins_late.done()
    bench.go(0.000000002)
    assert bench.queue.expire() == 1
    with pytest.raises(DeadlineExceeded, match=r"1\.000 s after"):
        begins_late.result()
    in_time = bench.submit("in time")
    bench.go(0.5)
    batch = bench.take()
    assert batch.futures == [in_time, own] or batch.futures == [own, in_time]
    bench.go(1.6)
    assert bench.queue.expire() == 1  # its batch goes on
    with pytest.raises(DeadlineExceeded, match="running"):
        in_time.result()
    bench.queue.finish(batch, list("ab"))
    assert own.done() and bench.queue.stats()["expired"] == 2
    bench.settled()


# ---- weights ----


@pytest.mark.parametrize(("said", "weight"), [(0, 0), (3, 3), (2.1, 3), (2.0, 2), (True, 1), (0.0, 0), (-0.0, 0)])
def test_weights_are_whole_rounded_up(said: float, weight: int) -> None:
    bench = Bench(weigher=lambda data: said)
    bench.submit(1)
    assert bench.take().weight == weight


@pytest.mark.parametrize(
    ("said", "kind"),
    [(-1, ValueError), (-0.5, ValueError), (-1.5, ValueError), (NAN, ValueError), (float("inf"), ValueError), (2**64, ValueError),
     (-(2**70), ValueError), ("3", TypeError), (None, TypeError), ([1], TypeError), (1j, TypeError)],
)  # fmt: skip
def test_a_weight_that_is_none_is_named_and_nothing_queued(said: Any, kind: type[Exception]) -> None:
    bench = Bench(weigher=lambda data: said)
    with pytest.raises(kind, match="the weigher returned") as raised:
        bench.submit(1)
    assert repr(said) in str(raised.value)
    assert bench.queue.stats()["submitted"] == 0


def test_what_the_weigher_raises_comes_out_of_submit() -> None:
    bench = Bench(weigher=len)
    with pytest.raises(TypeError, match="has no len"):
        bench.submit(1)
    assert bench.queue.stats()["submitted"] == 0
    bench.submit("abc")
    assert bench.take().weight == 3


def test_batches_are_bounded_by_weight() -> None:
    bench = Bench(weigher=len, max_weight=4)
    for text in ("ab", "cd", "e", "too heavy", "f"):
        bench.submit(text)
    assert bench.take().data == ["ab", "cd"]


def test_too_heavy_an_item_is_refused_where_that_is_asked_for() -> None:
    bench = Bench(weigher=len, max_weight=4, reject_oversize=True)
    with pytest.raises(ValueError, match="weighs 9: more than the 4 of a batch"):
        bench.submit("too heavy")
    assert bench.queue.stats()["submitted"] == 0


# ---- tenants ----


def test_tenants_take_turns() -> None:
    bench = Bench(still=True, max_items=2)
    for i in range(4):
        bench.submit(f"a{i}", tenant="a")
    bench.submit("b0", tenant=("b", 1))
    assert "b0" in bench.take().data


def test_a_share_gives_a_tenant_more() -> None:
    bench = Bench(still=True, max_items=1)
    bench.queue.share("paying", 3.0)
    for _ in range(30):
        bench.submit("free", tenant="free")
        bench.submit("paying", tenant="paying")
    served = []
    for _ in range(20):
        batch = bench.take()
        served += batch.data
        bench.queue.finish(batch, batch.data)
    assert 13 <= served.count("paying") <= 17
    bench.queue.share("paying", 1.0)
    for bad in (0.0, -1.0, NAN, float("inf")):
        with pytest.raises(ValueError, match="share"):
            bench.queue.share("paying", bad)
    with pytest.raises(ValueError, match="None"):
        bench.queue.share(None, 1.0)


def test_a_tenant_must_be_hashable() -> None:
    bench = Bench()
    for bad in (lambda: bench.submit(1, tenant=[]), lambda: bench.queue.share([], 1.0)):
        with pytest.raises(TypeError, match="unhashable"):
            bad()
    assert bench.queue.stats()["submitted"] == 0


# ---- whom it wakes ----


def test_wake_is_called_once_until_somebody_takes() -> None:
    bench = Bench()
    for i in range(5):
        bench.submit(i)
    assert bench.woken == [None]
    bench.pump()
    bench.submit(1)
    assert bench.woken == [None, None]


def test_each_loop_is_woken() -> None:
    bench = Bench()

    async def main() -> Any:
        bench.submit(1)
        bench.submit(2)
        return asyncio.get_running_loop()

    loops = [asyncio.run(main()), asyncio.run(main())]
    bench.submit(3)
    assert bench.woken == [*loops, None]
    assert bench.take().loop is loops[0]


def test_nobody_is_woken_for_what_cannot_be_taken() -> None:
    bench = Bench()
    bench.submit(1)
    batch = bench.take()  # the only slot
    assert bench.queue.next_wake() is None
    bench.submit(2)
    assert bench.woken == [None]
    bench.queue.finish(batch, [1])
    assert bench.take().data == [2]


def test_an_earlier_time_than_was_told_wakes() -> None:
    bench = Bench(still=True, min_items=3, max_wait_ns=10**9)
    bench.submit(1)
    assert bench.woken == [None]  # there is a time now
    assert bench.queue.take() is None and bench.queue.next_wake() == pytest.approx(1.0)
    bench.submit(2)
    assert bench.woken == [None]  # known
    bench.submit(3, timeout=0.5)
    assert bench.woken == [None, None]
    assert sorted(bench.take().data) == [1, 2, 3]
    bench.settled()


def test_next_wake_tells_when_something_is_due() -> None:
    bench = Bench(still=True, min_items=2, max_wait_ns=250_000_000)
    assert bench.queue.next_wake() is None
    bench.submit(1)
    assert bench.queue.next_wake() == pytest.approx(0.25)
    bench.go(0.1)
    assert bench.queue.next_wake() == pytest.approx(0.15)
    bench.go(0.2)
    assert bench.queue.next_wake() == 0
    assert bench.take().reason == lib.PERF_BATCH_REASON_WAIT


def test_a_wake_that_fails_takes_the_item_back() -> None:
    def wake(loop: object) -> None:
        raise RuntimeError("can't start new thread")

    bench = Bench(wake=wake)
    with pytest.raises(RuntimeError, match="new thread"):
        bench.submit(1)
    assert bench.queue.take() is None and bench.queue.stats()["cancelled"] == 1
    with pytest.raises(RuntimeError, match="new thread"):  # and it is tried again
        bench.submit(1)


def test_wake_may_take_at_once() -> None:
    eager: Bench = Bench(wake=lambda loop: eager.pump())
    assert eager.submit(4).result(0) == 8
    assert eager.submit(5).result(0) == 10


# ---- clocks, loops' times ----


def test_a_clock_that_goes_back_or_fails_is_survived() -> None:
    bench = Bench(still=True)
    bench.now_ns = 10**12
    future = bench.submit(1, timeout=5)
    bench.now_ns = 5
    bench.pump()
    assert future.result() == 2
    bench.now_ns = -1
    with pytest.raises((OverflowError, ValueError, TypeError)):
        bench.submit(1)
    assert bench.queue.stats()["submitted"] == 1


def test_the_time_may_be_that_of_the_running_loop() -> None:
    class Loop(asyncio.SelectorEventLoop):
        extra = 0.0

        def time(self) -> float:
            return super().time() + self.extra

    loop = Loop()

    async def main() -> None:
        bench = Bench(loop_time=True)
        future = bench.submit(1, timeout=50)
        loop.extra = 49
        assert bench.queue.expire() == 0
        loop.extra = 51
        assert bench.queue.expire() == 1
        assert isinstance(future.exception(), DeadlineExceeded)

    loop.run_until_complete(main())
    loop.close()


# ---- making one ----


def test_settings_that_make_no_sense_are_named() -> None:
    with pytest.raises(ValueError, match="max_items"):
        Bench(max_items=0)
    for bad in (
        {"wake": None},
        {"inline": 3},
        {"weigher": 3},
        {"same": "key"},
        {"clock": 1.0},
        {"inside": None},
        {"errors": ERRORS[:4]},
        {"errors": (*ERRORS[:4], int)},
        {"errors": None},
        {"other": 1},
    ):
        with pytest.raises(TypeError):
            Bench(**bad)
    with pytest.raises(TypeError):
        Queue(1.5, wake=print, inside=inside, inline=print, errors=ERRORS)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="needs"):
        Queue(0)  # type: ignore[call-arg]


def test_address_zero_means_the_defaults() -> None:
    queue = Queue(0, wake=lambda loop: None, inside=inside, inline=print, errors=ERRORS)
    futures = [queue.submit(i) for i in range(11)]
    assert data_of(queue.take()) == list(range(10))
    assert not futures[10].running()


def test_statistics_have_the_names_of_the_fields() -> None:
    bench = Bench()
    bench.submit(1, 0)
    bench.submit(2, 3)
    stats = bench.queue.stats()
    names: set[str] = set()
    for struct in ("perf_batch_stats", "perf_batch_cost_stats"):
        names |= {name for name, _ in ffi.typeof(struct).fields or []}
    assert set(stats) == names
    assert stats["queued_by_priority"] == [1, 0, 0, 1] and len(stats["reasons"]) == lib.PERF_BATCH_REASONS
    assert stats["known"] is False and stats["target_missed"] is False
