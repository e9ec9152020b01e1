"""How many results could have been in time: bounds that no rule passes, though it knew the future."""

from bisect import bisect_left

from .workloads import Cost, Trace, ns

__all__ = ["exact", "steady", "windowed"]

MOST_EXACT = 300


def steady(load: float) -> float:
    """Share of the items, for a load that stays as it is: only as many as full batches can carry."""
    return min(1.0, 1.0 / load)


def windowed(trace: Trace, cost: Cost, most: int, slots: int, grid: float = 0.05, longest: float = 6.0) -> float:
    """Share of the items, for bursts, where all have the same time. Items that come in a window of time and are done
    within `D` are in batches between its begin and its end + D: no more than a slot can carry in that. Windows cut the
    trace; the cut with the least sum is found by dynamic programming, on a grid of so many seconds. Holds for mean
    service times: an error of the service may pass it by a little."""
    within, times = trace.within[0], trace.times
    step = ns(grid)
    ends = [bisect_left(times, step * number) for number in range(times[-1] // step + 2)]
    reach = round(longest / grid)
    carried = [slots * _carries(cost, most, step * length + within) for length in range(reach + 1)]
    best = [0] * len(ends)
    for end in range(1, len(ends)):
        until, first = ends[end], max(0, end - reach)
        best[end] = min(
            before + (came if (came := until - start) < room else room)
            for before, start, room in zip(
                best[first:end], ends[first:end], reversed(carried[1 : end - first + 1]), strict=True
            )
        )
    return min(best[-1], slots * _carries(cost, most, times[-1] - times[0] + within)) / trace.items


def _carries(cost: Cost, most: int, time: int) -> int:
    """Items that one slot can do in this time: full batches, and a smaller one."""
    full, rest = divmod(time, cost.known(most))
    smaller = int((rest / 1e9 - cost.base) / cost.each) if cost.each else most
    return full * most + min(max(smaller, 0), most)


def exact(trace: Trace, cost: Cost, most: int) -> int:
    """The most items that one slot can do in time, all having the same time, the service without error. At most 300.

    Of two batches the first may as well have the earlier items, and of items that are in time in one batch any may take
    the place of an earlier one: so there is a best plan whose batches are runs of items in order of arrival, some items
    being left out between them. For each number of items considered and done, the earliest time at which the slot is
    free says all about the past."""
    times, within = trace.times, trace.within[0]
    if trace.items > MOST_EXACT:
        raise ValueError(f"{trace.items} items: the exact optimum is for {MOST_EXACT} at most")
    takes = [cost.known(size) for size in range(most + 1)]
    free: list[dict[int, int]] = [{} for _ in range(trace.items + 1)]  # by items considered: {done: earliest time}
    free[0][0] = 0
    for item in range(trace.items):
        due = times[item] + within
        for done, since in _worth_it(free[item], times[item]):
            later = free[item + 1]
            if since < later.get(done, since + 1):
                later[done] = since
            for size in range(1, min(most, trace.items - item) + 1):
                end = max(since, times[item + size - 1]) + takes[size]
                if end > due:
                    break
                reached = free[item + size]
                if end < reached.get(done + size, end + 1):
                    reached[done + size] = end
        free[item] = {}
    return max(free[-1])


def _worth_it(free: dict[int, int], now: int) -> list[tuple[int, int]]:
    """Without those that have done no more than another and are free no earlier; before `now` is as good as now."""
    kept, earliest = list[tuple[int, int]](), -1
    for done, since in sorted(free.items(), reverse=True):
        since = max(since, now)
        if earliest < 0 or since < earliest:
            kept.append((done, since))
            earliest = since
    return kept
