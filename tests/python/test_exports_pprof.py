"""pprof: read by the field numbers of profile.proto, by the published protobuf library, and by `go tool pprof`."""

from __future__ import annotations

import gzip
import io
import os
import random
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from libperf.exports import pprof, protobuf
from libperf.names import Kind
from libperf.samples import Frame
from support_exports import MS, Pprof, Recording


def packed(recording: Recording, **changed: Any) -> bytes:
    out = io.BytesIO()
    pprof.write_trace(recording.trace(**changed), out)
    return out.getvalue()


def profile(recording: Recording, **changed: Any) -> Pprof:
    return Pprof(packed(recording, **changed))


MAIN, WORK = Frame("main", "/srv/a.py", 9), Frame("work", "/srv/b.py", 0)


def mixed() -> Recording:
    """Spans of two tasks and a thread, and samples of every kind."""
    recording = Recording()
    graph = recording.span("agent", 0, 100, kind=Kind.GRAPH, task=1)
    first = recording.span("plan", 10, 30, graph, kind=Kind.LLM, task=1)
    recording.span("plan", 40, 60, graph, kind=Kind.LLM, task=1)
    recording.span("plan", 40, 90, graph, kind=Kind.LLM, task=2)
    recording.span("load", 0, 5, thread=7)
    recording.sample("cpu", 20, 2, MAIN, WORK, span=first)
    recording.sample("cpu", 21, 3, MAIN, WORK, span=first)
    recording.sample("cpu", 22, 1)
    recording.sample("allocated", 23, 4096, MAIN)
    recording.sample("stall", 24, 6, MAIN)
    return recording


def test_spans_are_wall_time_and_samples_their_own_kinds() -> None:
    """Added up by stack, span, thread and task; each with its labels."""
    found = profile(mixed())
    assert found.types == [
        ("wall", "nanoseconds"),
        ("cpu", "nanoseconds"),
        ("alloc_space", "bytes"),
        ("loop_held_up", "nanoseconds"),
    ]
    assert found.default == "cpu"
    plan = ("graph:agent", "llm:plan")
    assert found.samples == [
        (("graph:agent",), {"wall": 30 * MS}, {"span": "graph:agent", "thread": "main thread", "task": 1}),
        (plan, {"wall": 40 * MS}, {"span": "llm:plan", "thread": "main thread", "task": 1}),
        (plan, {"wall": 50 * MS}, {"span": "llm:plan", "thread": "main thread", "task": 2}),
        (("load",), {"wall": 5 * MS}, {"span": "load", "thread": "thread 7"}),
        (("main (/srv/a.py:9)", "work (/srv/b.py:0)"), {"cpu": 5 * MS}, {"span": "llm:plan", "thread": "main thread"}),
        (("(not known)",), {"cpu": MS}, {"thread": "main thread"}),
        (("main (/srv/a.py:9)",), {"alloc_space": 4096}, {"thread": "main thread"}),
        (("main (/srv/a.py:9)",), {"loop_held_up": 6 * MS}, {"thread": "main thread"}),
    ]


def test_when_and_how_long() -> None:
    recording = Recording()
    recording.span("x", 0, 250)
    recording.lost = 3
    found = profile(recording)
    assert (found.time, found.duration) == (1_700_000_005_000 * MS, 250 * MS)
    assert found.comments[0].endswith("process 100: agent")
    assert found.comments[1:] == ["3 records were overwritten before they were read"]
    assert (found.types, found.default) == ([("wall", "nanoseconds")], "wall")


def test_nothing_recorded_is_a_profile_without_samples() -> None:
    assert profile(Recording()).samples == []


def test_equal_recordings_give_equal_bytes() -> None:
    """No time of writing in the gzip header."""
    assert packed(mixed()) == packed(mixed())


def test_numbers_beyond_63_bits_do_not_overflow() -> None:
    """A damaged file may hold any: the largest number of the format stands for them."""
    recording = Recording()
    recording.spans.add(start=0, end=2**64 - 1, id=1, parent=0, name=recording.name("x"))
    found = profile(recording, start_ns=0, wall_offset_ns=2**64 - 1)
    assert found.samples[0][1] == {"wall": 2**63 - 1}
    assert (found.time, found.duration) == (2**63 - 1, 2**63 - 1)


# ---- other people's readers ----


def message_type() -> Any:
    """Profile, from the published protobuf library and the numbers of profile.proto."""
    descriptor_pb2 = pytest.importorskip("google.protobuf.descriptor_pb2")
    from google.protobuf import descriptor_pool, message_factory

    file = descriptor_pb2.FileDescriptorProto(name="profile.proto", package="perftools.profiles", syntax="proto3")
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        for number, (field, kind, repeated) in fields.items():
            added = message.field.add(name=field, number=number, label=3 if repeated else 1)
            if kind[0].isupper():
                added.type, added.type_name = 11, f".perftools.profiles.{kind}"
            else:
                added.type = {"int64": 3, "uint64": 4, "bool": 8, "string": 9}[kind]
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("perftools.profiles.Profile"))


