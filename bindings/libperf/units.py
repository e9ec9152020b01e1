"""Durations and sizes as people read them."""

__all__ = ["seconds", "size"]


def seconds(value: float) -> str:
    """Three digits and a unit: 1.23 s, 45.6 ms, 789 µs."""
    if value >= 100:
        return f"{value:,.0f} s"
    for unit, scale in (("s", 1.0), ("ms", 1e3), ("µs", 1e6)):
        scaled = value * scale
        if scaled >= 0.9995 or unit == "µs":
            return f"{scaled:.{_decimals(scaled)}f} {unit}"
    return ""


def size(count: float) -> str:
    """The same for bytes: 1.50 GiB, 150 MiB, 789 B."""
    for unit, scale in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if count >= 0.9995 * scale:
            return f"{count / scale:,.{_decimals(count / scale)}f} {unit}"
    return f"{count:.0f} B"


def _decimals(value: float) -> int:
    return 2 if value < 9.995 else 1 if value < 99.95 else 0
