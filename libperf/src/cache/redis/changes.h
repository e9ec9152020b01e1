/* changes.h - a ring of what others changed, from one writer to any readers.
 *
 * A change is eight words, number n of them at place n modulo the ring's size;
 * `head` counts those that were written. A reader copies a change and looks at
 * `head` again: if the writer may have come round meanwhile, it was too slow.
 * A change of no words that fits no key says "anything". */
#ifndef PERFI_CHANGES_H
#define PERFI_CHANGES_H
#include "settings.h"

enum { PERFI_CHANGES = 1024 };

typedef struct perfi_changes {
    _Atomic uint64_t head; /* release, once the words are there */
    struct {
        _Atomic uint64_t word[8]; /* release: see changes.c */
    } ring[PERFI_CHANGES];
} perfi_changes;

/** Anything may have changed. */
void perfi_changes_all(perfi_changes *c);

/** This key did; one under none of the prefixes is left out. */
void perfi_changes_add(perfi_changes *c, const perfi_settings *s,
                       const void *key, size_t size);

size_t perfi_changes_read(const perfi_changes *c, uint64_t *cursor,
                          perf_redis_change *out, size_t n, bool *all);

#endif
