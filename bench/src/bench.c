/* bench.c - the list of cases, and the rounds in which they are run.
 *
 * A case's threads are made once and wait for their turn on a condition; the
 * last steps to the start line are spun, so that they set off together. The
 * clock is read by each thread for itself: waking up is not the case's time. */
#define _GNU_SOURCE
#include "cases.h"

#include <libperf/clock.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum {
    DEFAULT_REPETITIONS = 15,
    DEFAULT_MIN_TIME_NS = 20000000,
    GROWTH_MAX = 10, /* of the iterations, from one trial to the next */
    SPINS = 1000,    /* before a waiting thread lets others run */
};

static const uint64_t min_time_max_ns = UINT64_C(60000000000);
static const uint64_t iterations_max = UINT64_C(1) << 40;

typedef struct perfi_case perfi_case;

typedef struct perfi_worker {
    perfi_case *owner;
    perf_bench_state state;
    pthread_t thread; /* not for worker 0, which is the caller */
    perf_histogram *operations;
    uint64_t start_ns, end_ns;
} perfi_worker;

struct perfi_case {
    perf_bench_case face; /* what the user fills in */
    perfi_case *next;
    perfi_case *reference;
    bool chosen;
    bool set_up;
    _Atomic(const char *) error; /* set once; relaxed: constant text */
    uint32_t workers;            /* that exist */
    perfi_worker *worker;        /* face.threads of them */
    double *repetition_ns;       /* per operation; `repetitions` places */
    perf_histogram *spread;

    pthread_mutex_t lock; /* guards the next three */
    pthread_cond_t turn;
    uint32_t turns;   /* repetitions that were started */
    uint32_t running; /* workers beside the caller still at it */
    bool over;
    _Atomic uint32_t at_line; /* acquire and release: start together */
};

static perfi_case *first_case, **next_place = &first_case;
static perf_bench_case no_room; /* taken and forgotten when memory is short */
static bool out_of_memory;

/* ---- the list ---- */

perf_bench_case *
perf_bench_add(const char *name, perf_bench_fn run)
{
    perfi_case *c = calloc(1, sizeof *c);
    if (!c) {
        out_of_memory = true;
        return &no_room;
    }
    c->face.name = name;
    c->face.run = run;
    c->face.threads = 1;
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->turn, NULL);
    *next_place = c;
    next_place = &c->next;
    return &c->face;
}

const perf_bench_case *
perfi_bench_next(const perf_bench_case *before)
{
    /* the face is the first member */
    const perfi_case *c =
        before ? ((const perfi_case *)(const void *)before)->next : first_case;
    return c ? &c->face : NULL;
}

static perfi_case *
find(const char *name)
{
    for (perfi_case *c = first_case; c; c = c->next)
        if (c->face.name && strcmp(c->face.name, name) == 0)
            return c;
    return NULL;
}

const char *
perfi_bench_complaint(const char **name)
{
    *name = "(no name)";
    for (const perfi_case *c = first_case; c; c = c->next) {
        const perf_bench_case *f = &c->face;
        if (!f->name || !*f->name)
            return "a case needs a name";
        *name = f->name;
        if (!f->run)
            return "a case needs a function to run";
        if (find(f->name) != c)
            return "two cases have this name";
        if (!f->threads || f->threads > PERF_BENCH_THREADS_MAX)
            return "threads must be from 1 to 64";
        if (f->reference && (!find(f->reference) || find(f->reference) == c))
            return "its reference is not another case's name";
    }
    return NULL;
}

void
perfi_bench_forget(void)
{
    while (first_case) {
        perfi_case *c = first_case;
        first_case = c->next;
        pthread_cond_destroy(&c->turn);
        pthread_mutex_destroy(&c->lock);
        free(c);
    }
    next_place = &first_case;
    out_of_memory = false;
}

