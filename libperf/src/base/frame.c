/* frame.c - the table of frames: two tables with open addressing, functions by
 * their texts and frames by caller, function and line.
 *
 * Both grow; nobody points into them without the lock. They outlive segments:
 * a forked child goes on with its parent's numbers. Only what has been written
 * into the segment is given out, so that every number in it can be read. */
#include "frame.h"

#include "text.h"

#include <libperf/name.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

typedef struct function {
    char *texts; /* never freed */
    uint32_t hash;
    uint16_t function_length, file_length;
} function;

typedef struct frame {
    uint32_t caller, function, line;
} frame;

/* Where a number is found: by its hash, then the next place, and so on. */
typedef struct places {
    uint32_t *number; /* 0: free */
    uint32_t room;    /* a power of 2 */
} places;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static function *functions; /* by number; the first is unused */
static frame *frames;
static uint32_t functions_room, frames_room;
static uint32_t functions_count, frames_count;
static places function_places, frame_places;
static uint64_t over;

static const perfi_frame_sink *sink;
static uint32_t functions_written, frames_written; /* of the sink's */

/* ---- places ---- */

static uint32_t
hash_of_texts(const perfi_function_texts *t)
{
    uint64_t hash = 14695981039346656037u ^ t->function_length;
    uint32_t length = t->function_length + (uint32_t)t->file_length;
    for (uint32_t i = 0; i < length; i++)
        hash = (hash ^ (unsigned char)t->texts[i]) * 1099511628211u;
    return (uint32_t)(hash ^ hash >> 32);
}

static uint32_t
hash_of_frame(const frame *f)
{
    uint64_t hash = f->caller * UINT64_C(0x9E3779B97F4A7C15);
    hash = (hash ^ hash >> 29 ^ f->function) * UINT64_C(0xBF58476D1CE4E5B9);
    hash = (hash ^ hash >> 32 ^ f->line) * UINT64_C(0x94D049BB133111EB);
    return (uint32_t)(hash >> 32);
}

static uint32_t
known_hash_of_function(uint32_t number)
{
    return functions[number].hash;
}

static uint32_t
known_hash_of_frame(uint32_t number)
{
    return hash_of_frame(&frames[number]);
}

static uint32_t *
free_place(const places *in, uint32_t hash)
{
    uint32_t i = hash & (in->room - 1);
    while (in->number[i])
        i = (i + 1) & (in->room - 1);
    return &in->number[i];
}

/* Room for one more than `count`. Without memory for a larger table the old one
 * is used up to its last free place: slower, and it still works. */
static bool
make_places(places *in, uint32_t count, uint32_t (*hash_of)(uint32_t number))
{
    if (count + 1 <= in->room / 2)
        return true;
    places more = {.room = in->room ? in->room * 2 : 256};
    more.number = calloc(more.room, sizeof *more.number);
    if (!more.number)
        return count + 1 < in->room;
    for (uint32_t number = 1; number <= count; number++)
        *free_place(&more, hash_of(number)) = number;
    free(in->number);
    *in = more;
    return true;
}

/* The array, or a larger one, with room for number `count` + 1; NULL: there is
 * no memory, and the array is what it was. */
static void *
with_room(void *array, uint32_t *room, uint32_t count, size_t size)
{
    if (count + 1 < *room)
        return array;
    uint32_t wanted = *room ? *room * 2 : 128;
    void *more = realloc(array, wanted * size);
    if (more)
        *room = wanted;
    return more;
}

/* ---- functions ---- */

static bool
is_function(uint32_t number, uint32_t hash, const perfi_function_texts *t)
{
    const function *f = &functions[number];
    return f->hash == hash && f->function_length == t->function_length &&
           f->file_length == t->file_length &&
           !memcmp(f->texts, t->texts,
                   t->function_length + (size_t)t->file_length);
}

static uint32_t
find_function(uint32_t hash, const perfi_function_texts *t)
{
    const places *in = &function_places;
    for (uint32_t i = hash; in->room; i++) {
        uint32_t number = in->number[i & (in->room - 1)];
        if (!number || is_function(number, hash, t))
            return number;
    }
    return 0;
}

/* Its number; 0: there is no room. */
static uint32_t
function_of(const perfi_function_texts *t)
{
    uint32_t hash = hash_of_texts(t), number = find_function(hash, t);
    if (number)
        return number;
    if (functions_count == PERFI_FUNCTIONS_MAX)
        return 0;
    function *more = with_room(functions, &functions_room, functions_count,
                               sizeof *functions);
    if (!more)
        return 0;
    functions = more;
    if (!make_places(&function_places, functions_count, known_hash_of_function))
        return 0;
    size_t length = t->function_length + (size_t)t->file_length;
    char *texts = malloc(length + 1);
    if (!texts)
        return 0;
    memcpy(texts, t->texts, length);
    number = ++functions_count;
    functions[number] =
        (function){texts, hash, t->function_length, t->file_length};
    return *free_place(&function_places, hash) = number;
}

