/* command.c - the command line of a program made of cases. */
#define _GNU_SOURCE
#include "cases.h"
#include "report.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { FILTERS_MAX = 32, EXIT_USAGE = 2 };

typedef struct options {
    perf_bench_config config;
    const char *filter[FILTERS_MAX];
    const char *json;
    bool list, help;
} options;

static const char help[] =
    "usage: %1$s [OPTIONS]\n"
    "\n"
    "Times each case and compares it with its reference. Cases take turns, so\n"
    "that a machine that slows down slows all of them; ratios hold on other\n"
    "machines too, nanoseconds do not.\n"
    "\n"
    "  --filter TEXT      only cases whose name holds TEXT, and what they are\n"
    "                     compared with; may be given more than once\n"
    "  --repetitions N    of each case, 1 to 1000 (default: 15)\n"
    "  --min-time-ms MS   one repetition's least duration (default: 20)\n"
    "  --json FILE        also write a line of JSON for each case; - is\n"
    "                     standard output, and the table goes to stderr\n"
    "  --list             say the names of the cases, and run none\n"
    "  --help             say this\n"
    "\n"
    "The commit is $PERF_BENCH_COMMIT, else what git says here.\n"
    "Exit status: 0; 1 a case failed; 2 a wrong command line.\n"
    "\n"
    "examples:\n"
    "  %1$s\n"
    "  %1$s --filter histogram/ --filter span/ --json new.jsonl\n"
    "  taskset -c 1 %1$s --filter record --repetitions 51\n";

static bool
refuse(const char *program, const char *option, const char *why)
{
    fprintf(stderr, "%s: %s: %s; see --help\n", program, option, why);
    return false;
}

static bool
parse_number(const char *text, unsigned long max, unsigned long *out)
{
    char *end;
    errno = 0;
    *out = strtoul(text, &end, 10);
    return *text >= '0' && *text <= '9' && !*end && !errno && *out >= 1 &&
           *out <= max;
}

/* An option and its value. Returns false when refused. */
static bool
take(options *o, const char *program, const char *option, const char *value)
{
    unsigned long n;
    if (strcmp(option, "--filter") == 0) {
        if (o->config.filters == FILTERS_MAX)
            return refuse(program, option, "at most 32 of them");
        o->filter[o->config.filters++] = value;
    } else if (strcmp(option, "--repetitions") == 0) {
        if (!parse_number(value, PERF_BENCH_REPETITIONS_MAX, &n))
            return refuse(program, option, "not a number from 1 to 1000");
        o->config.repetitions = (uint32_t)n;
    } else if (strcmp(option, "--min-time-ms") == 0) {
        if (!parse_number(value, 60000, &n))
            return refuse(program, option, "not a number from 1 to 60000");
        o->config.min_time_ns = n * 1000000u;
    } else {
        o->json = value;
    }
    return true;
}

static bool
has_value(const char *option, size_t length)
{
    static const char *const known[] = {"--filter", "--repetitions",
                                        "--min-time-ms", "--json"};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strlen(known[i]) == length &&
            strncmp(option, known[i], length) == 0)
            return true;
    return false;
}

/* Accepts "--option value" and "--option=value". */
static bool
parse(options *o, const char *program, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        size_t length = strcspn(argv[i], "=");
        char option[16];
        if (strcmp(argv[i], "--list") == 0) {
            o->list = true;
        } else if (strcmp(argv[i], "--help") == 0 ||
                   strcmp(argv[i], "-h") == 0) {
            o->help = true;
        } else if (!has_value(argv[i], length)) {
            return refuse(program, argv[i], "no such option");
        } else {
            snprintf(option, sizeof option, "%.*s", (int)length, argv[i]);
            if (!argv[i][length] && i + 1 == argc)
                return refuse(program, option, "a value is missing");
            const char *value =
                argv[i][length] ? argv[i] + length + 1 : argv[++i];
            if (!take(o, program, option, value))
                return false;
        }
    }
    return true;
}

static void
list_cases(void)
{
    const perf_bench_case *c = NULL;
    while ((c = perfi_bench_next(c)))
        printf("%s\n", c->name ? c->name : "(no name)");
}

static bool
fits_any(const options *o)
{
    const perf_bench_case *c = NULL;
    while ((c = perfi_bench_next(c)))
        for (uint32_t i = 0; i < o->config.filters; i++)
            if (strstr(c->name, o->filter[i]))
                return true;
    return !o->config.filters;
}

static void
look_around(perfi_report *report, int argc, char **argv)
{
    size_t used = 0;
    for (int i = 0; i < argc && used < sizeof report->command; i++) {
        int n = snprintf(report->command + used, sizeof report->command - used,
                         "%s%s", i ? " " : "", argv[i]);
        used += n > 0 ? (size_t)n : 0;
    }
    report->width = (int)strlen("case");
    const perf_bench_case *c = NULL;
    while ((c = perfi_bench_next(c)))
        if (c->name && (int)strlen(c->name) > report->width)
            report->width = (int)strlen(c->name);
    perfi_machine_look(&report->machine);
}

/* Nothing is run unless every case is as it should be and the file for the
 * results is open: an hour's results are not lost for a missing folder. */
static int
run(options *o, perfi_report *report)
{
    const char *name, *why = perfi_bench_complaint(&name);
    if (why) {
        fprintf(stderr, "%s: %s: %s\n", report->program, name, why);
        return EXIT_FAILURE;
    }
    if (!fits_any(o)) {
        refuse(report->program, "--filter", "fits no case of --list");
        return EXIT_USAGE;
    }
    bool to_stdout = o->json && strcmp(o->json, "-") == 0;
    report->table = to_stdout ? stderr : stdout;
    report->json = to_stdout ? stdout : NULL;
    if (o->json && !to_stdout && !(report->json = fopen(o->json, "we"))) {
        fprintf(stderr, "%s: --json: %s: %s\n", report->program, o->json,
                strerror(errno));
        return EXIT_USAGE;
    }
    o->config.filter = o->filter;
    perfi_report_start(report);
    fflush(report->table);
    perf_err err = perf_bench_run(&o->config, perfi_report_result, report);
    if (err)
        fprintf(stderr, "%s: %s\n", report->program, perf_strerror(err));
    int status = err || report->failed ? EXIT_FAILURE : EXIT_SUCCESS;
    FILE *f = report->json ? report->json : stdout;
    bool written = !ferror(f) && (f == stdout ? fflush(f) : fclose(f)) == 0;
    if (!written) {
        fprintf(stderr, "%s: the results could not be written\n",
                report->program);
        status = EXIT_FAILURE;
    }
    return status;
}

int
perf_bench_main(int argc, char **argv)
{
    options o = {0};
    const char *path = argc > 0 ? argv[0] : "bench";
    const char *slash = strrchr(path, '/');
    perfi_report report = {.program = slash ? slash + 1 : path};
    int status = EXIT_SUCCESS;
    perf_bench_config_init(&o.config, sizeof o.config);
    if (!parse(&o, report.program, argc, argv)) {
        status = EXIT_USAGE;
    } else if (o.help) {
        printf(help, report.program);
    } else if (o.list) {
        list_cases();
    } else {
        look_around(&report, argc, argv);
        status = run(&o, &report);
    }
    perfi_bench_forget();
    return status;
}