void
perf_bench_config_init(perf_bench_config *config, uint32_t size)
{
    if (!config || size < sizeof *config)
        return;
    *config = (perf_bench_config){
        .size = sizeof *config,
        .version = PERF_BENCH_CONFIG_VERSION,
        .repetitions = DEFAULT_REPETITIONS,
        .min_time_ns = DEFAULT_MIN_TIME_NS,
    };
}

/* ---- what a case may call ---- */

static perfi_worker *
worker_of(const perf_bench_state *state)
{
    return state ? state->self : NULL;
}

static const char *
error_of(const perfi_case *c)
{
    return atomic_load_explicit(&c->error, memory_order_relaxed);
}

static void
fail(perfi_case *c, const char *why)
{
    const char *none = NULL;
    atomic_compare_exchange_strong_explicit(
        &c->error, &none, why, memory_order_relaxed, memory_order_relaxed);
}

void
perf_bench_fail(perf_bench_state *state, const char *why)
{
    perfi_worker *w = worker_of(state);
    if (w)
        fail(w->owner, why ? why : "failed");
}

void
perf_bench_record(perf_bench_state *state, uint64_t duration_ns)
{
    perfi_worker *w = worker_of(state);
    if (!w)
        return;
    if (!w->operations && perf_histogram_create(NULL, &w->operations))
        fail(w->owner, "out of memory");
    perf_histogram_record(w->operations, duration_ns);
}

/* ---- one repetition ---- */

static void
run_share(perfi_worker *w)
{
    perfi_case *c = w->owner;
    /* release: what came before is done; acquire: theirs too */
    atomic_fetch_add_explicit(&c->at_line, 1, memory_order_acq_rel);
    uint32_t spins = 0;
    while (atomic_load_explicit(&c->at_line, memory_order_acquire) <
           c->face.threads)
        if (++spins % SPINS == 0)
            sched_yield();
    w->start_ns = perf_clock_now_ns();
    c->face.run(&w->state);
    w->end_ns = perf_clock_now_ns();
}

static void *
work(void *worker)
{
    perfi_worker *w = worker;
    perfi_case *c = w->owner;
    uint32_t turns = 0;
    pthread_mutex_lock(&c->lock);
    for (;;) {
        while (!c->over && c->turns == turns)
            pthread_cond_wait(&c->turn, &c->lock);
        if (c->over)
            break;
        turns = c->turns;
        pthread_mutex_unlock(&c->lock);
        run_share(w);
        pthread_mutex_lock(&c->lock);
        if (!--c->running)
            pthread_cond_broadcast(&c->turn);
    }
    pthread_mutex_unlock(&c->lock);
    return NULL;
}

/* Run every worker's share; returns the whole time. */
static uint64_t
repeat(perfi_case *c, uint64_t iterations)
{
    uint32_t n = c->face.threads;
    for (uint32_t i = 0; i < n; i++)
        c->worker[i].state.iterations = iterations;
    pthread_mutex_lock(&c->lock);
    atomic_store_explicit(&c->at_line, 0, memory_order_relaxed); /* lock */
    c->turns++;
    c->running = n - 1;
    if (n > 1)
        pthread_cond_broadcast(&c->turn);
    pthread_mutex_unlock(&c->lock);
    run_share(&c->worker[0]);
    pthread_mutex_lock(&c->lock);
    while (c->running)
        pthread_cond_wait(&c->turn, &c->lock);
    pthread_mutex_unlock(&c->lock);
    uint64_t start = c->worker[0].start_ns, end = c->worker[0].end_ns;
    for (uint32_t i = 1; i < n; i++) {
        const perfi_worker *w = &c->worker[i];
        start = w->start_ns < start ? w->start_ns : start;
        end = w->end_ns > end ? w->end_ns : end;
    }
    return end - start;
}

/* ---- life of a case ---- */

