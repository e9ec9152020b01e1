/* control.h - what a queue asks whoever learns from its load: how many items a
 * batch should have, how many batches may run, how fast calls may follow each
 * other. Everything here is a number out of what was seen; who goes first is
 * the queue's. */
#ifndef PERFI_BATCH_CONTROL_H
#define PERFI_BATCH_CONTROL_H
#include <libperf/batch_queue.h>

typedef struct perfi_batch_control perfi_batch_control;

perf_err perfi_batch_control_create(const perf_batch_config *config,
                                    perfi_batch_control **out);
void perfi_batch_control_destroy(perfi_batch_control *control);

/* Told what happens, in order of time. `running`: batches that run from then
 * on, in taken() with that one, in done() without it. */
void perfi_batch_control_arrived(perfi_batch_control *control, uint64_t weight,
                                 uint64_t now_ns);
void perfi_batch_control_taken(perfi_batch_control *control,
                               const perf_batch *batch, uint32_t running,
                               uint64_t now_ns);
/* before the items are let go: batch->first and what it leads to can be read */
void perfi_batch_control_done(perfi_batch_control *control,
                              const perf_batch *batch,
                              perf_batch_outcome outcome,
                              uint64_t retry_after_ns, uint32_t running,
                              uint64_t now_ns);

/* Nothing runs any more, though it was never done. What was learned stays, and
 * so does a pause. */
void perfi_batch_control_forget(perfi_batch_control *control);

/* Batches that may run at a time, now. */
uint32_t perfi_batch_control_slots(const perfi_batch_control *control);

/* Nothing may be taken before: a pause (Retry-After), or the rate that
 * throttling left. 0: at once. */
uint64_t perfi_batch_control_not_before(const perfi_batch_control *control,
                                        uint64_t now_ns);

/* At most so many items a batch (config.max_items, or less for the sake of the
 * target latency), when `queued` items wait. */
uint32_t perfi_batch_control_max_items(const perfi_batch_control *control,
                                       uint32_t queued);

/* How many items are worth waiting for while `running` batches run: 1 where
 * waiting does not pay. Not above perfi_batch_control_max_items(). */
uint32_t perfi_batch_control_min_items(const perfi_batch_control *control,
                                       uint32_t running);

/* How long to wait for `missing` more items, from when the latest item came, in
 * ns (two mean gaps for each); the queue bounds it by max_wait_ns. Not for
 * config.min_items, for which max_wait_ns alone counts. */
uint64_t perfi_batch_control_patience(const perfi_batch_control *control,
                                      uint32_t missing);

/* How long a batch of so much takes: expected, and 19 of 20; 0: not known. */
uint64_t perfi_batch_control_expect(const perfi_batch_control *control,
                                    uint32_t items, uint64_t weight);
uint64_t perfi_batch_control_bound(const perfi_batch_control *control,
                                   uint32_t items, uint64_t weight);

perf_batch_cost *perfi_batch_control_cost(perfi_batch_control *control);

/* Its part of the statistics. */
void perfi_batch_control_stats(const perfi_batch_control *control,
                               perf_batch_stats *out);

#endif
