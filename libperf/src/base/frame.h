/* frame.h - the process's table of frames: (caller, function, line) -> number.
 */
#ifndef PERFI_BASE_FRAME_H
#define PERFI_BASE_FRAME_H
#include <libperf/frame.h>

enum { PERFI_FUNCTIONS_MAX = 65536 };

/** What a frame is in: two texts, one behind the other. */
typedef struct perfi_function_texts {
    const char *texts;
    uint16_t function_length, file_length;
} perfi_function_texts;

/** Where frames are written down. Called with the lock held, for each kind in
 *  the order of its numbers, a function before its first frame. False: there
 *  is no room; the same one is tried again. */
typedef struct perfi_frame_sink {
    bool (*function)(const perfi_function_texts *function);
    bool (*frame)(uint32_t caller, uint32_t function, uint32_t line);
} perfi_frame_sink;

/** Give every frame, now and later, to `sink`, which lives as long as the
 *  process. */
void perfi_frames_publish(const perfi_frame_sink *sink);

/** Around fork(). A child's frames go nowhere until it starts a segment. */
void perfi_frames_lock(void);
void perfi_frames_unlock(void);
void perfi_frames_forget_sink(void); /* the lock must be held */
#endif
