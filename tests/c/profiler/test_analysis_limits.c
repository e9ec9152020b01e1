/* test_analysis_limits.c - without memory an analysis gives an error and
 * nothing else; a recording may end anywhere. */
#include "pt_profile.h"
#include "pt_scenes.h"

#include "segment/layout.h"

#include <stdlib.h>

static perf_reader *reader;
static perf_analysis *analysis;

static uint64_t
replay_unchanged(void)
{
    uint64_t ns = 0;
    ck_assert_int_eq(
        perf_analysis_replay_blocking(analysis, NULL, 0, 1, 0, &ns), PERF_OK);
    return ns;
}

/* The label with the most repeats. */
static uint32_t
label_called(void)
{
    perf_label l;
    uint32_t found = 0, most = 0;
    for (uint32_t i = 0; !perf_analysis_label(analysis, i, &l); i++) {
        if (l.repeats <= most)
            continue;
        most = l.repeats;
        found = i;
    }
    return found;
}

/* ---- no memory ---- */

START_TEST(test_making_fails_at_any_allocation)
{
    pt_alloc a;
    perf_err err = PERF_ERR_NOMEM;
    pt_scene_everything();
    perf_events_set_time(0, 0);
    uint64_t allowed = 0;
    for (; err; allowed++) {
        pt_alloc_init(&a, allowed);
        analysis = (void *)&a;
        reader = pt_self();
        err = perf_analysis_create_blocking(reader, 0, &a.face, &analysis);
        ck_assert(err == PERF_OK || err == PERF_ERR_NOMEM);
        ck_assert((err == PERF_OK) == (analysis != NULL));
        perf_analysis_destroy(analysis);
        perf_reader_close(reader);
        ck_assert_uint_eq(a.live, 0);
        ck_assert_uint_eq(a.live_bytes, 0);
        ck_assert(!a.wrong_size);
    }
    ck_assert_uint_gt(allowed, 60);
}
END_TEST

/* The analysis can be used as before, whatever failed. */
START_TEST(test_replaying_fails_at_any_allocation)
{
    perf_err err = PERF_ERR_NOMEM;
    pt_scene_everything();
    perf_events_set_time(0, 0);
    for (uint64_t allowed = 0; err; allowed++) {
        pt_alloc a;
        perf_analysis_info info;
        uint64_t ns;
        pt_alloc_init(&a, UINT64_MAX);
        reader = pt_self();
        ck_assert_int_eq(
            perf_analysis_create_blocking(reader, 0, &a.face, &analysis),
            PERF_OK);
        perf_analysis_info_get(analysis, &info);
        a.allowed = a.calls + allowed;
        perf_change more[] = {{PERF_CHANGE_CAPACITY, 0, 2},
                              {PERF_CHANGE_CACHE, label_called(), 0}};
        err = perf_analysis_replay_blocking(analysis, more, 2, 1, 9, &ns);
        ck_assert(err == PERF_OK || err == PERF_ERR_NOMEM);
        a.allowed = UINT64_MAX;
        ck_assert_int_eq(
            perf_analysis_replay_blocking(analysis, more, 2, 1, 9, &ns),
            PERF_OK);
        ck_assert_uint_eq(replay_unchanged(), info.replay_ns);
        perf_analysis_destroy(analysis);
        perf_reader_close(reader);
        ck_assert_uint_eq(a.live, 0);
        ck_assert(!a.wrong_size);
    }
}
END_TEST

/* ---- recordings that end anywhere ---- */

/* The segment as it was when a ring of one chunk held so many events. */
static void
cut(unsigned char *bytes, uint64_t events)
{
    perfi_header *header = (void *)bytes;
    perfi_block *block = (void *)(bytes + perfi_get(&header->blocks));
    perfi_set(&block->head,
              sizeof(perfi_ring_chunk) + events * sizeof(perfi_event));
}

START_TEST(test_every_prefix_of_a_recording)
{
    size_t size, count = 0;
    perf_event batch[64];
    pt_scene_everything();
    perf_events_set_time(0, 0);
    reader = pt_self();
    for (size_t n; (n = perf_reader_events(reader, batch, 64));)
        count += n;
    perf_reader_close(reader);
    ck_assert_uint_lt(count * sizeof(perfi_event), PERFI_CHUNK - 32);
    unsigned char *bytes = pt_segment_bytes(&size);
    for (uint64_t events = count; events > 0; events--) {
        perf_analysis_info info;
        uint64_t ns;
        cut(bytes, events);
        ck_assert_int_eq(perf_reader_open_bytes(bytes, size, NULL, &reader),
                         PERF_OK);
        PT_ASSERT(!perf_analysis_create_blocking(reader, 0, NULL, &analysis));
        PT_ASSERT(!perf_analysis_info_get(analysis, &info));
        PT_ASSERT(info.events == events);
        for (uint32_t i = 0; i < info.resources; i++) {
            perf_change more = {PERF_CHANGE_CAPACITY, i, 2};
            PT_ASSERT(!perf_analysis_replay_blocking(analysis, &more, 1, 0,
                                                     events, &ns));
        }
        perf_change cache = {PERF_CHANGE_CACHE, label_called(), 0};
        PT_ASSERT(!perf_analysis_replay_blocking(analysis, &cache, 1, 0, events,
                                                 &ns));
        PT_ASSERT(replay_unchanged() == info.replay_ns);
        perf_analysis_destroy(analysis);
        perf_reader_close(reader);
    }
    free(bytes);
}
END_TEST

int
main(void)
{
    TCase *tests = pt_begin("profiler.analysis_limits");
    tcase_add_test(tests, test_making_fails_at_any_allocation);
    tcase_add_test(tests, test_replaying_fails_at_any_allocation);
    tcase_add_test(tests, test_every_prefix_of_a_recording);
    return pt_end();
}
