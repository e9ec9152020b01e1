/* test_redis.c - commands and replies through a real server: in order, in one
 * pipeline, waited for or through a port. */
#include "pt_redis.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

int
main(void)
{
    TCase *tests = pt_begin("redis");
    tcase_add_test(tests, test_replies_of_every_kind);
    return pt_end();
}
