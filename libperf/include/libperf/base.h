/* base.h - what every public header needs: version, error codes, linkage.
 *
 * The version lives here and nowhere else: CMake, setup.py and
 * libperf.__version__ read this line. cffi reads this file too (with
 * PERF_CDEF defined), so public headers hold prototypes, enums, opaque types
 * and plain structs only. */
#ifndef LIBPERF_BASE_H
#define LIBPERF_BASE_H

#ifndef PERF_CDEF /* cffi knows these types and must not see system headers */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#endif

#define PERF_VERSION "0.1.0"

#if defined(PERF_CDEF)
#define PERF_API
#define PERF_BEGIN_DECLS
#define PERF_END_DECLS
#else
#if defined(__GNUC__)
#define PERF_API __attribute__((visibility("default")))
#else
#define PERF_API
#endif
#ifdef __cplusplus
#define PERF_BEGIN_DECLS extern "C" {
#define PERF_END_DECLS   }
#else
#define PERF_BEGIN_DECLS
#define PERF_END_DECLS
#endif
#endif

PERF_BEGIN_DECLS

/** Result of every function that can fail. 0 is success; the numbers are
 *  never reused or changed. Expected outcomes (a full ring, a value out of
 *  range of a histogram) are results, not errors. */
typedef enum perf_err {
    PERF_OK = 0,
    PERF_ERR_INVALID = -1,      /* an argument is NULL, NaN or contradictory */
    PERF_ERR_NOMEM = -2,        /* the allocator returned NULL */
    PERF_ERR_RANGE = -3,        /* a number lies outside its documented range */
    PERF_ERR_FULL = -4,         /* a bounded table or file system is full */
    PERF_ERR_CLOSED = -5,       /* the object was closed or never started */
    PERF_ERR_NOT_FOUND = -6,    /* no such file, process or name */
    PERF_ERR_DENIED = -7,       /* belongs to another user, or not permitted */
    PERF_ERR_VERSION = -8,      /* made by another version of libperf */
    PERF_ERR_CORRUPT = -9,      /* the bytes are not what they should be */
    PERF_ERR_SYSTEM = -10,      /* a system call failed; errno says which way */
    PERF_ERR_STARTED = -11,     /* too late: recording has begun already */
    PERF_ERR_UNSUPPORTED = -12, /* built without the library this needs */
    PERF_ERR_TIMEOUT = -13,     /* not done within the time that was given */
    PERF_ERR_UNREACHABLE = -14, /* a server does not answer, or not sensibly */
} perf_err;

/** The error in words: one impersonal line, never NULL, for any int.
 *  Threads: safe.  Ownership: constant text. */
PERF_API const char *perf_strerror(int err);

/** The constant's own name, "PERF_ERR_FULL"; "PERF_ERR_?" if unknown.
 *  Threads: safe.  Ownership: constant text. */
PERF_API const char *perf_err_name(int err);

/** PERF_VERSION of the library that is linked, "major.minor.patch". */
PERF_API const char *perf_version(void);

PERF_END_DECLS
#endif
