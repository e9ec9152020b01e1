/* pt_model.h - a histogram as one would write it without a second thought: all
 * values, sorted when asked. The fuzz target uses it too. */
#ifndef PT_MODEL_H
#define PT_MODEL_H
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

typedef struct pt_model {
    uint64_t *value;
    size_t n, room;
} pt_model;

static inline void
pt_model_add(pt_model *m, uint64_t value)
{
    if (m->n == m->room) {
        m->room = m->room * 2 + 16;
        m->value = realloc(m->value, m->room * sizeof *m->value);
    }
    m->value[m->n++] = value;
}

static inline int
pt_model_order(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static inline void
pt_model_sort(pt_model *m)
{
    if (m->n)
        qsort(m->value, m->n, sizeof *m->value, pt_model_order);
}

/** Nearest rank of a sorted model. q is a multiple of 1/1000: whole numbers
 *  leave no doubt about ceil(). */
static inline uint64_t
pt_model_quantile(const pt_model *m, unsigned per_mille)
{
    size_t rank = (m->n * per_mille + 999) / 1000;
    return m->n ? m->value[rank ? rank - 1 : 0] : 0;
}

static inline uint64_t
pt_model_sum(const pt_model *m)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < m->n; i++)
        sum = sum + m->value[i] < sum ? UINT64_MAX : sum + m->value[i];
    return sum;
}

/** Within half a bucket: 1/256 of the value, and exact below 128. */
static inline bool
pt_model_close(uint64_t got, uint64_t exact)
{
    uint64_t apart = got > exact ? got - exact : exact - got;
    return apart <= exact / 256;
}
#endif
