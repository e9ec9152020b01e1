/* lock.h - a lock for a few dozen instructions: spins, then lets others run.
 *
 * A mutex of glibc's sleeps at once when it is taken, and waking up costs more
 * than what it guards: two threads get less done than one. */
#ifndef PERFI_CACHE_LOCK_H
#define PERFI_CACHE_LOCK_H
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>

typedef struct perfi_lock {
    atomic_bool taken;
} perfi_lock;

static inline void
perfi_relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Who holds it may have lost its CPU: then only giving ours away helps. */
__attribute__((cold, noinline)) static void
perfi_lock_wait(perfi_lock *lock)
{
    enum { SPINS = 100 };
    for (int spins = 0;; spins++) {
        if (spins < SPINS)
            perfi_relax();
        else
            sched_yield();
        /* relaxed: only whether it is worth trying. acquire: pairs with
         * perfi_lock_give() */
        if (!atomic_load_explicit(&lock->taken, memory_order_relaxed) &&
            !atomic_exchange_explicit(&lock->taken, true, memory_order_acquire))
            return;
    }
}

static inline void
perfi_lock_take(perfi_lock *lock)
{
    /* acquire: pairs with perfi_lock_give() */
    if (atomic_exchange_explicit(&lock->taken, true, memory_order_acquire))
        perfi_lock_wait(lock);
}

static inline void
perfi_lock_give(perfi_lock *lock)
{
    /* release: what was written under the lock is there for the next one */
    atomic_store_explicit(&lock->taken, false, memory_order_release);
}
#endif
