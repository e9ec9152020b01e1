/* say.c - warnings, one line each, once in a process. */
#include "say.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void
perfi_say_once(perfi_topic topic, const char *format, ...)
{
    static _Atomic unsigned said; /* a bit for each topic; relaxed: the bit
                                     itself is all that is shared */
    unsigned bit = 1u << topic;
    if (atomic_fetch_or_explicit(&said, bit, memory_order_relaxed) & bit)
        return;
    const char *quiet = getenv("LIBPERF_QUIET");
    if (quiet && *quiet && strcmp(quiet, "0") != 0)
        return;
    int saved = errno;
    char line[512] = "libperf: ";
    size_t at = strlen(line);
    va_list values;
    va_start(values, format);
    vsnprintf(line + at, sizeof line - at - 1, format, values);
    va_end(values);
    strcat(line, "\n");
    /* one write: lines of two threads do not mix, and no stdio lock is held
     * at a fork */
    ssize_t written = write(STDERR_FILENO, line, strlen(line));
    (void)written;
    errno = saved;
}
