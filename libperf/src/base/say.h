/* say.h - the few things a library may tell a user unasked, each once. */
#ifndef PERFI_SAY_H
#define PERFI_SAY_H

typedef enum perfi_topic {
    PERFI_SAY_FOLDER,  /* no folder can be used: private memory */
    PERFI_SAY_FULL,    /* the file system or the segment is full */
    PERFI_SAY_NAMES,   /* the name table is full */
    PERFI_SAY_SETTING, /* an environment variable that makes no sense */
    PERFI_SAY_DISK,    /* the cache on disk was damaged */
} perfi_topic;

/** One line on stderr, "libperf: …", the first time for each topic in a
 *  process; LIBPERF_QUIET=1 silences it. Threads: safe. Keeps errno. */
void perfi_say_once(perfi_topic topic, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
#endif
