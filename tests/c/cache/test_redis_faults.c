/* test_redis_faults.c - servers that are killed, stopped, cut off in the middle
 * of a reply, or send anything at all. What is answered is what was asked; the
 * rest fails in time. */
#include "pt_redis.h"

#include "cache/redis/changes.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static const uint64_t ms = 1000000;

/* Gives up soon, comes back soon. */
static perf_redis_config
impatient(const char *path)
{
    perf_redis_config config = pt_redis_config(path);
    config.connect_timeout_ns = 200 * ms;
    config.heartbeat_ns = 100 * ms;
    config.backoff_min_ns = 1 * ms;
    config.backoff_max_ns = 20 * ms;
    return config;
}

/* How a command of `timeout_ns` is done, and how long that took. */
static perf_err
try_one(perf_redis *r, uint64_t timeout_ns, uint64_t *took_ns)
{
    perf_redis_options options = {.timeout_ns = timeout_ns};
    perf_err err;
    uint64_t start = perf_clock_now_ns();
    perf_redis_ticket *t = pt_send(r, "PING", &options, &err);
    if (!err)
        err = perf_redis_wait_blocking(t, UINT64_MAX);
    *took_ns = perf_clock_now_ns() - start;
    perf_redis_release(t);
    return err;
}

START_TEST(test_a_server_that_is_killed_and_comes_back)
{
    pt_server s;
    pt_server_start(&s, NULL);
    perf_redis_config config = impatient(s.path);
    perf_redis *r = pt_redis_open(&config);
    for (int i = 0; i < 10; i++) {
        ck_assert_str_eq(pt_ask_patiently(r, "ECHO x"), "x");
        pt_server_kill(&s);
        uint64_t took;
        for (int n = 0; n < 50; n++) {
            ck_assert_int_eq(try_one(r, 10 * PT_NS_PER_S, &took),
                             PERF_ERR_UNREACHABLE);
            ck_assert_uint_lt(took, PT_NS_PER_S);
        }
        ck_assert_uint_gt(pt_redis_stats(r).opens, (uint64_t)i);
        while (!strlen(pt_redis_stats(r).error)) { /* until a probe dialled */
            try_one(r, PT_NS_PER_S, &took);
            poll(NULL, 0, 1);
        }
        pt_server_restart(&s, NULL);
    }
    ck_assert_str_eq(pt_ask_patiently(r, "PING"), "PONG");
    ck_assert_uint_eq(pt_redis_stats(r).connects, 11);
    ck_assert_uint_eq(pt_redis_stats(r).breaker, PERF_REDIS_CLOSED);
    ck_assert_str_eq(pt_redis_stats(r).error, "");
    perf_redis_destroy_blocking(r);
    pt_server_kill(&s);
}
END_TEST

START_TEST(test_late_replies_are_nobodys)
{
    pt_server s;
    pt_server_start(&s, NULL);
    perf_redis_config config = pt_redis_config(s.path);
    config.failures = 1000;
    config.heartbeat_ns = 100 * PT_NS_PER_S; /* the connection stays */
    perf_redis *r = pt_redis_open(&config);
    for (int round = 0; round < 5; round++) {
        ck_assert_str_eq(pt_ask(r, "ECHO before"), "before");
        pt_server_signal(&s, SIGSTOP);
        perf_redis_options options = {.timeout_ns = 5 * ms};
        perf_redis_ticket *late[10];
        for (int i = 0; i < 10; i++)
            late[i] = pt_send(r, "ECHO late", &options, NULL);
        for (int i = 0; i < 10; i++) {
            ck_assert_int_eq(perf_redis_wait_blocking(late[i], UINT64_MAX),
                             PERF_ERR_TIMEOUT);
            ck_assert_ptr_null(perf_redis_reply_at(late[i], 0));
            perf_redis_release(late[i]);
        }
        perf_redis_options patient = {.timeout_ns = 10 * PT_NS_PER_S};
        perf_redis_ticket *t = pt_send(r, "ECHO after", &patient, NULL);
        ck_assert_int_eq(perf_redis_wait_blocking(t, 1 * ms), PERF_ERR_TIMEOUT);
        pt_server_signal(&s, SIGCONT);
        ck_assert_int_eq(perf_redis_wait_blocking(t, UINT64_MAX), PERF_OK);
        ck_assert_str_eq((const char *)perf_redis_reply_at(t, 0)->bytes,
                         "after");
        perf_redis_release(t);
    }
    ck_assert_uint_eq(pt_redis_stats(r).timeouts, 50);
    ck_assert_uint_eq(pt_redis_stats(r).connects, 1);
    perf_redis_destroy_blocking(r);
    pt_server_kill(&s);
}
END_TEST

