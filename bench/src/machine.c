/* machine.c - processor, compiler and commit, for the record. */
#define _GNU_SOURCE
#include "machine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

static void
look_at_cpu(char *out, size_t size)
{
    char line[512];
    struct utsname system;
    FILE *f = fopen("/proc/cpuinfo", "re");
    bool found = false;
    while (f && !found && fgets(line, sizeof line, f)) {
        const char *value = strchr(line, ':');
        found = value && strncmp(line, "model name", 10) == 0;
        if (found)
            snprintf(out, size, "%.*s", (int)strcspn(value + 2, "\n"),
                     value + 2);
    }
    if (f)
        fclose(f);
    if (!found) /* arm64 has no such line */
        snprintf(out, size, "%s", uname(&system) ? "?" : system.machine);
}

static void
look_at_compiler(char *out, size_t size)
{
#if defined(__clang__)
    snprintf(out, size, "clang %d.%d.%d", __clang_major__, __clang_minor__,
             __clang_patchlevel__);
#elif defined(__GNUC__)
    snprintf(out, size, "gcc %d.%d.%d", __GNUC__, __GNUC_MINOR__,
             __GNUC_PATCHLEVEL__);
#else
    snprintf(out, size, "?");
#endif
}

static void
look_at_commit(char *out, size_t size)
{
    const char *told = getenv("PERF_BENCH_COMMIT");
    snprintf(out, size, "%s", told ? told : "");
    if (told)
        return;
    FILE *git =
        popen("git describe --always --dirty --abbrev=12 2>/dev/null", "re");
    if (!git)
        return;
    if (!fgets(out, (int)size, git))
        *out = 0;
    out[strcspn(out, "\n")] = 0;
    pclose(git);
}

void
perfi_machine_look(perfi_machine *out)
{
    look_at_cpu(out->cpu, sizeof out->cpu);
    look_at_compiler(out->compiler, sizeof out->compiler);
    look_at_commit(out->commit, sizeof out->commit);
    out->cpus = sysconf(_SC_NPROCESSORS_ONLN);
#ifdef __OPTIMIZE__
    out->optimised = true;
#else
    out->optimised = false;
#endif
}
