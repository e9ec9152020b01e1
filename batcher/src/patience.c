/* patience.c - see patience.h. */
#include "patience.h"

#include <libperf/clock.h>
#include <sched.h>
#include <unistd.h>

enum {
    WAKE_NS = 20000, /* to sleep and be woken: 10 to 50 us on servers */
    LOOKS = 32,      /* between two looks at the clock */
    MOST = 64,
};

#if defined __x86_64__ || defined __i386__
#define relax() __builtin_ia32_pause()
#else
#define relax() ((void)0)
#endif

/* With one CPU whoever looks keeps away what it looks for. */
static bool
has_company(void)
{
    static int cpus; /* 0: not asked yet; all find the same */
    int n = __atomic_load_n(&cpus, __ATOMIC_RELAXED);
    if (!n) {
        n = (int)sysconf(_SC_NPROCESSORS_ONLN);
        __atomic_store_n(&cpus, n, __ATOMIC_RELAXED);
    }
    return n > 1;
}

static bool
take(perfi_patience *p)
{
    return !__atomic_exchange_n(&p->taken, true, __ATOMIC_ACQUIRE);
}

static void
give(perfi_patience *p)
{
    __atomic_store_n(&p->taken, false, __ATOMIC_RELEASE);
}

static void
learn(perfi_patience *p, bool helped)
{
    if (helped) {
        p->streak = 0;
        return;
    }
    p->streak = p->streak ? p->streak * 2 : 1;
    p->streak = p->streak < MOST ? p->streak : MOST;
    p->skip = p->streak;
}

static bool
watch(uint64_t until_ns, perfi_patience_fn ready, void *ctx)
{
    uint64_t end_ns = perf_clock_now_ns() + WAKE_NS;
    end_ns = until_ns < end_ns ? until_ns : end_ns;
    do {
        for (int i = 0; i < LOOKS; i++) {
            if (ready(ctx))
                return true;
            relax();
        }
    } while (perf_clock_now_ns() < end_ns);
    return false;
}

bool
perfi_patience_wait(perfi_patience *p, uint64_t until_ns,
                    perfi_patience_fn ready, void *ctx)
{
    bool is = false;
    if (!has_company() || !take(p))
        return false;
    if (p->skip) {
        p->skip--;
    } else {
        is = watch(until_ns, ready, ctx);
        learn(p, is);
    }
    give(p);
    return is;
}

void
perfi_patience_close(perfi_patience *p)
{
    while (!take(p))
        sched_yield();
}

void
perfi_patience_forget(perfi_patience *p)
{
    *p = (perfi_patience){0};
}
