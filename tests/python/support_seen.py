"""What a test recorded, read back from this process's own segment."""

from __future__ import annotations

import libperf
from libperf.reader import Reader, Record, Totals


class Seen:
    """What this process recorded since the test began."""

    def __init__(self) -> None:
        self._reader = Reader()
        for _ in self._reader.records():
            pass
        self._records: list[Record] = []

    def _refresh(self) -> None:
        self._reader.refresh()
        self._records += self._reader.records()

    def spans(self, name: str) -> list[Record]:
        """Finished spans of that name, in the order of their starts."""
        self._refresh()
        found = (record for record in self._records if record.type == "span" and record.name == name)
        return sorted(found, key=lambda record: record.start)

    def span(self, name: str) -> Record:
        """The only one of that name."""
        found = self.spans(name)
        assert len(found) == 1, (name, len(found))
        return found[0]

    def logs(self, name: str) -> list[Record]:
        """Log lines of spans of that name."""
        self._refresh()
        return [record for record in self._records if record.type == "log" and record.name == name]

    def open(self, name: str) -> list[Record]:
        self._refresh()
        return [record for record in self._reader.open_spans() if record.name == name]

    def totals(self, text: str, kind: libperf.Kind = libperf.Kind.SPAN) -> Totals:
        self._refresh()
        names = [name for name in self._reader.names if name.text == text and name.kind is kind]
        if not names:
            return Totals(0, 0, 0, 0.0, 0.0, 0.0, 0, None, {})
        return self._reader.totals(names[0])

    def counts(self, text: str, kind: libperf.Kind = libperf.Kind.SPAN) -> tuple[int, int, int]:
        """Calls, errors among them, and cancelled ones."""
        totals = self.totals(text, kind)
        return totals.count, totals.errors, totals.cancelled

    def losses(self) -> dict[str, int]:
        self._refresh()
        return self._reader.info.losses

    def close(self) -> None:
        self._reader.close()
