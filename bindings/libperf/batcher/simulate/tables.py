"""Shows the tables: in a terminal by rich, or as JSON."""

import json
from collections.abc import Callable, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from .experiments import EXPERIMENTS, Experiment

__all__ = ["show", "to_json"]


def _format(values: list[Any]) -> Callable[[Any], str]:
    """How the cells of a column are written: numbers with as many decimals as their size leaves worth reading."""
    numbers = [value for value in values if isinstance(value, float)]
    largest = max(map(abs, numbers), default=0.0)
    most = 0 if largest >= 10_000 else 1 if largest >= 10 else 3
    decimals = next(
        n for n in range(most + 1) if n == most or all(round(value, n) == round(value, most) for value in numbers)
    )

    def cell(value: Any) -> str:
        if value is None:
            return "–"
        if isinstance(value, float):
            return f"{value:,.{decimals}f}"
        return f"{value:,}" if isinstance(value, int) else str(value)

    return cell


def _compute(names: Sequence[str], seed: int, items: int) -> list[tuple[str, list[dict[str, Any]]]]:
    """All rows; what is going on is shown on stderr while that is a terminal."""
    found = []
    console = Console(stderr=True)
    with console.status("") as status:
        for name in names:
            rows: list[dict[str, Any]] = []
            for row in EXPERIMENTS[name].rows(seed, items):
                rows.append(row)
                status.update(f"{name}: {len(rows)} rows")
            found.append((name, rows))
    return found


def to_json(names: Sequence[str], seed: int, items: int) -> str:
    tables = [
        {"table": name, "title": EXPERIMENTS[name].title, "note": EXPERIMENTS[name].note, "rows": rows}
        for name, rows in _compute(names, seed, items)
    ]
    return json.dumps({"seed": seed, "tables": tables}, indent=1)


def show(names: Sequence[str], seed: int, items: int, console: Console) -> None:
    for name, rows in _compute(names, seed, items):
        experiment = EXPERIMENTS[name]
        console.print(Text.assemble((f"\n{name}", "bold"), f": {experiment.title}"))
        console.print(_table(experiment, rows))
        console.print(Text(experiment.note, "dim"))


def _table(experiment: Experiment, rows: list[dict[str, Any]]) -> Table:
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False, header_style="bold")
    cells = []
    for key, heading in experiment.columns.items():
        values = [row.get(key) for row in rows]
        words = any(isinstance(value, str) for value in values)
        table.add_column(heading, justify="left" if words else "right", no_wrap=True)
        cells.append(_format(values))
    for row in rows:
        ours = str(row.get("policy", "")).startswith("libperf")
        style = "bold" if ours and "policy" in experiment.columns else ""
        texts = (cell(row.get(key)) for key, cell in zip(experiment.columns, cells, strict=True))
        table.add_row(*texts, style=style)
    return table