START_TEST(test_a_server_that_says_nothing_is_given_up)
{
    pt_server s;
    pt_server_start(&s, NULL);
    perf_redis_config config = impatient(s.path);
    perf_redis *r = pt_redis_open(&config);
    ck_assert_str_eq(pt_ask(r, "PING"), "PONG");
    pt_server_signal(&s, SIGSTOP);
    uint64_t took;
    /* the command would wait long: the heartbeat does not */
    ck_assert_int_eq(try_one(r, 100 * PT_NS_PER_S, &took),
                     PERF_ERR_UNREACHABLE);
    ck_assert_uint_ge(took, 150 * ms);
    ck_assert_uint_eq(pt_redis_stats(r).losses, 1);
    pt_server_signal(&s, SIGCONT);
    ck_assert_str_eq(pt_ask_patiently(r, "PING"), "PONG");
    perf_redis_destroy_blocking(r);
    pt_server_kill(&s);
}
END_TEST

START_TEST(test_changes_are_lost_with_the_connection)
{
    static const char *const track[] = {"k:", "l:"};
    pt_server s;
    pt_server_start(&s, NULL);
    perf_redis_config config = impatient(s.path);
    perf_redis *other = pt_redis_open(&config);
    memcpy(config.track, track, sizeof track);
    perf_redis *r = pt_redis_open(&config);
    perf_redis_change change[4];
    uint64_t cursor = 0;
    bool all;
    ck_assert_str_eq(pt_ask(r, "PING"), "PONG");
    ck_assert_uint_eq(perf_redis_changes(r, &cursor, change, 4, &all), 0);
    ck_assert(!all);
    const uint64_t *word = perf_redis_change_word(r);
    const _Atomic uint64_t *heard = (const _Atomic uint64_t *)word;
    pt_ask(r, "SET k:own x");   /* our own: not told */
    pt_ask(other, "SET m:x x"); /* under no prefix */
    pt_ask(other, "SET l:ab x");
    while (!atomic_load(heard))
        poll(NULL, 0, 1);
    ck_assert_uint_eq(perf_redis_changes(r, &cursor, change, 4, &all), 1);
    ck_assert(!all && change[0].track == 1 && change[0].size == 2);
    ck_assert_mem_eq(change[0].key, "ab", 2);
    uint64_t before = atomic_load(heard);
    pt_server_kill(&s);
    while (atomic_load(heard) == before)
        poll(NULL, 0, 1);
    ck_assert_uint_eq(perf_redis_changes(r, &cursor, change, 4, &all), 0);
    ck_assert(all);
    /* nobody asks for anything, and still it comes back to listen */
    pt_server_restart(&s, NULL);
    while (!pt_redis_stats(r).tracking)
        poll(NULL, 0, 1);
    perf_redis_changes(r, &cursor, change, 4, &all);
    ck_assert(all);
    perf_redis_changes(r, &cursor, change, 4, &all);
    ck_assert(!all);
    perf_redis_destroy_blocking(r);
    perf_redis_destroy_blocking(other);
    pt_server_kill(&s);
}
END_TEST

/* ---- servers that are none ---- */

typedef struct liar {
    int listening;
    const char *answer;
    size_t size;
    bool honest_first; /* +PONG to what comes first */
} liar;

