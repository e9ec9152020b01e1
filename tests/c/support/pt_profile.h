/* pt_profile.h - what the profiler made of a stream of events, to be looked at
 * and shown as text. */
#ifndef PT_PROFILE_H
#define PT_PROFILE_H
#include "pt_events.h"
#include "replay.h"

#include <libperf/analysis.h>

typedef struct pt_profile {
    perf_reader *reader;
    perfi_region region;
    perfi_timeline line;
    perfi_model model;
    perfi_replay *replay;
} pt_profile;

/** As far as the timeline, or as far as the model. Free it. */
void pt_profile_timeline(pt_profile *p);
void pt_profile_model(pt_profile *p);
void pt_profile_free(pt_profile *p);

const perfi_actor *pt_actor(const pt_profile *p, uint64_t id);
const perfi_span *pt_span(const pt_profile *p, uint64_t id);
const perfi_label *pt_label(const pt_profile *p, const char *name);

/** An actor's operations as text: "run:1@A timer:3@B wait", in milliseconds and
 *  with labels; operations that are none are left out. Lives until the next
 *  call. */
const char *pt_ops(const pt_profile *p, uint64_t id);
const char *pt_ops_in(const pt_profile *p, perfi_range ops);

/** The n-th of them, from 0. */
const perfi_op *pt_nth_op(const pt_profile *p, uint64_t id, size_t n);

/** The moments of an actor: "THREAD@0 RUN@1.5". */
const char *pt_moments(const pt_profile *p, uint64_t id);

/** The same for one session; 0: all. */
void pt_profile_session(pt_profile *p, uint64_t session);

/** The public analysis of everything written so far. */
perf_analysis *pt_analyse(perf_reader **reader);
#endif
