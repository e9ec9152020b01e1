/* expect.h - a claim that does not hold is a crash, which libFuzzer keeps. */
#ifndef EXPECT_H
#define EXPECT_H
#include <stdbool.h>
#include <stdlib.h>

static inline void
expect(bool truth)
{
    if (!truth)
        abort();
}
#endif
