/* bench.h - times pieces of C code and says how far to trust the times.
 *
 *   #include <libperf/bench.h>
 *   #include <string.h>
 *
 *   static char from[4096], to[4096];
 *
 *   static void
 *   copy(perf_bench_state *state)
 *   {
 *       for (uint64_t i = 0; i < state->iterations; i++) {
 *           memcpy(to, from, sizeof to);
 *           perf_bench_keep(to);
 *       }
 *   }
 *
 *   int
 *   main(int argc, char **argv)
 *   {
 *       perf_bench_add("copy/4KiB", copy);
 *       return perf_bench_main(argc, argv);
 *   }
 *
 *   $ cc copy.c $(pkg-config --cflags --libs perfcore) -o copy && ./copy --help
 *
 * Model:    a *case* is a name and a function that does one *operation* as
 *           often as it is told. The number of iterations grows until one
 *           *repetition* lasts min_time_ns; that is the warm-up and is
 *           dropped, as is one repetition more. Then come *rounds*: each
 *           runs every case once, so that a machine that slows down slows
 *           all of them. Reported per operation: the least, the median and the
 *           median absolute deviation (MAD) of the repetitions, and the median
 *           over the rounds of the ratio to the case's *reference*: ratios
 *           travel between machines, nanoseconds do not.
 * Threads:  all functions from one thread, but for perf_bench_fail() and
 *           perf_bench_record(), which a case may call from each of its own.
 * Memory:   the list of cases and 59.4 kB per case and thread that records
 *           single operations; nothing is allocated while a case is timed.
 * Units:    nanoseconds per operation. With several threads, of the time from
 *           the first one's start to the last one's end, divided by what each
 *           one did. */
#ifndef LIBPERF_BENCH_H
#define LIBPERF_BENCH_H
#include <libperf/histogram.h>

PERF_BEGIN_DECLS

enum {
    PERF_BENCH_CONFIG_VERSION = 1,
    PERF_BENCH_THREADS_MAX = 64,
    PERF_BENCH_REPETITIONS_MAX = 1000,
};

/** What a case's functions are called with; one for each thread. */
typedef struct perf_bench_state {
    uint64_t iterations; /* do the operation this many times */
    uint32_t thread;     /* 0..threads-1; 0 is the one that runs the bench */
    uint32_t threads;
    void *data; /* the case's ctx, or what its setup put here */
    void *self; /* private */
} perf_bench_state;

typedef void (*perf_bench_fn)(perf_bench_state *state);

/** A case, as perf_bench_add() made it: fill in what you need. Texts are
 *  borrowed until perf_bench_main() or perf_bench_run() is back. */
typedef struct perf_bench_case {
    const char *name; /* "noun/verb/variant" */
    perf_bench_fn run;
    perf_bench_fn setup;    /* once, before the warm-up; NULL: none */
    perf_bench_fn teardown; /* once, after the last round, also when setup
                               failed; NULL: none */
    uint32_t threads;       /* 1..PERF_BENCH_THREADS_MAX; default 1. They
                               live as long as the case */
    const char *reference;  /* name of the case to compare with; NULL: none */
    void *ctx;              /* becomes state->data */
} perf_bench_case;

/** Add a case.
 *  @param name  not NULL, not in use.  @param run  not NULL.
 *  Returns the case, for its optional fields; never NULL: what is wrong with
 *  it is said, by name, when the cases are run.
 *  Ownership: borrowed until perf_bench_main() or perf_bench_run() is back. */
PERF_API perf_bench_case *perf_bench_add(const char *name, perf_bench_fn run);

/** Record how long one operation took, for percentiles of operations beside
 *  the mean over a repetition.  Cost: one perf_histogram_record(). The first
 *  call of each thread allocates, during the warm-up. */
PERF_API void perf_bench_record(perf_bench_state *state, uint64_t duration_ns);

/** Say that the case cannot run, from setup or run: no more of it is run, the
 *  others go on, and the exit status will be 1.
 *  @param why  constant text; the first one is kept. */
PERF_API void perf_bench_fail(perf_bench_state *state, const char *why);

/** Read the command line (--help tells), run what was added, print a table,
 *  forget the cases.
 *  Returns the exit status: 0; 1 when a case failed; 2 for a command line that
 *  makes no sense. */
PERF_API int perf_bench_main(int argc, char **argv);

/** Settings of perf_bench_run(); call perf_bench_config_init() first. */
typedef struct perf_bench_config {
    uint32_t size;             /* sizeof this struct */
    uint32_t version;          /* PERF_BENCH_CONFIG_VERSION */
    uint32_t repetitions;      /* 1..PERF_BENCH_REPETITIONS_MAX; default 15 */
    uint32_t filters;          /* how many of these: */
    const char *const *filter; /* run the cases whose name holds one of these
                                  texts, and their references; none: all */
    uint64_t min_time_ns;      /* of a repetition; 1..60e9, default 20e6 */
} perf_bench_config;

/** Fill in every default.  @param size  sizeof(perf_bench_config). */
PERF_API void perf_bench_config_init(perf_bench_config *config, uint32_t size);

/** What is known of a case after the last round. */
typedef struct perf_bench_result {
    const char *name;
    const char *error; /* why it failed; NULL: it did not, and the rest
                          means something */
    uint32_t threads;
    uint32_t repetitions;
    uint64_t iterations;         /* of a repetition and thread */
    double min_ns;               /* of the repetitions, per operation: least, */
    double median_ns;            /* median */
    double mad_ns;               /* and median absolute deviation from it */
    const double *repetition_ns; /* each, in the order they were run */
    const char *reference;       /* NULL: none, or it failed */
    double ratio;                /* to the reference: median over the rounds */
    double ratio_mad;
    double scaling;                   /* times the reference's throughput:
                                         threads / its threads / ratio */
    const perf_histogram *operations; /* of single operations, all threads, ns;
                                         NULL: the case recorded none */
    const perf_histogram *spread; /* of the repetitions, in ps per operation */
} perf_bench_result;

typedef void (*perf_bench_result_fn)(const perf_bench_result *result,
                                     void *ctx);

/** Run what was added without a command line, tell each result in the order of
 *  addition, forget the cases.
 *  @param config  NULL for defaults
 *  @param on_result  not NULL; the result is borrowed for the call
 *  Errors: PERF_ERR_VERSION, PERF_ERR_RANGE; PERF_ERR_INVALID (a case is wrong
 *  or a name is twice there), PERF_ERR_NOMEM; PERF_ERR_NOT_FOUND (no case fits
 *  the filters). A case that fails is a result, not an error. */
PERF_API perf_err perf_bench_run(const perf_bench_config *config,
                                 perf_bench_result_fn on_result, void *ctx);

#ifndef PERF_CDEF
/** Keep the compiler from leaving out what leads to this value: it must
 *  suppose that the memory is read and written here. */
static inline void
perf_bench_keep(const void *value)
{
    __asm__ volatile("" : : "r"(value) : "memory");
}
#endif

PERF_END_DECLS
#endif
