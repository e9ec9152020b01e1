"""What a BatchProcessor is told, checked: from seconds and words to the core's perf_batch_config."""

import math
from collections.abc import Callable
from typing import Any, Final

from .._core import ffi, lib
from ..errors import InvalidError

__all__ = ["Settings", "seconds_or_none"]

AUTO: Final = "auto"
NS_MAX = 2**63 - 1  # 292 years: for ever
ITEMS_MAX = 65_536
SLOTS_MAX = 1024
QUEUE_MAX = 2**32 - 1
WEIGHT_MAX = 2**63 - 1
HINT_OF_SECONDS = "give seconds, 0.1 for one"

ON_FULL = {
    "block": lib.PERF_BATCH_FULL_BLOCK,
    "reject": lib.PERF_BATCH_FULL_REJECT,
    "shed_oldest": lib.PERF_BATCH_FULL_SHED_OLDEST,
    "shed_lowest": lib.PERF_BATCH_FULL_SHED_LOWEST,
    "shed_infeasible": lib.PERF_BATCH_FULL_SHED_INFEASIBLE,
}
ISOLATE = {
    "fail_all": lib.PERF_BATCH_ISOLATE_FAIL_ALL,
    "bisect": lib.PERF_BATCH_ISOLATE_BISECT,
    "singles": lib.PERF_BATCH_ISOLATE_SINGLES,
}
MODE = {"deadline": lib.PERF_BATCH_ORDER_DEADLINE, "strict": lib.PERF_BATCH_ORDER_STRICT}
OVERSIZE = {"alone": False, "reject": True}


class Settings:
    """The arguments of BatchProcessor and @batched, checked when they are given and not when the first item comes."""

    def __init__(
        self,
        *,
        min_batch_size: int = 1,
        max_batch_size: int = 10,
        max_wait_time: float = 0.1,
        max_batch_weight: int | None = None,
        weigher: Callable[[Any], float] | None = None,
        oversize: str = "alone",
        concurrency: int | str = 1,
        max_queue: int = 10_000,
        max_queue_weight: int | None = None,
        on_full: str = "block",
        isolate: str = "fail_all",
        mode: str = "deadline",
        target_latency: float | None = None,
        timeout: float | None = None,
        queue_timeout: float | None = None,
        process_timeout: float | None = None,
        call_price: float | None = None,
        deduplicate: bool | Callable[[Any], object] = False,
        name: str | None = None,
        clock: Callable[[], int] | None = None,
    ) -> None:
        self.max_batch_size = _whole("max_batch_size", max_batch_size, 1, ITEMS_MAX)
        self.min_batch_size = _whole("min_batch_size", min_batch_size, 1, ITEMS_MAX)
        if self.min_batch_size > self.max_batch_size:
            raise InvalidError(
                f"min_batch_size={min_batch_size} is more than max_batch_size={max_batch_size}: no batch could ever go; "
                "lower the one or raise the other"
            )
        self.max_wait_ns = _ns("max_wait_time", max_wait_time)
        self.max_batch_weight = _whole_or_none("max_batch_weight", max_batch_weight, WEIGHT_MAX)
        self.max_queue_weight = _whole_or_none("max_queue_weight", max_queue_weight, WEIGHT_MAX)
        self.weigher = _callable_or_none("weigher", weigher, "len for one")
        if self.weigher is None and (self.max_batch_weight or self.max_queue_weight):
            self.weigher = len
        self.reject_oversize = _word("oversize", oversize, OVERSIZE)
        # 0: found out
        self.slots = 0 if concurrency == AUTO else _whole("concurrency", concurrency, 1, SLOTS_MAX, 'or "auto"')
        self.max_queue = _whole("max_queue", max_queue, 1, QUEUE_MAX)
        self.on_full = _word("on_full", on_full, ON_FULL)
        self.isolation = _word("isolate", isolate, ISOLATE)
        self.order = _word("mode", mode, MODE)
        self.target_ns = _ns("target_latency", target_latency, above=True) if target_latency is not None else 0
        self.timeout = seconds_or_none("timeout", timeout)
        self.queue_timeout = seconds_or_none("queue_timeout", queue_timeout)
        self.process_timeout = seconds_or_none("process_timeout", process_timeout, above=True)
        self.call_price_ns = _ns("call_price", call_price) if call_price is not None else 0
        self.same = _same(deduplicate)
        if name is not None and not (isinstance(name, str) and name):
            raise InvalidError(f"name={name!r}: expected a text that is not empty, or None for the function's name")
        self.name = name
        self.clock = _callable_or_none("clock", clock, "time.monotonic_ns for one")

    def config(self) -> Any:
        """A perf_batch_config, whose address is for Queue()."""
        config = ffi.new("perf_batch_config *")
        lib.perf_batch_config_init(config)
        config.min_items, config.max_items = self.min_batch_size, self.max_batch_size
        config.max_weight = self.max_batch_weight
        config.reject_oversize = self.reject_oversize
        config.max_wait_ns = self.max_wait_ns
        config.concurrency = self.slots
        config.max_queued, config.max_queued_weight = self.max_queue, self.max_queue_weight
        config.on_full, config.order, config.isolation = self.on_full, self.order, self.isolation
        config.target_latency_ns, config.call_price_ns = self.target_ns, self.call_price_ns
        wrong = lib.perf_batch_config_check(config)
        if wrong:
            raise InvalidError(ffi.string(wrong).decode())
        self.slots_max = int(config.concurrency or config.max_concurrency)
        return config


