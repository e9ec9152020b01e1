/* intern.h - the process's table of names: (kind, text) -> small number. */
#ifndef PERFI_INTERN_H
#define PERFI_INTERN_H
#include <libperf/name.h>

/** Called with the lock held, for each new name in the order of numbers. */
typedef void (*perfi_name_fn)(uint32_t name, perf_kind kind, const char *text,
                              size_t length);

/** Give every name, now and later, to `fn`; NULL ends it. */
void perfi_names_publish(perfi_name_fn fn);

uint64_t perfi_names_over(void); /* asked for when the table was full */
uint64_t perfi_names_cut(void);  /* longer than PERF_TEXT_MAX_BYTES */

/** Around fork(). */
void perfi_names_lock(void);
void perfi_names_unlock(void);
#endif
