/* changes.c - see changes.h.
 *
 * Why the words are stored with release, and not only `head`: a reader that
 * sees a word of a later lap must also see, in its second look, the `head` of
 * that lap; the writer stored it before. */
#include "changes.h"

#include <string.h>

enum { ANYTHING = 0xFF }; /* as `track` */

_Static_assert(sizeof(perf_redis_change) == 64, "eight words");

static void
put(perfi_changes *c, const perf_redis_change *change)
{
    uint64_t n = atomic_load_explicit(&c->head, memory_order_relaxed);
    uint64_t word[8];
    memcpy(word, change, sizeof word);
    for (int i = 0; i < 8; i++) /* pairs with perfi_changes_read() */
        atomic_store_explicit(&c->ring[n % PERFI_CHANGES].word[i], word[i],
                              memory_order_release);
    atomic_store_explicit(&c->head, n + 1, memory_order_release);
}

void
perfi_changes_all(perfi_changes *c)
{
    put(c, &(perf_redis_change){.track = ANYTHING});
}

void
perfi_changes_add(perfi_changes *c, const perfi_settings *s, const void *key,
                  size_t size)
{
    for (size_t i = 0; i < s->tracks; i++) {
        size_t prefix = strlen(s->c.track[i]);
        if (size < prefix || memcmp(key, s->c.track[i], prefix))
            continue;
        size_t rest = size - prefix;
        perf_redis_change change = {.track = (uint8_t)i};
        if (rest > sizeof change.key) {
            perfi_changes_all(c);
            return;
        }
        change.size = (uint8_t)rest;
        memcpy(change.key, (const char *)key + prefix, rest);
        put(c, &change);
        return;
    }
}

/* Copy change n; false when the writer may be writing over it. */
static bool
copy(const perfi_changes *c, uint64_t n, perf_redis_change *out)
{
    uint64_t word[8];
    for (int i = 0; i < 8; i++)
        word[i] = atomic_load_explicit(&c->ring[n % PERFI_CHANGES].word[i],
                                       memory_order_acquire);
    memcpy(out, word, sizeof word);
    return atomic_load_explicit(&c->head, memory_order_acquire) - n <
           PERFI_CHANGES;
}

size_t
perfi_changes_read(const perfi_changes *c, uint64_t *cursor,
                   perf_redis_change *out, size_t n, bool *all)
{
    size_t count = 0;
    uint64_t head = atomic_load_explicit(&c->head, memory_order_acquire);
    while (*cursor != head && count < n) {
        if (head - *cursor >= PERFI_CHANGES || !copy(c, *cursor, &out[count])) {
            *all = true;
            head = atomic_load_explicit(&c->head, memory_order_acquire);
            *cursor = head;
            continue;
        }
        ++*cursor;
        if (out[count].track == ANYTHING)
            *all = true;
        else
            count++;
    }
    return count;
}
