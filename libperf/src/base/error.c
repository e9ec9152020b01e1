/* error.c - error codes in words. A switch without default: the compiler warns
 * when a code has no text. */
#include <libperf/base.h>

const char *
perf_version(void)
{
    return PERF_VERSION;
}

const char *
perf_strerror(int err)
{
    switch ((perf_err)err) {
    case PERF_OK: return "success";
    case PERF_ERR_INVALID: return "invalid argument";
    case PERF_ERR_NOMEM: return "out of memory";
    case PERF_ERR_RANGE: return "number out of range";
    case PERF_ERR_FULL: return "table or file system is full";
    case PERF_ERR_CLOSED: return "closed, or never started";
    case PERF_ERR_NOT_FOUND: return "not found";
    case PERF_ERR_DENIED: return "permission denied";
    case PERF_ERR_VERSION: return "made by another version of libperf";
    case PERF_ERR_CORRUPT: return "damaged, or something else";
    case PERF_ERR_SYSTEM: return "system call failed";
    case PERF_ERR_STARTED: return "recording has already begun";
    case PERF_ERR_UNSUPPORTED: return "libperf was built without it";
    case PERF_ERR_TIMEOUT: return "not done in time";
    case PERF_ERR_UNREACHABLE: return "the server does not answer";
    }
    return "unknown error";
}

const char *
perf_err_name(int err)
{
#define NAME(code)                                                             \
    case code: return #code
    switch ((perf_err)err) {
        NAME(PERF_OK);
        NAME(PERF_ERR_INVALID);
        NAME(PERF_ERR_NOMEM);
        NAME(PERF_ERR_RANGE);
        NAME(PERF_ERR_FULL);
        NAME(PERF_ERR_CLOSED);
        NAME(PERF_ERR_NOT_FOUND);
        NAME(PERF_ERR_DENIED);
        NAME(PERF_ERR_VERSION);
        NAME(PERF_ERR_CORRUPT);
        NAME(PERF_ERR_SYSTEM);
        NAME(PERF_ERR_STARTED);
        NAME(PERF_ERR_UNSUPPORTED);
        NAME(PERF_ERR_TIMEOUT);
        NAME(PERF_ERR_UNREACHABLE);
    }
#undef NAME
    return "PERF_ERR_?";
}
