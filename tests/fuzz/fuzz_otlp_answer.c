/* fuzz_otlp_answer.c - a receiver that answers anything: a verdict, and one
 * line of UTF-8 that ends. */
#include "expect.h"

#include "../../profiler/src/exporter_answer.h"
#include "../../profiler/src/otlp_out.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const types[] = {"application/x-protobuf",
                                        "application/json; charset=utf-8",
                                        "text/plain", "text/html", NULL};
    static const long statuses[] = {200, 400, 429, 503, 0, 299, 307};
    if (size < 2)
        return 0;
    char header[65];
    size_t n = size - 2 < 64 ? size - 2 : 64;
    memcpy(header, data + 2, n);
    header[n] = 0;
    uint8_t *body = malloc(size - 2 ? size - 2 : 1); /* its end is guarded */
    memcpy(body, data + 2, size - 2);
    perfi_judgement j;
    perfi_answer a = {.status = statuses[data[0] % 7],
                      .type = types[data[1] % 5],
                      .retry_after = header,
                      .body = body,
                      .size = size - 2};
    perfi_answer_judge(&a, 784111777, &j);
    expect(j.verdict <= PERFI_AGAIN);
    expect(j.wait_ns <= PERFI_RETRY_AFTER_MAX_S * UINT64_C(1000000000));
    expect(!j.wait_ns || j.verdict == PERFI_AGAIN);
    expect(!j.rejected || j.verdict == PERFI_ACCEPTED);
    const char *end = memchr(j.message, 0, sizeof j.message);
    expect(end != NULL);
    expect(perfi_text_is_utf8(j.message, (size_t)(end - j.message)));
    for (const char *at = j.message; at < end; at++)
        expect((unsigned char)*at >= 32 && *at != 127);
    free(body);
    return 0;
}
