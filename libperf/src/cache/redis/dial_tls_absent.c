/* dial_tls_absent.c - where there is no hiredis_ssl. */
#include "dial.h"

#include <stdio.h>

bool
perfi_tls_is_there(void)
{
    return false;
}

bool
perfi_tls_begin(redisContext *c, const perf_redis_config *config,
                char error[128])
{
    (void)c;
    (void)config;
    snprintf(error, 128, "TLS: built without hiredis_ssl");
    return false;
}
