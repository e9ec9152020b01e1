/* otlp_tree.h - messages in messages, as protobuf or as JSON: one description
 * for both. A field has its number and its JSON name.
 *
 *     perfi_tree_open(t, 2, "scope");            message Scope scope = 2
 *     perfi_tree_text(t, 1, "name", "libperf", 7);
 *     perfi_tree_close(t);
 *     perfi_tree_list(t, "spans");               repeated Span spans = 2
 *     perfi_tree_item(t, 2);  …  perfi_tree_close(t);
 *     perfi_tree_end_list(t);
 *
 * A tree is a value: a copy of it, and the size of its output, say where it
 * was, and writing can go on from there. */
#ifndef PERFI_OTLP_TREE_H
#define PERFI_OTLP_TREE_H
#include "otlp_out.h"

enum { PERFI_TREE_DEPTH = 12 };

typedef struct perfi_tree {
    perfi_out *out;
    bool json;
    uint8_t depth;
    uint8_t filled; /* JSON: something is before, a comma comes */
    size_t begin[PERFI_TREE_DEPTH]; /* protobuf: where a message begins */
} perfi_tree;

void perfi_tree_open(perfi_tree *t, uint32_t field, const char *name);
void perfi_tree_close(perfi_tree *t);
void perfi_tree_list(perfi_tree *t, const char *name);
void perfi_tree_item(perfi_tree *t, uint32_t field);
void perfi_tree_end_list(perfi_tree *t);

/* Fields. What has proto3's default value is written as well. */
void perfi_tree_text(perfi_tree *t, uint32_t field, const char *name,
                     const char *text, size_t length);
/** Ids, of `n` halves. */
void perfi_tree_id(perfi_tree *t, uint32_t field, const char *name,
                   const uint64_t *id, size_t n);
void perfi_tree_fixed64(perfi_tree *t, uint32_t field, const char *name,
                        uint64_t value);
/** As protobuf's sfixed64. */
void perfi_tree_signed64(perfi_tree *t, uint32_t field, const char *name,
                         int64_t value);
/** Enums, bools, int64, uint32; JSON: a number, true, or in quotes. */
void perfi_tree_enum(perfi_tree *t, uint32_t field, const char *name,
                     uint32_t value);
void perfi_tree_bool(perfi_tree *t, uint32_t field, const char *name,
                     bool value);
void perfi_tree_int64(perfi_tree *t, uint32_t field, const char *name,
                      int64_t value);
/** As protobuf's sint32, small next to zero. */
void perfi_tree_sint(perfi_tree *t, uint32_t field, const char *name,
                     int32_t value);
void perfi_tree_double(perfi_tree *t, uint32_t field, const char *name,
                       double value);

/** Packed lists of numbers. */
void perfi_tree_uint64s(perfi_tree *t, uint32_t field, const char *name,
                        const uint64_t *value, size_t n);
void perfi_tree_fixed64s(perfi_tree *t, uint32_t field, const char *name,
                         const uint64_t *value, size_t n);
void perfi_tree_doubles(perfi_tree *t, uint32_t field, const char *name,
                        const double *value, size_t n);

#endif