static void
start_workers(perfi_case *c)
{
    uint32_t n = c->face.threads;
    for (uint32_t i = 0; i < n; i++) {
        perfi_worker *w = &c->worker[i];
        w->owner = c;
        w->state.thread = i;
        w->state.threads = n;
        w->state.data = i ? c->worker[0].state.data : c->face.ctx;
        w->state.self = w;
        if (i == 0 && c->face.setup) {
            c->set_up = true;
            c->face.setup(&w->state);
        }
        if (error_of(c))
            return;
        if (i > 0 && pthread_create(&w->thread, NULL, work, w)) {
            fail(c, "cannot make a thread");
            return;
        }
        c->workers++;
    }
}

static void
open_case(perfi_case *c, uint32_t repetitions)
{
    c->worker = calloc(c->face.threads, sizeof *c->worker);
    c->repetition_ns = calloc(repetitions, sizeof *c->repetition_ns);
    if (!c->worker || !c->repetition_ns ||
        perf_histogram_create(NULL, &c->spread))
        fail(c, "out of memory");
    else
        start_workers(c);
}

static void
close_case(perfi_case *c)
{
    pthread_mutex_lock(&c->lock);
    c->over = true;
    pthread_cond_broadcast(&c->turn);
    pthread_mutex_unlock(&c->lock);
    for (uint32_t i = 1; i < c->workers; i++)
        pthread_join(c->worker[i].thread, NULL);
    if (c->face.teardown && (c->set_up || c->workers))
        c->face.teardown(&c->worker[0].state);
    for (uint32_t i = 0; c->worker && i < c->face.threads; i++)
        perf_histogram_destroy(c->worker[i].operations);
    perf_histogram_destroy(c->spread);
    free(c->repetition_ns);
    free(c->worker);
}

static uint64_t
iterations_of(const perfi_case *c)
{
    return c->worker[0].state.iterations;
}

/* Find how many iterations last long enough. */
static void
warm_up(perfi_case *c, uint64_t min_time_ns)
{
    uint64_t n = 1;
    while (!error_of(c)) {
        uint64_t took_ns = repeat(c, n);
        if (took_ns >= min_time_ns || n >= iterations_max)
            break;
        /* a tenth more than it seems to need: the next trial is the last */
        double factor = 1.1 * (double)min_time_ns / (double)(took_ns + 1);
        n = factor > GROWTH_MAX ? n * GROWTH_MAX
                                : (uint64_t)((double)n * factor) + 1;
    }
}

static void
start_counting(perfi_case *c)
{
    for (uint32_t i = 0; i < c->workers; i++)
        perf_histogram_reset(c->worker[i].operations);
}

static void
measure(perfi_case *c, uint32_t round)
{
    uint64_t n = iterations_of(c);
    double ns = (double)repeat(c, n) / (double)n;
    c->repetition_ns[round] = ns;
    perf_histogram_record(c->spread, (uint64_t)(ns * 1e3));
}

/* ---- results ---- */

