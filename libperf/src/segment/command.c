/* command.c - what a person would call this program. */
#include "../base/text.h"
#include "segment.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* `args` are NUL-separated. */
static const char *
program_name(const char *args, const char *end)
{
    const char *slash = strrchr(args, '/');
    if (strncmp(slash ? slash + 1 : args, "python", 6) != 0)
        return args;
    for (const char *arg = args; (arg += strlen(arg) + 1) < end;) {
        if (!strcmp(arg, "-m") || !strcmp(arg, "-c"))
            continue; /* a module's name follows; of code, nothing */
        if (!strcmp(arg, "-W") || !strcmp(arg, "-X"))
            arg += strlen(arg) + 1; /* an option with a value */
        else if (arg[0] != '-' &&
                 !perfi_text_ends_in(arg, "libperf/cli/child.py"))
            return !strcmp(arg - 3, "-c") ? "-c" : arg;
    }
    return args;
}

void
perfi_command_read(char *out, size_t size)
{
    char args[4096];
    int fd = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, args, sizeof args - 1) : 0;
    if (fd >= 0)
        close(fd);
    args[n > 0 ? n : 0] = 0;
    const char *name = program_name(args, args + (n > 0 ? n : 0));
    snprintf(out, size, "%.*s", (int)size - 1, name);
}
