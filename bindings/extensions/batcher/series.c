/* series.c - counts, waits and services of a queue into the segment.
 */
#include "series.h"

#include <libperf/metric.h>

#include <string.h>

/* "batcher." NAME "." TEXT, cut in the middle so that the text stays. */
enum { NAME_MAX_BYTES = PERF_TEXT_MAX_BYTES - 32 };

typedef struct what {
    perf_kind kind;
    const char *text;
} what;

static const what of[SERIES_COUNT] = {
    [SERIES_ITEMS] = {PERF_KIND_COUNTER, "items"},
    [SERIES_WEIGHT] = {PERF_KIND_COUNTER, "weight"},
    [SERIES_BATCHES] = {PERF_KIND_COUNTER, "batches"},
    [SERIES_REJECTED] = {PERF_KIND_COUNTER, "rejected"},
    [SERIES_CANCELLED] = {PERF_KIND_COUNTER, "cancelled"},
    [SERIES_FAILED] = {PERF_KIND_COUNTER, "failed"},
    [SERIES_THROTTLED] = {PERF_KIND_COUNTER, "throttled"},
    [SERIES_WENT + PERF_BATCH_REASON_FULL] = {PERF_KIND_COUNTER, "went.full"},
    [SERIES_WENT + PERF_BATCH_REASON_IDLE] = {PERF_KIND_COUNTER, "went.idle"},
    [SERIES_WENT +
        PERF_BATCH_REASON_ENOUGH] = {PERF_KIND_COUNTER, "went.enough"},
    [SERIES_WENT + PERF_BATCH_REASON_WAIT] = {PERF_KIND_COUNTER, "went.wait"},
    [SERIES_WENT +
        PERF_BATCH_REASON_DEADLINE] = {PERF_KIND_COUNTER, "went.deadline"},
    [SERIES_WENT + PERF_BATCH_REASON_DRAIN] = {PERF_KIND_COUNTER, "went.drain"},
    [SERIES_WENT +
        PERF_BATCH_REASON_ISOLATED] = {PERF_KIND_COUNTER, "went.isolated"},
    [SERIES_WENT +
        PERF_BATCH_REASON_NESTED] = {PERF_KIND_COUNTER, "went.nested"},
    [SERIES_DROPPED +
        PERF_BATCH_DROP_EXPIRED] = {PERF_KIND_COUNTER, "dropped.expired"},
    [SERIES_DROPPED +
        PERF_BATCH_DROP_INFEASIBLE] = {PERF_KIND_COUNTER, "dropped.infeasible"},
    [SERIES_DROPPED +
        PERF_BATCH_DROP_SHED] = {PERF_KIND_COUNTER, "dropped.shed"},
    [SERIES_DROPPED +
        PERF_BATCH_DROP_CLOSED] = {PERF_KIND_COUNTER, "dropped.closed"},
    [SERIES_WAIT] = {PERF_KIND_TIMING, "wait"},
    [SERIES_SERVICE] = {PERF_KIND_TIMING, "service"},
    [SERIES_BASE] = {PERF_KIND_GAUGE, "base"},
    [SERIES_EACH] = {PERF_KIND_GAUGE, "each"},
};

void
batcher_series_init(batcher_series *s, const char *name, size_t length)
{
    memset(s, 0, sizeof *s);
    if (length > NAME_MAX_BYTES) {
        length = NAME_MAX_BYTES;
        while (length && ((unsigned char)name[length] & 0xC0) == 0x80)
            length--; /* not in the middle of a character */
    }
    memcpy(s->name, name, length);
    s->length = length;
}

/* The number of a series' name; 0 is no metric's. */
static uint32_t
number_of(batcher_series *s, int which)
{
    if (s->number[which] || !s->length || !of[which].text)
        return s->number[which];
    char text[PERF_TEXT_MAX_BYTES];
    size_t length = 0, more = strlen(of[which].text);
    memcpy(text, "batcher.", 8);
    memcpy(text + 8, s->name, s->length);
    length = 8 + s->length;
    text[length++] = '.';
    memcpy(text + length, of[which].text, more);
    return s->number[which] = perf_name(of[which].kind, text, length + more);
}

void
batcher_series_add(batcher_series *s, int which, uint64_t amount)
{
    uint32_t number = amount ? number_of(s, which) : 0;
    if (number)
        perf_metric_add(number, amount);
}

static void
record(batcher_series *s, int which, uint64_t from_ns, uint64_t to_ns)
{
    uint32_t number = number_of(s, which);
    if (number)
        perf_metric_record(number, to_ns > from_ns ? to_ns - from_ns : 0);
}

void
batcher_series_taken(batcher_series *s, const perf_batch *batch, bool weighed)
{
    if (!s->length)
        return;
    batcher_series_add(s, SERIES_ITEMS, batch->items);
    if (weighed)
        batcher_series_add(s, SERIES_WEIGHT, batch->weight);
    batcher_series_add(s, SERIES_BATCHES, 1);
    batcher_series_add(s, SERIES_WENT + (int)batch->reason, 1);
    for (const perf_batch_item *i = batch->first; i; i = i->next)
        record(s, SERIES_WAIT, i->submitted_ns, batch->taken_ns);
}

void
batcher_series_done(batcher_series *s, const perf_batch *batch,
                    perf_batch_outcome outcome, const perf_batch_cost *cost,
                    uint64_t now_ns)
{
    if (!s->length)
        return;
    if (outcome == PERF_BATCH_THROTTLED)
        batcher_series_add(s, SERIES_THROTTLED, 1);
    else
        record(s, SERIES_SERVICE, batch->taken_ns, now_ns);
    if (!cost)
        return;
    perf_batch_cost_stats known;
    perf_batch_cost_stats_now(cost, &known);
    if (!known.known)
        return;
    perf_metric_set(number_of(s, SERIES_BASE), known.base_ns / 1e9);
    perf_metric_set(number_of(s, SERIES_EACH), known.each_ns / 1e9);
}

void
batcher_series_dropped(batcher_series *s, const perf_batch_item *item)
{
    if (item->drop > PERF_BATCH_DROP_NONE &&
        item->drop <= PERF_BATCH_DROP_CLOSED)
        batcher_series_add(s, SERIES_DROPPED + (int)item->drop, 1);
}
