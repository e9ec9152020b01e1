"""A test that fails when something has become slower."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..differences import Difference
    from ..differences.sides import Source

__all__ = ["assert_no_regression"]


def assert_no_regression(
    old: "Source | Sequence[Source]",
    new: "Source | Sequence[Source]",
    *,
    allow_undecided: bool = False,
    **settings: Any,
) -> "Difference":
    """Compare as libperf.diff() does; AssertionError, with the table, when an operation is slower or goes wrong more
    often, or when nothing could be compared at all (unless `allow_undecided`). Returns the Difference.

    >>> assert_no_regression("tests/baseline.perf", "now.perf", threshold=0.1)
    """
    from ..differences import diff

    difference = diff(old, new, **settings)
    if difference.verdict == "regression":
        names = ", ".join(change.name for change in difference.regressions)
        raise AssertionError(f"worse than before: {names}\n{difference}")
    if difference.verdict == "undecided" and not allow_undecided:
        raise AssertionError(f"nothing could be compared\n{difference}")
    return difference