/* Answer each connection, once or twice, and close it. */
static void *
lie(void *arg)
{
    liar *l = arg;
    char seen[4096];
    for (int fd; (fd = accept(l->listening, NULL, NULL)) >= 0; close(fd)) {
        bool more = recv(fd, seen, sizeof seen, 0) > 0;
        if (more && l->honest_first) /* the introduction: SETNAME, then PING */
            more = send(fd, "+OK\r\n", 5, MSG_NOSIGNAL) == 5 &&
                   recv(fd, seen, sizeof seen, 0) > 0 &&
                   send(fd, "+PONG\r\n", 7, MSG_NOSIGNAL) == 7 &&
                   recv(fd, seen, sizeof seen, 0) > 0;
        if (more)
            (void)!send(fd, l->answer, l->size, MSG_NOSIGNAL);
    }
    return NULL;
}

static void
expect_no_answer(liar *l)
{
    char path[PT_PATH + 16];
    pthread_t thread;
    l->listening = pt_listen(path);
    ck_assert(!pthread_create(&thread, NULL, lie, l));
    perf_redis_config config = impatient(path);
    config.max_reply_bytes = 1 << 20;
    perf_redis *r = pt_redis_open(&config);
    uint64_t took;
    for (int i = 0; i < 10; i++) {
        perf_err err = try_one(r, 2 * PT_NS_PER_S, &took);
        ck_assert_msg(err == PERF_ERR_UNREACHABLE || err == PERF_ERR_RANGE,
                      "%s", perf_err_name(err));
        ck_assert_uint_lt(took, 2 * PT_NS_PER_S);
        poll(NULL, 0, 5);
    }
    perf_redis_destroy_blocking(r);
    shutdown(l->listening, SHUT_RDWR);
    pthread_join(thread, NULL);
    close(l->listening);
}

static const char *const lies[] = {
    "",
    "\r\n",
    "nonsense\r\n",
    "+PO",
    "$100\r\nshort\r\n",
    "$-2\r\n",
    "$9223372036854775807\r\nx",
    "*2147483647\r\n",
    "*9223372036854775807\r\n",
    "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n",
    "*3\r\n$1\r\na\r\n",
    ":12x\r\n",
    "HTTP/1.1 400 Bad Request\r\n\r\n",
};

START_TEST(test_lies_after_a_greeting)
{
    liar l = {.answer = lies[_i], .size = strlen(lies[_i])};
    l.honest_first = true;
    expect_no_answer(&l);
}
END_TEST

START_TEST(test_lies_at_once)
{
    liar l = {.answer = lies[_i], .size = strlen(lies[_i])};
    expect_no_answer(&l);
}
END_TEST

START_TEST(test_a_line_or_a_text_without_end)
{
    enum { SIZE = 3 << 20 };
    char *flood = malloc(SIZE);
    memset(flood, 'x', SIZE);
    memcpy(flood, _i ? "$99999999\r\n" : "+", _i ? 11 : 1);
    liar l = {.answer = flood, .size = SIZE, .honest_first = true};
    expect_no_answer(&l);
    free(flood);
}
END_TEST

START_TEST(test_more_replies_than_commands)
{
    liar l = {.honest_first = true};
    l.answer = "+PONG\r\n+PONG\r\n+PONG\r\n";
    l.size = strlen(l.answer);
    char path[PT_PATH + 16];
    pthread_t thread;
    l.listening = pt_listen(path);
    ck_assert(!pthread_create(&thread, NULL, lie, &l));
    perf_redis_config config = impatient(path);
    perf_redis *r = pt_redis_open(&config);
    ck_assert_str_eq(pt_ask(r, "PING"), "PONG");
    while (!pt_redis_stats(r).losses)
        poll(NULL, 0, 1);
    perf_redis_destroy_blocking(r);
    shutdown(l.listening, SHUT_RDWR);
    pthread_join(thread, NULL);
    close(l.listening);
}
END_TEST

/* ---- the ring of changes ---- */

typedef struct ring {
    perfi_changes *changes;
    perfi_settings *settings;
    atomic_bool ended;
    _Atomic uint64_t wrong, read, lost;
} ring;

/* Thread 0 writes numbers; the others read them, in order, or are told that
 * they missed some. */
