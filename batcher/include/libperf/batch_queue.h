/* batch_queue.h - items that wait to be processed together: which go into the
 * next batch, and when.
 *
 * Model:    submit_at() queues an item; take_at() hands out a batch when a slot
 *           is free and it is worth going; done_at() gives the slot back and
 *           tells how long it took. Between these the queue decides nothing
 *           that it could decide later: an item is in no batch until a slot is
 *           taken (late binding).
 *           An item's *key* is computed once, when it is submitted:
 *           min(deadline, submitted + aging[priority]), where a deadline moves
 *           it up at most to where the priority above it would stand. The
 *           smallest key goes first, equal ones in order of submission. So an
 *           item of priority k is overtaken only by items of priority j < k
 *           that come within aging[k] - aging[j] after it: nobody starves.
 *           Where there are tenants, the tenant that was served least comes
 *           first, then its smallest key (virtual token counter, Sheng et al.,
 *           OSDI 2024).
 *           A batch goes as soon as a slot is free, with what is there: batches
 *           form while slots are busy. It waits for more only where that pays
 *           (several slots, a price on calls, min_items), and never longer
 *           than max_wait_ns after its oldest item came.
 *           Before a batch is formed, items that could not be done in time in
 *           a batch of that size are dropped (early drop, as in Nexus, SOSP
 *           2019); a batch is never made smaller to save one of them.
 * Threads:  one at a time; callers lock. Nothing waits.
 * Units:    nanoseconds of any clock that does not go back (a time before the
 *           latest one counts as that); weights are the caller's (tokens,
 *           bytes).
 * Memory:   items are the caller's and are linked into the queue: they must
 *           not move, nor be freed before they are FINISHED or CANCELLED, or
 *           DROPPED and named by dropped_at(), and, had they been taken, their
 *           batch is done. All else is allocated in create() (0.2 MB, most of
 *           it histograms) and tenant_add(). */
#ifndef LIBPERF_BATCH_QUEUE_H
#define LIBPERF_BATCH_QUEUE_H
#include <libperf/allocator.h>
#include <libperf/batch_cost.h>

PERF_BEGIN_DECLS

typedef struct perf_batch_queue perf_batch_queue;

/** Smaller goes first. Append-only. */
typedef enum perf_priority {
    PERF_PRIORITY_CRITICAL = 0,
    PERF_PRIORITY_HIGH = 1,
    PERF_PRIORITY_NORMAL = 2,
    PERF_PRIORITY_LOW = 3,
} perf_priority;
enum { PERF_PRIORITIES = 4 };

typedef enum perf_batch_order {
    PERF_BATCH_ORDER_DEADLINE = 0, /* by key */
    PERF_BATCH_ORDER_STRICT = 1,   /* by priority, then by key: may starve */
} perf_batch_order;

/** What happens to an item that comes when the queue is full. */
typedef enum perf_batch_full {
    PERF_BATCH_FULL_BLOCK = 0,       /* it waits outside, first come first in */
    PERF_BATCH_FULL_REJECT = 1,      /* submit_at() returns PERF_ERR_FULL */
    PERF_BATCH_FULL_SHED_OLDEST = 2, /* whoever waits longest is dropped */
    PERF_BATCH_FULL_SHED_LOWEST = 3, /* the largest key, perhaps itself */
    PERF_BATCH_FULL_SHED_INFEASIBLE = 4, /* who cannot be in time; else FULL */
} perf_batch_full;

/** What becomes of the items of a batch that failed. */
typedef enum perf_batch_isolation {
    PERF_BATCH_ISOLATE_FAIL_ALL = 0, /* all of them fail */
    PERF_BATCH_ISOLATE_BISECT = 1,   /* halves are tried again, and so on */
    PERF_BATCH_ISOLATE_SINGLES = 2,  /* each is tried again alone */
} perf_batch_isolation;

