"""Who was refused for coming too often (HTTP 429), and for how long: as openai, anthropic, httpx, requests and aiohttp raise it.

None of them is imported: an exception says it by its `status_code`, `status` or `code`, or by those of its `response`.
"""

import math
from typing import Any

__all__ = ["retry_after"]

TOO_MANY = 429
LONGEST = 3600.0  # nobody is made to wait longer than that by a header
NUMBERS = ("status_code", "status", "code", "http_status")
NAMES = frozenset({"RateLimitError", "TooManyRequests"})  # of classes that say it by their name alone


def retry_after(error: BaseException) -> float | None:
    """None: it was not refused for that reason. Else the seconds that it was told to wait; 0.0: it was not told."""
    try:
        if not _is_refusal(error):
            return None
        for headers in (_get(error, "response", "headers"), _get(error, "headers")):
            wait = _told(headers)
            if wait is not None:
                return wait
        return _seconds(_get(error, "retry_after")) or 0.0
    except Exception:  # properties of a stranger's object: what cannot be read says nothing
        return None


def _is_refusal(error: BaseException) -> bool:
    response = _get(error, "response")
    statuses = [_get(where, name) for where in (error, response) if where is not None for name in NUMBERS]
    numbers = [status for status in statuses if isinstance(status, int) and not isinstance(status, bool)]
    if numbers:
        return TOO_MANY in numbers
    return any(cls.__name__ in NAMES for cls in type(error).__mro__)


def _get(where: Any, *names: str) -> Any:
    for name in names:
        where = getattr(where, name, None)
    return where


def _told(headers: Any) -> float | None:
    if headers is None or not hasattr(headers, "items"):
        return None
    found = {str(name).lower(): value for name, value in headers.items()}
    in_ms = _seconds(found.get("retry-after-ms"))
    if in_ms is not None:
        return in_ms / 1000
    text = found.get("retry-after")
    wait = _seconds(text)
    return wait if wait is not None or not isinstance(text, str) else _until(text)


def _seconds(value: Any) -> float | None:
    """A number from 0 on that can be believed."""
    if isinstance(value, bytes):
        value = value.decode("latin-1")
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return min(number, LONGEST) if math.isfinite(number) and number >= 0 else None


def _until(date: str) -> float | None:
    """An HTTP date: the only time here that is on the clock of the wall, for the server means that one."""
    import time
    from email.utils import parsedate_to_datetime

    try:
        when = parsedate_to_datetime(date).timestamp()
    except (TypeError, ValueError, OverflowError):
        return None
    return min(max(when - time.time(), 0.0), LONGEST)
