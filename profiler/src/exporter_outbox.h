/* exporter_outbox.h - what waits to be sent: a lane for each signal, what fails
 * and when it is tried again, what goes when there is no more room. No I/O:
 * time is passed in. */
#ifndef PERFI_EXPORTER_OUTBOX_H
#define PERFI_EXPORTER_OUTBOX_H
#include "exporter_answer.h"

#include <libperf/exporter.h>

/** A request body that waits. */
typedef struct perfi_parcel {
    struct perfi_parcel *next;
    uint64_t number; /* of all parcels: the smallest is the oldest */
    uint64_t items;
    uint64_t set; /* of metrics: those of one reading */
    bool under_way;
    size_t size;
    uint8_t bytes[];
} perfi_parcel;

typedef struct perfi_lane {
    perfi_parcel *first, **last;
    uint64_t due_ns;   /* nothing is sent before */
    uint64_t asked_ns; /* the receiver asked to wait until then */
    uint32_t failures; /* in a row */
    perf_exporter_lane stats;
} perfi_lane;

typedef struct perfi_outbox {
    const perf_allocator *allocator;
    uint64_t max_bytes, backoff_min_ns, backoff_max_ns;
    uint64_t random; /* state of chance */
    uint64_t bytes, most_bytes, parcels;
    bool last_try; /* nothing is tried twice any more */
    perfi_lane lane[PERF_OTLP_SIGNALS];
} perfi_outbox;

void perfi_outbox_init(perfi_outbox *q, const perf_exporter_config *config,
                       uint64_t seed);
void perfi_outbox_free(perfi_outbox *q);

/** How many bytes a body may have without anything being dropped for it. */
size_t perfi_outbox_room(const perfi_outbox *q);

/** Add a body (copied). The oldest that is not under way goes until there is
 *  room; a body that finds none is dropped itself.
 *  @param set  of metrics: those of older sets that are not under way go */
void perfi_outbox_add(perfi_outbox *q, perf_otlp_signal signal,
                      const void *bytes, size_t size, uint64_t items,
                      uint64_t set);

/** The body that is to be sent now on this lane: it is under way until
 *  perfi_outbox_answer_at(). NULL: none. */
perfi_parcel *perfi_outbox_take_at(perfi_outbox *q, perf_otlp_signal signal,
                                   uint64_t now_ns);

/** What came of it. */
void perfi_outbox_answer_at(perfi_outbox *q, perf_otlp_signal signal,
                            const perfi_judgement *j, uint64_t now_ns);

/** When the next body may be sent; UINT64_MAX: nothing waits. Lanes that have
 *  one under way do not count. */
uint64_t perfi_outbox_due_ns(const perfi_outbox *q);

/** Everything that is older than parcel `number` is sent or dropped. */
bool perfi_outbox_is_done(const perfi_outbox *q, uint64_t number);

/** Drop what is not under way; of one lane, or all. */
void perfi_outbox_drop_lane(perfi_outbox *q, perf_otlp_signal signal);

/** From now on each body has one try. Lanes whose receiver has asked for time
 *  are dropped; others may try at once. */
void perfi_outbox_last_try_at(perfi_outbox *q, uint64_t now_ns);

#endif
