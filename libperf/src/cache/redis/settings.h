/* settings.h - a client's settings, kept as long as anybody connects by them.
 */
#ifndef PERFI_REDIS_SETTINGS_H
#define PERFI_REDIS_SETTINGS_H
#include <libperf/redis.h>
#include <stdatomic.h>

/* In libc's memory: a thread that is looking up a host may outlive the client,
 * and with it the client's allocator. */
typedef struct perfi_settings {
    perf_redis_config c; /* its texts lie in this block */
    size_t tracks;       /* how many of c.track there are */
    size_t bytes;        /* of this block */
    _Atomic uint32_t holders;
} perfi_settings;

/** Check and copy.  Errors: as perf_redis_create(). */
perf_err perfi_settings_new(const perf_redis_config *config,
                            perfi_settings **out);
void perfi_settings_hold(perfi_settings *s);
void perfi_settings_drop(perfi_settings *s); /* NULL is allowed */

#endif
