/* pt.h - the test kit: a suite, folders, children, threads, random numbers, an
 * allocator that fails when told to.
 *
 * check forks for every test, so each test is a process in which libperf has
 * not started yet; threads are started inside the test. */
#ifndef PT_H
#define PT_H
#define _GNU_SOURCE
#include <check.h>
#include <libperf/clock.h>
#include <libperf/metric.h>
#include <libperf/reader.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define PT_ASAN 1
#endif
#if __has_feature(thread_sanitizer)
#define PT_TSAN 1
#endif
#endif
#ifdef __SANITIZE_ADDRESS__
#define PT_ASAN 1
#endif
#ifdef __SANITIZE_THREAD__
#define PT_TSAN 1
#endif
#if defined(PT_ASAN) || defined(PT_TSAN)
#define PT_SANITIZED 1
#else
#define PT_SANITIZED 0
#endif

/** How often something is done: less where each step costs ten times more. */
#define PT_TIMES(n) (PT_SANITIZED ? (n) / 8 : (n))

/* ---- a suite: pt.c ---- */

/** Begin a suite in a temporary folder of its own, which LIBPERF_DIR names. */
TCase *pt_begin(const char *suite);

/** Run it, remove the folder. Returns what main() returns. */
int pt_end(void);

enum { PT_PATH = 512 };

/** A new, empty folder inside the suite's; removed with it. */
void pt_folder(char out[PT_PATH]);

/** A new folder that LIBPERF_DIR names from now on; segments lie in
 *  <out>/libperf-<uid>. */
void pt_segments_in(char out[PT_PATH]);

/** How many entries of a folder end in `suffix`; -1 when there is none. */
int pt_count_files(const char *folder, const char *suffix);

/** The size of a file, and its bytes (to be freed). */
unsigned char *pt_read_file(const char *path, size_t *size);
void pt_write_file(const char *path, const void *bytes, size_t size);

/** ck_assert() for inner loops: check's own writes to its pipe each time. */
#define PT_ASSERT(condition)                                                   \
    ((condition) ? (void)0                                                     \
                 : _ck_assert_failed(__FILE__, __LINE__, #condition, NULL))

/* ---- random numbers: splitmix64, the same on every machine ---- */

typedef struct pt_random {
    uint64_t state;
} pt_random;

uint64_t pt_next(pt_random *r);
uint64_t pt_below(pt_random *r, uint64_t bound);
double pt_unit(pt_random *r); /* above 0, up to 1 */

/* ---- an allocator that fails: pt_alloc.c ---- */

typedef struct pt_alloc {
    perf_allocator face;
    _Atomic uint64_t allowed; /* this many calls of alloc() succeed */
    _Atomic uint64_t calls;
    _Atomic uint64_t live, live_bytes;
    _Atomic bool wrong_size; /* free() was told another size than alloc() */
} pt_alloc;

void pt_alloc_init(pt_alloc *a, uint64_t allowed);

/* ---- children: pt_child.c ---- */

typedef struct pt_result {
    int code;         /* of exit(); -1 when a signal ended it */
    int signal;       /* that ended it; 0 */
    size_t warnings;  /* lines on stderr that begin with "libperf: " */
    char text[16384]; /* stderr */
} pt_result;

/** Run fn in a forked child with its stderr caught; it ends by _exit(0) when
 *  fn returns, and by SIGALRM after `guard_s`. */
void pt_run(pt_result *out, void (*fn)(void *ctx), void *ctx, unsigned guard_s);

/** Run it and fail unless it ended well. Returns how many warnings it gave. */
size_t pt_run_well(void (*fn)(void *ctx), void *ctx);

/** Assertions of a child: it says why on stderr and ends with 99. */
#define PT_CHECK(condition)                                                    \
    ((condition) ? (void)0 : pt_check_failed(__FILE__, __LINE__, #condition))
#define PT_CHECK_EQ(a, b)                                                      \
    pt_check_equal((uint64_t)(a), (uint64_t)(b), __FILE__, __LINE__,           \
                   #a " == " #b)
_Noreturn void pt_check_failed(const char *file, int line, const char *what);
void pt_check_equal(uint64_t a, uint64_t b, const char *file, int line,
                    const char *what);

/** Memory that forked children share. */
void *pt_shared(size_t bytes);

/** Fork a child that runs fn and then waits to be killed; returns its id once
 *  fn is done. */
int pt_spawn(void (*fn)(void *ctx), void *ctx);
void pt_kill(int pid);

/* ---- threads ---- */

/** Run fn in n threads, started together; join them. */
void pt_parallel(unsigned n, void (*fn)(unsigned index, void *ctx), void *ctx);

/* ---- shorthand for libperf ---- */

uint32_t pt_name(perf_kind kind, const char *text);
perf_reader *pt_self(void);
perf_totals pt_totals_of(uint32_t name); /* of this process, now */
perf_segment_stats pt_stats(void);
void pt_start(uint64_t max_bytes, uint64_t ring_bytes); /* 0: default */

/** All records that are left, to be freed; taken `step` at a time. */
perf_record *pt_records(perf_reader *reader, size_t step, size_t *count);

/** The process's segment as bytes, cut to what is used; to be freed. */
unsigned char *pt_segment_bytes(size_t *size);

/** Attribute `index` of a record; fails the test when there is none. */
perf_attribute pt_attribute(const perf_record *record, uint32_t index);

#define PT_NS_PER_S UINT64_C(1000000000)
#endif
