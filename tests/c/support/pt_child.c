/* pt_child.c - runs parts of a test in a process of their own. */
#include "pt.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

void
pt_check_failed(const char *file, int line, const char *what)
{
    dprintf(STDERR_FILENO, "%s:%d: not true: %s\n", file, line, what);
    _exit(99);
}

void
pt_check_equal(uint64_t a, uint64_t b, const char *file, int line,
               const char *what)
{
    if (a == b)
        return;
    dprintf(STDERR_FILENO, "%s:%d: not true: %s (%llu, %llu)\n", file, line,
            what, (unsigned long long)a, (unsigned long long)b);
    _exit(99);
}

static size_t
count_warnings(const char *text)
{
    static const char start[] = "libperf: ";
    size_t n = 0;
    for (const char *line = text; line;) {
        n += !strncmp(line, start, sizeof start - 1);
        line = strchr(line, '\n');
        line = line ? line + 1 : NULL;
    }
    return n;
}

void
pt_run(pt_result *out, void (*fn)(void *ctx), void *ctx, unsigned guard_s)
{
    int ends[2];
    memset(out, 0, sizeof *out);
    ck_assert_int_eq(pipe(ends), 0);
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (!pid) {
        close(ends[0]);
        dup2(ends[1], STDERR_FILENO);
        close(ends[1]);
        signal(SIGALRM, SIG_DFL); /* check's own handler kills its tests */
        alarm(guard_s);
        fn(ctx);
        _exit(0);
    }
    close(ends[1]);
    size_t at = 0;
    char rest[512];
    for (;;) {
        bool room = at < sizeof out->text - 1;
        ssize_t n =
            room ? read(ends[0], out->text + at, sizeof out->text - 1 - at)
                 : read(ends[0], rest, sizeof rest);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        at += room ? (size_t)n : 0;
    }
    close(ends[0]);
    int status;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    out->code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    out->signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    out->warnings = count_warnings(out->text);
}

size_t
pt_run_well(void (*fn)(void *ctx), void *ctx)
{
    pt_result *result = malloc(sizeof *result);
    pt_run(result, fn, ctx, 100);
    ck_assert_msg(result->code == 0, "child: exit %d, signal %d: %s",
                  result->code, result->signal, result->text);
    size_t warnings = result->warnings;
    free(result);
    return warnings;
}

void *
pt_shared(size_t bytes)
{
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(memory, MAP_FAILED);
    return memory;
}

int
pt_spawn(void (*fn)(void *ctx), void *ctx)
{
    int ends[2];
    char ready = 0;
    ck_assert_int_eq(pipe(ends), 0);
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (!pid) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* a failed test leaves nobody */
        close(ends[0]);
        fn(ctx);
        if (write(ends[1], "r", 1) != 1)
            _exit(98);
        for (;;)
            pause();
    }
    close(ends[1]);
    ssize_t n = read(ends[0], &ready, 1);
    close(ends[0]);
    ck_assert_msg(n == 1, "a child ended before it was ready");
    return pid;
}

void
pt_kill(int pid)
{
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}
