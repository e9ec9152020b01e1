/* test_redis.c - commands and replies through a real server: in order, in one
 * pipeline, waited for or through a port. */
#include "pt_redis.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

START_TEST(test_replies_of_every_kind)
{
    pt_server s;
    pt_server_start(&s, NULL);
    perf_redis_config config = pt_redis_config(s.path);
    perf_redis *r = pt_redis_open(&config);
    ck_assert_str_eq(pt_ask(r, "PING"), "PONG");
    ck_assert_str_eq(pt_ask(r, "SET k v"), "OK");
    ck_assert_str_eq(pt_ask(r, "GET k"), "v");
    ck_assert_str_eq(pt_ask(r, "GET none"), "(nil)");
    ck_assert_str_eq(pt_ask(r, "DEL k none"), "(1)");
    ck_assert_str_eq(pt_ask(r, "RPUSH l a b"), "(2)");
    ck_assert_str_eq(pt_ask(r, "LRANGE l 0 -1"), "[a,b]");
    ck_assert_str_eq(pt_ask(r, "LRANGE none 0 -1"), "[]");
    ck_assert_int_eq(strncmp(pt_ask(r, "GET l"), "-WRONGTYPE", 10), 0);
    ck_assert_int_eq(strncmp(pt_ask(r, "NONSENSE"), "-ERR unknown", 12), 0);
    ck_assert_str_eq(pt_ask(r, "EVAL return{1,{2,{3,'x'}},false} 0"),
                     "[(1),[(2),[(3),x]],(nil)]");
    perf_redis_stats stats = pt_redis_stats(r);
    ck_assert_uint_eq(stats.commands, 11);
    ck_assert_uint_eq(stats.replies, 11);
    ck_assert_uint_eq(stats.errors, 2);
    ck_assert_uint_eq(stats.connects, 1);
    ck_assert_uint_eq(stats.queue_bytes, 0);
    ck_assert_uint_gt(stats.p50_ns, 0);
    ck_assert_uint_ge(stats.max_ns, stats.p50_ns);
    perf_redis_destroy_blocking(r);
    pt_server_kill(&s);
}
END_TEST

/* ---- many at once ---- */

START_TEST(test_several_commands_are_one_ticket)
{
    pt_server s;
    pt_server_start(&s, NULL);
    perf_redis_config config = pt_redis_config(s.path);
    perf_redis *r = pt_redis_open(&config);
    static const char wire[] = "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\n1\r\n"
                               "*2\r\n$4\r\nINCR\r\n$1\r\nk\r\n"
                               "*2\r\n$3\r\nGET\r\n$1\r\nk\r\n";
    perf_redis_options options = {.timeout_ns = 10 * PT_NS_PER_S};
    perf_redis_ticket *t;
    ck_assert_int_eq(perf_redis_submit(r, wire, sizeof wire - 1, &options, &t),
                     PERF_OK);
    ck_assert_int_eq(perf_redis_wait_blocking(t, UINT64_MAX), PERF_OK);
    ck_assert(perf_redis_is_done(t, NULL));
    ck_assert_int_eq(perf_redis_reply_at(t, 0)->type, PERF_REDIS_STATUS);
    ck_assert_int_eq((int)perf_redis_reply_at(t, 1)->integer, 2);
    ck_assert_str_eq((const char *)perf_redis_reply_at(t, 2)->bytes, "2");
    ck_assert_ptr_null(perf_redis_reply_at(t, 3));
    perf_redis_release(t);
    perf_redis_destroy_blocking(r);
    pt_server_kill(&s);
}
END_TEST

typedef struct crowd {
    perf_redis *r;
    _Atomic uint64_t wrong;
} crowd;

/* Everybody has numbers of its own, and wants them back. */
static void
ask_for_own(unsigned index, void *ctx)
{
    crowd *c = ctx;
    pt_random random = {index};
    char words[64], expected[32];
    for (int i = 0; i < PT_TIMES(2000); i++) {
        snprintf(expected, sizeof expected, "%u-%d", index, i);
        snprintf(words, sizeof words, "ECHO %s", expected);
        if (pt_below(&random, 8) == 0) { /* and some that nobody waits for */
            perf_redis_options none = {0};
            perf_err err;
            perf_redis_release(pt_send(c->r, words, &none, &err));
            continue;
        }
        if (strcmp(pt_ask(c->r, words), expected) != 0)
            c->wrong++;
    }
}

