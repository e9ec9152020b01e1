/* compile.h - one actor while its moments become operations: compile.c and
 * brackets.c share it. */
#ifndef PERFI_COMPILE_H
#define PERFI_COMPILE_H
#include "program.h"

typedef struct perfi_compiler {
    perfi_model *m;
    uint32_t actor;
    const perfi_actor *a;
    const perfi_moment *moment;
    uint32_t i;                  /* the moment at hand */
    bool running;                /* since `from` */
    uint64_t from, cpu;          /* where the segment began */
    uint32_t import;             /* 1 + label while a module is imported */
    bool startup;                /* and this is before the program's own work */
    uint32_t top;                /* open_child of no span */
    perfi_list(uint32_t) before; /* WAIT_FOR: things */
    perfi_list(uint32_t) abroad; /* open calls that another actor will end */
    uint32_t set;                /* of things it waits for, again and again */
    uint32_t set_first;          /* in model.keys */
} perfi_compiler;

/* compile.c */
perfi_op *perfi_compile_op(perfi_compiler *c, perfi_op_code code,
                           uint32_t what);
uint32_t perfi_compile_thing(const perfi_compiler *c, uint64_t id);
uint32_t perfi_compile_resource(const perfi_compiler *c, uint64_t id);
uint32_t perfi_compile_span(const perfi_compiler *c, const perfi_moment *e);
uint32_t perfi_compile_label(const perfi_compiler *c, uint32_t span,
                             uint64_t t);
/** Time that is used up: RUN or BLOCK. */
void perfi_compile_spend(perfi_compiler *c, perfi_op_code code, uint64_t ns,
                         uint32_t span, uint64_t at);
void perfi_compile_go_on_from(perfi_compiler *c, const perfi_moment *e);
/** Note when the next operation waited.  Returns 1 + its number. */
uint32_t perfi_compile_suspension(perfi_compiler *c, uint64_t from,
                                  uint64_t to);

/** The newest use of a resource that is not over ends with the operations so
 *  far. */
void perfi_compile_release(perfi_compiler *c, uint32_t resource, uint64_t t);

/* brackets.c */
bool perfi_bracket_opens(uint32_t code);
void perfi_brackets_match(perfi_compiler *c);
/** The bracket that begins at the moment at hand. */
void perfi_bracket(perfi_compiler *c);
#endif
