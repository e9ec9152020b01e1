/* test_settings.c - configuration, environment, what a start refuses. */
#include "pt.h"

#include "segment/layout.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static perf_segment_config
defaults(void)
{
    perf_segment_config config;
    memset(&config, 0xAA, sizeof config);
    perf_segment_config_init(&config, sizeof config);
    return config;
}

START_TEST(test_defaults_are_those_of_the_header)
{
    perf_segment_config c = defaults();
    ck_assert_uint_eq(c.size, sizeof c);
    ck_assert_uint_eq(c.version, PERF_SEGMENT_CONFIG_VERSION);
    ck_assert_ptr_null(c.dir);
    ck_assert_ptr_null(c.service);
    ck_assert_ptr_null(c.command);
    ck_assert_ptr_null(c.allocator);
    ck_assert_uint_eq(c.max_bytes, 64 << 20);
    ck_assert_uint_eq(c.ring_bytes, 4 << 20);
    perf_segment_config_init(NULL, sizeof c);
    perf_segment_config untouched = {.size = 77};
    perf_segment_config_init(&untouched, sizeof c - 1); /* an older struct */
    ck_assert_uint_eq(untouched.size, 77);
}
END_TEST

START_TEST(test_start_refuses_what_contradicts_itself)
{
    perf_segment_config c = defaults();
    c.size = sizeof c - 8;
    ck_assert_int_eq(perf_segment_start(&c), PERF_ERR_VERSION);
    c = defaults();
    c.version = 2;
    ck_assert_int_eq(perf_segment_start(&c), PERF_ERR_VERSION);
    static const uint64_t max[] = {0, (256 << 10) - 1, (UINT64_C(4) << 30) + 1,
                                   UINT64_MAX};
    static const uint64_t ring[] = {0, 65535, (1 << 30) + 1, UINT64_MAX};
    for (int i = 0; i < 4; i++) {
        c = defaults();
        c.max_bytes = max[i];
        ck_assert_int_eq(perf_segment_start(&c), PERF_ERR_RANGE);
        c = defaults();
        c.ring_bytes = ring[i];
        ck_assert_int_eq(perf_segment_start(&c), PERF_ERR_RANGE);
    }
    char path[PERF_PATH_MAX_BYTES];
    ck_assert_int_eq(perf_segment_path(path, sizeof path), PERF_ERR_CLOSED);
    ck_assert_int_eq(perf_segment_start(NULL), PERF_OK); /* still possible */
}
END_TEST

START_TEST(test_limits_of_the_ranges_are_inside)
{
    perf_segment_config c = defaults();
    c.max_bytes = _i ? UINT64_C(4) << 30 : 256 << 10;
    c.ring_bytes = _i ? 1 << 30 : 64 << 10;
    ck_assert_int_eq(perf_segment_start(&c), PERF_OK);
    ck_assert_uint_eq(pt_stats().max_bytes, c.max_bytes);
    uint32_t name = pt_name(PERF_KIND_SPAN, "s");
    perf_span_end(perf_span_begin(name, (perf_span){0}));
    ck_assert_uint_eq(pt_totals_of(name).count, 1);
}
END_TEST

START_TEST(test_second_start_is_too_late)
{
    if (_i)
        ck_assert_int_eq(perf_segment_start(NULL), PERF_OK);
    else
        perf_span_begin(pt_name(PERF_KIND_SPAN, "first"), (perf_span){0});
    ck_assert_int_eq(perf_segment_start(NULL), PERF_ERR_STARTED);
    perf_segment_config c = defaults();
    ck_assert_int_eq(perf_segment_start(&c), PERF_ERR_STARTED);
    perf_segment_finish();
    ck_assert_int_eq(perf_segment_start(NULL), PERF_ERR_STARTED);
}
END_TEST

START_TEST(test_span_begun_before_start_is_recorded)
{
    uint32_t name = pt_name(PERF_KIND_SPAN, "early");
    perf_span span = perf_span_begin(name, (perf_span){0});
    ck_assert_int_eq(perf_segment_start(NULL), PERF_ERR_STARTED);
    ck_assert_uint_ne(span.id, 0);
    perf_span_end(span);
    ck_assert_uint_eq(pt_totals_of(name).count, 1);
}
END_TEST

START_TEST(test_stats_and_finish_before_any_record)
{
    perf_segment_stats stats, zero = {0};
    memset(&stats, 1, sizeof stats);
    perf_segment_stats_now(&stats);
    ck_assert_mem_eq(&stats, &zero, sizeof stats);
    perf_segment_stats_now(NULL);
    perf_segment_finish();
    char path[PERF_PATH_MAX_BYTES];
    ck_assert_int_eq(perf_segment_path(path, sizeof path), PERF_ERR_CLOSED);
}
END_TEST

