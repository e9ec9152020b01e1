/* layout.h - what lies where in a segment file. The writer and the reader share
 * this file and nothing else.
 *
 *   chunk 0   header | table of names | texts of names
 *   chunk 1…  texts of names, thread blocks, spaces of threads, ring chunks,
 *             frames, in the order in which they were asked for
 *
 * A file grows by chunks of 64 KiB. Everything is found from the header by
 * offsets from the start of the file; offset 0 means "none". Lists are linked
 * from new to old, so every link points to a smaller offset: a reader cannot
 * run in circles.
 *
 * A trace file is a segment as it was in the end, perhaps followed by chunks
 * that its rings had written over by then, and a trailer (drain.c).
 *
 * Who writes: the header and the names under the writer's lock; frames under
 * that of their table; a thread block
 * and all that hangs on it by the thread that owns it. The one exception is
 * the id of an open span's slot: 0 means that it is the owner's to fill, any
 * other value that it belongs to whoever ends the span. */
#ifndef PERFI_LAYOUT_H
#define PERFI_LAYOUT_H
#include "../metrics/buckets.h"
#include "../metrics/counters.h"

#include <libperf/frame.h>
#include <libperf/reader.h>

enum {
    PERFI_LAYOUT_VERSION = 1,
    PERFI_CHUNK = 64 * 1024,
    PERFI_RING_CHUNKS_MAX = 16384, /* of one thread: 1 GiB */
    PERFI_SLOT_GROUPS = 16,
    PERFI_GROUP_SLOTS = 64, /* a group fills half a chunk */
    PERFI_CELLS = 28,       /* attribute cells of one span */
    PERFI_UNIT = 16,        /* records and cells are multiples of it */
};

#define PERFI_MAGIC UINT64_C(0x31304652455062) /* "bPERF01" */

/* ---- header ---- */

typedef struct perfi_name_entry {
    _Atomic uint64_t text; /* offset << 16 | length << 8 | kind */
} perfi_name_entry;

typedef struct perfi_header {
    uint64_t magic;
    uint32_t layout; /* PERFI_LAYOUT_VERSION */
    uint32_t header_bytes;
    uint64_t pid, uid;
    uint64_t trace_hi;
    uint64_t max_bytes;
    uint32_t clock; /* 0 monotonic, 1 tsc */
    uint32_t names_max;
    uint64_t first_ticks, first_mono_ns; /* anchor at the start */
    char service[64], command[192], version[16];

    perfi_counter scale; /* ns per tick, 32.32 fixed point; gets better */
    perfi_counter wall_offset_ns; /* CLOCK_REALTIME - CLOCK_MONOTONIC */
    perfi_counter latest_ticks;   /* last sign of life, about once a second */
    perfi_counter finished;       /* 1: ended in good order */
    perfi_counter used_bytes;     /* release: chunks below it are reserved */
    perfi_counter names;          /* release: entries below it are whole */
    perfi_counter blocks; /* offset of the newest thread block; release */
    perfi_counter names_over, names_cut;
    /* of threads that got no block; atomic add */
    perfi_counter dropped_records, dropped_values, dropped_attributes;

    /* A header that ends here is of a writer that knew no frames. */
    perfi_counter functions, frames; /* release: those below are whole */
    perfi_counter frame_chunk;       /* offset of the newest; release */
    perfi_counter frames_over;
} perfi_header;

#define PERFI_HEADER_WITHOUT_FRAMES offsetof(perfi_header, functions)

/* ---- thread block: one chunk, reused by a later thread ---- */

/** The latencies and totals of one name in one thread. Linked per thread. */
typedef struct perfi_series {
    uint32_t name, kind;
    uint32_t next; /* offset / PERFI_UNIT of an older one */
    uint32_t pad;
    perfi_counter errors, cancelled;
    perfi_counter sum, max;
    perfi_counter min;      /* UINT64_MAX while there is none */
    perfi_counter unplaced; /* counted, but no page could be had */
    perfi_counter gauge;    /* bits of a double */
    perfi_counter gauge_ticks;
    perfi_counter quantity_sum[PERF_QUANTITIES_MAX];
    _Atomic uint32_t quantity_key[PERF_QUANTITIES_MAX]; /* 0: unused */
    /* offset / PERFI_UNIT of 128 counters; release after the page is there; two
     * more keep the size even */
    _Atomic uint32_t pages[PERFI_PAGES + 2];
} perfi_series;

