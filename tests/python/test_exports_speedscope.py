"""speedscope's JSON: against its published schema, by its rules, and in speedscope itself."""

from __future__ import annotations

import base64
import json
import random
from itertools import pairwise
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from libperf.exports import speedscope
from libperf.names import Kind
from libperf.samples import Frame
from support_browser import CHROMIUM, Browser
from support_exports import MS, Recording, written

# tools/viewers.sh fetches the published package: its schema, and the viewer itself.
PACKAGE = Path(__file__).parents[2] / ".deps/viewers/speedscope"
published = pytest.mark.skipif(not PACKAGE.exists(), reason="there is no .deps/viewers: sh tools/viewers.sh")


def profiles(recording: Recording, **changed: Any) -> list[dict[str, Any]]:
    """The profiles, with names in place of numbers; every rule of the format is looked after."""
    data = json.loads(written(speedscope.write_trace, recording.trace(**changed)))
    check(data)
    names = [frame["name"] for frame in data["shared"]["frames"]]
    for profile in data["profiles"]:
        for event in profile.get("events", ()):
            event["frame"] = names[event["frame"]]
        profile["samples"] = [[names[number] for number in stack] for stack in profile.get("samples", ())]
    return list(data["profiles"])


def check(data: dict[str, Any]) -> None:
    """What the specification says in words: balanced, in the order of time, inside of the profile's limits."""
    if PACKAGE.exists():
        jsonschema.validate(data, json.loads((PACKAGE / "file-format-schema.json").read_text()))
    frames = data["shared"]["frames"]
    assert data["$schema"] == "https://www.speedscope.app/file-format-schema.json"
    assert data["exporter"].startswith("libperf ") and data["profiles"]
    assert len({json.dumps(frame) for frame in frames}) == len(frames)
    for profile in data["profiles"]:
        assert profile["endValue"] >= profile["startValue"] >= 0
        if profile["type"] == "sampled":
            assert len(profile["samples"]) == len(profile["weights"])
            assert sum(profile["weights"]) == profile["endValue"] - profile["startValue"]
            assert all(0 <= number < len(frames) for stack in profile["samples"] for number in stack)
            continue
        times = [profile["startValue"], *(event["at"] for event in profile["events"]), profile["endValue"]]
        assert all(earlier <= later for earlier, later in pairwise(times))
        stack: list[int] = []
        for event in profile["events"]:
            assert 0 <= event["frame"] < len(frames)
            if event["type"] == "O":
                stack.append(event["frame"])
            else:
                assert event["type"] == "C" and stack.pop() == event["frame"]
        assert stack == []


def test_spans_open_and_close_frames() -> None:
    recording = Recording()
    outer = recording.span("agent", 1, 9, kind=Kind.GRAPH, task=1)
    recording.span("plan", 2, 3, outer, kind=Kind.NODE, task=1)
    recording.span("load", 4, 5, thread=7)
    first, second = profiles(recording)
    assert (first["name"], first["type"], first["unit"]) == ("thread 7", "evented", "nanoseconds")
    assert second["name"] == "graph:agent"
    assert (second["startValue"], second["endValue"]) == (MS, 9 * MS)
    assert [(event["type"], event["frame"], event["at"] // MS) for event in second["events"]] == [
        ("O", "graph:agent", 1),
        ("O", "node:plan", 2),
        ("C", "node:plan", 3),
        ("C", "graph:agent", 9),
    ]


def test_samples_are_profiles_of_their_own_and_cpu_comes_first() -> None:
    """With functions, files and lines; a frame is written once."""
    recording = Recording()
    span = recording.span("work", 0, 9)
    main, work = Frame("main", "/srv/a.py", 9), Frame("work", "/srv/a.py", 0)
    recording.sample("allocated", 1, 512, main)
    recording.sample("cpu", 1, 1, main, work, span=span)
    recording.sample("cpu", 2, 3, main)
    recording.sample("cpu", 3, 1)
    recording.sample("stall", 4, 2, main)
    cpu, spans, memory, stalls = profiles(recording)
    assert (cpu["name"], cpu["unit"], cpu["weights"]) == ("main thread: CPU samples", "nanoseconds", [MS, 3 * MS, MS])
    assert cpu["samples"] == [["main", "work"], ["main"], []]
    assert (spans["type"], memory["unit"], memory["weights"]) == ("evented", "bytes", [512])
    assert stalls["samples"] == [["main"]]
    data = json.loads(written(speedscope.write_trace, recording.trace()))
    assert {"name": "main", "file": "/srv/a.py", "line": 9} in data["shared"]["frames"]
    assert {"name": "work", "file": "/srv/a.py"} in data["shared"]["frames"]


def test_nothing_recorded_is_one_empty_profile() -> None:
    """speedscope refuses a file without any."""
    (only,) = profiles(Recording())
    assert (only["name"], only["events"]) == ("nothing was recorded", [])


@pytest.mark.parametrize("seed", range(10))
def test_any_recording_keeps_the_rules(seed: int) -> None:
    dice = random.Random(seed)
    recording = Recording()
    ids = [0]
    for _ in range(300):
        start, task = dice.randrange(100), dice.choice((0, 0, 1, 2))
        length = dice.choice((0, 1, 20))
        ids.append(recording.span(dice.choice("abc"), start, start + length, dice.choice(ids), task=task))
    opened = sum(event["type"] == "O" for profile in profiles(recording) for event in profile["events"])
    assert opened == 300


@published
def test_the_schema_is_the_published_one() -> None:
    """And it would refuse a file that is wrong."""
    schema = json.loads((PACKAGE / "file-format-schema.json").read_text())
    data = json.loads(written(speedscope.write_trace, Recording().trace()))
    jsonschema.validate(data, schema)
    data["profiles"][0]["unit"] = "hours"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(data, schema)


@published
@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here: apt-get install chromium")
def test_speedscope_opens_it(tmp_path: Path) -> None:
    """The viewer itself, in a browser, without a network: it shows the first profile's name, and no error."""
    recording = Recording()
    outer = recording.span("agent", 1, 9, kind=Kind.GRAPH)
    recording.span("näme 🐝", 2, 8, outer)
    text = written(speedscope.write_trace, recording.trace())
    browser = Browser()
    try:
        shown = open_in_speedscope(browser, text, tmp_path)
    finally:
        browser.close()
    assert "main thread" in shown


def open_in_speedscope(browser: Browser, text: str, folder: Path) -> str:
    """Load a file into the viewer; its title when it is drawn."""
    packed = base64.b64encode(text.encode()).decode()
    script = folder / "profile.js"
    script.write_text(f"speedscope.loadFileFromBase64('x.speedscope.json', '{packed}')")
    browser.events.clear()
    browser("Page.navigate", url=f"{(PACKAGE / 'index.html').as_uri()}#localProfilePath={script}")
    while not any(event.get("method") == "Page.loadEventFired" for event in browser.events):
        browser.events.append(browser._receive())
    return str(browser.run(SHOWN))


SHOWN = """new Promise((done, failed) => {
  setTimeout(() => failed(document.body.innerText), 30000);
  const look = () => {
    const text = document.body.innerText;
    /Sandwich\\s+\\S/.test(text) && /Export/.test(text) ? done(text) : requestAnimationFrame(look);
  };
  look();
})"""
