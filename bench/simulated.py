"""The batcher in virtual time (python -m libperf.batcher.simulate): its promises as lines of JSON, its tables as rows."""

from __future__ import annotations

from typing import Any

from parts import Line, Lines, loaded

COMMAND = "python -m libperf.batcher.simulate"
DROPPERS = ("libperf", "drop expired", "bound 64", "bound 256", "greedy")
Row = dict[str, Any]


def _table(name: str) -> list[Row]:
    tables = loaded("batch-simulated")
    rows: list[Row] = (
        next((table["rows"] for table in tables["tables"] if table["table"] == name), []) if tables else []
    )
    return rows


def _line(name: str, value: float, where: str, **more: Any) -> Line:
    return {"name": name, "median": value, "where": where, "command": f"{COMMAND} --table {name.split('/')[1]}", **more}


def lines() -> Lines:
    """What bars_batch.py judges: the worst cell of each promise."""
    found = []
    if optimum := _table("optimum"):
        worst = max(optimum, key=lambda row: float(row["ratio"]))
        found.append(_line("simulated/optimum", worst["ratio"], f"{worst['cost']} ms, load {worst['load']}"))
    if slots := _table("slots"):
        worst = max(slots, key=lambda row: float(row["ratio"]))
        found.append(_line("simulated/slots", worst["ratio"], f"{worst['arrive']}, load {worst['load']}"))
    overload = [row for row in _table("overload") if row["load"] > 1]
    ours = [row for row in overload if row["policy"] == "libperf"]
    if steady := [row for row in ours if row["arrive"] == "poisson"]:
        worst = min(steady, key=lambda row: float(row["of_bound"]))
        found.append(
            _line("simulated/overload", worst["of_bound"] / 100, f"{worst['slots']} slots, load {worst['load']}")
        )
    if bursts := [row for row in ours if row["arrive"] != "poisson"]:
        expired = {_place(row): row["on_time"] for row in overload if row["policy"] == "drop expired"}
        worst = min(bursts, key=lambda row: float(row["on_time"]) / expired[_place(row)])
        value, possible = worst["on_time"] / expired[_place(worst)], worst["bound"] / expired[_place(worst)]
        where = f"{worst['slots']} slots, load {worst['load']}, where {possible:.2f}x are possible"
        found.append(_line("simulated/overload/bursts", round(value, 3), where))
    return {line["name"]: line for line in found}


def _place(row: Row) -> tuple[Any, ...]:
    return row["arrive"], row["slots"], row["load"]


def latency_rows() -> list[list[str]]:
    """Load by load, one slot."""
    rows = _table("load")
    policies = list(dict.fromkeys(row["policy"] for row in rows))
    return [
        [str(load), *(_ms(rows, load, policy) for policy in policies)]
        for load in dict.fromkeys(row["load"] for row in rows)
    ]


def latency_head() -> list[str]:
    return ["load", *dict.fromkeys(row["policy"] for row in _table("load"))]


def _ms(rows: list[Row], load: float, policy: str) -> str:
    row = next((row for row in rows if row["load"] == load and row["policy"] == policy), {})
    tail = f" / {row['p95_ms']:.1f}" if row.get("p95_ms") is not None else ""
    return f"{row['mean_ms']:.1f}{tail}" if row else "-"


OVERLOAD_HEAD = ["arrivals", "slots", "load", "in time by", "in time, %", "possible, %", "P99, ms"]


def overload_rows() -> list[list[str]]:
    return [
        [
            *(str(row[key]) for key in ("arrive", "slots", "load", "policy")),
            *(f"{row['on_time']:.1f}", f"{row['bound']:.1f}", f"{row['p99_ms']:.0f}"),
        ]
        for row in _table("overload")
        if row["policy"] in DROPPERS
    ]


CLASSES_HEAD = ["arrivals", "load", "policy", "urgent in time, %", "others in time, %", "longest wait, ms"]


def class_rows() -> list[list[str]]:
    return [
        [
            *(str(row[key]) for key in ("arrive", "load", "policy")),
            *(f"{row['high_on_time']:.1f}", f"{row['low_on_time']:.1f}", f"{row['longest_wait_ms']:.0f}"),
        ]
        for row in _table("classes")
    ]
