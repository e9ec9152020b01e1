/* pt_scenes.h - what programs did, as streams of events: some whose times one
 * can work out, and one that does everything. */
#ifndef PT_SCENES_H
#define PT_SCENES_H
#include "pt_events.h"

/** One task after the other, with pt_sleep(): spans A, B, C take these ms. */
void pt_scene_chain(double a, double b, double c);

/** Two tasks at the same time, in spans A and B; a third waits for both. */
void pt_scene_both(double a, double b);

/** `n` tasks that each hold a place of a semaphore of one, in span A, for these
 *  ms. The semaphore is called "s". */
void pt_scene_turns(int n, double ms);

/** Everything that there is an event for. */
void pt_scene_everything(void);
#endif
