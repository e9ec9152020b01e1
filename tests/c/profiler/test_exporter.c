/* test_exporter.c - the exporter's thread beside threads that record, flush,
 * ask for numbers, stop and fork; memory that fails. The receiver is a thread
 * with a socket, which says 200 to everything. What arrives is tested in
 * Python. */
#include "pt.h"

#include <libperf/exporter.h>

#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define S PT_NS_PER_S

/* ---- a receiver ---- */

static int listening;
static char url[64];
static _Atomic int requests;

static void
serve(int fd)
{
    static const char ok[] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    char head[8192];
    size_t size = 0;
    for (;;) {
        ssize_t n = read(fd, head + size, sizeof head - 1 - size);
        if (n <= 0)
            return;
        size += (size_t)n;
        head[size] = 0;
        char *end = strstr(head, "\r\n\r\n");
        char *length = strcasestr(head, "\r\ncontent-length:");
        if (!end || !length)
            continue;
        size_t left = strtoul(length + 17, NULL, 10);
        size_t have = size - (size_t)(end + 4 - head);
        for (char waste[4096]; have < left; have += (size_t)n)
            if ((n = read(fd, waste, sizeof waste)) <= 0)
                return;
        requests++;
        size = 0;
        if (write(fd, ok, sizeof ok - 1) < 0)
            return;
    }
}

static void *
serve_one(void *ctx)
{
    int fd = (int)(intptr_t)ctx;
    serve(fd);
    close(fd);
    return NULL;
}

static void *
serve_all(void *ctx)
{
    for (int fd; (fd = accept(listening, NULL, NULL)) >= 0;) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, serve_one, (void *)(intptr_t)fd))
            close(fd);
        else
            pthread_detach(thread);
    }
    return ctx;
}

static void
begin_receiver(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET};
    socklen_t size = sizeof at;
    pthread_t thread;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    listening = socket(AF_INET, SOCK_STREAM, 0);
    ck_assert_int_eq(bind(listening, (struct sockaddr *)&at, sizeof at), 0);
    ck_assert_int_eq(listen(listening, 64), 0);
    getsockname(listening, (struct sockaddr *)&at, &size);
    snprintf(url, sizeof url, "http://127.0.0.1:%d/v1/traces",
             ntohs(at.sin_port));
    ck_assert_int_eq(pthread_create(&thread, NULL, serve_all, NULL), 0);
    pthread_detach(thread);
}

static perf_exporter_config
settings(void)
{
    perf_exporter_config c;
    perf_exporter_config_init(&c, sizeof c);
    c.traces_url = url;
    c.interval_ns = c.metrics_interval_ns = 3600 * S;
    c.backoff_min_ns = c.backoff_max_ns = 1000000;
    return c;
}

static perf_exporter *
begin(const perf_exporter_config *c)
{
    perf_exporter *e;
    ck_assert_int_eq(perf_exporter_start_blocking(c, NULL, &e), PERF_OK);
    return e;
}

static void
record(uint32_t n)
{
    uint32_t name = pt_name(PERF_KIND_SPAN, "x");
    while (n--)
        perf_span_end(perf_span_begin(name, (perf_span){0}));
}

static uint64_t
sent(perf_exporter *e)
{
    perf_exporter_stats s;
    perf_exporter_stats_now(e, &s);
    return s.lane[PERF_OTLP_TRACES].sent;
}

/* ---- tests ---- */

static perf_exporter *shared;

static void
one_of_many(unsigned index, void *ctx)
{
    (void)ctx;
    for (int i = 0; i < 30; i++) {
        perf_exporter_stats s;
        record(10);
        if (index % 2)
            PT_ASSERT(!perf_exporter_flush_blocking(shared, 60 * S));
        perf_exporter_stats_now(shared, &s);
        PT_ASSERT(s.running);
    }
}