static int
by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Orders the values. */
static double
median(double *values, uint32_t n)
{
    qsort(values, n, sizeof *values, by_value);
    return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

/* Median and median absolute deviation; overwrites the values. */
static double
median_and_mad(double *values, uint32_t n, double *mad)
{
    double middle = median(values, n);
    for (uint32_t i = 0; i < n; i++)
        values[i] =
            values[i] < middle ? middle - values[i] : values[i] - middle;
    *mad = median(values, n);
    return middle;
}

static void
compare(const perfi_case *c, uint32_t n, double *scratch,
        perf_bench_result *result)
{
    const perfi_case *r = c->reference;
    if (!r || error_of(r))
        return;
    /* within a round the machine was the same for both */
    for (uint32_t i = 0; i < n; i++)
        scratch[i] = c->repetition_ns[i] / r->repetition_ns[i];
    result->reference = r->face.name;
    result->ratio = median_and_mad(scratch, n, &result->ratio_mad);
    result->scaling =
        (double)c->face.threads / (double)r->face.threads / result->ratio;
}

/* All threads' single operations in the first one's histogram. */
static const perf_histogram *
operations_of(perfi_case *c)
{
    perf_histogram *all = c->worker[0].operations;
    for (uint32_t i = 1; all && i < c->workers; i++)
        if (c->worker[i].operations)
            perf_histogram_merge(all, c->worker[i].operations);
    return all;
}

static void
tell(perfi_case *c, uint32_t n, double *scratch, perf_bench_result_fn on_result,
     void *ctx)
{
    perf_bench_result result = {.name = c->face.name,
                                .error = error_of(c),
                                .threads = c->face.threads,
                                .repetitions = n};
    if (!result.error) {
        memcpy(scratch, c->repetition_ns, n * sizeof *scratch);
        result.iterations = iterations_of(c);
        result.median_ns = median_and_mad(scratch, n, &result.mad_ns);
        result.repetition_ns = c->repetition_ns;
        result.min_ns = c->repetition_ns[0];
        for (uint32_t i = 1; i < n; i++)
            if (c->repetition_ns[i] < result.min_ns)
                result.min_ns = c->repetition_ns[i];
        result.operations = operations_of(c);
        result.spread = c->spread;
        compare(c, n, scratch, &result);
    }
    on_result(&result, ctx);
}

/* ---- the rounds ---- */

static bool
fits(const char *name, const perf_bench_config *config)
{
    for (uint32_t i = 0; i < config->filters; i++)
        if (strstr(name, config->filter[i]))
            return true;
    return !config->filters;
}

static bool
choose(const perf_bench_config *config)
{
    bool any = false;
    for (perfi_case *c = first_case; c; c = c->next) {
        c->reference = c->face.reference ? find(c->face.reference) : NULL;
        /* a reference needs only itself: its own ratio is not asked for */
        if (fits(c->face.name, config)) {
            any = c->chosen = true;
            if (c->reference)
                c->reference->chosen = true;
        }
    }
    for (perfi_case *c = first_case; c; c = c->next)
        if (c->reference && !c->reference->chosen)
            c->reference = NULL;
    return any;
}

static void
run_chosen(const perf_bench_config *config, double *scratch,
           perf_bench_result_fn on_result, void *ctx)
{
    uint32_t n = config->repetitions;
    for (perfi_case *c = first_case; c; c = c->next) {
        if (!c->chosen)
            continue;
        open_case(c, n);
        warm_up(c, config->min_time_ns);
    }
    for (perfi_case *c = first_case; c; c = c->next)
        if (c->chosen && !error_of(c)) {
            repeat(c, iterations_of(c)); /* after all the others: dropped */
            start_counting(c);
        }
    for (uint32_t round = 0; round < n; round++)
        for (perfi_case *c = first_case; c; c = c->next)
            if (c->chosen && !error_of(c))
                measure(c, round);
    for (perfi_case *c = first_case; c; c = c->next)
        if (c->chosen)
            tell(c, n, scratch, on_result, ctx);
    for (perfi_case *c = first_case; c; c = c->next)
        if (c->chosen)
            close_case(c);
}

perf_err
perf_bench_run(const perf_bench_config *config, perf_bench_result_fn on_result,
               void *ctx)
{
    perf_bench_config settings;
    const char *name;
    double *scratch = NULL;
    perf_bench_config_init(&settings, sizeof settings);
    if (!config)
        config = &settings;
    perf_err err = PERF_OK;
    if (config->size != sizeof *config ||
        config->version != PERF_BENCH_CONFIG_VERSION)
        err = PERF_ERR_VERSION;
    else if (!config->repetitions ||
             config->repetitions > PERF_BENCH_REPETITIONS_MAX ||
             !config->min_time_ns || config->min_time_ns > min_time_max_ns)
        err = PERF_ERR_RANGE;
    else if (!on_result || (config->filters && !config->filter) ||
             perfi_bench_complaint(&name))
        err = PERF_ERR_INVALID;
    else if (out_of_memory ||
             !(scratch = calloc(config->repetitions, sizeof *scratch)))
        err = PERF_ERR_NOMEM;
    else if (!choose(config))
        err = PERF_ERR_NOT_FOUND;
    else
        run_chosen(config, scratch, on_result, ctx);
    free(scratch);
    perfi_bench_forget();
    return err;
}
