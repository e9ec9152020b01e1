/* pt_program.h - programs written by hand, as the profiler makes them of what
 * was recorded, and their replay.
 *
 * Actors and resources come first, then pt_do() says what each actor does. An
 * actor's end resolves the thing that pt_thing() gives. */
#ifndef PT_PROGRAM_H
#define PT_PROGRAM_H
#include "pt_profile.h"

/** Begin; with two labels of the profiler's own and as many as are asked for
 *  beside them. Free with pt_profile_free(). */
void pt_make(pt_profile *p, uint32_t labels);

/** Number of a new actor, future (a thing), or resource. */
uint32_t pt_make_actor(pt_profile *p, perf_actor kind);
uint32_t pt_make_future(pt_profile *p);
uint32_t pt_make_resource(pt_profile *p, perf_resource kind, uint32_t capacity);

uint32_t pt_thing(const pt_profile *p, uint32_t actor);

/** What an actor does. Grants are numbered as they come. */
void pt_make_program(pt_profile *p, uint32_t actor, const perfi_op *ops,
                     size_t count);
#define pt_op(name, ...)                                                       \
    {                                                                          \
        .code = PERFI_OP_##name, __VA_ARGS__                                   \
    }
#define pt_do(p, actor, ...)                                                   \
    pt_make_program(p, actor, (const perfi_op[]){__VA_ARGS__},                 \
                    sizeof((const perfi_op[]){__VA_ARGS__}) /                  \
                        sizeof(perfi_op))

/** The main actor runs a task that makes these ready, in this order, and waits
 *  for all of them. */
void pt_do_host(pt_profile *p, uint32_t main, const uint32_t *tasks, size_t n);

/** Replay it; NULL: as it was. */
perfi_outcome pt_replay(pt_profile *p, const perfi_conditions *how);

/** The same, which must come to an end: in milliseconds. */
double pt_replay_ms(pt_profile *p, const perfi_conditions *how);
#endif