START_TEST(test_threads_get_their_own_replies)
{
    pt_server s;
    pt_server_start(&s, NULL);
    perf_redis_config config = pt_redis_config(s.path);
    crowd c = {.r = pt_redis_open(&config)};
    pt_parallel(8, ask_for_own, &c);
    ck_assert_str_eq(pt_ask(c.r, "PING"), "PONG"); /* behind all others */
    ck_assert_uint_eq(c.wrong, 0);
    perf_redis_stats stats = pt_redis_stats(c.r);
    ck_assert_uint_eq(stats.timeouts, 0);
    ck_assert_uint_eq(stats.queue_bytes, 0);
    ck_assert_uint_lt(stats.writes, stats.commands);
    perf_redis_destroy_blocking(c.r);
    pt_server_kill(&s);
}
END_TEST

START_TEST(test_a_port_gathers_what_is_done)
{
    enum { N = 1000 };
    pt_server s;
    pt_server_start(&s, NULL);
    perf_redis_config config = pt_redis_config(s.path);
    perf_redis *r = pt_redis_open(&config);
    perf_redis_port *port;
    ck_assert_int_eq(perf_redis_port_create(NULL, &port), PERF_OK);
    struct pollfd fd = {.fd = perf_redis_port_fd(port), .events = POLLIN};
    perf_redis_done done[64];
    ck_assert_uint_eq(perf_redis_port_take(port, done, 64), 0);
    for (uint64_t i = 0; i < N; i++) {
        perf_redis_options options = {10 * PT_NS_PER_S, port, i};
        char words[32];
        snprintf(words, sizeof words, "ECHO %llu", (unsigned long long)i);
        perf_redis_release(pt_send(r, words, &options, NULL));
    }
    uint64_t next = 0, wakes = 0;
    while (next < N) {
        ck_assert_int_eq(poll(&fd, 1, 10000), 1);
        wakes++;
        for (size_t n = 64; n == 64;) {
            n = perf_redis_port_take(port, done, 64);
            for (size_t i = 0; i < n; i++, next++) {
                PT_ASSERT(done[i].tag == next && done[i].err == PERF_OK);
                PT_ASSERT(strtoull((const char *)perf_redis_reply_at(
                                       done[i].ticket, 0)
                                       ->bytes,
                                   NULL, 10) == next);
                perf_redis_release(done[i].ticket);
            }
        }
    }
    ck_assert_uint_lt(wakes, N / 2);
    /* closed before they arrive: nobody is left over (a sanitizer looks) */
    for (uint64_t i = 0; i < 100; i++) {
        perf_redis_options options = {10 * PT_NS_PER_S, port, i};
        perf_redis_release(pt_send(r, "PING", &options, NULL));
    }
    perf_redis_port_close(port);
    ck_assert_str_eq(pt_ask(r, "PING"), "PONG");
    perf_redis_destroy_blocking(r);
    pt_server_kill(&s);
}
END_TEST

