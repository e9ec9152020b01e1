/* event.h - events as spans write them. */
#ifndef PERFI_EVENT_H
#define PERFI_EVENT_H
#include "../segment/thread.h"

#include <libperf/event.h>

/** Write an event into the ring of a thread that has a block. */
void perfi_event_write(perfi_thread *t, perf_event_code code, uint32_t arg,
                       uint64_t span, uint64_t key, uint64_t more);

/** What perf_events_set_time() says it is, in ticks; else `ticks`. */
uint64_t perfi_event_ticks(uint64_t ticks);
#endif
