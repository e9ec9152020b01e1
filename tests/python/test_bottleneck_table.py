"""The table of bottlenecks in terminals of every width, whatever names there are; and what it says beside its numbers."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from libperf.analysis.bottlenecks import Bottleneck
from libperf.analysis.deadlocks import Deadlock
from libperf.analysis.table import bottlenecks


def bottleneck(**fields: Any) -> Bottleneck:
    """A row, as it is when nothing else is said."""
    normal: dict[str, Any] = {
        "name": "work",
        "kind": "span",
        "category": "critical",
        "where": "",
        "share": 0.6,
        "on_path": 0.61,
        "gain": 0.3,
        "gain_low": 0.3,
        "gain_high": 0.3,
        "reliable": True,
        "fix": {"action": "faster", "from": 1.0, "to": 0.5},
        "why": "own time 3.00 s",
        "advice": "make work faster",
    }
    return Bottleneck(**normal | fields)


def draw(*rows: Bottleneck, width: int = 200, colours: bool = False, **fields: Any) -> str:
    """What a terminal of that width shows."""
    normal = {"deadlocks": [], "reliable": True, "stuck": False, "lost": 0, "self_replay_error": 0.004, "startup": 0.0}
    analysis: Any = SimpleNamespace(bottlenecks=list(rows), **normal | fields)
    file = io.StringIO()
    system: Any = "truecolor" if colours else None
    console = Console(file=file, width=width, color_system=system, force_terminal=colours, legacy_windows=False)
    console.print(bottlenecks(analysis, width))
    return file.getvalue()


def heading(text: str) -> list[str]:
    """The columns that there are."""
    (line,) = [line for line in text.splitlines() if "saves" in line]
    return [word for word in line.split("  ") if word.strip()]


ROWS = [
    bottleneck(
        name="vector_db",
        kind="semaphore",
        category="saturated",
        where="/somewhere/deep/agent.py:12",
        on_path=None,
        gain=0.48,
        gain_low=0.44,
        gain_high=0.5,
        ties=("query",),
        fix={"action": "capacity", "from": 1, "to": 2},
        why="in use 97 % of the time, waiting/holding 4.5",
        advice="raise semaphore 'vector_db' from 1 to 2, if what is behind it can take that",
    ),
    bottleneck(name="query", gain=0.475, ties=("vector_db",)),
    bottleneck(name="summarise", kind="llm", gain=0.12),
    bottleneck(name="agent.py:40", kind="lock", where="agent.py:40", gain=0.05, category="convoy"),
    bottleneck(name="n" * 60, kind="node", gain=0.02, share=0.004, on_path=0.0),
]


def test_the_table() -> None:
    """One row for each finding: name, place, share, share of the path, gain and its interval, fix, class."""
    lines = [line.rstrip() for line in draw(*ROWS, width=140).splitlines()]
    assert lines[0].split() == ["bottlenecks", "where", "share", "on", "path", "saves", "if", "class"]
    cells = [[cell for cell in line.split("  ") if cell] for line in lines[2:7]]
    assert [[cell.strip() for cell in row] for row in cells] == [
        ["1", "semaphore vector_db", "agent.py:12", "60 %", "–", "−48 % ± 3 (tie)", "capacity 2", "saturated"],
        ["2", "function query", "60 %", "61 %", "−48 % (tie)", "2× faster", "critical"],
        ["3", "llm summarise", "60 %", "61 %", "−12 %", "2× faster", "critical"],
        ["4", "lock agent.py:40", "60 %", "61 %", "−5 %", "2× faster", "convoy"],
        ["5", f"node {'n' * 39}…", "0 %", "0 %", "−2 %", "2× faster", "critical"],
    ]
    assert lines[7:9] == [
        "1 in use 97 % of the time, waiting/holding 4.5",
        "  → raise semaphore 'vector_db' from 1 to 2, if what is behind it can take that",
    ]
    assert lines[-1] == "replay of the unchanged run: 0.4 % off — the numbers above can be trusted"


@pytest.mark.parametrize("width", [40, 50, 60, 72, 80, 90, 100, 120, 140, 200])
def test_every_width(width: int) -> None:
    """No line is longer than the terminal; what saves how much is there in full, and names keep some room."""
    text = draw(*ROWS, width=width)
    assert max(map(len, text.splitlines())) <= width
    for said in ("−48 % ± 3 (tie)", "−12 %", "capacity 2", "2× faster"):
        assert said in text
    names = [line.split("  ")[1].strip() for line in text.splitlines() if line[:1].isdigit() and "%" in line][:5]
    assert all(len(name) >= 6 for name in names)
    assert "raise semaphore" in " ".join(text.split())


def test_columns_go_one_by_one() -> None:
    """The narrower, the fewer: first the share of the path, then the share, the place, the class."""
    shown: list[list[str]] = []
    for width in range(140, 44, -1):
        columns = [column.strip() for column in heading(draw(ROWS[0], width=width))]
        if not shown or shown[-1] != columns:
            shown.append(columns)
    everything = ["bottlenecks", "where", "share", "on path", "saves", "if", "class"]
    gone = [[name for name in everything if name not in columns] for columns in shown]
    assert gone == [[], ["on path"], ["share", "on path"], ["where", "share", "on path"], [*everything[1:4], "class"]]


def test_a_column_without_a_value_is_not_shown() -> None:
    """Where nothing has a place there is no such column."""
    assert "where" not in draw(bottleneck())


@pytest.mark.parametrize("name", ["[red]x[/red]", "a\x1b[31mred", "two\nlines", "t\tab", "\u202eright to left", "[/]"])
def test_names_are_shown_as_they_are(name: str) -> None:
    """Markup is text; what would steer the terminal is a blank. In names, reasons, advice and locks alike."""
    row = bottleneck(name=name, why=f"why {name}", advice=f"advice {name}")
    text = draw(row, deadlocks=[Deadlock((name, "other"), 1.0)])
    plain = "".join(char if char.isprintable() else " " for char in name)
    assert text.count(plain) == 4
    assert not set(text) & {"\x1b", "\t", "\u202e", "\r"}
    other = draw(bottleneck(), deadlocks=[Deadlock(("a", "b"), 1.0)])
    assert len(text.splitlines()) == len(other.splitlines())


@pytest.mark.parametrize(
    ("fix", "words"),
    [
        ({"action": "faster", "from": 1.0, "to": 0.5}, "2× faster"),
        ({"action": "move to start", "from": ["openai"], "to": "start"}, "done at start"),
        ({"action": "capacity", "from": 4, "to": 8}, "capacity 8"),
        ({"action": "workers", "from": 3, "to": 6}, "6 workers"),
        ({"action": "hold", "from": 1.0, "to": 0.5}, "held half as long"),
        ({"action": "rate", "from": 2.0, "to": 4.0}, "twice the rate"),
        ({"action": "something new", "from": 0, "to": 0}, "something new"),
    ],
    ids=str,
)
def test_fixes_in_words(fix: dict[str, Any], words: str) -> None:
    """What the gain is the gain of."""
    assert words in draw(bottleneck(fix=fix))


def test_only_what_counts() -> None:
    """Eight rows at most, none below one per cent; advice for three."""
    many = [bottleneck(name=f"n{i}", gain=0.5 - i / 25, advice=f"advice {i}") for i in range(13)]
    text = draw(*many, bottleneck(name="little", gain=0.009))
    assert [f"n{i} " in text for i in range(9)] == [True] * 8 + [False]
    assert [f"advice {i}" in text for i in range(4)] == [True] * 3 + [False]
    assert "little" not in text


def test_without_a_finding() -> None:
    """It says so, and does not call numbers trustworthy that are not there."""
    text = draw(bottleneck(gain=0.009))
    assert text.startswith("no bottleneck: nothing that was recorded would save 1 % of the time\n")
    assert "replay of the unchanged run: 0.4 % off\n" in text


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"stuck": True}, "not reliable: it never came to its end: a deadlock, or something that is not understood"),
        ({"lost": 1234}, "not reliable: 1,234 events were lost"),
        ({"deadlocks": [Deadlock(("a",), 2.0)]}, "not reliable: a deadlock lasts until somebody gives up"),
        ({"self_replay_error": 0.251}, "25.1 % off — not reliable: more than 5 %"),
    ],
    ids=str,
)
def test_what_cannot_be_trusted(fields: dict[str, Any], why: str) -> None:
    """It says why, in red, and the gains are dim."""
    assert why in draw(bottleneck(reliable=False), reliable=False, **fields)
    coloured = draw(bottleneck(reliable=False), reliable=False, colours=True, **fields)
    assert "\x1b[1;31mreplay of the unchanged run" in coloured
    assert "\x1b[2m−30 %" in coloured
    assert "\x1b[32m−30 %" in draw(bottleneck(), colours=True)


@pytest.mark.parametrize(
    ("deadlock", "said"),
    [
        (
            Deadlock(("a", "b"), 0.45),
            "deadlock: the holders of 'a' and 'b' wait for each other, 450 ms long: take locks in",
        ),
        (Deadlock(("a", "b", "c"), 2.0), "the holders of 'a', 'b' and 'c' wait for each other, 2.00 s long"),
        (Deadlock(("a", "b"), 0.0), "wait for each other: take locks in the same order\n"),
        (Deadlock(("a",), 1.0), "deadlock: the holder of 'a' waits for it itself, 1.00 s long: take it once"),
    ],
    ids=str,
)
def test_deadlocks_come_first(deadlock: Deadlock, said: str) -> None:
    """Before every row, with what to do; also where there is no row."""
    for rows in ([bottleneck()], []):
        text = draw(*rows, deadlocks=[deadlock], reliable=False)
        assert text.startswith("deadlock: ")
        assert said in text


def test_imports_before_the_work() -> None:
    """Their time is no part of the whole, which is said."""
    assert "imports before the program's own work: 1.25 s, not counted" in draw(bottleneck(), startup=1.25)
    assert "imports" not in draw(bottleneck(), startup=0.009)
