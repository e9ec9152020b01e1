/* queue.h - the queue's parts, one a file: who may enter (submit.c), whose turn
 * it is (tenants.c), when and with whom a batch goes (take.c), what becomes of
 * it (done.c), who is tried again (isolate.c), who is given up (drops.c).
 *
 * Where an item is, by its state:
 *   BLOCKED   in `room`
 *   QUEUED    in a lane of its tenant and in `arrivals`; a nested one in
 *             `nested` instead
 *   ISOLATED  in a group, whose first item is in `groups`
 *   RUNNING   in a batch that the caller holds
 * and, when it has a time, in one of `times` as well. */
#ifndef PERFI_BATCH_QUEUE_H
#define PERFI_BATCH_QUEUE_H
#include "control.h"
#include "sorted.h"
#include <libperf/histogram.h>

enum {
    PERFI_TENANTS = (1 << 20) - 1, /* with number 0 */
    PERFI_TENANT_CHUNKS = 20,      /* each twice as large as the one before */
    PERFI_NOT_ACTIVE = UINT32_MAX,
};

/* perf_batch.slot */
enum {
    PERFI_SLOT_NONE = 1,  /* nested: it holds no slot */
    PERFI_SLOT_GROUP = 2, /* tried again */
};

typedef struct perfi_tenant {
    perfi_sorted lanes[PERF_PRIORITIES];
    uint32_t used;     /* a bit for each lane that is not empty */
    uint32_t position; /* in `active` */
    uint32_t number;
    double served;  /* items, or weight, over its share */
    double a_share; /* 1 / share */
} perfi_tenant;

/* On their way into a histogram: many at once cost less. */
typedef struct perfi_values {
    perf_histogram *histogram;
    uint32_t count;
    uint64_t value[64];
} perfi_values;

static inline void
perfi_values_flush(perfi_values *v)
{
    perf_histogram_record_many(v->histogram, v->value, v->count);
    v->count = 0;
}

static inline void
perfi_values_add(perfi_values *v, uint64_t value)
{
    v->value[v->count++] = value;
    if (v->count == sizeof v->value / sizeof *v->value)
        perfi_values_flush(v);
}

struct perf_batch_queue {
    perf_batch_config config;
    const perf_allocator *allocator;
    perfi_batch_control *control;
    uint64_t now_ns; /* the latest time it was told */
    uint64_t sequence;
    uint64_t last_batch, forgotten; /* ids */
    bool closed, discarded;

    /* tenants.c */
    perfi_tenant *chunks[PERFI_TENANT_CHUNKS];
    uint32_t tenants;      /* 0 is always there, and not counted */
    perfi_tenant **active; /* who has items waiting: a heap by `served` */
    uint32_t active_count, active_room;
    double floor; /* what had been served to who was the last to wait */

    /* what waits, oldest first, but for nested and isolated items */
    perfi_list arrivals;
    uint32_t waiting;
    uint64_t waiting_weight;
    uint64_t latest_ns; /* when the latest one came */

    perfi_list nested;
    perfi_list groups[2]; /* of one batch each; [1]: nested ones */
    bool isolating;       /* a group runs that holds a slot */
    bool group_was_last;  /* while others waited as well */

    /* submit.c */
    perfi_list room;
    bool full; /* somebody had to wait outside; until it is 80 % full */
    uint32_t low;
    uint64_t low_weight;
    uint64_t weight_in; /* of all items that are in it, in batches too */

    /* drops.c */
    perfi_sorted times[2];                   /* of what waits, of what runs */
    perfi_sorted worst;                      /* SHED_LOWEST: of `arrivals` */
    perf_batch_item *dropped, *last_dropped; /* by links[1] */

    uint32_t slots_used, batches_out;
    perf_batch_stats stats;     /* the numbers of items and batches, the sums */
    perfi_values waits, totals; /* of items; flushed before returning */
    perf_histogram *batch_times;
};

enum { PERFI_TIMES_WAITING = 0, PERFI_TIMES_RUNNING = 1 };

