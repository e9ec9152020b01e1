/* main.c - perf-hit-ratio: how often each policy has what is asked for, on
 * traces of real programs, beside what is possible at all. */
#include "play.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    SMALLEST = 64, /* entries: smaller caches are shown, and not in the means */
    FIXED = 512,
    MOST_TRACES = 256,
    CELLS = 6, /* of a trace */
    KINDS = 3,
};

static const double shares[] = {.001, .01, .05, .1, .2};
static const struct {
    perf_policy_kind kind;
    const char *name;
} kinds[KINDS] = {{PERF_POLICY_LRU, "lru"},
                  {PERF_POLICY_S3FIFO, "s3fifo"},
                  {PERF_POLICY_ADAPTIVE, "adaptive"}};

typedef struct means {
    double share[KINDS]; /* of the optimum */
    double ns[KINDS];
    double worst[KINDS]; /* under LRU, hits */
    char where[KINDS][96];
    int below[KINDS]; /* cells more than a point under LRU */
    int cells, traces;
} means;

static FILE *json;

static bool
play_cell(const trace *t, const uint32_t *next, uint32_t entries, means *sum)
{
    outcome out[KINDS];
    double opt;
    bool ok = play_opt(t, next, entries, &opt);
    for (int k = 0; k < KINDS; k++)
        ok = ok && play(t, kinds[k].kind, entries, 0, &out[k]);
    if (!ok)
        return false;
    printf("%-26s %7u", t->name, entries);
    for (int k = 0; k < KINDS; k++)
        printf(" %6.2f", 100 * out[k].hits);
    printf(" %6.2f ", 100 * opt);
    for (int k = 0; k < KINDS; k++)
        printf(" %4.0f", out[k].ns);
    puts(entries < SMALLEST ? "  small" : "");
    if (json)
        fprintf(json,
                "{\"trace\": \"%s\", \"entries\": %u, \"lru\": %.5f, "
                "\"s3fifo\": %.5f, \"adaptive\": %.5f, \"opt\": %.5f}\n",
                t->name, entries, out[0].hits, out[1].hits, out[2].hits, opt);
    if (entries < SMALLEST || opt <= 0)
        return true;
    for (int k = 0; k < KINDS; k++) {
        double under = out[k].hits - out[0].hits;
        sum->share[k] += out[k].hits / opt;
        sum->ns[k] += out[k].ns;
        sum->below[k] += under < -.01;
        if (under < sum->worst[k]) {
            sum->worst[k] = under;
            snprintf(sum->where[k], sizeof sum->where[k], "%s @%u", t->name,
                     entries);
        }
    }
    sum->cells++;
    return true;
}

/* Sizes of the cells, rising, no two alike; how many. */
static int
cells_of(const trace *t, uint32_t entries[CELLS])
{
    int n = 0;
    bool fixed = false;
    for (int i = 0; i < 5; i++) {
        uint32_t size = (uint32_t)(shares[i] * t->unique);
        if (!fixed && size >= FIXED && t->unique > FIXED) {
            fixed = true;
            if (size != FIXED)
                entries[n++] = FIXED;
        }
        if (size && (!n || entries[n - 1] != size))
            entries[n++] = size;
    }
    if (!fixed && t->unique > FIXED)
        entries[n++] = FIXED;
    return n;
}

static bool
play_sizes(const trace *t)
{
    static const uint64_t mib[] = {16, 64};
    for (int i = 0; t->size && i < 2; i++) {
        outcome out[KINDS];
        for (int k = 0; k < KINDS; k++)
            if (!play(t, kinds[k].kind, t->unique, mib[i] << 20, &out[k]))
                return false;
        printf("%-26s %3u MiB misses", t->name, (unsigned)mib[i]);
        for (int k = 0; k < KINDS; k++)
            printf(" %6.2f", 100 * (1 - out[k].hits));
        printf("  byte misses");
        for (int k = 0; k < KINDS; k++)
            printf(" %6.2f", 100 * (1 - out[k].byte_hits));
        puts("");
        if (json)
            fprintf(json,
                    "{\"trace\": \"%s\", \"mib\": %u, \"lru\": %.5f, "
                    "\"s3fifo\": %.5f, \"adaptive\": %.5f, \"lru_bytes\": "
                    "%.5f, \"s3fifo_bytes\": %.5f, \"adaptive_bytes\": %.5f}\n",
                    t->name, (unsigned)mib[i], out[0].hits, out[1].hits,
                    out[2].hits, out[0].byte_hits, out[1].byte_hits,
                    out[2].byte_hits);
    }
    return true;
}

