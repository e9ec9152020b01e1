/* otlp_names.h - a segment's names as a request can hold them, and what the
 * semantic conventions call them. */
#ifndef PERFI_OTLP_NAMES_H
#define PERFI_OTLP_NAMES_H
#include <libperf/reader.h>

/** Keys that mean something to us, whoever has set them. The first are what
 *  aliases stand for. */
typedef enum perfi_key {
    PERFI_KEY_NONE = 0,
    PERFI_KEY_MODEL,
    PERFI_KEY_PROVIDER,
    PERFI_KEY_TEMPERATURE,
    PERFI_KEY_MAX_TOKENS,
    PERFI_KEY_INPUT_TOKENS,
    PERFI_KEY_OUTPUT_TOKENS,
    PERFI_KEY_FINISH_REASONS,
    PERFI_KEY_OPERATION,
    PERFI_KEY_TOOL_NAME,
    PERFI_KEY_WORKFLOW_NAME,
    PERFI_KEY_DATA_SOURCE,
    PERFI_KEY_KIND,
    PERFI_KEY_NAME,
    PERFI_KEY_TASK,
    PERFI_KEY_CANCELLED,
    PERFI_KEY_THREAD,
    PERFI_KEY_QUANTITY,
    PERFI_KEY_LOST,
    PERFI_KEY_LEVEL,
    PERFI_KEY_COUNT,
} perfi_key;

typedef struct perfi_word {
    const char *text;
    uint32_t length;
} perfi_word;

extern const perfi_word perfi_key_names[PERFI_KEY_COUNT]; /* framed */

/** "gen_ai.request.model", …, framed.  @param length  receives its length. */
static inline const char *
perfi_key_text(perfi_key key, uint32_t *length)
{
    *length = perfi_key_names[key].length;
    return perfi_key_names[key].text;
}

enum { PERFI_FRAME = 8 }; /* bytes that a key's frame takes beside its text */

/** A key as protobuf's KeyValue has it: its tag and length, it, the tag of its
 *  value. All keys of a request's attributes are framed: they are copied with
 *  what is around them.
 *  @param to  length + PERFI_FRAME bytes.  Returns where the text is. */
char *perfi_key_frame(char *to, const char *text, size_t length);

/** What the conventions say of a kind of operation. */
typedef struct perfi_operation {
    perfi_word name;      /* gen_ai.operation.name; NULL: there is none */
    perfi_word kind;      /* libperf's own word: "llm" */
    uint32_t span_kind;   /* of OTLP: 1 internal, 2 server, 3 client */
    perfi_key holds_name; /* attribute for our own name of the span */
    perfi_key target;     /* the span is called "{operation} {this}" */
} perfi_operation;

/** @param kind  an operation, up to PERF_KIND_REQUEST. */
const perfi_operation *perfi_operation_of(perf_kind kind);

/** Who makes a model, by its name; NULL: not known. */
const perfi_word *perfi_provider_of(const char *model, size_t length);

/** A name, copied: refreshing the reader takes its own away. */
typedef struct perfi_name {
    const char *text; /* UTF-8, framed: it may be a key */
    uint32_t length;
    uint8_t kind;  /* perf_kind */
    uint8_t key;   /* perfi_key: this is such a key */
    uint8_t alias; /* perfi_key: it is called so inside of operations */
    uint8_t known; /* 0: look it up */
    const perfi_word *provider; /* of a text: perfi_provider_of() */
} perfi_name;

typedef struct perfi_names {
    const perf_allocator *allocator;
    const perf_reader *reader;
    struct perfi_texts *texts; /* where copies lie */
    perfi_name name[PERF_NAMES_MAX];
} perfi_names;

/** Copy a name. "(other)" when there is no such number, or no memory. */
const perfi_name *perfi_names_find(perfi_names *names, uint32_t number);

static inline const perfi_name *
perfi_names_get(perfi_names *names, uint32_t number)
{
    return number < PERF_NAMES_MAX && names->name[number].known
               ? &names->name[number]
               : perfi_names_find(names, number);
}

void perfi_names_free(perfi_names *names);

#endif
