"""What was asked of a MockLLM, and when: the known truth that measurements are compared with."""

from __future__ import annotations

import collections
import math
import threading
from dataclasses import dataclass, field
from typing import Any


@dataclass
class RequestRecord:
    """One request. Its fields are final once `finished` is set, which happens before the client has the last byte."""

    path: str
    """The path as asked, without the query."""
    started: float
    """When the request's first line was here, in ``time.monotonic`` seconds."""
    endpoint: str = ""
    """"chat", "responses", "completions", "embeddings", "models", or "" for a path that does not exist."""
    model: str = ""
    body: Any = None
    """The decoded JSON body; None when there was none."""
    stream: bool = False
    finished: float | None = None
    """When the last byte was about to be sent, or the request ended otherwise; None while it is being answered."""
    status: int | None = None
    """The HTTP status sent; None when the connection was dropped without one."""
    latency: float = 0.0
    """Seconds asked for between `started` and the last token: drawn or scripted, an injected stall included. The time
    served, `finished` - `started`, is never shorter."""
    ttft: float = 0.0
    """Seconds asked for between `started` and the first token."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    fault: str | None = None
    """The injected fault: a status as text ("500", "429"), "disconnect" or "stall"; None for a sound answer."""
    scripted: bool = False
    """Whether a Reply decided the answer."""
    client_left: bool = False
    """The client closed the connection before its answer was complete."""
    error: str | None = None
    """What was wrong with the request, or what a Reply's function raised."""

    @property
    def served(self) -> float | None:
        """Seconds between `started` and `finished`; None while the request is being answered."""
        return None if self.finished is None else self.finished - self.started

    @property
    def failed(self) -> bool:
        """Whether the client got no sound answer: an error status, a dropped connection or a broken stream."""
        return self.fault == "disconnect" or self.client_left or self.status is None or self.status >= 400


@dataclass(frozen=True)
class Summary:
    """Totals since the start or the last `reset`, of finished requests."""

    requests: int = 0
    errors: int = 0
    """Requests that got an error status, were dropped, or whose client left."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    mean_latency: float = math.nan
    """Mean seconds served of the requests that were answered soundly; nan when there are none."""


@dataclass
class _Totals:
    requests: int = 0
    errors: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0
    sound: int = 0


@dataclass
class Records:
    """The records of one server. Thread-safe."""

    keep: int
    """How many of the latest records are kept; totals cover all."""
    _records: collections.deque[RequestRecord] = field(init=False)
    _totals: _Totals = field(default_factory=_Totals, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def __post_init__(self) -> None:
        self._records = collections.deque(maxlen=self.keep)

    def open(self, record: RequestRecord) -> None:
        """Adds a request that has just come."""
        with self._lock:
            self._records.append(record)

    def finish(self, record: RequestRecord, now: float) -> None:
        """Marks `record` as finished at `now` and counts it; a second call for the same record does nothing."""
        with self._lock:
            if record.finished is not None:
                return
            record.finished = now
            self._totals.requests += 1
            self._totals.prompt_tokens += record.prompt_tokens
            self._totals.completion_tokens += record.completion_tokens
            if record.failed:
                self._totals.errors += 1
            else:
                self._totals.sound += 1
                self._totals.seconds += now - record.started

    def list(self) -> list[RequestRecord]:
        """The kept records in the order of arrival."""
        with self._lock:
            return [*self._records]

    def summary(self) -> Summary:
        """The totals so far."""
        with self._lock:
            t = self._totals
            mean = t.seconds / t.sound if t.sound else math.nan
            return Summary(t.requests, t.errors, t.prompt_tokens, t.completion_tokens, mean)

    def reset(self) -> None:
        """Forgets everything."""
        with self._lock:
            self._records.clear()
            self._totals = _Totals()
