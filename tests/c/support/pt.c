/* pt.c - suites, folders, threads, random numbers, shorthand for libperf. */
#include "pt.h"

#include "segment/segment.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static Suite *suite;
static char base[PT_PATH];

TCase *
pt_begin(const char *name)
{
    static const char *const unset[] = {"XDG_RUNTIME_DIR", "LIBPERF_MAX_BYTES",
                                        "LIBPERF_RING_BYTES", "LIBPERF_QUIET",
                                        "LIBPERF_SERVICE"};
    for (size_t i = 0; i < sizeof unset / sizeof *unset; i++)
        unsetenv(unset[i]);
    /* memory first: segments are meant to lie there */
    strcpy(base, "/dev/shm/libperf-test-XXXXXX");
    if (!mkdtemp(base)) {
        strcpy(base, "/tmp/libperf-test-XXXXXX");
        if (!mkdtemp(base)) {
            perror("mkdtemp");
            exit(EXIT_FAILURE);
        }
    }
    setenv("LIBPERF_DIR", base, 1);
    suite = suite_create(name);
    TCase *tests = tcase_create(name);
    tcase_set_timeout(tests, 120); /* a hang, not a measure of speed */
    suite_add_tcase(suite, tests);
    return tests;
}

static int
remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(path) && 0;
}

int
pt_end(void)
{
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int run = srunner_ntests_run(runner);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    nftw(base, remove_one, 32, FTW_DEPTH | FTW_PHYS);
    /* a filter that matches nothing is not a success */
    return run && !failed ? EXIT_SUCCESS : EXIT_FAILURE;
}

void
pt_folder(char out[PT_PATH])
{
    ck_assert_int_lt(snprintf(out, PT_PATH, "%s/t-XXXXXX", base), PT_PATH);
    ck_assert_ptr_nonnull(mkdtemp(out));
}

void
pt_segments_in(char out[PT_PATH])
{
    pt_folder(out);
    setenv("LIBPERF_DIR", out, 1);
}

int
pt_count_files(const char *folder, const char *suffix)
{
    DIR *entries = opendir(folder);
    int n = 0;
    if (!entries)
        return -1;
    for (struct dirent *e; (e = readdir(entries));) {
        size_t length = strlen(e->d_name), end = strlen(suffix);
        n += e->d_name[0] != '.' && length >= end &&
             !strcmp(e->d_name + length - end, suffix);
    }
    closedir(entries);
    return n;
}

unsigned char *
pt_read_file(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    ck_assert_msg(file != NULL, "cannot open %s", path);
    struct stat st;
    ck_assert_int_eq(fstat(fileno(file), &st), 0);
    *size = (size_t)st.st_size;
    unsigned char *bytes = malloc(*size + 1);
    ck_assert_uint_eq(fread(bytes, 1, *size, file), *size);
    fclose(file);
    return bytes;
}

void
pt_write_file(const char *path, const void *bytes, size_t size)
{
    FILE *file = fopen(path, "wb");
    ck_assert_ptr_nonnull(file);
    if (size)
        ck_assert_uint_eq(fwrite(bytes, 1, size, file), size);
    fclose(file);
}

uint64_t
pt_next(pt_random *r)
{
    uint64_t z = r->state += UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return z ^ z >> 31;
}

uint64_t
pt_below(pt_random *r, uint64_t bound)
{
    return (uint64_t)((unsigned __int128)pt_next(r) * bound >> 64);
}

double
pt_unit(pt_random *r)
{
    return (double)((pt_next(r) >> 11) + 1) / 9007199254740992.0;
}

/* ---- threads ---- */

typedef struct work {
    void (*fn)(unsigned index, void *ctx);
    void *ctx;
    unsigned index;
    pthread_barrier_t *start;
} work;

static void *
run_work(void *arg)
{
    work *w = arg;
    pthread_barrier_wait(w->start);
    w->fn(w->index, w->ctx);
    return NULL;
}

void
pt_parallel(unsigned n, void (*fn)(unsigned index, void *ctx), void *ctx)
{
    pthread_barrier_t start;
    pthread_t *threads = calloc(n, sizeof *threads);
    work *works = calloc(n, sizeof *works);
    pthread_barrier_init(&start, NULL, n);
    for (unsigned i = 0; i < n; i++) {
        works[i] = (work){fn, ctx, i, &start};
        ck_assert_int_eq(pthread_create(&threads[i], NULL, run_work, &works[i]),
                         0);
    }
    for (unsigned i = 0; i < n; i++)
        pthread_join(threads[i], NULL);
    pthread_barrier_destroy(&start);
    free(works);
    free(threads);
}

/* ---- libperf ---- */

uint32_t
pt_name(perf_kind kind, const char *text)
{
    return perf_name(kind, text, strlen(text));
}

perf_reader *
pt_self(void)
{
    perf_reader *reader = NULL;
    ck_assert_int_eq(perf_reader_open_self_blocking(NULL, &reader), PERF_OK);
    ck_assert_ptr_nonnull(reader);
    return reader;
}

perf_totals
pt_totals_of(uint32_t name)
{
    perf_totals totals;
    perf_reader *reader = pt_self();
    ck_assert_int_eq(perf_reader_totals(reader, name, &totals), PERF_OK);
    perf_reader_close(reader);
    return totals;
}

perf_segment_stats
pt_stats(void)
{
    perf_segment_stats stats;
    perf_segment_stats_now(&stats);
    return stats;
}

void
pt_start(uint64_t max_bytes, uint64_t ring_bytes)
{
    perf_segment_config config;
    perf_segment_config_init(&config, sizeof config);
    if (max_bytes)
        config.max_bytes = max_bytes;
    if (ring_bytes)
        config.ring_bytes = ring_bytes;
    ck_assert_int_eq(perf_segment_start(&config), PERF_OK);
}

perf_record *
pt_records(perf_reader *reader, size_t step, size_t *count)
{
    size_t room = step, n = 0;
    perf_record *list = malloc(room * sizeof *list);
    for (size_t got; (got = perf_reader_records(reader, list + n, step));) {
        ck_assert_uint_le(got, step);
        n += got;
        if (room - n < step) {
            room = room * 2 + step;
            list = realloc(list, room * sizeof *list);
        }
    }
    *count = n;
    return list;
}

unsigned char *
pt_segment_bytes(size_t *size)
{
    const perfi_segment *s = &perfi_segment_state;
    ck_assert_ptr_nonnull(s->base);
    *size = perfi_get(&s->header->used_bytes);
    ck_assert_uint_le(*size, s->max_bytes);
    unsigned char *copy = malloc(*size);
    memcpy(copy, s->base, *size);
    return copy;
}

perf_attribute
pt_attribute(const perf_record *record, uint32_t index)
{
    perf_attribute a;
    ck_assert(perf_record_attribute(record, index, &a));
    return a;
}