static perf_reader_info
info(void)
{
    perf_reader_info out;
    perf_reader *reader = pt_self();
    ck_assert_int_eq(perf_reader_info_get(reader, &out), PERF_OK);
    perf_reader_close(reader);
    return out;
}

START_TEST(test_service_and_command_are_shown)
{
    setenv("LIBPERF_SERVICE", "from the environment", 1);
    char service[200], command[300];
    memset(service, 's', sizeof service);
    memset(command, 'c', sizeof command);
    service[199] = command[299] = 0;
    perf_segment_config c = defaults();
    c.service = _i ? service : NULL;
    c.command = _i ? command : NULL;
    ck_assert_int_eq(perf_segment_start(&c), PERF_OK);
    perf_reader_info seen = info();
    ck_assert_str_eq(seen.version, PERF_VERSION);
    if (_i) { /* too long: cut */
        ck_assert_uint_eq(strlen(seen.service), 63);
        ck_assert_uint_eq(strlen(seen.command), 191);
        return;
    }
    ck_assert_str_eq(seen.service, "from the environment");
    /* the program's name, none of its arguments */
    ck_assert_ptr_nonnull(strstr(seen.command, "test_segment_settings"));
    ck_assert_ptr_null(strchr(seen.command, ' '));
}
END_TEST

START_TEST(test_service_may_change_later)
{
    char service[] = "new";
    ck_assert_int_eq(perf_segment_set_service(service), PERF_ERR_CLOSED);
    perf_segment_config c = defaults();
    c.service = "the one it starts with";
    ck_assert_int_eq(perf_segment_start(&c), PERF_OK);
    ck_assert_int_eq(perf_segment_set_service(NULL), PERF_ERR_INVALID);
    ck_assert_str_eq(info().service, c.service);
    ck_assert_int_eq(perf_segment_set_service(service), PERF_OK);
    memset(service, 'x', sizeof service - 1); /* it has its own copy */
    ck_assert_str_eq(info().service, "new");
    pid_t pid = fork();
    if (!pid) {
        perf_event_write(PERF_EVENT_LABEL, 0, 0, 0, 0);
        exit(strcmp(info().service, "new") != 0);
    }
    int status;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
}
END_TEST

/* ---- environment ---- */

static void
start_with_environment(void *ctx)
{
    uint64_t expected = *(const uint64_t *)ctx;
    PT_CHECK_EQ(perf_segment_start(NULL), PERF_OK);
    PT_CHECK_EQ(pt_stats().max_bytes, expected);
    perf_segment_config c;
    perf_segment_config_init(&c, sizeof c); /* asked again: said once */
}

START_TEST(test_nonsense_in_max_bytes_is_said_once)
{
    static const char *const nonsense[] = {
        "x",      "12MB",       "-1",
        " -1",    "0",          "262143",
        "1.5e9",  "4294967297", "99999999999999999999999",
        "300000 "};
    uint64_t expected = 64 << 20;
    for (size_t i = 0; i < sizeof nonsense / sizeof *nonsense; i++) {
        setenv("LIBPERF_MAX_BYTES", nonsense[i], 1);
        ck_assert_uint_eq(pt_run_well(start_with_environment, &expected), 1);
    }
}
END_TEST

START_TEST(test_max_bytes_from_the_environment)
{
    uint64_t expected = 1 << 20;
    setenv("LIBPERF_MAX_BYTES", "1048576", 1);
    ck_assert_uint_eq(pt_run_well(start_with_environment, &expected), 0);
    setenv("LIBPERF_MAX_BYTES", "1048577", 1); /* whole chunks */
    ck_assert_uint_eq(pt_run_well(start_with_environment, &expected), 0);
    expected = 64 << 20;
    setenv("LIBPERF_MAX_BYTES", "", 1);
    ck_assert_uint_eq(pt_run_well(start_with_environment, &expected), 0);
}
END_TEST

START_TEST(test_ring_bytes_from_the_environment)
{
    uint64_t normal = 64 << 20; /* the other setting is not touched */
    setenv("LIBPERF_RING_BYTES", "1048576", 1);
    ck_assert_uint_eq(defaults().ring_bytes, 1 << 20);
    ck_assert_uint_eq(pt_run_well(start_with_environment, &normal), 0);
    setenv("LIBPERF_RING_BYTES", "65535", 1);
    ck_assert_uint_eq(defaults().ring_bytes, 4 << 20);
    ck_assert_uint_eq(pt_run_well(start_with_environment, &normal), 0);
}
END_TEST

/* ---- limits of the process ---- */

static void
limit(int what, uint64_t bytes)
{
    struct rlimit r = {bytes, bytes};
    PT_CHECK_EQ(setrlimit(what, &r), 0);
}