static inline uint64_t
perfi_add(uint64_t a, uint64_t b)
{
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

/* The latest time that it was told: a clock that goes back stands still. */
static inline uint64_t
perfi_queue_clock(perf_batch_queue *q, uint64_t now_ns)
{
    if (now_ns > q->now_ns)
        q->now_ns = now_ns;
    return q->now_ns;
}

/* ---- tenants.c ---- */

perf_err perfi_tenants_init(perf_batch_queue *q);
void perfi_tenants_free(perf_batch_queue *q);
void perfi_tenants_forget(perf_batch_queue *q);

static inline uint32_t
perfi_tenant_chunk(uint32_t number) /* 0; 1, 2; 3 to 6; 7 to 14; … */
{
    return 31u - (uint32_t)__builtin_clz(number + 1);
}

static inline perfi_tenant *
perfi_tenant_of(const perf_batch_queue *q, uint32_t number)
{
    if (!number)
        return q->chunks[0];
    uint32_t chunk = perfi_tenant_chunk(number);
    return &q->chunks[chunk][number + 1 - (1u << chunk)];
}

/* Whose turn it is; NULL: nobody waits. */
perf_batch_item *perfi_tenants_first(const perf_batch_queue *q);
void perfi_tenants_put(perf_batch_queue *q, perf_batch_item *item);
void perfi_tenants_remove(perf_batch_queue *q, perf_batch_item *item);

/* It has been served (`sign` 1), or not after all (-1). */
void perfi_tenants_charge(perf_batch_queue *q, const perf_batch_item *item,
                          double sign);

/* ---- submit.c ---- */

/* QUEUED: into the lanes, or to the nested ones; its key, sequence and times
 * are set, and it is counted. */
void perfi_queue_enter(perf_batch_queue *q, perf_batch_item *item);

/* Out of wherever it waits, and out of the counts; its state is as it was. */
void perfi_queue_leave(perf_batch_queue *q, perf_batch_item *item);

/* Out of those that run, and out of the counts; it stays in its batch. */
void perfi_queue_stop(perf_batch_queue *q, perf_batch_item *item);

/* Let in who waits outside, where there is room again. */
void perfi_queue_admit(perf_batch_queue *q);

static inline void
perfi_queue_count(perf_batch_queue *q, const perf_batch_item *item)
{
    q->stats.queued++;
    q->stats.queued_by_priority[item->priority]++;
    q->stats.queued_weight += item->weight;
}

static inline void
perfi_queue_uncount(perf_batch_queue *q, const perf_batch_item *item)
{
    q->stats.queued--;
    q->stats.queued_by_priority[item->priority]--;
    q->stats.queued_weight -= item->weight;
}

/* ---- drops.c ---- */

void perfi_times_add(perf_batch_queue *q, perf_batch_item *item, int which);

/* Watch its time, if it has one. @param which  PERFI_TIMES_… */
static inline void
perfi_times_put(perf_batch_queue *q, perf_batch_item *item, int which)
{
    if (item->deadline_ns | item->start_by_ns)
        perfi_times_add(q, item, which);
}

static inline void
perfi_times_remove(perf_batch_queue *q, perf_batch_item *item, int which)
{
    uint32_t timed = (PERFI_IN_LIST | PERFI_IN_HEAP) << PERFI_BY_TIME;
    if (item->place & timed)
        perfi_sorted_remove(&q->times[which], item, PERFI_BY_TIME);
}

/* When the next item is to be given up; UINT64_MAX: never. */
uint64_t perfi_times_next(const perf_batch_queue *q);

/* Give up on one that waits or runs. */
void perfi_queue_drop(perf_batch_queue *q, perf_batch_item *item,
                      perf_batch_drop why);

void perfi_queue_expire_timed(perf_batch_queue *q);

/* Give up on all whose time is over. */
static inline void
perfi_queue_expire(perf_batch_queue *q)
{
    if (!perfi_sorted_empty(&q->times[PERFI_TIMES_WAITING]) ||
        !perfi_sorted_empty(&q->times[PERFI_TIMES_RUNNING]))
        perfi_queue_expire_timed(q);
}

/* Who waits and could not be in time in a batch of `bound_ns`; NULL: nobody. */
perf_batch_item *perfi_queue_late(const perf_batch_queue *q, uint64_t bound_ns);

/* ---- isolate.c ---- */

/* The items of a batch that failed, `live` of them, linked by `next`, are to be
 * tried again: as groups behind all others. */
void perfi_groups_split(perf_batch_queue *q, perf_batch_item *first,
                        uint32_t live);
/* As one group, in front: it was not done. */
void perfi_groups_return(perf_batch_queue *q, perf_batch_item *first);
void perfi_groups_leave(perf_batch_queue *q, perf_batch_item *item);
/* The next group, taken out: linked by `next`. There is one. */
perf_batch_item *perfi_groups_take(perf_batch_queue *q, bool nested);

/* ---- take.c ---- */

/* What a batch of so many takes at most, about: those of `batch`, or NULL, and
 * some of those that wait. 0: not known. */
uint64_t perfi_queue_bound(const perf_batch_queue *q, const perf_batch *batch,
                           uint32_t items);

/* ---- check.c ---- */

/* NULL: everything is as it should be, else what is not. For tests. */
const char *perfi_batch_queue_check(const perf_batch_queue *q);

#endif
