"""How processors end: at the exit of the program, and in the child of a fork."""

import atexit
import os
import time
import weakref

from .driver import Driver

__all__ = ["living"]

AT_EXIT = 5.0  # seconds for what is queued, all processors together

living: "weakref.WeakSet[Driver]" = weakref.WeakSet()


def _close_all() -> None:
    """What is queued is still processed; then BatcherClosed, so that no thread waits for ever."""
    until = time.monotonic() + AT_EXIT
    drivers = list(living)
    for driver in drivers:
        driver.begin_to_close(drain=True)
    for driver in drivers:
        driver.wait_until_empty(max(0.0, until - time.monotonic()))
        driver.give_up()


def _forget_in_child() -> None:
    for driver in list(living):
        driver.forget()


atexit.register(_close_all)
os.register_at_fork(after_in_child=_forget_in_child)