typedef struct perf_batch_config {
    uint32_t min_items;   /* 1 to max_items; default 1 */
    uint32_t max_items;   /* 1 to 65,536; default 10 */
    uint64_t max_weight;  /* of a batch; 0 (default): no such bound */
    bool reject_oversize; /* an item above max_weight: PERF_ERR_RANGE; default
                             false: it goes alone */
    uint64_t max_wait_ns; /* from the oldest item's submission; default 0.1 s */
    uint32_t concurrency; /* batches at a time, 1 to 1,024; default 1; 0: found
                             out, from 1 to max_concurrency */
    uint32_t max_concurrency;   /* default 16 */
    uint32_t max_queued;        /* items; default 10,000 */
    uint64_t max_queued_weight; /* 0 (default): no such bound */
    perf_batch_full on_full;
    perf_batch_order order;
    perf_batch_isolation isolation;
    uint64_t target_latency_ns; /* p95 of wait + service; 0 (default): none */
    uint64_t call_price_ns;     /* how much waiting of one item one call less is
                                   worth; 0 (default): calls cost nothing */
    uint64_t aging_ns[4]; /* by priority, ascending; default 0, 0.1, 1, 10 s */
    const perf_allocator *allocator; /* NULL: libc */
} perf_batch_config;

typedef enum perf_batch_state {
    PERF_BATCH_NEW = 0,     /* not submitted */
    PERF_BATCH_BLOCKED = 1, /* waits outside a full queue */
    PERF_BATCH_QUEUED = 2,
    PERF_BATCH_ISOLATED = 3,  /* its batch failed; waits to be tried again */
    PERF_BATCH_RUNNING = 4,   /* in a batch */
    PERF_BATCH_FINISHED = 5,  /* its batch is done */
    PERF_BATCH_CANCELLED = 6, /* cancel_at(); if taken, its place in the batch
                                 stays until that is done */
    PERF_BATCH_DROPPED = 7,   /* `drop` says why; the same about its place */
} perf_batch_state;

typedef enum perf_batch_drop {
    PERF_BATCH_DROP_NONE = 0,
    PERF_BATCH_DROP_EXPIRED = 1,    /* deadline_ns or start_by_ns has passed */
    PERF_BATCH_DROP_INFEASIBLE = 2, /* could not have been in time */
    PERF_BATCH_DROP_SHED = 3,       /* the queue was full */
    PERF_BATCH_DROP_CLOSED = 4,     /* discard() */
} perf_batch_drop;

/** One item. Zero it, fill in the first part, submit. */
typedef struct perf_batch_item {
    uint64_t deadline_ns; /* the result is wanted by then; 0: whenever */
    uint64_t start_by_ns; /* it must be in a batch by then, one that is not
                             THROTTLED; 0: whenever */
    uint64_t weight;      /* 0 counts for max_items alone */
    uint32_t tenant;      /* tenant_add(); 0: everybody's */
    uint8_t priority;     /* perf_priority */
    bool nested;          /* submitted out of a batch of this queue that waits
                             for it: goes at once, needs no slot */
    bool gives_up;        /* may be set while it runs: should its batch be
                             THROTTLED, it has failed and does not go back */

    uint8_t state;         /* perf_batch_state */
    uint8_t drop;          /* perf_batch_drop */
    uint32_t attempts;     /* batches it was in so far */
    uint32_t place;        /* private */
    uint32_t driver;       /* of whoever drives the queue: perf_batcher's own */
    uint64_t submitted_ns; /* when */
    uint64_t taken_ns;     /* when it was last put into a batch */

    /* the queue's own */
    struct perf_batch_item *next; /* of a batch: the next item, NULL: last */
    struct perf_batch_item *previous;
    struct perf_batch_item *links[9];
    uint64_t numbers[4];
} perf_batch_item;

/** Why a batch went. Append-only. */
typedef enum perf_batch_reason {
    PERF_BATCH_REASON_FULL = 0,     /* max_items or max_weight */
    PERF_BATCH_REASON_IDLE = 1,     /* a slot was free: nothing to wait for */
    PERF_BATCH_REASON_ENOUGH = 2,   /* as many as are worth waiting for */
    PERF_BATCH_REASON_WAIT = 3,     /* waited long enough, or max_wait_ns */
    PERF_BATCH_REASON_DEADLINE = 4, /* a deadline left no more time */
    PERF_BATCH_REASON_DRAIN = 5,    /* the queue is closed */
    PERF_BATCH_REASON_ISOLATED = 6, /* tried again, after a failure */
    PERF_BATCH_REASON_NESTED = 7,   /* needed by a batch that runs */
} perf_batch_reason;
enum { PERF_BATCH_REASONS = 8 };

/** A batch that was taken. */
typedef struct perf_batch {
    perf_batch_item *first; /* in the order of their turns, by `next` */
    uint32_t items;
    uint32_t slot;   /* private */
    uint64_t weight; /* of all items */
    uint64_t id;     /* 1, 2, ... */
    uint64_t taken_ns;
    perf_batch_reason reason;
    /* For T(n), where equal items were merged: what the function was given.
     * Set by the caller before done_at(); 0: all items, all weight. */
    uint32_t distinct;
    uint64_t distinct_weight;
} perf_batch;

