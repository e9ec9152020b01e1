"""Durations, sizes, shares, counts and names as people read them."""

__all__ = ["count", "percent", "printable", "rate", "seconds", "short", "size"]

NAME_WIDTH = 40


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


def count(value: int) -> str:
    return f"{value:,}" if value else "–"


def rate(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 1 else f"{value:.2f}"


def percent(share: float) -> str:
    return f"{share * 100:.1f} %" if 0 < share < 0.00995 else f"{share * 100:.0f} %"


def short(name: str) -> str:
    return name if len(name) <= NAME_WIDTH else name[: NAME_WIDTH - 1] + "…"


def printable(text: str) -> str:
    """Without what would steer the terminal: an attribute may hold anything."""
    return "".join(char if char.isprintable() else " " for char in text)
