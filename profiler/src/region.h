/* region.h - memory of one piece of analysis: taken bit by bit, given back at
 * once. Where there is none, control returns to where the region was entered:
 * code in between needs no checks, and holds nothing else that must be freed.
 *
 *     if (setjmp(region.no_memory)) { perfi_region_free(&region); return …; }
 */
#ifndef PERFI_REGION_H
#define PERFI_REGION_H
#include <libperf/allocator.h>

#include <setjmp.h>

typedef struct perfi_region {
    const perf_allocator *allocator;
    struct perfi_block_head *blocks;
    jmp_buf no_memory;
} perfi_region;

/** `count` zeroed places of `size` bytes; never NULL, also for none. */
void *perfi_region_take(perfi_region *r, size_t count, size_t size);

/** Move `count` places to a piece with `more` of them; the old one is freed. */
void *perfi_region_grow(perfi_region *r, void *old, size_t count, size_t more,
                        size_t size);

/** Give one piece back before the others. */
void perfi_region_drop(perfi_region *r, void *piece);

void perfi_region_free(perfi_region *r);

/* A growing array: `perfi_list(T)` has item[], count, room. */
#define perfi_list(type)                                                       \
    struct {                                                                   \
        type *item;                                                            \
        size_t count, room;                                                    \
    }

/** The place after the last one, zeroed. Without memory the list stays as it
 *  was: `room` grows after `item`. */
#define perfi_list_add(region, list)                                           \
    (((list)->count == (list)->room                                            \
          ? (void)((list)->item = perfi_region_grow(                           \
                       (region), (list)->item, (list)->count,                  \
                       perfi_list_more(list), sizeof *(list)->item),           \
                   (list)->room = perfi_list_more(list))                       \
          : (void)0),                                                          \
     &(list)->item[(list)->count++])
#define perfi_list_more(list) ((list)->room ? (list)->room * 2 : 16)

#endif
