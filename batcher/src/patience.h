/* patience.h - to look again and again for a moment, before going to sleep.
 *
 * Being woken takes as long as a hundred empty items. One thread at a time
 * looks, no longer than that takes: so it costs at most twice what sleeping at
 * once would have (Karlin et al., "Competitive randomized algorithms for
 * nonuniform problems", 1990). Where it was in vain, the next 1, 2, 4 ... 64
 * times go to sleep at once: an idle batcher stays idle. */
#ifndef PERFI_PATIENCE_H
#define PERFI_PATIENCE_H
#include <stdbool.h>
#include <stdint.h>

typedef struct perfi_patience {
    bool taken;            /* atomic; of what follows */
    uint32_t skip, streak; /* sleeps to come; the next time in vain brings */
} perfi_patience;

typedef bool (*perfi_patience_fn)(void *ctx);

/* Look until `ready`, or until_ns, or for as long as a wake takes: whether it
 * is. Any thread, without locks. */
bool perfi_patience_wait(perfi_patience *p, uint64_t until_ns,
                         perfi_patience_fn ready, void *ctx);

/* Nobody looks any more, and nobody will. */
void perfi_patience_close(perfi_patience *p);

/* In the child of a fork. */
void perfi_patience_forget(perfi_patience *p);

#endif