static void
write_or_read(unsigned index, void *ctx)
{
    ring *g = ctx;
    enum { N = 300000 };
    if (!index) {
        for (uint64_t i = 1; i <= PT_TIMES(N) || g->read < 1000; i++) {
            char key[66] = "p:";
            for (int word = 0; word < 7; word++)
                memcpy(key + 2 + word * 8, &i, 8);
            perfi_changes_add(g->changes, g->settings, key, 2 + 7 * 8);
        }
        atomic_store(&g->ended, true);
        return;
    }
    uint64_t cursor = 0, last = 0;
    bool gap = false; /* at the end of what was read last */
    for (bool ended = false; !ended;) {
        perf_redis_change change[16];
        bool all = false;
        ended = atomic_load(&g->ended);
        size_t n = perfi_changes_read(g->changes, &cursor, change, 16, &all);
        ended = ended && !n && !all;
        g->lost += all;
        for (size_t i = 0; i < n; i++, g->read++) {
            uint64_t word[7];
            memcpy(word, change[i].key, sizeof word);
            bool torn = change[i].size != sizeof word;
            for (int k = 1; k < 7; k++)
                torn = torn || word[k] != word[0];
            bool may_jump = all || (gap && i == 0);
            if (torn || word[0] <= last || (word[0] > last + 1 && !may_jump))
                g->wrong++;
            last = word[0];
        }
        gap = all || (gap && !n);
    }
}

START_TEST(test_changes_are_whole_and_in_order_or_said_to_be_lost)
{
    perf_redis_config config;
    perf_redis_config_init(&config, sizeof config);
    config.track[0] = "p:";
    ring g = {.changes = calloc(1, sizeof *g.changes)};
    ck_assert_int_eq(perfi_settings_new(&config, &g.settings), PERF_OK);
    pt_parallel(3, write_or_read, &g);
    ck_assert_uint_eq(g.wrong, 0);
    ck_assert_uint_gt(g.read, 0);
    perfi_settings_drop(g.settings);
    free(g.changes);
}
END_TEST

START_TEST(test_a_key_that_is_too_long_is_anything)
{
    perf_redis_config config;
    perf_redis_config_init(&config, sizeof config);
    config.track[0] = "p:";
    perfi_settings *settings;
    perfi_changes *c = calloc(1, sizeof *c);
    perf_redis_change change[4];
    uint64_t cursor = 0;
    bool all = false;
    char key[66] = "p:";
    ck_assert_int_eq(perfi_settings_new(&config, &settings), PERF_OK);
    perfi_changes_add(c, settings, "p", 1);  /* too short */
    perfi_changes_add(c, settings, "q:", 2); /* another's */
    ck_assert_uint_eq(perfi_changes_read(c, &cursor, change, 4, &all), 0);
    perfi_changes_add(c, settings, "p:", 2);
    perfi_changes_add(c, settings, key, 64);
    ck_assert_uint_eq(perfi_changes_read(c, &cursor, change, 4, &all), 2);
    ck_assert(!all && change[0].size == 0 && change[1].size == 62);
    perfi_changes_add(c, settings, key, 65);
    ck_assert_uint_eq(perfi_changes_read(c, &cursor, change, 4, &all), 0);
    ck_assert(all);
    perfi_settings_drop(settings);
    free(c);
}
END_TEST

int
main(void)
{
    enum { LIES = sizeof lies / sizeof *lies };
    TCase *tests = pt_begin("redis_faults");
    tcase_add_test(tests, test_a_server_that_is_killed_and_comes_back);
    tcase_add_test(tests, test_late_replies_are_nobodys);
    tcase_add_test(tests, test_a_server_that_says_nothing_is_given_up);
    tcase_add_test(tests, test_changes_are_lost_with_the_connection);
    tcase_add_loop_test(tests, test_lies_after_a_greeting, 0, LIES);
    tcase_add_loop_test(tests, test_lies_at_once, 0, LIES);
    tcase_add_loop_test(tests, test_a_line_or_a_text_without_end, 0, 2);
    tcase_add_test(tests, test_more_replies_than_commands);
    tcase_add_test(tests,
                   test_changes_are_whole_and_in_order_or_said_to_be_lost);
    tcase_add_test(tests, test_a_key_that_is_too_long_is_anything);
    return pt_end();
}
