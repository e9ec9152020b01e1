/* exporter_answer.h - what a receiver's answer means: accepted, refused, or to
 * be tried again, and when. */
#ifndef PERFI_EXPORTER_ANSWER_H
#define PERFI_EXPORTER_ANSWER_H
#include <libperf/otlp.h>

typedef enum perfi_verdict {
    PERFI_ACCEPTED = 0,
    PERFI_REFUSED = 1, /* never again */
    PERFI_AGAIN = 2,
} perfi_verdict;

typedef struct perfi_answer {
    long status;             /* of HTTP; 0: there was none */
    const char *type;        /* Content-Type; NULL: not said */
    const char *retry_after; /* NULL: not said */
    const uint8_t *body;
    size_t size;
} perfi_answer;

typedef struct perfi_judgement {
    perfi_verdict verdict;
    uint64_t rejected; /* items, of an accepted body: partial success */
    uint64_t wait_ns;  /* that was asked for; 0: not */
    char message[160]; /* what it says; may be empty. One line, ends in NUL */
} perfi_judgement;

/** @param wall_s  seconds since 1970: Retry-After may be a date. */
void perfi_answer_judge(const perfi_answer *answer, uint64_t wall_s,
                        perfi_judgement *out);

enum { PERFI_RETRY_AFTER_MAX_S = 3600 };

/** "120", or "Fri, 31 Dec 1999 23:59:59 GMT" (RFC 9110), in nanoseconds from
 *  now; at most PERFI_RETRY_AFTER_MAX_S. 0: what is in the past, or no sense.
 */
uint64_t perfi_retry_after_ns(const char *text, uint64_t wall_s);

#endif