/* ---- writing down ---- */

static bool
write_functions(uint32_t up_to)
{
    while (functions_written < up_to) {
        const function *f = &functions[functions_written + 1];
        perfi_function_texts t = {f->texts, f->function_length, f->file_length};
        if (!sink->function(&t))
            return false;
        functions_written++;
    }
    return true;
}

/* Whether everything is where readers see it, or nobody reads. */
static bool
write_frames(void)
{
    while (sink && frames_written < frames_count) {
        const frame *f = &frames[frames_written + 1];
        if (!write_functions(f->function) ||
            !sink->frame(f->caller, f->function, f->line))
            return false;
        frames_written++;
    }
    return true;
}

/* ---- frames ---- */

static uint32_t
find_frame(const frame *wanted)
{
    const places *in = &frame_places;
    for (uint32_t i = hash_of_frame(wanted); in->room; i++) {
        uint32_t number = in->number[i & (in->room - 1)];
        const frame *f = &frames[number];
        if (!number ||
            (f->caller == wanted->caller && f->function == wanted->function &&
             f->line == wanted->line))
            return number;
    }
    return 0;
}

/* Its number; 0: there is no room. */
static uint32_t
frame_of(const frame *wanted)
{
    uint32_t number = find_frame(wanted);
    if (number)
        return number;
    if (frames_count == PERF_FRAMES_MAX || !write_frames())
        return 0;
    frame *more = with_room(frames, &frames_room, frames_count, sizeof *frames);
    if (!more)
        return 0;
    frames = more;
    if (!make_places(&frame_places, frames_count, known_hash_of_frame))
        return 0;
    number = ++frames_count;
    frames[number] = *wanted;
    if (!write_frames()) { /* the last, and in no place yet: take it back */
        frames_count--;
        return 0;
    }
    return *free_place(&frame_places, hash_of_frame(wanted)) = number;
}

/* The nearest caller that is where readers see it. */
static uint32_t
visible(uint32_t number)
{
    while (sink && number > frames_written)
        number = frames[number].caller;
    return number;
}

/* Two texts as they are kept: room for both, one behind the other. */
static perfi_function_texts
cut(char room[2 * PERF_TEXT_MAX_BYTES], const char *name, size_t name_length,
    const char *file, size_t file_length)
{
    size_t kept =
        name ? perfi_text_cut(name, name_length, PERF_TEXT_MAX_BYTES) : 0;
    size_t from =
        file ? perfi_text_cut_front(file, file_length, PERF_TEXT_MAX_BYTES) : 0;
    size_t rest = file ? file_length - from : 0;
    if (kept)
        memcpy(room, name, kept);
    if (rest)
        memcpy(room + kept, file + from, rest);
    return (perfi_function_texts){room, (uint16_t)kept, (uint16_t)rest};
}

uint32_t
perf_frame(uint32_t caller, const char *name, size_t name_length,
           const char *file, size_t file_length, uint32_t line)
{
    char room[2 * PERF_TEXT_MAX_BYTES];
    perfi_function_texts t = cut(room, name, name_length, file, file_length);
    pthread_mutex_lock(&lock);
    if (caller > frames_count) /* never given out */
        caller = 0;
    frame wanted = {caller, function_of(&t), line};
    uint32_t number = wanted.function ? frame_of(&wanted) : 0;
    uint32_t seen = visible(number ? number : caller);
    over += !number || seen != number;
    pthread_mutex_unlock(&lock);
    return seen;
}

uint64_t
perf_frames_over(void)
{
    pthread_mutex_lock(&lock);
    uint64_t value = over;
    pthread_mutex_unlock(&lock);
    return value;
}

void
perfi_frames_publish(const perfi_frame_sink *to)
{
    pthread_mutex_lock(&lock);
    sink = to;
    functions_written = frames_written = 0;
    write_frames();
    pthread_mutex_unlock(&lock);
}

void
perfi_frames_lock(void)
{
    pthread_mutex_lock(&lock);
}

void
perfi_frames_unlock(void)
{
    pthread_mutex_unlock(&lock);
}

void
perfi_frames_forget_sink(void)
{
    sink = NULL;
}
