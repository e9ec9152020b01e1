"""The demo as a user runs it: `libperf mock -- libperf run examples/research_agent.py` reports the graph as it is.

The agent is a real LangGraph graph that talks through the real OpenAI client; the mock decides which node is slow.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from libperf.names import Kind
from libperf.reader import Reader, Record
from libperf.testing import MockLLM, Reply

AGENT = Path(__file__).parents[2] / "examples/research_agent.py"
RESEARCH = {"research_history", "research_numbers", "research_critics", "research_practice"}
NODES = {"plan", "measure", "summarise", *RESEARCH}
ASKS = {  # how the first words of each node's prompt begin
    "plan": "^Plan how",
    "research_history": "^Research the history",
    "summarise": "^Summarise",
}
LLM_CALLS = {"plan": 1, "summarise": 1, **dict.fromkeys(RESEARCH, 1), "research_critics": 2}
SLOW_S = 0.5  # the mock never answers sooner than told; everything else takes as long as it takes


class Outcome(NamedTuple):
    status: int
    out: str
    err: str
    report: dict[str, Any]
    trace: Path

    def rows(self, kind: str) -> dict[str, dict[str, Any]]:
        """The report's operations of one kind, in the report's order."""
        return {row["name"]: row for row in self.report["operations"] if row["kind"] == kind}

    def spans(self) -> list[Record]:
        with Reader(self.trace) as reader:
            return [record for record in reader.records() if record.type == "span"]


class Demo:
    """A folder to run the agent in, alone or below a mock server."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("OPENAI_")}
        self.environment |= {"LIBPERF_DIR": str(folder), "COLUMNS": "160"}

    def run(self, *mock: str) -> Outcome:
        """The agent under `libperf run`, and that below `libperf mock` with these options when there are any."""
        libperf = [sys.executable, "-m", "libperf"]
        command = [*libperf, "run", "--json", "out.json", "--trace", "out.perf", str(AGENT), "Why", "do bees dance?"]
        answer = subprocess.run(
            [*libperf, "mock", "--quiet", *mock, "--", *command] if mock else command,
            env=self.environment,
            cwd=self.folder,
            text=True,
            capture_output=True,
            timeout=60,
        )
        report = json.loads((self.folder / "out.json").read_text())
        return Outcome(answer.returncode, answer.stdout, answer.stderr, report, self.folder / "out.perf")

    def script(self, *replies: dict[str, Any]) -> str:
        path = self.folder / "replies.json"
        path.write_text(json.dumps(replies))
        return str(path)


@pytest.fixture
def demo(tmp_path: Path) -> Demo:
    return Demo(tmp_path)


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """One run as `make demo` does it, only quicker."""
    return Demo(tmp_path_factory.mktemp("demo")).run("--seed", "7", "--latency", "lognormal:0.02,0.3")


def test_it_answers(outcome: Outcome) -> None:
    """The agent ends well, prints its answer alone on standard output, and the report follows on standard error."""
    assert outcome.status == 0
    assert outcome.out.count("\n") == 1 and len(outcome.out) > 10
    assert outcome.err.count("libperf report") == 1
    assert "Traceback" not in outcome.err
    program = outcome.report["program"]
    assert (program["state"], program["exit_status"]) == ("finished", 0)
    assert program["command"].endswith("research_agent.py")
    assert (outcome.report["open"], outcome.report["lost"]) == ([], {})


def test_the_same_seed_gives_the_same_answer(outcome: Outcome, demo: Demo) -> None:
    """Another run with that seed prints the same answer; another seed prints another."""
    again = demo.run("--seed", "7", "--latency", "lognormal:0.001,0.3")
    other = demo.run("--seed", "8", "--latency", "lognormal:0.001,0.3")
    assert again.out == outcome.out
    assert other.out != outcome.out


def test_every_operation_has_its_row(outcome: Outcome) -> None:
    """One row a node, a model call by node, a tool, and the graph: with calls, tokens and a share of the wall."""
    assert list(outcome.rows("graph")) == ["research agent"]
    assert {name: row["calls"] for name, row in outcome.rows("node").items()} == dict.fromkeys(NODES, 1)
    assert {name: row["calls"] for name, row in outcome.rows("llm").items()} == LLM_CALLS
    assert {name: row["calls"] for name, row in outcome.rows("tool").items()} == {"word_count": 1}
    for row in outcome.report["operations"]:
        assert row["errors"] == row["cancelled"] == 0
        assert 0 < row["share_of_wall"] <= 1
        assert 0 < row["min_s"] <= row["p50_s"] <= row["p95_s"] <= row["p99_s"] <= row["max_s"]
        assert (row["input_tokens"] > 0, row["output_tokens"] > 0) == ((True, True) if row["kind"] == "llm" else (0, 0))
    graph = outcome.rows("graph")["research agent"]
    assert graph["share_of_wall"] == pytest.approx(1, abs=1e-6)