static void
record_under_a_file_limit(void *ctx)
{
    uint64_t bytes = *(const uint64_t *)ctx;
    limit(RLIMIT_FSIZE, bytes);
    uint32_t name = pt_name(PERF_KIND_SPAN, "s");
    for (int i = 0; i < 30000; i++)
        perf_span_end(perf_span_begin(name, (perf_span){0}));
    perf_segment_stats stats = pt_stats();
    if (bytes < 256 << 10) { /* nothing that could be kept */
        PT_CHECK_EQ(stats.max_bytes, 0);
        return;
    }
    PT_CHECK(stats.max_bytes <= bytes);
    PT_CHECK_EQ(pt_totals_of(name).count, 30000);
}

START_TEST(test_small_file_limit_does_not_kill)
{
    static const uint64_t limits[] = {0, 1000, 65536, 262143, 262144, 400000};
    uint64_t bytes = limits[_i];
    size_t warnings = pt_run_well(record_under_a_file_limit, &bytes);
    ck_assert_uint_ge(warnings, 1); /* no room at all, or no more room */
    ck_assert_uint_le(warnings, bytes < 256 << 10 ? 2 : 1);
}
END_TEST

static void
start_without_address_space(void *ctx)
{
    uint64_t seed = 0;
    (void)ctx;
    perf_segment_config c = defaults();
    c.max_bytes = UINT64_C(4) << 30;
    limit(RLIMIT_AS, UINT64_C(1) << 30);
    for (int i = 0; i < 3; i++) {
        PT_CHECK_EQ(perf_segment_start(&c), PERF_ERR_NOMEM);
        seed += perf_span_begin(PERF_KIND_SPAN, (perf_span){0}).id;
    }
    PT_CHECK_EQ(seed, 0);
}

START_TEST(test_start_without_address_space_leaves_no_file)
{
    char base[PT_PATH], folder[PT_PATH + 32];
    pt_segments_in(base);
    ck_assert_uint_eq(pt_run_well(start_without_address_space, NULL), 1);
    snprintf(folder, sizeof folder, "%s/libperf-%u", base, geteuid());
    ck_assert_int_eq(pt_count_files(folder, ""), 0);
}
END_TEST

/* ---- out of memory ---- */

START_TEST(test_thread_tables_without_memory_are_counted_drops)
{
    pt_alloc a;
    pt_alloc_init(&a, (uint64_t)_i);
    perf_segment_config c = defaults();
    c.allocator = &a.face;
    ck_assert_int_eq(perf_segment_start(&c), PERF_OK);
    uint32_t name = pt_name(PERF_KIND_SPAN, "s");
    uint32_t counter = pt_name(PERF_KIND_COUNTER, "c");
    for (int i = 0; i < 10; i++) {
        perf_span span = perf_span_begin(name, (perf_span){0});
        ck_assert(!span.id == (_i < 2));
        perf_span_set_int(span, PERF_KIND_KEY, 1);
        perf_span_end(span);
        perf_metric_add(counter, 1);
    }
    perf_segment_stats stats = pt_stats();
    ck_assert_uint_eq(stats.dropped_records, _i < 2 ? 10 : 0);
    ck_assert_uint_eq(stats.dropped_values, /* latencies, and counters */
                      _i < 2 ? 10 + 10 : 0);
    ck_assert_uint_eq(pt_totals_of(name).count, _i < 2 ? 0 : 10);
    ck_assert_uint_eq(a.live, _i < 2 ? 0 : 2);
    ck_assert(!a.wrong_size);
}
END_TEST

int
main(void)
{
    TCase *tests = pt_begin("segment.settings");
    tcase_add_test(tests, test_defaults_are_those_of_the_header);
    tcase_add_test(tests, test_start_refuses_what_contradicts_itself);
    tcase_add_loop_test(tests, test_limits_of_the_ranges_are_inside, 0, 2);
    tcase_add_loop_test(tests, test_second_start_is_too_late, 0, 2);
    tcase_add_test(tests, test_span_begun_before_start_is_recorded);
    tcase_add_test(tests, test_stats_and_finish_before_any_record);
    tcase_add_loop_test(tests, test_service_and_command_are_shown, 0, 2);
    tcase_add_test(tests, test_service_may_change_later);
    tcase_add_test(tests, test_nonsense_in_max_bytes_is_said_once);
    tcase_add_test(tests, test_max_bytes_from_the_environment);
    tcase_add_test(tests, test_ring_bytes_from_the_environment);
    tcase_add_loop_test(tests, test_small_file_limit_does_not_kill, 0, 6);
    if (!PT_SANITIZED) /* they reserve terabytes: no such limit can be set */
        tcase_add_test(tests, test_start_without_address_space_leaves_no_file);
    tcase_add_loop_test(
        tests, test_thread_tables_without_memory_are_counted_drops, 0, 3);
    return pt_end();
}
