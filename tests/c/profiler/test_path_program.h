/* test_path_program.h - programs by chance: a loop with tasks, an executor, a
 * thread beside, as their events in the script. */
#ifndef TEST_PATH_PROGRAM_H
#define TEST_PATH_PROGRAM_H
#include "test_path_kit.h"

typedef struct program_kind {
    uint64_t seed;
    bool ties;    /* time stands still between most events */
    bool startup; /* imports before its own work */
} program_kind;

/** Names, in the process that forks those that play. */
void program_names(void);

/** Write the script of one. Returns false when it gets stuck (tasks that wait
 *  for each other), and the loop is stopped. */
bool program_make(program_kind kind);
#endif
