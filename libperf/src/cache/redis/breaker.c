/* breaker.c - the states of a breaker, without a clock of its own. */
#include "breaker.h"

/* splitmix64 */
static uint64_t
draw(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return z ^ z >> 31;
}

uint64_t
perfi_backoff_next(perfi_backoff *b)
{
    uint64_t whole = b->wait_ns > b->min_ns ? b->wait_ns : b->min_ns;
    if (whole > b->max_ns)
        whole = b->max_ns;
    b->wait_ns = whole > b->max_ns / 2 ? b->max_ns : whole * 2;
    return whole - draw(&b->random) % (whole / 2 + 1);
}

void
perfi_backoff_reset(perfi_backoff *b)
{
    b->wait_ns = 0;
}

bool
perfi_breaker_admit_at(perfi_breaker *b, uint64_t now_ns)
{
    if (b->state == PERF_REDIS_CLOSED)
        return true;
    if (now_ns < b->retry_ns)
        return false;
    b->state = PERF_REDIS_PROBING;
    b->retry_ns = now_ns + perfi_backoff_next(&b->backoff);
    return true;
}

void
perfi_breaker_succeed(perfi_breaker *b)
{
    b->state = PERF_REDIS_CLOSED;
    b->failures = 0;
    perfi_backoff_reset(&b->backoff);
}

void
perfi_breaker_fail_at(perfi_breaker *b, uint64_t now_ns)
{
    if (b->state == PERF_REDIS_OPEN)
        return; /* sent before it opened: nothing new */
    if (b->state == PERF_REDIS_PROBING) {
        b->state = PERF_REDIS_OPEN; /* until retry_ns, as admit_at() said */
        return;
    }
    if (++b->failures < b->limit)
        return;
    b->state = PERF_REDIS_OPEN;
    b->opens++;
    b->retry_ns = now_ns + perfi_backoff_next(&b->backoff);
}