/** An attribute: this first cell, whose last 8 bytes hold the value or the
 *  first bytes of a text that goes on in `more` further cells. */
typedef struct perfi_cell {
    uint32_t key;
    uint8_t type; /* perf_attribute_type */
    uint8_t more;
    uint16_t length; /* of a text */
    uint64_t value;
} perfi_cell;

/** A place where a span is visible while it is open. */
typedef struct perfi_slot {
    perfi_counter id; /* release when filled (pairs with the reader's copy
                         of the file), 0 when free */
    perfi_counter parent, start_ticks, trace_hi, trace_lo;
    _Atomic uint32_t name, task;
    _Atomic uint32_t cells;      /* used */
    _Atomic uint32_t attributes; /* see perfi_attributes_all() */
    uint32_t block; /* whose slot it is: offset / PERFI_UNIT; constant */
    uint32_t pad;
    perfi_cell cell[PERFI_CELLS];
} perfi_slot;

/** Of a slot's attributes: how many there are, and how many of them are sums
 *  that libperf keeps (perf_span_add_int()) beside the program's own. */
static inline uint32_t
perfi_attributes_all(uint32_t attributes)
{
    return attributes & 0xFF;
}

static inline uint32_t
perfi_attributes_sums(uint32_t attributes)
{
    return attributes >> 8;
}

#define PERFI_ONE_SUM UINT32_C(0x101) /* one more, which is a sum */

typedef struct perfi_block {
    uint32_t next; /* offset / PERFI_UNIT of an older block */
    uint32_t ring_chunks_max;
    _Atomic uint32_t thread; /* system id of the owner; 0: free */
    _Atomic uint32_t series; /* offset / PERFI_UNIT of the newest */
    _Atomic uint32_t groups[PERFI_SLOT_GROUPS]; /* offset / PERFI_UNIT */

    /* Ring. Position = number of the chunk (counted since the start) times
     * PERFI_CHUNK, plus the place in it. Chunk n lies at ring n while the
     * ring grows; once `ring_wrapped`, at ring n % ring_chunks. */
    perfi_counter head; /* position after the last byte that was written, so
                           never a chunk's first; release after a record, and
                           before a chunk is written over */
    _Atomic uint32_t ring_chunks, ring_wrapped;
    _Atomic uint32_t ring; /* newest ring chunk: offset / PERFI_UNIT; linked
                              through perfi_ring_chunk.older */

    perfi_counter dropped_records, dropped_values, dropped_attributes;
    perfi_counter cut_texts, spans_unseen;
} perfi_block;

/** The number of the chunk that holds the last byte before the head. */
static inline uint64_t
perfi_head_chunk(uint64_t head)
{
    return head ? (head - 1) / PERFI_CHUNK : 0;
}

/* ---- ring ---- */

typedef struct perfi_ring_chunk {
    perfi_counter number; /* of the chunk, as in positions */
    perfi_counter first;  /* how many records came before, in this ring, */
    perfi_counter events; /* and how many of them are events */
    uint32_t older;       /* offset / PERFI_UNIT of the chunk made before */
    uint32_t index;       /* its place in the ring: 0, 1, 2, … */
    uint32_t block;       /* in a trace file, behind the segment: whose it is */
    uint32_t pad[3];
} perfi_ring_chunk;

/** A record: this, then its attribute cells. Starts with a word that is 0
 *  where a chunk has no more records. Of another type it may be shorter; type
 *  and units are at the same place in all. */
