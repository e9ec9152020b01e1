/* otlp_names.c - names, copied and mended; the GenAI semantic conventions. What
 * they say stands in bindings/libperf/exports/conventions.py: tests compare. */
#include "otlp_names.h"

#include "otlp_out.h"

#include <ctype.h>

/* ---- the conventions ---- */

#define WORD(t)                                                                \
    {                                                                          \
        t, sizeof t - 1                                                        \
    }
/* As perfi_key_frame() would: tests compare. */
#define FRAMED(length, t)                                                      \
    {                                                                          \
        &("\x0a" length t "\x12")[2], sizeof t - 1                             \
    }
const perfi_word perfi_key_names[PERFI_KEY_COUNT] = {
    [PERFI_KEY_NONE] = FRAMED("\x00", ""),
    [PERFI_KEY_MODEL] = FRAMED("\x14", "gen_ai.request.model"),
    [PERFI_KEY_PROVIDER] = FRAMED("\x14", "gen_ai.provider.name"),
    [PERFI_KEY_TEMPERATURE] = FRAMED("\x1a", "gen_ai.request.temperature"),
    [PERFI_KEY_MAX_TOKENS] = FRAMED("\x19", "gen_ai.request.max_tokens"),
    [PERFI_KEY_INPUT_TOKENS] = FRAMED("\x19", "gen_ai.usage.input_tokens"),
    [PERFI_KEY_OUTPUT_TOKENS] = FRAMED("\x1a", "gen_ai.usage.output_tokens"),
    [PERFI_KEY_FINISH_REASONS] =
        FRAMED("\x1e", "gen_ai.response.finish_reasons"),
    [PERFI_KEY_OPERATION] = FRAMED("\x15", "gen_ai.operation.name"),
    [PERFI_KEY_TOOL_NAME] = FRAMED("\x10", "gen_ai.tool.name"),
    [PERFI_KEY_WORKFLOW_NAME] = FRAMED("\x14", "gen_ai.workflow.name"),
    [PERFI_KEY_DATA_SOURCE] = FRAMED("\x15", "gen_ai.data_source.id"),
    [PERFI_KEY_KIND] = FRAMED("\x0c", "libperf.kind"),
    [PERFI_KEY_NAME] = FRAMED("\x0c", "libperf.name"),
    [PERFI_KEY_TASK] = FRAMED("\x0c", "libperf.task"),
    [PERFI_KEY_CANCELLED] = FRAMED("\x11", "libperf.cancelled"),
    [PERFI_KEY_THREAD] = FRAMED("\x09", "thread.id"),
    [PERFI_KEY_QUANTITY] = FRAMED("\x10", "libperf.quantity"),
    [PERFI_KEY_LOST] = FRAMED("\x11", "libperf.lost.what"),
    [PERFI_KEY_LEVEL] = FRAMED("\x09", "log.level"),
};

static const struct {
    const char *text;
    perfi_key stands_for;
} aliases[] = {
    {"model", PERFI_KEY_MODEL},
    {"provider", PERFI_KEY_PROVIDER},
    {"temperature", PERFI_KEY_TEMPERATURE},
    {"max_tokens", PERFI_KEY_MAX_TOKENS},
    {"input_tokens", PERFI_KEY_INPUT_TOKENS},
    {"prompt_tokens", PERFI_KEY_INPUT_TOKENS},
    {"output_tokens", PERFI_KEY_OUTPUT_TOKENS},
    {"completion_tokens", PERFI_KEY_OUTPUT_TOKENS},
    {"finish_reason", PERFI_KEY_FINISH_REASONS},
};

enum { INTERNAL = 1, CLIENT = 3 };

const perfi_operation *
perfi_operation_of(perf_kind kind)
{
    static const perfi_operation table[] = {
        [PERF_KIND_SPAN] = {{NULL, 0}, WORD("function"), INTERNAL, 0, 0},
        [PERF_KIND_GRAPH] = {WORD("invoke_workflow"), WORD("graph"), INTERNAL,
                             PERFI_KEY_WORKFLOW_NAME, PERFI_KEY_WORKFLOW_NAME},
        [PERF_KIND_NODE] = {{NULL, 0}, WORD("node"), INTERNAL, 0, 0},
        [PERF_KIND_LLM] = {WORD("chat"), WORD("llm"), CLIENT, 0,
                           PERFI_KEY_MODEL},
        [PERF_KIND_TOOL] = {WORD("execute_tool"), WORD("tool"), INTERNAL,
                            PERFI_KEY_TOOL_NAME, PERFI_KEY_TOOL_NAME},
        [PERF_KIND_RETRIEVER] = {WORD("retrieval"), WORD("retriever"), CLIENT,
                                 0, PERFI_KEY_DATA_SOURCE},
        [PERF_KIND_EMBEDDING] = {WORD("embeddings"), WORD("embedding"), CLIENT,
                                 0, PERFI_KEY_MODEL},
        [PERF_KIND_REQUEST] = {{NULL, 0}, WORD("request"), INTERNAL, 0, 0},
    };
    return &table[kind <= PERF_KIND_REQUEST ? kind : PERF_KIND_SPAN];
}

