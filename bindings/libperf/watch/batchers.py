"""Batchers: who has given an item to which, and the batches that they process."""

from typing import TYPE_CHECKING

from .._core import lib
from .._scheduler import emit, id_of
from .patch import Patches
from .resources import resource

if TYPE_CHECKING:
    from .._batcher import Batch, BatchFuture
    from ..batcher.telemetry import Telemetry

BATCHER: int = lib.PERF_RESOURCE_BATCHER
ITEM: int = lib.PERF_EVENT_BATCH_ITEM
BEGIN: int = lib.PERF_EVENT_BATCH_BEGIN
END: int = lib.PERF_EVENT_BATCH_END


def watch_batchers(patches: Patches) -> None:
    from ..batcher import telemetry
    from . import batchers

    patches.set(telemetry, "watcher", batchers)
    for known in list(telemetry.living):
        join(known, patches)


def join(telemetry: "Telemetry", patches: Patches | None = None) -> None:
    """Its items are seen from now on."""

    def submitted(future: "BatchFuture[object]") -> None:
        emit(ITEM, id_of(future), _key(telemetry))

    if patches is None:
        telemetry.queue.watcher = submitted
    else:
        patches.set(telemetry.queue, "watcher", submitted)


def _key(telemetry: "Telemetry") -> int:
    return resource(telemetry, BATCHER, lambda its: int(its.slots), telemetry.name)


def begin(telemetry: "Telemetry", batch: "Batch") -> None:
    emit(BEGIN, _key(telemetry), telemetry.most, len(batch.futures))


def end(telemetry: "Telemetry") -> None:
    emit(END, _key(telemetry))