START_TEST(test_many_threads)
{
    begin_receiver();
    perf_exporter_config c = settings();
    c.interval_ns = 10000000;
    c.gzip = (perf_exporter_features() & 2) != 0;
    shared = begin(&c);
    pt_parallel(6, one_of_many, NULL);
    ck_assert_int_eq(perf_exporter_flush_blocking(shared, 60 * S), PERF_OK);
    ck_assert_uint_eq(sent(shared), 6 * 30 * 10);
    perf_exporter_destroy_blocking(shared);
}
END_TEST

static void *
flush_for_long(void *ctx)
{
    perf_err err = perf_exporter_flush_blocking(ctx, 60 * S);
    return (void *)(intptr_t)err;
}

START_TEST(test_stopped_while_others_wait)
{
    begin_receiver();
    perf_exporter_config c = settings();
    c.traces_url = "http://127.0.0.1:1/nobody";
    perf_exporter *e = begin(&c);
    pthread_t waiting[3];
    record(5);
    for (int i = 0; i < 3; i++)
        pthread_create(&waiting[i], NULL, flush_for_long, e);
    ck_assert_int_eq(perf_exporter_flush_blocking(e, 1000000),
                     PERF_ERR_TIMEOUT);
    ck_assert_int_eq(perf_exporter_stop_blocking(e, S), PERF_ERR_TIMEOUT);
    for (int i = 0; i < 3; i++) {
        void *err;
        pthread_join(waiting[i], &err);
        ck_assert_int_eq((int)(intptr_t)err, PERF_ERR_CLOSED);
    }
    perf_exporter_stats s;
    perf_exporter_stats_now(e, &s);
    ck_assert_uint_eq(s.lane[PERF_OTLP_TRACES].dropped, 5);
    ck_assert(!s.running && *s.error);
    ck_assert_int_eq(perf_exporter_stop_blocking(e, S), PERF_OK);
    ck_assert_int_eq(perf_exporter_flush_blocking(e, S), PERF_ERR_CLOSED);
    perf_exporter_destroy_blocking(e);
}
END_TEST

START_TEST(test_nothing_was_recorded)
{
    begin_receiver();
    perf_exporter_config c = settings();
    perf_exporter *e = begin(&c);
    char path[PERF_PATH_MAX_BYTES];
    ck_assert_int_eq(perf_exporter_flush_blocking(e, 60 * S), PERF_OK);
    /* it has not started what the program may want to configure */
    ck_assert_int_eq(perf_segment_path(path, sizeof path), PERF_ERR_CLOSED);
    ck_assert_int_eq(perf_exporter_stop_blocking(e, 60 * S), PERF_OK);
    ck_assert_int_eq(requests, 0);
    perf_exporter_destroy_blocking(e);
}
END_TEST

/* A child's exporter has stopped; it makes its own, and sends what is its own.
 */
static void
be_a_child(perf_exporter *inherited)
{
    perf_exporter_stats s;
    perf_exporter_stats_now(inherited, &s);
    PT_CHECK(!s.running);
    PT_CHECK_EQ(perf_exporter_flush_blocking(inherited, S), PERF_ERR_CLOSED);
    PT_CHECK_EQ(perf_exporter_stop_blocking(inherited, S), PERF_OK);
    perf_exporter_destroy_blocking(inherited);
#ifdef PT_TSAN /* does not know threads of such a child */
    return;
#endif
    perf_exporter_config c = settings();
    perf_exporter *e;
    PT_CHECK_EQ(perf_exporter_start_blocking(&c, NULL, &e), PERF_OK);
    record(3);
    PT_CHECK_EQ(perf_exporter_flush_blocking(e, 60 * S), PERF_OK);
    PT_CHECK_EQ(sent(e), 3);
    perf_exporter_destroy_blocking(e);
}

