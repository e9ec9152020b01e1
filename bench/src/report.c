/* report.c - one row and one line of JSON for each case.
 *
 * Every JSON line stands alone: it says on what machine and from what commit
 * its numbers came, so that files can be cut, joined and compared. */
#define _GNU_SOURCE
#include "report.h"

#include <string.h>

static const double shown[] = {0.5, 0.9, 0.99, 0.999};
enum { SHOWN = sizeof shown / sizeof *shown };

/* ---- table ---- */

void
perfi_report_start(perfi_report *report)
{
    const perfi_machine *m = &report->machine;
    fprintf(report->table, "libperf %s, %s, %s, %ld cpus%s%s\n", perf_version(),
            m->compiler, m->cpu, m->cpus, *m->commit ? ", commit " : "",
            m->commit);
    if (!m->optimised)
        fprintf(stderr,
                "%s: libperf was built without optimisation: these "
                "times mean little\n",
                report->program);
    fprintf(report->table, "%-*s %10s %10s %8s %8s %s\n", report->width, "case",
            "least ns", "median ns", "+-MAD", "ratio", "to");
}

static void
print_operations(FILE *f, const perf_histogram *h, int width)
{
    uint64_t at[SHOWN];
    if (perf_histogram_quantiles(h, shown, SHOWN, at) != PERF_OK)
        return;
    fprintf(f,
            "%-*s   single operations, ns: p50 %llu  p90 %llu  p99 %llu  "
            "p99.9 %llu  max %llu\n",
            width, "", (unsigned long long)at[0], (unsigned long long)at[1],
            (unsigned long long)at[2], (unsigned long long)at[3],
            (unsigned long long)perf_histogram_max(h));
}

static void
print_row(const perfi_report *report, const perf_bench_result *r)
{
    FILE *f = report->table;
    fprintf(f, "%-*s %10.2f %10.2f %8.2f", report->width, r->name, r->min_ns,
            r->median_ns, r->mad_ns);
    if (r->reference)
        fprintf(f, " %8.3f %s", r->ratio, r->reference);
    if (r->reference && r->threads > 1)
        fprintf(f, " (scales %.2fx)", r->scaling);
    fputc('\n', f);
    if (r->operations)
        print_operations(f, r->operations, report->width);
}

/* ---- JSON ---- */

static void
json_text(FILE *f, const char *key, const char *text)
{
    fprintf(f, "\"%s\": \"", key);
    for (const unsigned char *p = (const unsigned char *)text; *p; p++)
        if (*p == '"' || *p == '\\')
            fprintf(f, "\\%c", *p);
        else if (*p < ' ')
            fprintf(f, "\\u%04x", *p);
        else
            fputc(*p, f);
    fputs("\", ", f);
}

/* In every locale with a point. */
static void
json_value(FILE *f, double value)
{
    char text[64];
    snprintf(text, sizeof text, "%.9g", value);
    char *comma = strchr(text, ',');
    if (comma)
        *comma = '.';
    fputs(text, f);
}

static void
json_number(FILE *f, const char *key, double value)
{
    fprintf(f, "\"%s\": ", key);
    json_value(f, value);
    fputs(", ", f);
}

static void
json_quantiles(FILE *f, const char *key, const perf_histogram *h, double unit)
{
    static const char *const names[SHOWN] = {"p50", "p90", "p99", "p999"};
    uint64_t at[SHOWN];
    if (!h || perf_histogram_quantiles(h, shown, SHOWN, at) != PERF_OK)
        return;
    fprintf(f, "\"%s\": {", key);
    for (int i = 0; i < SHOWN; i++)
        json_number(f, names[i], (double)at[i] / unit);
    fputs("\"max\": ", f);
    json_value(f, (double)perf_histogram_max(h) / unit);
    fprintf(f, ", \"count\": %llu}, ",
            (unsigned long long)perf_histogram_count(h));
}

static void
json_measured(FILE *f, const perf_bench_result *r)
{
    json_number(f, "iterations", (double)r->iterations);
    json_number(f, "min_ns", r->min_ns);
    json_number(f, "median_ns", r->median_ns);
    json_number(f, "mad_ns", r->mad_ns);
    json_quantiles(f, "repetitions_ns", r->spread, 1e3);
    json_quantiles(f, "operations_ns", r->operations, 1);
    if (r->reference) {
        json_text(f, "reference", r->reference);
        json_number(f, "ratio", r->ratio);
        json_number(f, "ratio_mad", r->ratio_mad);
        json_number(f, "scaling", r->scaling);
    }
    fputs("\"samples_ns\": [", f);
    for (uint32_t i = 0; i < r->repetitions; i++) {
        fputs(i ? ", " : "", f);
        json_value(f, r->repetition_ns[i]);
    }
    fputs("], ", f);
}

static void
print_json(const perfi_report *report, const perf_bench_result *r)
{
    const perfi_machine *m = &report->machine;
    FILE *f = report->json;
    fputc('{', f);
    json_text(f, "name", r->name);
    json_number(f, "threads", r->threads);
    json_number(f, "repetitions", r->repetitions);
    if (r->error)
        json_text(f, "error", r->error);
    else
        json_measured(f, r);
    json_text(f, "machine", m->cpu);
    json_number(f, "cpus", (double)m->cpus);
    json_text(f, "compiler", m->compiler);
    fprintf(f, "\"optimised\": %s, ", m->optimised ? "true" : "false");
    json_text(f, "commit", m->commit);
    json_text(f, "command", report->command);
    fprintf(f, "\"libperf\": \"%s\"}\n", perf_version());
}

void
perfi_report_result(const perf_bench_result *result, void *report)
{
    perfi_report *r = report;
    if (result->error) {
        r->failed = true;
        fflush(r->table); /* the complaint comes where the row would be */
        fprintf(stderr, "%s: %s: %s\n", r->program, result->name,
                result->error);
    } else {
        print_row(r, result);
    }
    if (r->json)
        print_json(r, result);
}
