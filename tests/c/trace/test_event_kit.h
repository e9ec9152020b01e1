/* test_event_kit.h - what tests of events share: reading them all, and events
 * whose fields follow from a number. */
#ifndef TEST_EVENT_KIT_H
#define TEST_EVENT_KIT_H
#include "pt.h"

#include <libperf/event.h>
#include <stdlib.h>

static const perf_span none;

/* Without readings of memory: they come when it is time for one. */
static inline size_t
without_memory(perf_event *event, size_t n)
{
    size_t left = 0;
    for (size_t i = 0; i < n; i++)
        if (event[i].code != PERF_EVENT_MEMORY)
            event[left++] = event[i];
    return left;
}

/* All events that are left, to be freed; taken `step` at a time. */
static inline perf_event *
events_of(perf_reader *reader, size_t step, size_t *count)
{
    size_t room = step, n = 0;
    perf_event *list = malloc(room * sizeof *list);
    for (size_t got; (got = perf_reader_events(reader, list + n, step));) {
        ck_assert_uint_le(got, step);
        n += without_memory(list + n, got);
        if (room - n < step) {
            room = room * 2 + step;
            list = realloc(list, room * sizeof *list);
        }
    }
    *count = n;
    return list;
}

/* All there are in this process now. */
static inline perf_event *
own_events(size_t *count)
{
    perf_reader *reader = pt_self();
    perf_event *list = events_of(reader, 100, count);
    ck_assert_uint_eq(perf_reader_events_lost(reader), 0);
    perf_reader_close(reader);
    return list;
}

static inline void
write_numbered(uint64_t i)
{
    perf_event_write((perf_event_code)(1 + i % PERF_EVENT_IMPORTED),
                     (uint32_t)i, i * 3, i * 5, i * 7);
}

static inline void
expect_numbered(const perf_event *e, uint64_t i)
{
    PT_ASSERT(e->code == 1 + i % PERF_EVENT_IMPORTED);
    PT_ASSERT(e->arg == (uint32_t)i);
    PT_ASSERT(e->span == i * 3 && e->key == i * 5 && e->more == i * 7);
}
#endif