START_TEST(test_values_of_any_size)
{
    static const size_t sizes[] = {0, 1, 16383, 16384, 200000, 64 << 20};
    pt_server s;
    pt_server_start(&s, NULL);
    perf_redis_config config = pt_redis_config(s.path);
    perf_redis *r = pt_redis_open(&config);
    perf_redis_options options = {.timeout_ns = 60 * PT_NS_PER_S};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        char *value = malloc(sizes[i] + 1);
        memset(value, (int)('a' + i), sizes[i]);
        const char *argv[] = {"SET", "k", value};
        size_t lengths[] = {3, 1, sizes[i]};
        perf_redis_release(pt_send_many(r, 3, argv, lengths, &options, NULL));
        perf_redis_ticket *t = pt_send(r, "GET k", &options, NULL);
        ck_assert_int_eq(perf_redis_wait_blocking(t, UINT64_MAX), PERF_OK);
        const perf_redis_reply *reply = perf_redis_reply_at(t, 0);
        ck_assert_uint_eq(reply->size, sizes[i]);
        PT_ASSERT(!memcmp(reply->bytes, value, sizes[i]));
        perf_redis_release(t);
        free(value);
    }
    perf_redis_destroy_blocking(r);
    /* too large for this client: the connection is given up, and made anew */
    config.max_reply_bytes = 1 << 20;
    r = pt_redis_open(&config);
    ck_assert_str_eq(pt_ask(r, "PING"), "PONG");
    ck_assert_str_eq(pt_ask(r, "GET k"), "!PERF_ERR_RANGE");
    ck_assert_str_eq(pt_ask_patiently(r, "PING"), "PONG");
    /* and to be sent: 1 MiB may wait */
    perf_redis_destroy_blocking(r);
    config.max_queue_bytes = 1 << 20;
    r = pt_redis_open(&config);
    char *value = calloc(1, 2 << 20);
    const char *argv[] = {"SET", "k", value};
    size_t lengths[] = {3, 1, 2 << 20};
    perf_err err;
    ck_assert_ptr_null(pt_send_many(r, 3, argv, lengths, &options, &err));
    ck_assert_int_eq(err, PERF_ERR_FULL);
    ck_assert_uint_eq(pt_redis_stats(r).queue_bytes, 0);
    ck_assert_uint_eq(pt_redis_stats(r).refused, 1);
    free(value);
    perf_redis_destroy_blocking(r);
    pt_server_kill(&s);
}
END_TEST

/* ---- forks ---- */

static void
go_on_in_the_child(void *ctx)
{
    crowd *c = ctx;
    perf_redis_ticket *inherited = pt_send(c->r, "PING", NULL, NULL);
    (void)inherited;
    for (int i = 0; i < 50; i++)
        PT_CHECK(!strcmp(pt_ask(c->r, "ECHO child"), "child"));
    PT_CHECK_EQ(perf_redis_features() & 1, 1);
}

START_TEST(test_both_go_on_after_a_fork)
{
    pt_server s;
    pt_server_start(&s, NULL);
    perf_redis_config config = pt_redis_config(s.path);
    config.track[0] = "k:";
    crowd c = {.r = pt_redis_open(&config)};
    ck_assert_str_eq(pt_ask(c.r, "PING"), "PONG");
    for (int i = 0; i < 10; i++) {
        perf_redis_ticket *t = pt_send(c.r, "PING", NULL, NULL);
        pt_run_well(go_on_in_the_child, &c);
        ck_assert_str_eq(pt_ask(c.r, "ECHO parent"), "parent");
        perf_redis_release(t);
    }
    ck_assert_uint_eq(pt_redis_stats(c.r).connects, 1);
    ck_assert_uint_eq(pt_redis_stats(c.r).losses, 0);
    perf_redis_destroy_blocking(c.r);
    pt_server_kill(&s);
}
END_TEST

typedef struct inherited {
    perf_redis *r;
    perf_redis_ticket *ticket;
    perf_redis_port *port;
} inherited;

static void
find_it_over(void *ctx)
{
    inherited *i = ctx;
    perf_err err;
    PT_CHECK(perf_redis_is_done(i->ticket, &err));
    PT_CHECK_EQ(err, PERF_ERR_CLOSED);
    PT_CHECK_EQ(perf_redis_wait_blocking(i->ticket, UINT64_MAX),
                PERF_ERR_CLOSED);
    PT_CHECK(!perf_redis_reply_at(i->ticket, 0));
    perf_redis_done done;
    PT_CHECK_EQ(perf_redis_port_take(i->port, &done, 1), 0);
    perf_redis_options options = {.port = i->port};
    PT_CHECK(!pt_send(i->r, "PING", &options, &err));
    PT_CHECK_EQ(err, PERF_ERR_CLOSED);
    perf_redis_release(i->ticket);
}