static const struct {
    const char *begin;
    perfi_word provider;
} makers[] = {
    {"gpt-", WORD("openai")},
    {"chatgpt-", WORD("openai")},
    {"o1", WORD("openai")},
    {"o3", WORD("openai")},
    {"o4", WORD("openai")},
    {"text-embedding-3", WORD("openai")},
    {"text-embedding-ada", WORD("openai")},
    {"claude-", WORD("anthropic")},
    {"gemini-", WORD("gcp.gen_ai")},
    {"command-", WORD("cohere")},
    {"mistral-", WORD("mistral_ai")},
    {"deepseek-", WORD("deepseek")},
    {"grok-", WORD("x_ai")},
    {"sonar", WORD("perplexity")},
};

static bool
begins_with(const char *text, size_t length, const char *begin)
{
    size_t n = strlen(begin);
    for (size_t i = 0; i < n; i++)
        if (i >= length || tolower((unsigned char)text[i]) != begin[i])
            return false;
    return true;
}

const perfi_word *
perfi_provider_of(const char *model, size_t length)
{
    for (size_t i = length; i; i--)
        if (model[i - 1] == '/') { /* "openai/gpt-4o": the model is behind */
            model += i;
            length -= i;
            break;
        }
    for (size_t i = 0; i < sizeof makers / sizeof *makers; i++)
        if (begins_with(model, length, makers[i].begin))
            return &makers[i].provider;
    return NULL;
}

/* ---- copies ---- */

char *
perfi_key_frame(char *to, const char *text, size_t length)
{
    unsigned char *p = (unsigned char *)to;
    *p++ = 1 << 3 | 2;
    p = perfi_put_text(p, text, length);
    *p = 2 << 3 | 2;
    return (char *)p - length;
}

enum { TEXTS_BYTES = 16 * 1024 };

typedef struct perfi_texts {
    struct perfi_texts *next;
    size_t used;
    char bytes[TEXTS_BYTES];
} perfi_texts;

static char *
take(perfi_names *names, size_t bytes)
{
    perfi_texts *t = names->texts;
    if (!t || TEXTS_BYTES - t->used < bytes) {
        t = names->allocator->alloc(sizeof *t, names->allocator->ctx);
        if (!t)
            return NULL;
        t->next = names->texts;
        names->texts = t;
    }
    return t->bytes + t->used;
}

void
perfi_names_free(perfi_names *names)
{
    while (names->texts) {
        perfi_texts *t = names->texts;
        names->texts = t->next;
        names->allocator->free(t, sizeof *t, names->allocator->ctx);
    }
}

static perfi_key
find_key(const char *text, size_t length)
{
    for (perfi_key k = 1; k < PERFI_KEY_COUNT; k++)
        if (perfi_key_names[k].length == length &&
            !memcmp(perfi_key_names[k].text, text, length))
            return k;
    return PERFI_KEY_NONE;
}

static perfi_key
find_alias(const char *text, size_t length)
{
    for (size_t i = 0; i < sizeof aliases / sizeof *aliases; i++)
        if (strlen(aliases[i].text) == length &&
            !memcmp(aliases[i].text, text, length))
            return aliases[i].stands_for;
    return PERFI_KEY_NONE;
}

const perfi_name *
perfi_names_find(perfi_names *names, uint32_t number)
{
    static const perfi_name other = {
        .text = &"\x0a\x07(other)\x12"[2], .length = 7, .known = 1};
    char mended[3 * PERF_TEXT_MAX_BYTES];
    perf_kind kind = PERF_KIND_SPAN;
    const char *text = perf_reader_name(names->reader, number, &kind);
    size_t length = text ? strlen(text) : 0;
    char *copy = NULL;
    if (text && number < PERF_NAMES_MAX && length <= PERF_TEXT_MAX_BYTES) {
        length = perfi_text_mend(mended, text, length);
        copy = take(names, length + PERFI_FRAME);
    }
    if (!copy)
        return &other;
    names->texts->used += length + PERFI_FRAME;
    perfi_name *n = &names->name[number];
    *n = (perfi_name){.text = perfi_key_frame(copy, mended, length),
                      .length = (uint32_t)length,
                      .kind = (uint8_t)kind,
                      .known = 1};
    if (kind == PERF_KIND_KEY || kind == PERF_KIND_QUANTITY) {
        n->key = (uint8_t)find_key(n->text, n->length);
        n->alias = (uint8_t)find_alias(n->text, n->length);
    } else if (kind == PERF_KIND_TEXT)
        n->provider = perfi_provider_of(n->text, n->length);
    return n;
}
