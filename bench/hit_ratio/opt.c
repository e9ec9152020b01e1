/* opt.c - Belady's optimum: a heap of when the keys that are there will be
 * asked for again. */
#include "play.h"

#include <stdlib.h>

typedef struct heap {
    uint32_t *at; /* the largest first */
    size_t count;
} heap;

static void
push(heap *h, uint32_t value)
{
    size_t i = h->count++;
    for (; i && h->at[(i - 1) / 2] < value; i = (i - 1) / 2)
        h->at[i] = h->at[(i - 1) / 2];
    h->at[i] = value;
}

static uint32_t
pop(heap *h)
{
    uint32_t top = h->at[0], value = h->at[--h->count];
    size_t i = 0, child;
    while ((child = 2 * i + 1) < h->count) {
        if (child + 1 < h->count && h->at[child + 1] > h->at[child])
            child++;
        if (h->at[child] <= value)
            break;
        h->at[i] = h->at[child];
        i = child;
    }
    h->at[i] = value;
    return top;
}

/* Uses that have come stay in the heap: they are smaller than all that will
 * come, so they never reach the top while there is one of those. Keys that are
 * never asked for again are only counted. */
static size_t
count_hits(const trace *t, const uint32_t *next, uint32_t max_entries, heap *h,
           bool *there)
{
    size_t hits = 0, done_with = 0, entries = 0;
    for (size_t i = 0; i < t->requests; i++) {
        if (there[t->key[i]]) {
            hits++;
        } else if (entries < max_entries) {
            entries++;
        } else if (done_with) {
            done_with--;
        } else {
            there[t->key[pop(h)]] = false;
        }
        there[t->key[i]] = true;
        if (next[i] == UINT32_MAX)
            done_with++;
        else
            push(h, next[i]);
    }
    return hits;
}

bool
play_opt(const trace *t, const uint32_t *next, uint32_t max_entries,
         double *hits)
{
    heap h = {.at = malloc(t->requests * sizeof *h.at)};
    bool *there = calloc(t->unique, sizeof *there);
    bool ok = h.at && there;
    if (ok)
        *hits = (double)count_hits(t, next, max_entries, &h, there) /
                (double)t->requests;
    free(h.at);
    free(there);
    return ok;
}
