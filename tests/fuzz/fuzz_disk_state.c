/* fuzz_disk_state.c - proves that whatever lies in the file that the processes
 * of a disk tier share, asking it gives an answer within its bytes, and a log
 * never gives more than there is room for.
 *
 * The first byte of an input chooses: the rest as the whole file, or patches on
 * the image of a good one. */
#include "cache/disk/lease.h"
#include "cache/disk/state.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_BYTES = 1 << 20 };

static unsigned char *image;
static size_t image_size;

static void
expect(bool condition)
{
    if (!condition)
        abort();
}

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    image_size = (size_t)perfi_state_bytes(MAX_BYTES);
    image = aligned_alloc(4096, image_size);
    return 0;
}

static void
make_good(perfi_state *s)
{
    memset(image, 0, image_size);
    perfi_state_make(image, MAX_BYTES);
    expect(!perfi_state_attach(image, image_size, s));
    for (uint8_t i = 0; i < 100; i++) {
        uint8_t digest[16] = {i, (uint8_t)(i * 7)};
        perfi_bloom_add(s, digest);
        perfi_log_add(s, digest, i & 1);
    }
    perfi_log_publish(s, 100);
}

/* Each patch: 4 bytes say where, 1 how long, then the bytes; most go to the
 * header and the log. */
static void
patch(const uint8_t *data, size_t size)
{
    for (size_t at = 0; at + 5 < size;) {
        uint32_t where;
        memcpy(&where, data + at, sizeof where);
        size_t length = (data[at + 4] & 15) + 1u;
        size_t to = data[at + 4] & 64 ? where % 512 : where % image_size;
        at += 5;
        for (; length-- && at < size && to < image_size; at++)
            image[to++] = data[at];
    }
}

static void
ask(perfi_state *s, const uint8_t digest[16])
{
    static uint8_t out[16 * 64];
    perfi_state_header *h = s->header;
    uint64_t from = perfi_half(digest);
    for (int i = 0; i < 3; i++) {
        int64_t n = perfi_log_read(s, &from, 1, out, 64);
        expect(n == PERF_ERR_RANGE || (n >= 0 && n <= 64));
        from = perfi_half(digest + 8) % 200;
    }
    perfi_log_recover(s);
    perfi_log_add(s, digest, 2);
    perfi_log_publish(s, perfi_half(digest));
    perfi_state_invalidate(s, perfi_half(digest), perfi_half(digest + 8));
    expect(perfi_state_label_ms(s, perfi_half(digest)) >=
           perfi_half(digest + 8));
    perfi_state_touch(s, digest);
    expect(perfi_state_untouch(s, digest));
    expect(!perfi_state_untouch(s, digest));
    perfi_bloom_add(s, digest);
    expect(perfi_bloom_may_have(s, digest));
    if (h->generation % 16 == 0) { /* it takes long */
        perfi_bloom_begin(s);
        perfi_bloom_fill(s, digest);
        perfi_bloom_end(s, 1);
        expect(perfi_bloom_may_have(s, digest));
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    perfi_state s = {.fd = -1};
    perfi_lease lease;
    if (size < 17)
        return 0;
    const uint8_t *digest = data + 1;
    if (size - 17 >= sizeof lease) {
        memcpy(&lease, data + 17, sizeof lease);
        perfi_lease_holds(&lease, perfi_half(digest));
    }
    if (data[0] & 1) {
        size_t rest = size - 17;
        void *bytes = aligned_alloc(4096, (rest + 4096) & ~(size_t)4095);
        memcpy(bytes, data + 17, rest);
        if (!perfi_state_attach(bytes, rest, &s))
            ask(&s, digest);
        free(bytes);
        return 0;
    }
    make_good(&s);
    patch(data + 17, size - 17);
    if (!perfi_state_attach(image, image_size, &s) || data[0] & 2)
        ask(&s, digest);
    return 0;
}
