/* buckets.h - which bucket a value falls into, and back.
 *
 *   value < 128          page 0, one bucket a value
 *   2^e <= value < 2^e+1 page e - 6, the 7 bits after the leading one
 *
 * 58 pages of 128 buckets cover all of uint64_t. */
#ifndef PERFI_BUCKETS_H
#define PERFI_BUCKETS_H
#include <stdint.h>

enum {
    PERFI_PAGE_BITS = 7,
    PERFI_PAGE_BUCKETS = 1 << PERFI_PAGE_BITS,
    PERFI_PAGES = 64 - PERFI_PAGE_BITS + 1,
    PERFI_BUCKETS = PERFI_PAGES * PERFI_PAGE_BUCKETS,
};

static inline uint32_t
perfi_bucket_of(uint64_t value)
{
    /* Pages 0 and 1 both have a bucket for each value: 255 in place of a small
     * one makes the shift 0 in both. Above, the leading one, which the shift
     * leaves in place, counts as the page more. */
    uint64_t at_least = value | (2 * PERFI_PAGE_BUCKETS - 1);
    unsigned shift =
        (63u ^ (unsigned)__builtin_clzll(at_least)) - PERFI_PAGE_BITS;
    return (shift << PERFI_PAGE_BITS) + (uint32_t)(value >> shift);
}

/** The smallest value of a bucket. */
static inline uint64_t
perfi_bucket_low(uint32_t bucket)
{
    uint64_t page = bucket >> PERFI_PAGE_BITS;
    uint64_t sub = bucket & (PERFI_PAGE_BUCKETS - 1);
    return page ? (PERFI_PAGE_BUCKETS | sub) << (page - 1) : sub;
}

/** How many values share a bucket. */
static inline uint64_t
perfi_bucket_width(uint32_t bucket)
{
    uint32_t page = bucket >> PERFI_PAGE_BITS;
    return page ? (uint64_t)1 << (page - 1) : 1;
}

static inline uint64_t
perfi_bucket_high(uint32_t bucket)
{
    return perfi_bucket_low(bucket) + (perfi_bucket_width(bucket) - 1);
}

/** At most 2^-8 of any value in the bucket away from it. */
static inline uint64_t
perfi_bucket_middle(uint32_t bucket)
{
    return perfi_bucket_low(bucket) + (perfi_bucket_width(bucket) - 1) / 2;
}
#endif
