/* wire.h - commands as a Redis server reads them. */
#ifndef PERFI_REDIS_WIRE_H
#define PERFI_REDIS_WIRE_H
#include <libperf/redis.h>

/** How many commands these bytes are; 0 when they are anything else, or one of
 *  them is of those that have not exactly one reply, at once. */
size_t perfi_wire_count(const void *wire, size_t size);

#endif
