"""Time and chance, in one place: tests give a cache clocks that stand still."""

import random
import time

__all__ = ["Clock"]


class Clock:
    """The clocks of a cache. `monotonic_ns` measures inside the process, `wall_ms` is compared with other processes."""

    monotonic_ns = staticmethod(time.monotonic_ns)
    random = staticmethod(random.random)

    def wall_ms(self) -> int:
        return time.time_ns() // 1_000_000