START_TEST(test_tickets_and_ports_of_the_parent_are_over_in_the_child)
{
    char path[PT_PATH + 16];
    int listening = pt_listen(path); /* never answers */
    perf_redis_config config = pt_redis_config(path);
    inherited i = {.r = pt_redis_open(&config)};
    perf_redis_options options = {.timeout_ns = 600 * PT_NS_PER_S};
    ck_assert_int_eq(perf_redis_port_create(NULL, &i.port), PERF_OK);
    i.ticket = pt_send(i.r, "PING", &options, NULL);
    pt_run_well(find_it_over, &i);
    ck_assert(!perf_redis_is_done(i.ticket, NULL));
    perf_redis_destroy_blocking(i.r);
    perf_err err;
    ck_assert(perf_redis_is_done(i.ticket, &err));
    ck_assert_int_eq(err, PERF_ERR_CLOSED);
    perf_redis_release(i.ticket);
    perf_redis_port_close(i.port);
    close(listening);
}
END_TEST

/* ---- limits ---- */

START_TEST(test_bad_settings)
{
    perf_redis *r = (perf_redis *)1;
    perf_redis_config good;
    perf_redis_config_init(&good, sizeof good);
#define EXPECT(err, ...)                                                       \
    do {                                                                       \
        perf_redis_config c = good;                                            \
        __VA_ARGS__;                                                           \
        ck_assert_int_eq(perf_redis_create(&c, &r), err);                      \
        ck_assert_ptr_null(r);                                                 \
    } while (0)
    EXPECT(PERF_ERR_VERSION, c.size = 4);
    EXPECT(PERF_ERR_VERSION, c.version = 99);
    EXPECT(PERF_ERR_INVALID, c.host = NULL);
    EXPECT(PERF_ERR_INVALID, c.host = "");
    EXPECT(PERF_ERR_INVALID, c.path = "");
    EXPECT(PERF_ERR_INVALID, c.user = "me");
    EXPECT(PERF_ERR_INVALID, c.path = "/s"; c.tls = true);
    EXPECT(PERF_ERR_INVALID, c.track[0] = "a"; c.track[1] = "ab");
    EXPECT(PERF_ERR_INVALID, c.track[0] = ""; c.track[1] = "ab");
    EXPECT(PERF_ERR_RANGE, c.port = 0);
    EXPECT(PERF_ERR_RANGE, c.port = 65536);
    EXPECT(PERF_ERR_RANGE, c.failures = 0);
    EXPECT(PERF_ERR_RANGE, c.connect_timeout_ns = 0);
    EXPECT(PERF_ERR_RANGE, c.heartbeat_ns = UINT64_MAX);
    EXPECT(PERF_ERR_RANGE, c.backoff_max_ns = 1);
    EXPECT(PERF_ERR_RANGE, c.max_queue_bytes = 0);
    ck_assert_int_eq(perf_redis_create(NULL, &r), PERF_ERR_INVALID);
    ck_assert_int_eq(perf_redis_create(&good, NULL), PERF_ERR_INVALID);
    perf_redis_config_init(NULL, 4);
    perf_redis_destroy_blocking(NULL);
    perf_redis_close_blocking(NULL);
    perf_redis_release(NULL);
    perf_redis_port_close(NULL);
    ck_assert_int_eq(perf_redis_submit(NULL, "x", 1, NULL, NULL),
                     PERF_ERR_INVALID);
    ck_assert_int_eq(perf_redis_wait_blocking(NULL, 0), PERF_ERR_INVALID);
    ck_assert_ptr_null(perf_redis_change_word(NULL));
    ck_assert_ptr_null(perf_redis_reply_at(NULL, 0));
    ck_assert_int_eq(perf_redis_port_fd(NULL), -1);
    perf_redis_stats_now(NULL, NULL);
}
END_TEST

