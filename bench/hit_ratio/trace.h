/* trace.h - who asked for what, in order: real traces, read from files. */
#ifndef PERF_HIT_RATIO_TRACE_H
#define PERF_HIT_RATIO_TRACE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct trace {
    char name[64];
    uint32_t *key;  /* of each request; made dense: 0..unique-1 */
    uint64_t *hash; /* of each key, as the file has it: what policies see */
    uint32_t *size; /* of each key, in bytes; NULL: the trace has none */
    size_t requests;
    uint32_t unique;
} trace;

/** Read `<folder>/<name>.u32.zst`: little-endian numbers, compressed by zstd;
 *  the sizes in `<name>.size.u32.zst` beside it, when there is one, are those
 *  of the requests.  @return  NULL, or what is wrong with it. */
const char *trace_read(trace *t, const char *folder, const char *name);

void trace_free(trace *t);

/** When each request's key is asked for again; UINT32_MAX: never. To be freed.
 *  NULL: no memory. */
uint32_t *trace_next_use(const trace *t);

#endif