static bool
play_trace(const trace *t, means *all)
{
    uint32_t *next = trace_next_use(t), entries[CELLS];
    means sum = *all;
    sum.cells = 0;
    for (int k = 0; k < KINDS; k++)
        sum.share[k] = sum.ns[k] = 0;
    int n = cells_of(t, entries);
    bool ok = next && play_sizes(t);
    for (int i = 0; ok && i < n; i++)
        ok = play_cell(t, next, entries[i], &sum);
    free(next);
    for (int k = 0; k < KINDS; k++) { /* each trace weighs the same */
        double cells = sum.cells ? sum.cells : 1;
        sum.share[k] = all->share[k] + sum.share[k] / cells;
        sum.ns[k] = all->ns[k] + sum.ns[k] / cells;
    }
    sum.traces = all->traces + (sum.cells > 0);
    sum.cells += all->cells;
    *all = sum;
    return ok;
}

/* ---- which traces ---- */

static int
by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int
find_traces(const char *folder, char *name[MOST_TRACES])
{
    DIR *dir = opendir(folder);
    int n = 0;
    for (struct dirent *e; dir && n < MOST_TRACES && (e = readdir(dir));) {
        char *end = strstr(e->d_name, ".u32.zst");
        if (!end || strstr(e->d_name, ".size.u32.zst"))
            continue;
        name[n] = strndup(e->d_name, (size_t)(end - e->d_name));
        n += name[n] != NULL;
    }
    if (dir)
        closedir(dir);
    qsort(name, (size_t)n, sizeof *name, by_name);
    return n;
}

static void
summarize(const means *m)
{
    printf("\n%d cells of at least %d entries, %d traces, each weighs the same "
           "in the means\n",
           m->cells, SMALLEST, m->traces);
    for (int k = 0; k < KINDS; k++) {
        double share = m->traces ? m->share[k] / m->traces : 0;
        printf("%-9s share of the optimum %.4f  worst against LRU %+.2f points "
               "(%s)  cells more than a point under it %d  ns %.0f\n",
               kinds[k].name, share, 100 * m->worst[k], m->where[k],
               m->below[k], m->traces ? m->ns[k] / m->traces : 0);
        if (json)
            fprintf(json,
                    "{\"policy\": \"%s\", \"share\": %.5f, \"worst\": %.5f, "
                    "\"where\": \"%s\", \"below\": %d, \"cells\": %d, "
                    "\"traces\": %d}\n",
                    kinds[k].name, share, m->worst[k], m->where[k], m->below[k],
                    m->cells, m->traces);
    }
}

int
main(int argc, char **argv)
{
    if (argc < 2 || argc == 3 || (argc > 3 && strcmp(argv[2], "--json"))) {
        fputs("usage: perf-hit-ratio FOLDER [--json FILE [NAME...]]\n", stderr);
        return 2;
    }
    if (argc > 3 && !(json = fopen(argv[3], "w"))) {
        perror(argv[3]);
        return 1;
    }
    char *found[MOST_TRACES];
    int n = find_traces(argv[1], found), status = n ? 0 : 1;
    means all = {0};
    printf("%-26s %7s %6s %6s %6s %6s   ns a request\n", "trace", "entries",
           "lru", "s3fifo", "adapt.", "opt");
    for (int i = 0; i < n; i++) {
        bool wanted = argc <= 4;
        for (int j = 4; j < argc; j++)
            wanted |= strstr(found[i], argv[j]) != NULL;
        trace t = {0};
        const char *wrong = wanted ? trace_read(&t, argv[1], found[i]) : NULL;
        if (wanted && !wrong && !play_trace(&t, &all))
            wrong = "out of memory";
        if (wrong) {
            fprintf(stderr, "perf-hit-ratio: %s: %s\n", found[i], wrong);
            status = 1;
        }
        trace_free(&t);
        free(found[i]);
    }
    summarize(&all);
    if (json && fclose(json))
        status = 1;
    return status;
}
