/* fuzz_cache.c - proves that no sequence of operations, with memory that fails
 * at any moment, makes the memory cache give a value that was not the last one
 * set, hold more than it may, or lose count. */
#include "expect.h"

#include <libperf/cache.h>
#include <string.h>

enum { KEYS = 256, LONGEST = 9000, MOST_BYTES = 1 << 17 };

typedef struct input {
    const uint8_t *at, *end;
} input;

static uint8_t
next_byte(input *in)
{
    return in->at < in->end ? *in->at++ : 0;
}

static uint32_t
next_short(input *in)
{
    uint32_t high = next_byte(in);
    return high << 8 | next_byte(in);
}

/* ---- memory ---- */

static uint64_t live_bytes, fail_every, calls;

static void *
take(size_t size, void *ctx)
{
    (void)ctx;
    if (fail_every && ++calls % fail_every == 0)
        return NULL;
    live_bytes += size;
    return calloc(1, size ? size : 1);
}

static void
give(void *memory, size_t size, void *ctx)
{
    (void)ctx;
    if (memory)
        live_bytes -= size;
    free(memory);
}

static const perf_allocator allocator = {take, give, NULL};

/* ---- what must be found ---- */

typedef struct entry {
    bool set;
    uint8_t value; /* each of its bytes */
    size_t size;
    uint64_t fresh_ns, expires_ns, mark;
} entry;

typedef struct state {
    perf_cache *cache;
    entry entry[KEYS];
    uint64_t now_ns;
    input in;
} state;

/* Keys of all lengths, the empty one among them. */
static size_t
key_of(uint8_t i, uint8_t key[KEYS])
{
    memset(key, i, i);
    return i;
}

static void
set(state *s)
{
    static uint8_t value[LONGEST], key[KEYS];
    uint8_t i = next_byte(&s->in), has = next_byte(&s->in);
    entry e = {.set = true,
               .value = next_byte(&s->in),
               .size = next_short(&s->in) % LONGEST,
               .fresh_ns = UINT64_MAX,
               .expires_ns = UINT64_MAX};
    if (has & 16)
        e.size %= 64;
    perf_cache_about about = {0};
    if (has & 1)
        about.expires_ns = e.expires_ns =
            s->now_ns + ((uint64_t)next_byte(&s->in) << (has >> 5));
    if (has & 2)
        about.fresh_ns = e.fresh_ns = 1 + next_byte(&s->in);
    if (has & 4)
        about.mark = e.mark = next_byte(&s->in);
    if (has & 8)
        about.cost = (float)next_byte(&s->in);
    memset(value, e.value, e.size);
    perf_err err = perf_cache_set_at(s->cache, key, key_of(i, key), value,
                                     e.size, &about, s->now_ns);
    expect(!err || err == PERF_ERR_NOMEM || err == PERF_ERR_RANGE);
    e.set = !err;
    s->entry[i] = e;
}

static void
get(state *s, uint8_t i)
{
    static uint8_t value[LONGEST], key[KEYS];
    entry *e = &s->entry[i];
    perf_cache_hit hit;
    size_t capacity = i % 4 ? LONGEST : e->size / 2;
    int64_t size = perf_cache_get_at(s->cache, key, key_of(i, key), value,
                                     capacity, &hit, s->now_ns);
    bool alive = e->set && e->expires_ns > s->now_ns;
    expect(hit.size == size);
    if (size == PERF_CACHE_NONE) {
        e->set &= !alive; /* evicted: it must not come back */
        return;
    }
    expect(alive && (uint64_t)size == e->size && hit.mark == e->mark);
    expect(hit.fresh_ns == e->fresh_ns && hit.expires_ns == e->expires_ns);
    expect((hit.offset == 0) == (e->size <= capacity));
    for (int64_t k = 0; hit.offset == 0 && k < size; k++)
        expect(value[k] == e->value);
}

static void delete (state *s)
{
    uint8_t key[KEYS], i = next_byte(&s->in);
    bool was = perf_cache_delete(s->cache, key, key_of(i, key));
    expect(!was || s->entry[i].set);
    s->entry[i].set = false;
}

static void
check(state *s)
{
    perf_cache_stats stats;
    uint64_t cursor = 0, listed = 0, content = 0;
    int64_t key_size;
    perf_cache_hit hit;
    uint8_t key[KEYS];
    while ((key_size = perf_cache_next_at(s->cache, &cursor, key, sizeof key,
                                          &hit, 0)) != PERF_CACHE_NONE) {
        listed++;
        content += (uint64_t)key_size + (uint64_t)hit.size;
        expect(key_size < KEYS && s->entry[key_size].set);
    }
    perf_cache_stats_now(s->cache, &stats);
    expect(stats.entries == listed && stats.content_bytes == content);
    expect(stats.bytes == live_bytes && live_bytes <= MOST_BYTES);
}

static void
step(state *s, uint8_t verb)
{
    switch (verb & 15) {
    case 0: delete (s); break;
    case 1: s->now_ns += next_short(&s->in); break;
    case 2: perf_cache_expire_at(s->cache, next_byte(&s->in), s->now_ns); break;
    case 3: fail_every = next_byte(&s->in) % 8; break;
    case 4:
        if (verb == 4) {
            perf_cache_clear_blocking(s->cache);
            memset(s->entry, 0, sizeof s->entry);
        }
        break;
    case 5: check(s); break;
    case 6:
    case 7:
    case 8:
    case 9: get(s, next_byte(&s->in)); break;
    default: set(s);
    }
    expect(live_bytes <= MOST_BYTES);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static state s;
    s = (state){.in = {data, data + size}, .now_ns = 1};
    uint8_t first = next_byte(&s.in);
    live_bytes = calls = fail_every = 0;
    perf_cache_config config = {
        .max_bytes = MOST_BYTES,
        .max_entries = first & 4 ? first : 0,
        .policy = (perf_policy_kind)(first % 3),
        .seed = first,
        .allocator = &allocator,
    };
    expect(!perf_cache_create(&config, &s.cache));
    while (s.in.at < s.in.end)
        step(&s, next_byte(&s.in));
    fail_every = 0;
    check(&s);
    for (int i = 0; i < KEYS; i++)
        get(&s, (uint8_t)i);
    perf_cache_destroy(s.cache);
    expect(!live_bytes);
    return 0;
}
