/* intern.c - the table of names: open addressing over (kind, text), FNV-1a.
 *
 * The table never shrinks or moves, so a number's text can be read without
 * the lock once the number is known. It outlives segments: a forked child
 * goes on with its parent's numbers. */
#include "intern.h"

#include "say.h"
#include "text.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define OTHER "(other)"
enum { PLACES = PERF_NAMES_MAX * 2 }; /* half full at most */

typedef struct entry {
    char *text; /* ends in NUL; never freed */
    uint32_t length;
    perf_kind kind;
} entry;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static entry entries[PERF_NAMES_MAX];
static uint16_t places[PLACES]; /* number + 1; 0: free */
static _Atomic uint32_t count;  /* release after the entry is whole; pairs
                                   with the acquire in known() */
static uint64_t over, cut;
static perfi_name_fn publish;

static uint32_t
place_of(perf_kind kind, const char *text, size_t length)
{
    uint64_t hash = 14695981039346656037u ^ (uint64_t)kind;
    for (size_t i = 0; i < length; i++)
        hash = (hash ^ (unsigned char)text[i]) * 1099511628211u;
    return (uint32_t)((hash ^ hash >> 32) % PLACES);
}

/* The place where the name is, or the free one where it belongs. */
static uint16_t *
find(perf_kind kind, const char *text, size_t length)
{
    for (uint32_t i = place_of(kind, text, length);; i = (i + 1) % PLACES) {
        if (!places[i])
            return &places[i];
        const entry *e = &entries[places[i] - 1];
        if (e->kind == kind && e->length == length &&
            !memcmp(e->text, text, length))
            return &places[i];
    }
}

static bool
add(uint16_t *place, perf_kind kind, const char *text, size_t length)
{
    uint32_t name = atomic_load_explicit(&count, memory_order_relaxed);
    char *copy = malloc(length + 1);
    if (!copy)
        return false;
    memcpy(copy, text, length);
    copy[length] = 0;
    entries[name] = (entry){copy, (uint32_t)length, kind};
    *place = (uint16_t)(name + 1);
    atomic_store_explicit(&count, name + 1, memory_order_release);
    if (publish)
        publish(name, kind, copy, length);
    return true;
}

/* The first names are "(other)", one for each kind: number == kind. */
static void
add_others(void)
{
    static char other[] = OTHER;
    if (atomic_load_explicit(&count, memory_order_relaxed))
        return;
    for (uint32_t kind = 0; kind < PERF_KIND_COUNT; kind++) {
        entries[kind] = (entry){other, sizeof other - 1, (perf_kind)kind};
        *find((perf_kind)kind, other, sizeof other - 1) = (uint16_t)(kind + 1);
    }
    atomic_store_explicit(&count, PERF_KIND_COUNT, memory_order_release);
}

uint32_t
perf_name(perf_kind kind, const char *text, size_t length)
{
    if ((uint32_t)kind >= PERF_KIND_COUNT)
        kind = PERF_KIND_SPAN;
    if (!text || !length)
        return (uint32_t)kind;
    size_t kept = perfi_text_cut(text, length, PERF_TEXT_MAX_BYTES);
    pthread_mutex_lock(&lock);
    add_others();
    cut += kept < length;
    uint16_t *place = find(kind, text, kept);
    bool full =
        atomic_load_explicit(&count, memory_order_relaxed) >= PERF_NAMES_MAX;
    if (!*place && (full || !add(place, kind, text, kept))) {
        over++;
        pthread_mutex_unlock(&lock);
        perfi_say_once(PERFI_SAY_NAMES,
                       "the table of %d names is full; \"%.*s\" and later "
                       "ones are recorded as " OTHER
                       " (names should not hold ids or other values that "
                       "change: make those attributes)",
                       PERF_NAMES_MAX, (int)kept, text);
        return (uint32_t)kind;
    }
    uint32_t name = *place - 1u;
    pthread_mutex_unlock(&lock);
    return name;
}

static const entry *
known(uint32_t name)
{
    return name < atomic_load_explicit(&count, memory_order_acquire)
               ? &entries[name]
               : NULL;
}

const char *
perf_name_text(uint32_t name)
{
    const entry *e = known(name);
    return e ? e->text : OTHER;
}

perf_kind
perf_name_kind(uint32_t name)
{
    const entry *e = known(name);
    if (e)
        return e->kind;
    return name < PERF_KIND_COUNT ? (perf_kind)name : PERF_KIND_SPAN;
}

void
perfi_names_publish(perfi_name_fn fn)
{
    pthread_mutex_lock(&lock);
    add_others();
    publish = fn;
    uint32_t n = atomic_load_explicit(&count, memory_order_relaxed);
    for (uint32_t name = 0; fn && name < n; name++)
        fn(name, entries[name].kind, entries[name].text, entries[name].length);
    pthread_mutex_unlock(&lock);
}

uint64_t
perfi_names_over(void)
{
    pthread_mutex_lock(&lock);
    uint64_t value = over;
    pthread_mutex_unlock(&lock);
    return value;
}

uint64_t
perfi_names_cut(void)
{
    pthread_mutex_lock(&lock);
    uint64_t value = cut;
    pthread_mutex_unlock(&lock);
    return value;
}

void
perfi_names_lock(void)
{
    pthread_mutex_lock(&lock);
}

void
perfi_names_unlock(void)
{
    pthread_mutex_unlock(&lock);
}
