/* ids.h - numbers for ids: the first id that comes is 0, the next new one 1. */
#ifndef PERFI_IDS_H
#define PERFI_IDS_H
#include "region.h"

enum { PERFI_NONE = UINT32_MAX };

typedef struct perfi_ids {
    uint64_t *id;    /* table, 0: free */
    uint32_t *index; /* beside it */
    size_t room;     /* a power of two */
    uint32_t count;
} perfi_ids;

/** The number of an id (not 0), a new one if need be. */
uint32_t perfi_ids_of(perfi_region *r, perfi_ids *ids, uint64_t id);

/** The number of an id, or PERFI_NONE. */
uint32_t perfi_ids_find(const perfi_ids *ids, uint64_t id);
#endif
