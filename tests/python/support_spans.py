"""The spans that a test made, as trees and as pairs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import libperf

MODEL = "gen_ai.request.model"
INPUT, OUTPUT = "gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens"
STATUS = ("", " failed", " cancelled")


class Spans:
    """The spans of this process that were not there before."""

    def __init__(self) -> None:
        with libperf.Reader() as reader:
            self._before = {record.id for record in (*reader.records(), *reader.open_spans())}

    def all(self) -> list[Any]:
        with libperf.Reader() as reader:
            return [record for record in reader.records() if record.type == "span" and record.id not in self._before]

    def open(self) -> list[str]:
        with libperf.Reader() as reader:
            return [record.name for record in reader.open_spans() if record.id not in self._before]

    def tree(self) -> str:
        """Who is whose child, as indented lines; siblings by name."""
        records = self.all()
        ids = {record.id for record in records}
        assert {record.parent for record in records} <= {0, *ids}, "a span's parent is not among the spans"
        return "\n".join(self._lines(records, 0, ""))

    def _lines(self, records: list[Any], parent: int, indent: str) -> Iterator[str]:
        below = [record for record in records if record.parent == parent]
        named = [
            (f"{indent}{record.kind.name.lower()} {record.name}{STATUS[record.status]}", record) for record in below
        ]
        trees = [[name, *self._lines(records, record.id, indent + "  ")] for name, record in named]
        for lines in sorted(trees):
            yield from lines

    def pairs(self) -> list[str]:
        """Each span below its parent, as "parent > span"."""
        names = {r.id: f"{r.kind.name.lower()} {r.name}" for r in self.all()}
        above = {r.id: f"{names[r.parent]} > " if r.parent else "" for r in self.all()}
        return sorted(f"{above[r.id]}{names[r.id]}{STATUS[r.status]}" for r in self.all())

    def tokens(self) -> tuple[int, int]:
        found = [record.attributes for record in self.all()]
        return sum(each.get(INPUT, 0) for each in found), sum(each.get(OUTPUT, 0) for each in found)