typedef struct perfi_record {
    uint8_t type;       /* perf_record_type */
    uint8_t units;      /* whole length in PERFI_UNITs */
    uint8_t status;     /* perf_status, or level */
    uint8_t attributes; /* how many */
    uint32_t name;
    uint64_t start_ticks, end_ticks;
    uint64_t trace_hi, trace_lo; /* in the order of perf_span: copied in */
    uint64_t id, parent;         /* pieces as large as those written there */
    uint32_t task, thread;
} perfi_record;

/** An event lies in the ring between the records. */
typedef struct perfi_event {
    uint8_t type;  /* PERF_RECORD_EVENT */
    uint8_t units; /* as above */
    uint8_t code;  /* perf_event_code */
    uint8_t flags;
    uint32_t arg;
    uint64_t ticks; /* nanoseconds with PERFI_EVENT_NS */
    uint64_t cpu_ns;
    uint64_t span, key, more;
} perfi_event;

enum { PERFI_EVENT_NS = 1 }; /* time was given: perf_events_set_time() */

/* ---- frames ---- */

/** Functions and frames, each kind in the order of its numbers, from 1 on;
 *  ends at its end, or where a type is 0. */
typedef struct perfi_frame_chunk {
    uint32_t older;             /* offset / PERFI_UNIT of the one before */
    uint32_t functions, frames; /* how many lie in older ones */
    uint32_t pad;
} perfi_frame_chunk;

typedef enum perfi_frame_type {
    PERFI_FUNCTION = 1,
    PERFI_FRAME = 2,
} perfi_frame_type;

typedef struct perfi_function {
    uint8_t type;  /* PERFI_FUNCTION */
    uint8_t units; /* whole length in PERFI_UNITs */
    uint16_t pad;
    uint16_t function_length, file_length;
    char texts[8]; /* the function's, then the file's; they go on behind */
} perfi_function;

typedef struct perfi_frame {
    uint8_t type;  /* PERFI_FRAME */
    uint8_t units; /* 1 */
    uint16_t pad;
    uint32_t caller; /* smaller than its own number; 0: none */
    uint32_t function, line;
} perfi_frame;

/* ---- trace file ---- */

#define PERFI_TRAILER_MAGIC UINT64_C(0x314C494154465250) /* "PRFTAIL1" */

/** The last bytes of a trace file that has chunks behind the segment. These
 *  are ordered by block and number. */
typedef struct perfi_trailer {
    uint64_t magic;
    uint64_t segment_bytes; /* where the chunks begin */
    uint64_t chunks;
    uint64_t pad;
} perfi_trailer;

_Static_assert(sizeof(perfi_record) == 64, "one cache line");
_Static_assert(sizeof(perfi_event) == 3 * PERFI_UNIT, "three units");
_Static_assert(sizeof(perfi_cell) == PERFI_UNIT, "one unit");
_Static_assert(sizeof(perfi_slot) == 512, "a group is half a chunk");
_Static_assert(sizeof(perfi_series) % PERFI_UNIT == 0, "offsets are in units");
_Static_assert(sizeof(perfi_ring_chunk) == 48, "records stay aligned");
_Static_assert(sizeof(perfi_frame_chunk) == PERFI_UNIT, "frames stay aligned");
_Static_assert(sizeof(perfi_function) == PERFI_UNIT, "one unit, and texts");
_Static_assert(sizeof(perfi_frame) == PERFI_UNIT, "one unit");
_Static_assert(sizeof(((perf_record *)0)->cells) == PERFI_CELLS * PERFI_UNIT,
               "a public record holds every cell");
_Static_assert(sizeof(perfi_header) +
                       PERF_NAMES_MAX * sizeof(perfi_name_entry) <
                   PERFI_CHUNK,
               "the header and the table of names share the first chunk");

/* Names follow the header, which says how long it is; their texts begin here
 * in chunk 0. */
#define PERFI_NAMES_AT sizeof(perfi_header)
#define PERFI_TEXTS_AT                                                         \
    (PERFI_NAMES_AT + PERF_NAMES_MAX * sizeof(perfi_name_entry))

#endif
