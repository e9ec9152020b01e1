/* name.h - interned names: text goes in once, numbers go into records.
 *
 * Model:    a name is a text of one kind. Interning the same text and kind
 *           again gives the same number, in every thread, for the life of
 *           the process and in its forked children. The table holds 4,096
 *           names; what comes later is recorded under that kind's
 *           "(other)", counted, and warned of once on stderr.
 * Threads:  any thread; takes a lock, so intern once, not per call.
 * Memory:   texts are copied, at most 200 bytes each, cut between UTF-8
 *           characters. */
#ifndef LIBPERF_NAME_H
#define LIBPERF_NAME_H
#include <libperf/base.h>

PERF_BEGIN_DECLS

/** What a name stands for. The first eight are operations that take time
 *  (spans); readers show them apart. Append-only. */
typedef enum perf_kind {
    PERF_KIND_SPAN = 0,      /* a function or block of the program */
    PERF_KIND_GRAPH = 1,     /* a whole run of a graph, crew or agent */
    PERF_KIND_NODE = 2,      /* a node or task inside one */
    PERF_KIND_LLM = 3,       /* a call of a language model */
    PERF_KIND_TOOL = 4,      /* a call of a tool */
    PERF_KIND_RETRIEVER = 5, /* a search */
    PERF_KIND_EMBEDDING = 6, /* a call of an embedding model */
    PERF_KIND_REQUEST = 7,   /* a request served or sent */
    PERF_KIND_COUNTER = 8,   /* metric: grows */
    PERF_KIND_GAUGE = 9,     /* metric: last value */
    PERF_KIND_TIMING = 10,   /* metric: histogram of durations */
    PERF_KIND_KEY = 11,      /* an attribute's key */
    PERF_KIND_QUANTITY = 12, /* a key whose int values are added up per span
                                name: tokens, bytes, micro-dollars */
    PERF_KIND_TEXT = 13,     /* an attribute value that repeats */
} perf_kind;

enum {
    PERF_KIND_COUNT = 14,  /* kinds; also the names that exist from the start,
                              one "(other)" for each */
    PERF_NAMES_MAX = 4096, /* names in one process */
    PERF_TEXT_MAX_BYTES = 200 /* of a name, an attribute text, a log line */
};

/** Intern a text.
 *  @param kind  one of perf_kind; anything else counts as PERF_KIND_SPAN
 *  @param text  `length` bytes, UTF-8, need not end in NUL; NULL or empty
 *               gives "(other)"
 *  Returns the number; never fails (see "(other)" above). */
PERF_API uint32_t perf_name(perf_kind kind, const char *text, size_t length);

/** The text and kind of a number of this process; "(other)" of
 *  PERF_KIND_SPAN for one that was never given out.
 *  Ownership: borrowed, lives as long as the process. */
PERF_API const char *perf_name_text(uint32_t name);
PERF_API perf_kind perf_name_kind(uint32_t name);

PERF_END_DECLS
#endif
