/* test_path_deeds.h - the state of a program by chance, and what its tasks do.
 */
#ifndef TEST_PATH_DEEDS_H
#define TEST_PATH_DEEDS_H
#include "test_path_program.h"

enum {
    TASKS = 40,
    DEEDS = 16, /* of a task, at most */
    LEVELS = 4, /* of tasks made by tasks */
    DEPTH = 6,  /* of spans in a task */
    MANY = 1024,
    BESIDE = 3, /* the thread that is no executor's */
};

typedef enum wish { FUTURE, PLACE, ITEM } wish;

typedef struct task {
    uint64_t id, awaits; /* 0: nothing */
    uint64_t base, span[DEPTH];
    uint32_t depth, level, deeds;
    wish wish; /* what `awaits` brings */
    bool done, ready, cancelled, holds;
} task;

/* Calls its function when the loop comes to it. */
typedef struct callback {
    uint64_t id, span, t;
    uint64_t resolves;
    uint32_t gather; /* 1 + number; only the last call of each resolves */
    perf_actor kind;
} callback;

typedef struct gather {
    uint64_t of[TASKS], span;
    uint32_t count, left;
    uint64_t future;
} gather;

/* In the loop's queue: a task (from 1 on) or a callback. */
typedef struct turn {
    uint32_t task;
    callback call;
} turn;

/** The program that is being made. */
struct program {
    pt_random random;
    program_kind kind;
    uint64_t now, newest_id;
    task task[TASKS];
    uint32_t tasks;
    gather gather[MANY];
    uint32_t gathers;
    turn queue[MANY];
    uint32_t first, end;
    callback later[MANY];
    uint32_t laters;
    uint32_t waiting[MANY]; /* tasks, for a place or an item, as they came */
    uint32_t waiters;
    uint32_t places, items;
    uint64_t clock[SCRIPT_THREADS]; /* of the other threads */
    uint64_t root, ended[MANY];     /* spans */
    uint32_t ends;
};
extern struct program of;

extern uint32_t program_spans[5];

uint64_t chance(uint64_t n);
uint64_t new_id(void);

/** Write an event; time goes on before it, but for ties. */
void say(uint32_t thread, uint64_t *clock, perf_event e);
#define SAY(name, ...)                                                         \
    say(0, &of.now, (perf_event){.code = PERF_EVENT_##name, __VA_ARGS__})
#define SAY_IN(thread, name, ...)                                              \
    say(thread, &of.clock[thread],                                             \
        (perf_event){.code = PERF_EVENT_##name, __VA_ARGS__})

uint64_t current(const task *t);
void end_span(uint64_t id, uint64_t inside);
void close_span(task *t);

void enqueue(turn one);
void wake(task *t);
void wake_all(uint64_t future);
void resolve(uint64_t future, uint64_t span);

void spend_time(void);
void release(task *t);
/** Something by chance; false: the task gives the loop back. */
bool deed(task *t);
#endif
