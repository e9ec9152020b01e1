"""Tables for the page, column by column: numbers, and each text once."""

from typing import Any

__all__ = ["Columns", "Texts"]


class Columns(dict[str, list[Any]]):
    """A table as its columns."""

    def __init__(self, *names: str) -> None:
        super().__init__((name, []) for name in names)

    def add(self, *row: Any) -> None:
        for column, value in zip(self.values(), row, strict=True):
            column.append(value)


class Texts(dict[str, int]):
    """Numbers for texts: as list(texts) has them."""

    def __missing__(self, text: str) -> int:
        self[text] = len(self)
        return self[text]