/** How a batch ended. Append-only. */
typedef enum perf_batch_outcome {
    PERF_BATCH_OK = 0,        /* its time teaches the cost model */
    PERF_BATCH_FAILED = 1,    /* the whole batch */
    PERF_BATCH_THROTTLED = 2, /* refused (HTTP 429): it has not been done */
    PERF_BATCH_LOST = 3,      /* FAILED, and nothing of it is tried again */
} perf_batch_outcome;

/** Defaults into `config`, which is as long as this version's. */
PERF_API void perf_batch_config_init(perf_batch_config *config);

/** What is wrong with a configuration: constant text that names the field and
 *  its range; NULL: nothing.  Threads: safe. */
PERF_API const char *perf_batch_config_check(const perf_batch_config *config);

/** @param config  NULL: the defaults.
 *  Errors: PERF_ERR_INVALID, PERF_ERR_RANGE, PERF_ERR_NOMEM.
 *  Ownership: the caller's; perf_batch_queue_destroy(). */
PERF_API perf_err perf_batch_queue_create(const perf_batch_config *config,
                                          perf_batch_queue **out);

/** Items that are still in it are forgotten, not touched. NULL is allowed. */
PERF_API void perf_batch_queue_destroy(perf_batch_queue *queue);

/** A tenant with a share of its own. The number of an idle tenant is not
 *  given out again.
 *  @param share  above 0, finite: twice the share, twice the service
 *  @param out    its number, from 1 on
 *  Errors: PERF_ERR_INVALID, PERF_ERR_RANGE, PERF_ERR_FULL (2^20 tenants),
 *  PERF_ERR_NOMEM. */
PERF_API perf_err perf_batch_queue_tenant_add(perf_batch_queue *queue,
                                              double share, uint32_t *out);

/** Queue an item, or let it wait outside (state BLOCKED).
 *  Errors: PERF_ERR_INVALID (a priority or tenant that does not exist, an item
 *  that is in a queue or a batch), PERF_ERR_RANGE (heavier than max_weight,
 *  where that is rejected, or than can be counted), PERF_ERR_FULL,
 *  PERF_ERR_CLOSED. The item is as it was.
 *  A nested one finds room in a full queue, too: who waits for it cannot go on.
 *  Others may be dropped by it: look at dropped_at().
 *  Cost: O(1) while keys of one priority come in ascending order, else
 *  O(log n). */
PERF_API perf_err perf_batch_queue_submit_at(perf_batch_queue *queue,
                                             perf_batch_item *item,
                                             uint64_t now_ns);

/** Nobody wants this item any more. Its memory is the caller's again at once
 *  unless it is in a batch.
 *  Returns false, and nothing happens, when it is not in the queue or has been
 *  dropped. */
PERF_API bool perf_batch_queue_cancel_at(perf_batch_queue *queue,
                                         perf_batch_item *item,
                                         uint64_t now_ns);

/** Take the next batch, if it is time.
 *  @param out  not NULL; untouched when there is none
 *  Call it until it returns false, then again at wake_at() and after every
 *  submit_at() and done_at(). */
PERF_API bool perf_batch_queue_take_at(perf_batch_queue *queue, perf_batch *out,
                                       uint64_t now_ns);

/** Add the next items to a batch that has not begun: places that turned out to
 *  be free, because equal items were merged.
 *  @param items, weight  at most so many more, so much more
 *  Returns how many were added, at the end of the list. */
PERF_API uint32_t perf_batch_queue_fill_at(perf_batch_queue *queue,
                                           perf_batch *batch, uint32_t items,
                                           uint64_t weight, uint64_t now_ns);

/** A batch is done. Its items are FINISHED, or stay CANCELLED or DROPPED. Of
 *  those that go back, `next` is the queue's again.
 *  FAILED: where the isolation asks for it, those of several items are ISOLATED
 *  instead and come back in later batches, one of these at a time.
 *  LOST: never; for what no second call would make better, or may be made for.
 *  THROTTLED: they go back to where they were in the queue, but for those that
 *  give up; the rate of calls falls (CUBIC, RFC 9438, beta 0.7).
 *  @param retry_after_ns  nothing is taken until so long from now; 0: go on */