MESSAGES = {
    "ValueType": {1: ("type", "int64", False), 2: ("unit", "int64", False)},
    "Label": {1: ("key", "int64", False), 2: ("str", "int64", False), 3: ("num", "int64", False)},
    "Sample": {1: ("location_id", "uint64", True), 2: ("value", "int64", True), 3: ("label", "Label", True)},
    "Mapping": {
        1: ("id", "uint64", False),
        5: ("filename", "int64", False),
        7: ("has_functions", "bool", False),
        8: ("has_filenames", "bool", False),
        9: ("has_line_numbers", "bool", False),
    },
    "Line": {1: ("function_id", "uint64", False), 2: ("line", "int64", False)},
    "Location": {1: ("id", "uint64", False), 2: ("mapping_id", "uint64", False), 4: ("line", "Line", True)},
    "Function": {
        1: ("id", "uint64", False),
        2: ("name", "int64", False),
        3: ("system_name", "int64", False),
        4: ("filename", "int64", False),
    },
    "Profile": {
        1: ("sample_type", "ValueType", True),
        2: ("sample", "Sample", True),
        3: ("mapping", "Mapping", True),
        4: ("location", "Location", True),
        5: ("function", "Function", True),
        6: ("string_table", "string", True),
        9: ("time_nanos", "int64", False),
        10: ("duration_nanos", "int64", False),
        13: ("comment", "int64", True),
        14: ("default_sample_type", "int64", False),
    },
}


def test_the_published_protobuf_library_reads_it() -> None:
    """Without a field that it does not know, and with every reference leading somewhere."""
    found = message_type().FromString(gzip.decompress(packed(mixed())))
    text = found.string_table
    assert [text[kind.type] for kind in found.sample_type] == ["wall", "cpu", "alloc_space", "loop_held_up"]
    functions = {function.id: text[function.name] for function in found.function}
    locations = {location.id: functions[location.line[0].function_id] for location in found.location}
    stacks = [[locations[number] for number in sample.location_id] for sample in found.sample]
    assert stacks[1] == ["llm:plan", "graph:agent"]  # the innermost first
    assert all(len(sample.value) == len(found.sample_type) for sample in found.sample)
    assert text[found.mapping[0].filename] == "agent"
    assert {location.mapping_id for location in found.location} == {found.mapping[0].id}
    found.DiscardUnknownFields()
    assert len(found.SerializeToString()) == len(gzip.decompress(packed(mixed())))  # there was none


@pytest.mark.skipif(shutil.which("go") is None, reason="there is no Go here")
def test_go_reads_it(tmp_path: Path) -> None:
    """`go tool pprof -top` of wall time, and by label."""
    (tmp_path / "x.pb.gz").write_bytes(packed(mixed()))
    environment = {**os.environ, "GOTOOLCHAIN": "local", "PPROF_TMPDIR": str(tmp_path)}

    def top(*options: str) -> str:
        command = ["go", "tool", "pprof", "-top", *options, "x.pb.gz"]
        done = subprocess.run(command, cwd=tmp_path, env=environment, text=True, capture_output=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout

    text = top("-sample_index=wall")
    assert "Type: wall" in text and "2023-11-14" in text
    assert [line.split()[0] for line in text.splitlines() if line.endswith(" llm:plan")] == ["90ms"]
    assert "4kB" in top("-sample_index=alloc_space")
    focused = top("-sample_index=wall", "-tagfocus=thread=thread 7")
    assert "load" in focused and "llm:plan" not in focused


# ---- the wire format ----


@pytest.mark.parametrize("seed", range(3))
def test_varints(seed: int) -> None:
    """Against the published library's own, of every length; negative numbers take ten bytes."""
    encoder = pytest.importorskip("google.protobuf.internal.encoder")
    dice = random.Random(seed)
    values = [0, 1, 127, 128, 2**63 - 1, *(dice.getrandbits(dice.randrange(1, 64)) for _ in range(300))]
    for value in (*values, *(-value for value in values)):
        found: list[bytes] = []
        encoder._EncodeSignedVarint(found.append, value)
        assert protobuf.varint(value) == b"".join(found)
    assert len(protobuf.varint(-1)) == 10


def test_fields() -> None:
    assert protobuf.number_field(1, 150) == b"\x08\x96\x01"  # the example of the documentation
    assert protobuf.text_field(2, "testing") == b"\x12\x07testing"
    assert protobuf.packed_field(6, [3, 270, 86942]) == b"\x32\x06\x03\x8e\x02\x9e\xa7\x05"
    assert (protobuf.number_field(1, 0), protobuf.packed_field(1, [])) == (b"", b"")
    assert protobuf.length_field(3, b"") == b"\x1a\x00"
    assert protobuf.text_field(1, "\ud800") == b"\x0a\x01?"
