/* play.h - a trace played against a policy, or against one that knows what
 * will be asked for. */
#ifndef PERF_HIT_RATIO_PLAY_H
#define PERF_HIT_RATIO_PLAY_H
#include "trace.h"

#include <libperf/policy.h>

typedef struct outcome {
    double hits, byte_hits; /* shares of all requests, of all bytes */
    double ns;              /* a request took, all in all */
} outcome;

/** Through the library's own policies. Every key is looked up; what is not
 *  there is inserted.  @param max_bytes  0: entries count, not bytes.
 *  @return  false: no memory. */
bool play(const trace *t, perf_policy_kind kind, uint32_t max_entries,
          uint64_t max_bytes, outcome *out);

/** Belady's (1966): what is asked for again last goes first.
 *  @param next  trace_next_use() */
bool play_opt(const trace *t, const uint32_t *next, uint32_t max_entries,
              double *hits);

#endif
