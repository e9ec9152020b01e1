/* trace.c - reads compressed numbers, and makes keys dense. */
#include "trace.h"

#include <libperf/hash.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

static uint32_t
little_endian(const unsigned char *at)
{
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 |
           (uint32_t)at[3] << 24;
}

/* ---- files ---- */

typedef struct bytes {
    unsigned char *at;
    size_t size, room;
} bytes;

static bool
have_room(bytes *b, size_t more)
{
    if (b->size + more <= b->room)
        return true;
    size_t room = 2 * (b->size + more);
    unsigned char *at = realloc(b->at, room);
    if (!at)
        return false;
    b->at = at;
    b->room = room;
    return true;
}

static const char *
decompress(FILE *file, ZSTD_DStream *stream, bytes *out)
{
    static unsigned char chunk[1 << 16];
    ZSTD_inBuffer in = {chunk, 0, 0};
    size_t left = 0;
    while ((in.size = fread(chunk, 1, sizeof chunk, file))) {
        for (in.pos = 0; in.pos < in.size;) {
            if (!have_room(out, sizeof chunk))
                return "out of memory";
            ZSTD_outBuffer to = {out->at + out->size, sizeof chunk, 0};
            left = ZSTD_decompressStream(stream, &to, &in);
            if (ZSTD_isError(left))
                return ZSTD_getErrorName(left);
            out->size += to.pos;
        }
    }
    return left ? "cut short" : NULL;
}

/* @return  NULL, or what is wrong; *out is to be freed in any case. */
static const char *
read_numbers(const char *path, uint32_t **out, size_t *count)
{
    bytes b = {0};
    FILE *file = fopen(path, "rb");
    if (!file)
        return "cannot be opened";
    ZSTD_DStream *stream = ZSTD_createDStream();
    const char *wrong = stream ? decompress(file, stream, &b) : "out of memory";
    ZSTD_freeDStream(stream);
    fclose(file);
    *count = b.size / 4;
    *out = malloc(b.size + 1);
    for (size_t i = 0; *out && i < *count; i++)
        (*out)[i] = little_endian(b.at + 4 * i);
    free(b.at);
    if (!wrong && !*out)
        wrong = "out of memory";
    return !wrong && (*count == 0 || *count >= INT32_MAX) ? "not a trace"
                                                          : wrong;
}

/* ---- dense keys ---- */

/* The number of a key, open addressing; new ones are numbered in turn. */
static uint32_t
number_of(trace *t, uint32_t *table, size_t mask, uint32_t *keys, uint32_t key)
{
    uint64_t hash = perf_hash(&key, sizeof key);
    size_t i = hash & mask;
    while (table[i]) {
        if (keys[table[i] - 1] == key)
            return table[i] - 1;
        i = (i + 1) & mask;
    }
    table[i] = ++t->unique;
    keys[t->unique - 1] = key;
    t->hash[t->unique - 1] = hash;
    return t->unique - 1;
}

static const char *
make_dense(trace *t)
{
    size_t room = 1;
    while (room < 2 * t->requests)
        room *= 2;
    uint32_t *table = calloc(room, sizeof *table);
    uint32_t *keys = malloc(t->requests * sizeof *keys);
    t->hash = malloc(t->requests * sizeof *t->hash);
    bool ok = table && keys && t->hash;
    for (size_t i = 0; ok && i < t->requests; i++)
        t->key[i] = number_of(t, table, room - 1, keys, t->key[i]);
    free(table);
    free(keys);
    return ok ? NULL : "out of memory";
}

/* Of each key the size it was first asked for with. */
static const char *
read_sizes(trace *t, const char *path)
{
    FILE *there = fopen(path, "rb");
    if (!there)
        return NULL;
    fclose(there);
    uint32_t *size = NULL;
    size_t count;
    const char *wrong = read_numbers(path, &size, &count);
    if (!wrong && count != t->requests)
        wrong = "not as many sizes as requests";
    t->size = wrong ? NULL : calloc(t->unique, sizeof *t->size);
    for (size_t i = 0; t->size && i < count; i++)
        if (!t->size[t->key[i]])
            t->size[t->key[i]] = size[i] ? size[i] : 1;
    free(size);
    return wrong ? wrong : t->size ? NULL : "out of memory";
}

const char *
trace_read(trace *t, const char *folder, const char *name)
{
    char path[4096];
    *t = (trace){0};
    snprintf(t->name, sizeof t->name, "%s", name);
    snprintf(path, sizeof path, "%s/%s.u32.zst", folder, name);
    const char *wrong = read_numbers(path, &t->key, &t->requests);
    if (!wrong)
        wrong = make_dense(t);
    snprintf(path, sizeof path, "%s/%s.size.u32.zst", folder, name);
    return wrong ? wrong : read_sizes(t, path);
}

void
trace_free(trace *t)
{
    free(t->key);
    free(t->hash);
    free(t->size);
}

uint32_t *
trace_next_use(const trace *t)
{
    uint32_t *next = malloc(t->requests * sizeof *next);
    uint32_t *seen = malloc(t->unique * sizeof *seen);
    if (next && seen) {
        memset(seen, 0xff, t->unique * sizeof *seen);
        for (size_t i = t->requests; i--;) {
            next[i] = seen[t->key[i]];
            seen[t->key[i]] = (uint32_t)i;
        }
    } else {
        free(next);
        next = NULL;
    }
    free(seen);
    return next;
}
