/* exemplar.c - goes once over a reader's records and keeps the longest span of
 * each name and class. */
#include <libperf/exemplar.h>
#include <string.h>

enum { BATCH = 64 }; /* records at a time: 34 kB */

struct perf_exemplars {
    const perf_allocator *allocator;
    size_t classes; /* bounds + 1 */
    perf_exemplar *of[PERF_NAMES_MAX];
    perf_record batch[BATCH];
    uint64_t bounds[]; /* classes - 1 of them */
};

static size_t
bytes_of(size_t bounds)
{
    return sizeof(perf_exemplars) + bounds * sizeof(uint64_t);
}

perf_err
perf_exemplars_create(const perf_allocator *allocator,
                      const uint64_t *bounds_ns, size_t n, perf_exemplars **out)
{
    if (!out)
        return PERF_ERR_INVALID;
    *out = NULL;
    if (n && !bounds_ns)
        return PERF_ERR_INVALID;
    for (size_t i = 1; i < n; i++)
        if (bounds_ns[i] < bounds_ns[i - 1])
            return PERF_ERR_RANGE;
    if (!allocator)
        allocator = perf_allocator_libc();
    perf_exemplars *e = allocator->alloc(bytes_of(n), allocator->ctx);
    if (!e)
        return PERF_ERR_NOMEM;
    e->allocator = allocator;
    e->classes = n + 1;
    if (n)
        memcpy(e->bounds, bounds_ns, n * sizeof *bounds_ns);
    *out = e;
    return PERF_OK;
}

void
perf_exemplars_clear(perf_exemplars *e)
{
    for (uint32_t name = 0; e && name < PERF_NAMES_MAX; name++) {
        e->allocator->free(e->of[name], e->classes * sizeof *e->of[name],
                           e->allocator->ctx);
        e->of[name] = NULL;
    }
}

void
perf_exemplars_destroy(perf_exemplars *e)
{
    if (!e)
        return;
    perf_exemplars_clear(e);
    e->allocator->free(e, bytes_of(e->classes - 1), e->allocator->ctx);
}

/* ---- one record ---- */

/* The key under which a generator's span has its pauses; UINT32_MAX: none has
 * any. */
static uint32_t
find_pause_key(const perf_reader *reader)
{
    perf_kind kind;
    const char *text;
    for (uint32_t i = 0; (text = perf_reader_name(reader, i, &kind)); i++)
        if (kind == PERF_KIND_KEY && !strcmp(text, "paused_ns"))
            return i;
    return UINT32_MAX;
}

static uint64_t
duration_of(const perf_record *record, uint32_t pause_key)
{
    uint64_t ns = record->end_ns > record->start_ns
                      ? record->end_ns - record->start_ns
                      : 0;
    perf_attribute found;
    for (uint32_t i = 0; pause_key != UINT32_MAX && i < record->attributes;
         i++) {
        if (!perf_record_attribute(record, i, &found))
            break;
        if (found.key != pause_key || found.type != PERF_ATTRIBUTE_INT ||
            found.int_value <= 0)
            continue;
        uint64_t paused = (uint64_t)found.int_value;
        return paused < ns ? ns - paused : 0;
    }
    return ns;
}

static size_t
class_of(const perf_exemplars *e, uint64_t ns)
{
    size_t low = 0, high = e->classes - 1; /* the first bound that holds it */
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (ns <= e->bounds[middle])
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

/* False when there is no memory for a name. */
static bool
look_at(perf_exemplars *e, const perf_record *record, uint32_t pause_key)
{
    if (record->type != PERF_RECORD_SPAN || !record->id || !record->end_ns ||
        record->name >= PERF_NAMES_MAX)
        return true;
    perf_exemplar **of = &e->of[record->name];
    if (!*of)
        *of = e->allocator->alloc(e->classes * sizeof **of, e->allocator->ctx);
    if (!*of)
        return false;
    uint64_t ns = duration_of(record, pause_key);
    perf_exemplar *kept = *of + class_of(e, ns);
    if (!kept->id || ns >= kept->duration_ns) /* of two alike the newer */
        *kept = (perf_exemplar){ns, record->end_ns, record->id,
                                record->trace_hi, record->trace_lo};
    return true;
}

perf_err
perf_exemplars_take_blocking(perf_exemplars *e, perf_reader *reader,
                             uint64_t max_records)
{
    if (!e || !reader)
        return PERF_ERR_INVALID;
    uint32_t pause_key = find_pause_key(reader);
    perf_err err = PERF_OK;
    for (uint64_t seen = 0; seen < max_records;) {
        size_t n = perf_reader_records(reader, e->batch, BATCH);
        if (!n)
            break;
        for (size_t i = 0; i < n; i++)
            if (!look_at(e, &e->batch[i], pause_key))
                err = PERF_ERR_NOMEM;
        seen += n;
    }
    return err;
}

const perf_exemplar *
perf_exemplars_of(const perf_exemplars *e, uint32_t name)
{
    return e && name < PERF_NAMES_MAX ? e->of[name] : NULL;
}