START_TEST(test_memory_that_runs_out)
{
    pt_server s;
    pt_server_start(&s, NULL);
    perf_redis_config config = pt_redis_config(s.path);
    perf_redis_options options = {.timeout_ns = 10 * PT_NS_PER_S};
    bool whole = false;
    for (uint64_t allowed = 0; !whole; allowed++) {
        pt_alloc alloc;
        perf_redis *r;
        pt_alloc_init(&alloc, allowed);
        config.allocator = &alloc.face;
        perf_err err = perf_redis_create(&config, &r);
        if (!err) {
            static const char wire[] = "*4\r\n$6\r\nLRANGE\r\n$1\r\nk\r\n"
                                       "$1\r\n0\r\n$2\r\n-1\r\n"
                                       "*3\r\n$4\r\nEVAL\r\n$19\r\n"
                                       "return{1,'a',{2,3}}\r\n$1\r\n0\r\n";
            perf_redis_ticket *t;
            err = perf_redis_submit(r, wire, sizeof wire - 1, &options, &t);
            if (!err)
                err = perf_redis_wait_blocking(t, UINT64_MAX);
            whole = !err;
            perf_redis_release(t);
        }
        ck_assert(whole || err == PERF_ERR_NOMEM);
        perf_redis_destroy_blocking(r);
        ck_assert_uint_eq(alloc.live, 0);
        ck_assert(!alloc.wrong_size);
        ck_assert_uint_lt(allowed, 50);
        perf_redis_port *port;
        pt_alloc_init(&alloc, 0);
        ck_assert_int_eq(perf_redis_port_create(&alloc.face, &port),
                         PERF_ERR_NOMEM);
    }
    pt_server_kill(&s);
}
END_TEST

START_TEST(test_after_close)
{
    pt_server s;
    pt_server_start(&s, NULL);
    perf_redis_config config = pt_redis_config(s.path);
    perf_redis *never = pt_redis_open(&config), *r = pt_redis_open(&config);
    ck_assert_str_eq(pt_ask(r, "PING"), "PONG");
    perf_redis_close_blocking(r);
    perf_redis_close_blocking(r);
    perf_redis_close_blocking(never); /* had no thread yet, and gets none */
    ck_assert_str_eq(pt_ask(r, "PING"), "!PERF_ERR_CLOSED");
    ck_assert_str_eq(pt_ask(never, "PING"), "!PERF_ERR_CLOSED");
    ck_assert_uint_eq(pt_redis_stats(r).commands, 1);
    perf_redis_destroy_blocking(r);
    perf_redis_destroy_blocking(never);
    pt_server_kill(&s);
}
END_TEST

static void
ask_until_closed(unsigned index, void *ctx)
{
    crowd *c = ctx;
    if (index == 0) {
        for (int i = 0; i < 50; i++)
            pt_ask(c->r, "PING");
        perf_redis_close_blocking(c->r);
        return;
    }
    while (strcmp(pt_ask(c->r, "PING"), "!PERF_ERR_CLOSED") != 0)
        ;
}

START_TEST(test_closing_while_others_ask_leaves_nobody_hanging)
{
    pt_server s;
    pt_server_start(&s, NULL);
    perf_redis_config config = pt_redis_config(s.path);
    for (int i = 0; i < 10; i++) {
        crowd c = {.r = pt_redis_open(&config)};
        pt_parallel(4, ask_until_closed, &c);
        ck_assert_uint_eq(pt_redis_stats(c.r).queue_bytes, 0);
        perf_redis_destroy_blocking(c.r);
    }
    pt_server_kill(&s);
}
END_TEST

int
main(void)
{
    TCase *tests = pt_begin("redis");
    tcase_add_test(tests, test_replies_of_every_kind);
    tcase_add_test(tests, test_several_commands_are_one_ticket);
    tcase_add_test(tests, test_threads_get_their_own_replies);
    tcase_add_test(tests, test_a_port_gathers_what_is_done);
    tcase_add_test(tests, test_values_of_any_size);
    tcase_add_test(tests, test_both_go_on_after_a_fork);
    tcase_add_test(tests,
                   test_tickets_and_ports_of_the_parent_are_over_in_the_child);
    tcase_add_test(tests, test_bad_settings);
    tcase_add_test(tests, test_memory_that_runs_out);
    tcase_add_test(tests, test_after_close);
    tcase_add_test(tests, test_closing_while_others_ask_leaves_nobody_hanging);
    return pt_end();
}
