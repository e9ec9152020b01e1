"""The memory tier's table in C; libperf/cache/table.py says what each method does."""

from collections.abc import Callable, Iterable
from typing import Any, TypeVar, overload

D = TypeVar("D")
MISSING: Any

class Front:
    @overload
    def get(self, key: object, default: None = None, *, scope: Any = None) -> Any: ...
    @overload
    def get(self, key: object, default: D, *, scope: Any = None) -> Any | D: ...
    def set(
        self,
        key: object,
        value: object,
        ttl: float | None = ...,
        *,
        tags: Iterable[str] = (),
        scope: Any = None,
    ) -> None: ...
    def _serve(self, gets: Table | None, sets: Table | None, /) -> None: ...

class Entry:
    key: Any
    value: Any
    check_ns: int
    life: Any
    listed: bool
    def __new__(cls, key: Any, value: Any, check_ns: int, life: Any = None, listed: bool = False, /) -> Entry: ...

class Table:
    hits: int
    misses: int
    def __new__(
        cls,
        max_entries: int,
        max_weight: int,
        kind: int,
        seed: int,
        clock: Callable[[], int] | None,
        series: int,
        misses_series: int,
        /,
    ) -> Table: ...
    def __len__(self) -> int: ...
    def get(self, key: Any, /) -> Any: ...
    def find(self, key: Any, /) -> Entry | None: ...
    def touch(self, entry: Entry, /) -> None: ...
    def miss(self) -> None: ...
    def put(self, entry: Entry, weight: int, cost: float, expires_ns: int, /) -> list[Entry] | None: ...
    def set(self, key: Any, value: Any, ttl_ns: int, jitter: float, weight: int, /) -> list[Entry] | None: ...
    def prepare(
        self,
        ttl_ns: int,
        jitter: float,
        copied: frozenset[type],
        under_way: dict[Any, Any],
        weigh: Callable[[Any], int],
        overhead: int,
        /,
    ) -> None: ...
    def set_plain(self, key: Any, value: Any, /) -> list[Entry] | bool | None: ...
    def remove(self, key: Any, /) -> Entry | None: ...
    def expire(self) -> list[Entry] | None: ...
    def clear(self) -> list[Entry] | None: ...
    def keys(self) -> list[Any]: ...
    def stats(self) -> tuple[int, int, int, int, int, int, float]: ...