def seconds_or_none(name: str, value: float | None, above: bool = False) -> float | None:
    """A time limit. None: there is none; infinity is none, too."""
    if value is None:
        return None
    number = _seconds(name, value, above, f"{HINT_OF_SECONDS}, or None for no limit")
    return None if math.isinf(number) else number


def _seconds(name: str, value: object, above: bool, hint: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name}={value!r}: expected seconds as a number; {hint}")
    if not (value > 0 if above else value >= 0):  # NaN as well
        raise InvalidError(f"{name}={value!r}: expected seconds {'above 0' if above else 'from 0 on'}; {hint}")
    return float(value)


def _ns(name: str, value: float, above: bool = False) -> int:
    seconds = _seconds(name, value, above, HINT_OF_SECONDS)
    return NS_MAX if seconds >= NS_MAX / 1e9 else max(int(above), math.ceil(seconds * 1e9))


def _whole(name: str, value: object, least: int, most: int, hint: str = "") -> int:
    span = f"a whole number from {least:,} to {most:,}{' ' if hint else ''}{hint}"
    if isinstance(value, bool) or not hasattr(type(value), "__index__"):
        wrong = InvalidError if isinstance(value, str) else TypeError
        raise wrong(f"{name}={value!r}: expected {span}")
    number = int(value.__index__())  # type: ignore[attr-defined]
    if not least <= number <= most:
        raise InvalidError(f"{name}={value!r}: expected {span}")
    return number


def _whole_or_none(name: str, value: object, most: int) -> int:
    """0, as the core says it, where there is no bound."""
    return 0 if value is None else _whole(name, value, 1, most, "or None for no bound")


def _word(name: str, value: object, words: dict[str, Any]) -> Any:
    if not isinstance(value, str) or value not in words:
        raise InvalidError(f"{name}={value!r}: expected one of {', '.join(map(repr, words))}")
    return words[value]


def _callable_or_none(name: str, value: Any, example: str) -> Any:
    if value is not None and not callable(value):
        raise TypeError(f"{name}={value!r}: expected a function, {example}")
    return value


def _same(deduplicate: Any) -> Callable[[Any], object] | None:
    if callable(deduplicate):
        return deduplicate  # type: ignore[no-any-return]
    if not isinstance(deduplicate, bool):
        raise TypeError(
            f"deduplicate={deduplicate!r}: expected True, False, or a function whose values are compared, str.lower for one"
        )
    return _itself if deduplicate else None


def _itself(data: object) -> object:
    return data
