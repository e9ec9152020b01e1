"""docs/bottlenecks.md explains each class in the words of the report, in three sentences, and what a replay cannot know."""

import re
from pathlib import Path

import pytest

from libperf.analysis import classes
from libperf.analysis.glossary import CLASSES, LIMITS

DOCUMENT = " ".join((Path(__file__).parents[2] / "docs/bottlenecks.md").read_text().split())


@pytest.mark.parametrize("name", CLASSES)
def test_a_class_has_three_sentences_and_they_are_in_the_document(name: str) -> None:
    assert len(re.findall(r"[.?!](?= |$)", CLASSES[name])) == 3
    assert f"**{name}.** {CLASSES[name]}" in DOCUMENT


def test_every_class_that_is_given_is_explained() -> None:
    given = set(re.findall(r'Evidence\(\s*"([a-z-]+)"', Path(classes.__file__).read_text()))
    assert given == set(CLASSES)


def test_limits_are_in_the_document() -> None:
    for limit in LIMITS:
        assert f"- {limit}" in DOCUMENT