def test_the_table_shows_every_row(outcome: Outcome) -> None:
    """The table on standard error has a line for each row of the JSON, with its number of calls."""
    for row in outcome.report["operations"]:
        lines = re.findall(rf"^{row['kind']} {row['name']} +(\d+) .* %$", outcome.err, re.MULTILINE)
        assert lines == [str(row["calls"])], row["name"]


def test_the_tree_of_spans(outcome: Outcome) -> None:
    """Nodes lie below the graph, model calls below their node, the tool below the node that calls it; in one trace."""
    spans = outcome.spans()
    of = {span.id: span for span in spans}
    graph = next(span for span in spans if span.kind is Kind.GRAPH)
    assert graph.parent == 0
    assert {span.trace_id for span in spans} == {graph.trace_id}
    assert {span.name for span in spans if span.parent == graph.id and span.kind is Kind.NODE} == NODES
    for span in spans:
        if span.kind is Kind.LLM:
            assert (of[span.parent].kind, of[span.parent].name) == (Kind.NODE, span.name)
    assert [of[span.parent].name for span in spans if span.kind is Kind.TOOL] == ["measure"]


def test_sync_and_async_nodes(outcome: Outcome) -> None:
    """What async nodes call runs in the thread of the event loop, where the graph runs; what sync nodes call, in others."""
    spans = outcome.spans()
    loop = next(span.thread for span in spans if span.kind is Kind.GRAPH)
    calls = [span for span in spans if span.kind in (Kind.LLM, Kind.TOOL)]
    assert {span.name for span in calls if span.thread == loop} == {"summarise", *RESEARCH}
    assert {span.name for span in calls if span.thread != loop} == {"plan", "word_count"}


def test_the_researchers_work_side_by_side(demo: Demo) -> None:
    """Four research nodes wait for their models at once: none is answered before all four have asked."""
    meeting = threading.Barrier(len(RESEARCH), timeout=30)

    def wait(_: object) -> str:
        meeting.wait()
        return "as everybody knows"

    with MockLLM(replies=[Reply(wait, match=re.compile("^Research the"))]) as llm:
        demo.environment |= llm.environment()
        outcome = demo.run()
    assert outcome.status == 0
    assert not meeting.broken
    research = [span for span in outcome.spans() if span.kind is Kind.NODE and span.name in RESEARCH]
    assert {span.name for span in research} == RESEARCH
    assert max(span.start for span in research) < min(span.end or 0 for span in research)


@pytest.mark.parametrize("slow", ASKS)
def test_the_slowest_node_is_named(demo: Demo, slow: str) -> None:
    """Whichever node's model the mock makes slow, that node is the slowest of the report, in the table and as data."""
    outcome = demo.run("--script", demo.script({"regex": ASKS[slow], "text": "in the end", "latency": SLOW_S}))
    assert outcome.status == 0
    for kind in ("node", "llm"):
        rows = outcome.rows(kind)
        assert next(iter(rows)) == slow  # the largest share of the wall comes first
        assert max(rows.values(), key=lambda row: row["max_s"]) is rows[slow]
        assert rows[slow]["max_s"] >= SLOW_S
    first, second = outcome.report["slowest"][:2]
    assert [(call["kind"], call["name"]) for call in (first, second)] == [("node", slow), ("llm", slow)]
    lines = outcome.err.partition("slowest calls\n")[2].splitlines()
    assert f" node {slow} " in lines[0]
    assert f" llm {slow} " in lines[1]


def test_a_node_that_fails(demo: Demo) -> None:
    """When a model refuses, the agent's status and traceback pass through, and the errors are in the rows."""
    outcome = demo.run("--script", demo.script({"regex": ASKS["research_history"], "status": 400}))
    assert outcome.status == 1
    assert "BadRequestError" in outcome.err
    assert outcome.report["program"]["exit_status"] == 1
    failed = [(row["kind"], row["name"]) for row in outcome.report["operations"] if row["errors"]]
    assert sorted(failed) == [("graph", "research agent"), ("llm", "research_history"), ("node", "research_history")]
    assert "summarise" not in outcome.rows("node")
