/* cache_memory.c - perf-bench-cache-memory ALLOCATOR: what a cache takes of the
 * system's memory, beside what it holds, after entries of changing sizes have
 * come and gone; and what an entry costs.
 *
 * A process for each allocator, "arena" or "libc": memory that one has kept
 * would be counted for the other. */
#include <libperf/cache.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MIB = 1 << 20, SETS = 1000000, LONGEST = 8192 };

static uint64_t
next_random(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9E3779B97F4A7C15); /* splitmix64 */
    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return z ^ z >> 31;
}

static uint64_t
resident_bytes(void)
{
    FILE *file = fopen("/proc/self/statm", "r");
    unsigned long size = 0, resident = 0;
    if (!file || fscanf(file, "%lu %lu", &size, &resident) != 2)
        exit(EXIT_FAILURE);
    fclose(file);
    return (uint64_t)resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

static perf_cache *
make(perf_cache_config config)
{
    perf_cache *cache;
    if (perf_cache_create(&config, &cache)) {
        fprintf(stderr, "no cache\n");
        exit(EXIT_FAILURE);
    }
    return cache;
}

static void
show(const char *name, perf_cache *cache, uint64_t before)
{
    perf_cache_stats s;
    perf_cache_stats_now(cache, &s);
    double resident = (double)(resident_bytes() - before);
    printf("%s %llu %.0f %.0f %.0f\n", name, (unsigned long long)s.entries,
           (double)s.content_bytes, (double)s.bytes, resident);
    fflush(stdout);
}

static void
churn(const perf_allocator *allocator, const char *name)
{
    static const struct {
        const char *name;
        uint64_t least, most; /* bytes of a value */
    } phases[] = {{"filled", 64, 512},
                  {"grown", 512, LONGEST},
                  {"shrunk", 100, 1500},
                  {"mixed", 16, LONGEST}};
    static unsigned char value[LONGEST];
    char line[64];
    memset(value, 7, sizeof value);
    uint64_t random = 42, before = resident_bytes();
    perf_cache *cache = make((perf_cache_config){.max_bytes = 256 * MIB,
                                                 .policy = PERF_POLICY_LRU,
                                                 .allocator = allocator});
    for (size_t i = 0; i < sizeof phases / sizeof *phases; i++) {
        for (int n = 0; n < SETS; n++) {
            uint64_t key[2] = {next_random(&random), i};
            uint64_t range = phases[i].most - phases[i].least;
            perf_cache_set_at(cache, key, sizeof key, value,
                              phases[i].least + next_random(&random) % range,
                              NULL, 1);
        }
        snprintf(line, sizeof line, "%s/%s", name, phases[i].name);
        show(line, cache, before);
        perf_cache_trim_blocking(cache);
        snprintf(line, sizeof line, "%s/%s/trimmed", name, phases[i].name);
        show(line, cache, before);
    }
    perf_cache_clear_blocking(cache);
    perf_cache_trim_blocking(cache);
    snprintf(line, sizeof line, "%s/cleared", name);
    show(line, cache, before);
    perf_cache_destroy(cache);
}

static void
million(const char *name, perf_policy_kind policy, uint64_t expires_ns)
{
    uint64_t before = resident_bytes();
    perf_cache *cache =
        make((perf_cache_config){.max_bytes = UINT64_C(1024) * MIB,
                                 .max_entries = 1 << 20,
                                 .policy = policy});
    perf_cache_about about = {.expires_ns = expires_ns};
    for (uint64_t i = 0; i < 1000000; i++) {
        uint64_t key[2] = {i, i}, value[12] = {i};
        perf_cache_set_at(cache, key, sizeof key, value, sizeof value, &about,
                          1);
    }
    show(name, cache, before);
    perf_cache_destroy(cache);
}

int
main(int argc, char **argv)
{
    if (argc == 2 && !strcmp(argv[1], "arena")) {
        churn(NULL, "arena");
    } else if (argc == 2 && !strcmp(argv[1], "libc")) {
        churn(perf_allocator_libc(), "libc");
    } else if (argc == 2 && !strcmp(argv[1], "entries")) {
        million("lru", PERF_POLICY_LRU, 0);
        million("lru/ttl", PERF_POLICY_LRU, UINT64_C(1) << 40);
        million("adaptive", PERF_POLICY_ADAPTIVE, 0);
        million("s3fifo", PERF_POLICY_S3FIFO, 0);
    } else {
        fprintf(stderr,
                "usage: perf-bench-cache-memory arena|libc|entries\n"
                "Lines of: what, entries, bytes of keys and values, bytes "
                "held, bytes resident\n");
        return 2;
    }
    return EXIT_SUCCESS;
}
