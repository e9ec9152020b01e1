/* batcher.h - calls of many threads, made together by a pool of workers.
 *
 * Model:    threads submit items; a worker takes a batch (batch_queue.h says
 *           which and when) and calls `process` with it; `process` writes each
 *           item's result wherever the caller's item keeps it. Then each item
 *           ends, exactly once: `done` is called with it, in a worker's thread;
 *           or, where there is no `done`, whoever waits for it wakes up.
 *           Workers start with the first item and end after `idle_ns` without
 *           one; an idle batcher costs no CPU time. There are at most as many
 *           as batches may run, and one that looks after times.
 * Threads:  every function from any thread. `process` and `done` may submit,
 *           and never wait for room there: the item waits outside by itself.
 *           In `process`, waiting for an item of the same batcher processes it
 *           at once, in that thread: it cannot hang.
 * Fork:     the child has an empty batcher without threads; items of the
 *           parent are the parent's: waiting for one gives PERF_ERR_CLOSED.
 * Units:    nanoseconds of CLOCK_MONOTONIC.
 * Memory:   items are the caller's. From submit() on one must not move, nor be
 *           freed, before it has ended: `done` was called with it (and may
 *           free it), or wait() told its end, or cancel() returned true. While
 *           it is in a batch it does not end, since `process` has it: an item
 *           whose time is over then gets PERF_ERR_TIMEOUT when that returns.
 *           Who waited no longer than some time and got PERF_ERR_TIMEOUT calls
 *           cancel(), and where that returns false wait() without a bound,
 *           before the memory is used for something else.
 *           submit() does not allocate, unless it starts a worker. */
#ifndef LIBPERF_BATCHER_H
#define LIBPERF_BATCHER_H
#include <libperf/batch_queue.h>

PERF_BEGIN_DECLS

typedef struct perf_batcher perf_batcher;

/** Process `count` items together.
 *  @param items  may be put into another order
 *  @return  PERF_OK; or an error, which all of them get (perf_batcher_config's
 *  isolation may try them again). A single item's failure is its own result.
 *  @param retry_after_ns  0 on entry; set it, and return PERF_ERR_FULL, when
 *  the service refuses calls for so long (HTTP 429): the items go back. */
typedef perf_err (*perf_batch_process_fn)(perf_batch_item **items,
                                          uint32_t count,
                                          uint64_t *retry_after_ns, void *ctx);

/** An item has ended: PERF_OK, what `process` returned, PERF_ERR_TIMEOUT (its
 *  time was over), PERF_ERR_FULL (shed) or PERF_ERR_CLOSED. Should not take
 *  long: a worker waits for it. */
typedef void (*perf_batch_done_fn)(perf_batch_item *item, perf_err err,
                                   void *ctx);

typedef struct perf_batcher_config {
    perf_batch_config queue;
    perf_batch_process_fn process; /* not NULL */
    perf_batch_done_fn done;       /* NULL: callers wait() */
    void *ctx;                     /* of both */
    uint64_t idle_ns;              /* default 10 s */
} perf_batcher_config;

PERF_API void perf_batcher_config_init(perf_batcher_config *config);

/** Errors: PERF_ERR_INVALID, PERF_ERR_RANGE, PERF_ERR_NOMEM.
 *  Ownership: the caller's; perf_batcher_destroy_blocking(). */
PERF_API perf_err perf_batcher_create(const perf_batcher_config *config,
                                      perf_batcher **out);

/** As perf_batch_queue_tenant_add(). Waits for the lock. */
PERF_API perf_err perf_batcher_tenant_add_blocking(perf_batcher *batcher,
                                                   double share, uint32_t *out);

/** Submit an item; waits for room only where on_full is BLOCK, and no longer
 *  than its times allow. After an error `done` is not called.
 *  Errors: those of perf_batch_queue_submit_at(), PERF_ERR_TIMEOUT,
 *  PERF_ERR_NOMEM, PERF_ERR_SYSTEM (no thread could be started; errno). */
PERF_API perf_err perf_batcher_submit_blocking(perf_batcher *batcher,
                                               perf_batch_item *item);

/** Submit several: one lock, and at most one wake for each free worker.
 *  @param count  how many; the first that fails ends it
 *  @param done   NULL, or receives how many were submitted */
PERF_API perf_err perf_batcher_submit_many_blocking(perf_batcher *batcher,
                                                    perf_batch_item **items,
                                                    size_t count, size_t *done);

/** Wait until an item has ended, with the error that `done` would get. Again:
 *  the same, at once.
 *  @param timeout_ns  UINT64_MAX: for ever.  Errors: PERF_ERR_TIMEOUT as well
 *  when that has passed: the item goes on. PERF_ERR_CLOSED: cancelled.
 *  PERF_ERR_INVALID: never submitted, or the batcher has a `done`.
 *  PERF_ERR_NOMEM: in `process`, for a batch of more than 64. */
PERF_API perf_err perf_batcher_wait_blocking(perf_batcher *batcher,
                                             perf_batch_item *item,
                                             uint64_t timeout_ns);

/** Nobody wants it any more. Returns true when `done` will not be called and
 *  the item is the caller's again; false: it is in a batch, which goes on, or
 *  it has ended. A submit() that still waits with it for room returns PERF_OK,
 *  as if it had been let in before. */
PERF_API bool perf_batcher_cancel_blocking(perf_batcher *batcher,
                                           perf_batch_item *item);

/** Close: what is queued is still processed, for up to `timeout_ns`; what is
 *  left gets PERF_ERR_CLOSED. 0: nothing more is begun. Waits until all items
 *  have ended, also those of batches that run. From within `process` or `done`:
 *  waits for nothing and returns PERF_OK. Again: harmless, and the earlier end
 *  counts.
 *  @param timeout_ns  UINT64_MAX: for ever
 *  Errors: PERF_ERR_TIMEOUT when something was left. */
PERF_API perf_err perf_batcher_close_blocking(perf_batcher *batcher,
                                              uint64_t timeout_ns);

/** Close without draining, and free. Threads that still wait in a function of
 *  this batcher return first. NULL is allowed. Not from `process` or `done`. */
PERF_API void perf_batcher_destroy_blocking(perf_batcher *batcher);

/** As perf_batch_queue_stats_now(), and what was learned. Waits for the lock.
 *  @param cost  NULL is allowed. */
PERF_API void perf_batcher_stats_blocking(perf_batcher *batcher,
                                          perf_batch_stats *out,
                                          perf_batch_cost_stats *cost);

PERF_END_DECLS
#endif