PERF_API void perf_batch_queue_done_at(perf_batch_queue *queue,
                                       const perf_batch *batch,
                                       perf_batch_outcome outcome,
                                       uint64_t retry_after_ns,
                                       uint64_t now_ns);

/** The next item that the queue has given up, NULL: no more. Its state is
 *  DROPPED; tell whoever waits for it. Running ones are among them: their
 *  deadline has passed, their batch goes on. */
PERF_API perf_batch_item *perf_batch_queue_dropped_at(perf_batch_queue *queue,
                                                      uint64_t now_ns);

/** When take_at() or dropped_at() should be called again if nothing else
 *  happens: at once, if that is not after `now_ns`; UINT64_MAX: never.
 *  Cost: O(1). */
PERF_API uint64_t perf_batch_queue_wake_at(perf_batch_queue *queue,
                                           uint64_t now_ns);

/** Take nothing in any more; what is there goes without waiting for more. */
PERF_API void perf_batch_queue_close(perf_batch_queue *queue);

/** Drop all that is not in a batch: dropped_at() names them. After close()
 *  nothing goes back either: what fails has failed, what is refused is dropped.
 */
PERF_API void perf_batch_queue_discard(perf_batch_queue *queue);

/** For the child of a fork: forget items, batches and slots; what was learned
 *  and counted stays, and so do a pause and a rate that refusals have left: the
 *  service is the same. */
PERF_API void perf_batch_queue_forget(perf_batch_queue *queue);

/** How long until a queue as full as this one has room again, in ns, by the
 *  cost model; 0: not known. What to tell who was rejected. */
PERF_API uint64_t perf_batch_queue_retry_after(const perf_batch_queue *queue);

typedef struct perf_batch_stats {
    /* items */
    uint64_t submitted; /* = blocked + queued + running + finished + cancelled +
                           expired + infeasible + shed + closed */
    uint64_t blocked;   /* now */
    uint64_t queued;    /* now, ISOLATED ones too */
    uint64_t running;   /* now */
    uint64_t finished;  /* however their batch ended: `failed` is among them */
    uint64_t failed;    /* FAILED or LOST for good, or gave up */
    uint64_t cancelled;
    uint64_t expired, infeasible, shed, closed; /* dropped, by reason */
    uint64_t rejected; /* PERF_ERR_FULL: not among `submitted` */
    uint64_t queued_weight;
    uint64_t queued_by_priority[4];

    /* batches */
    uint64_t batches; /* taken */
    uint64_t reasons[8];
    uint64_t batches_done; /* of these, but for THROTTLED ones */
    uint64_t batches_failed, batches_throttled, batches_isolated;
    uint64_t items_taken;
    uint64_t weight_taken;

    /* Of items. wait: from submission, or from when it went back, until taken;
     * service: from then until its batch is done, or it is cancelled or
     * dropped; total: of FINISHED ones, from submission on. The sums are in
     * item-ns, of all items: by Little's law wait_ns + service_ns is what the
     * number of items in it comes to over time. */
    uint64_t wait_ns, service_ns;
    uint64_t wait_p50_ns, wait_p95_ns, wait_p99_ns, wait_max_ns;
    uint64_t total_p50_ns, total_p95_ns, total_p99_ns;

    /* Of batches that are done: from when it was taken until then, each
     * counted once, however many items it has. */
    uint64_t batch_ns; /* sum */
    uint64_t batch_p50_ns, batch_p95_ns, batch_p99_ns, batch_max_ns;

    /* what was learned */
    double arrivals_per_s;
    uint32_t concurrency;     /* slots now */
    uint32_t min_items;       /* worth waiting for, now */
    uint32_t max_items;       /* at most, now */
    double calls_per_s;       /* the rate that throttling left; 0: no bound */
    uint64_t paused_until_ns; /* Retry-After; 0: not paused */
    bool target_missed; /* p95 of wait + service of about the last 500 items is
                           above target_latency_ns, for as many by now */
} perf_batch_stats;

/** Cost: quantiles are computed here, some ten microseconds. */
PERF_API void perf_batch_queue_stats_now(const perf_batch_queue *queue,
                                         perf_batch_stats *out);

/** What it has learned of T(n). Borrowed; lives as long as the queue. */
PERF_API perf_batch_cost *perf_batch_queue_cost(perf_batch_queue *queue);

PERF_END_DECLS
#endif