START_TEST(test_forks_at_any_moment)
{
    begin_receiver();
    perf_exporter_config c = settings();
    c.interval_ns = 10000000;
    perf_exporter *e = begin(&c);
    for (int i = 0; i < PT_TIMES(40); i++) {
        record(200); /* the thread is somewhere */
        pid_t pid = fork();
        if (!pid) {
            be_a_child(e);
            _exit(0);
        }
        int status;
        ck_assert_int_eq(waitpid(pid, &status, 0), pid);
        ck_assert_int_eq(status, 0);
    }
    ck_assert_int_eq(perf_exporter_flush_blocking(e, 60 * S), PERF_OK);
    ck_assert_uint_eq(sent(e), PT_TIMES(40) * 200);
    perf_exporter_destroy_blocking(e);
}
END_TEST

START_TEST(test_no_memory_at_any_moment)
{
    begin_receiver();
    record(100);
    for (uint64_t allowed = 0;; allowed++) {
        pt_alloc a;
        perf_exporter *e;
        perf_exporter_config c = settings();
        pt_alloc_init(&a, allowed);
        c.allocator = &a.face;
        perf_err err = perf_exporter_start_blocking(&c, NULL, &e);
        ck_assert(!err || err == PERF_ERR_NOMEM);
        bool all = false;
        if (!err) {
            perf_exporter_flush_blocking(e, 60 * S);
            all = sent(e) == 100;
            perf_exporter_destroy_blocking(e);
        }
        ck_assert_uint_eq(a.live, 0);
        ck_assert(!a.wrong_size);
        if (a.calls <= allowed) {
            ck_assert(all);
            break;
        }
    }
}
END_TEST

START_TEST(test_wrong_settings)
{
    static const char *const split[] = {"a", "b\r\nc: d", NULL};
    static const char *const spaced[] = {"a b", "c", NULL};
    const char *field = NULL;
    perf_exporter *e = NULL;
    perf_exporter_config c = settings();
    snprintf(url, sizeof url, "http://localhost/v1/traces");
    const char *urls[] = {"",        "localhost:1",    "ftp://x/", "file:///x",
                          "http://", "http://a:b@c/d", NULL};
    for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
        c.traces_url = urls[i];
        ck_assert_int_eq(perf_exporter_start_blocking(&c, &field, &e),
                         PERF_ERR_INVALID);
        ck_assert_str_eq(field, "traces_url");
        ck_assert_ptr_null(e);
    }
    c = settings();
    c.traces_headers = split;
    ck_assert_int_eq(perf_exporter_start_blocking(&c, &field, &e),
                     PERF_ERR_INVALID);
    c.traces_headers = spaced;
    ck_assert_int_eq(perf_exporter_start_blocking(&c, &field, &e),
                     PERF_ERR_INVALID);
    c = settings();
    c.timeout_ns = 0;
    ck_assert_int_eq(perf_exporter_start_blocking(&c, &field, &e),
                     PERF_ERR_RANGE);
    ck_assert_str_eq(field, "timeout_ns");
    c = settings();
    c.path = "/nowhere/at.perf";
    ck_assert_int_eq(perf_exporter_start_blocking(&c, &field, &e),
                     PERF_ERR_NOT_FOUND);
    ck_assert_ptr_null(field);
    c = settings();
    c.version++;
    ck_assert_int_eq(perf_exporter_start_blocking(&c, &field, &e),
                     PERF_ERR_VERSION);
    ck_assert_int_eq(perf_exporter_start_blocking(NULL, &field, &e),
                     PERF_ERR_INVALID);
    perf_exporter_stats_now(NULL, NULL);
    ck_assert_int_eq(perf_exporter_stop_blocking(NULL, 0), PERF_OK);
    perf_exporter_destroy_blocking(NULL);
}
END_TEST

int
main(void)
{
    TCase *tests = pt_begin("profiler.exporter");
    tcase_add_test(tests, test_many_threads);
    tcase_add_test(tests, test_stopped_while_others_wait);
    tcase_add_test(tests, test_nothing_was_recorded);
    tcase_add_test(tests, test_forks_at_any_moment);
    tcase_add_test(tests, test_no_memory_at_any_moment);
    tcase_add_test(tests, test_wrong_settings);
    return pt_end();
}
