/* memory.h - the table of the memory tier, as its files share it. */
#ifndef LIBPERF_MEMORY_TABLE_H
#define LIBPERF_MEMORY_TABLE_H
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <libperf/policy.h>
#include <stdbool.h>

enum {
    MEM_BATCH = 64,
    MEM_EXPIRE_AT_ONCE = 1000,
    /* From so many entries on the policy hears of one only once in a batch,
     * which is 1/16 of them or less: as in cache.h. */
    MEM_SKIP_FROM = 1000,
};
#define MEM_NEVER ((long long)INT64_MAX)

typedef struct entry {
    PyObject_HEAD PyObject *key, *value, *life;
    long long check_ns;
    int slot;
    uint32_t seen; /* in which epoch the policy will hear of it; 0: none */
    char listed;
} entry;

typedef struct table {
    PyObject_HEAD PyObject *data; /* key -> entry */
    PyObject *clock;              /* NULL: CLOCK_MONOTONIC */
    perf_policy *policy;
    entry **slots; /* what lies where; each owned */
    size_t room;
    uint64_t max_entries, max_weight, hits, told, misses, chance;
    uint32_t series;        /* that hits are added to, in batches */
    uint32_t misses_series; /* that misses are, one by one */
    int32_t touched[MEM_BATCH];
    int touched_count;
    uint32_t epoch; /* from one telling to the next */
    bool skips;
    char expiring;
    /* for set_plain(), once prepare() was called */
    PyObject *copied, *under_way, *weigh;
    long long ttl_ns;
    double jitter;
    unsigned long long overhead;
} table;

/* ---- memory.c ---- */

extern PyObject *mem_missing;
extern PyTypeObject *mem_table_type;

/** A value that needs no closer look, which is a hit; else mem_missing. */
PyObject *mem_get(table *self, PyObject *key);

/* ---- set.c ---- */

/** set(key, value, ttl_ns, jitter, weight) */
PyObject *mem_set(table *self, PyObject *const *args, Py_ssize_t nargs);

/** prepare(ttl_ns, jitter, copied, under_way, weigh, overhead) */
PyObject *mem_prepare(table *self, PyObject *args);

/** set_plain(key, value): False, if there is more to it than set(). */
PyObject *mem_set_plain(table *self, PyObject *const *args, Py_ssize_t nargs);

/* ---- front.c ---- */

/** A new reference to the type. */
PyObject *mem_front_type(void);

/* ---- look.c ---- */

/** A new reference to the type; after mem_table_type is made. */
PyObject *mem_look_type(void);

/* ---- entry.c ---- */

extern PyTypeObject *mem_entry_type;

/** Makes mem_entry_type.  @return  false: an exception */
bool mem_entry_ready(void);

entry *mem_entry_make(PyObject *key, PyObject *value, long long check_ns,
                      PyObject *life, char listed);

/* ---- change.c ---- */

/* Entries to be let go of at the end, and those among them that somebody has
 * listed elsewhere. */
typedef struct gone {
    entry *few[8], **all;
    size_t count, room;
} gone;

#define GONE_NONE(name)                                                        \
    gone name = {.room = Py_ARRAY_LENGTH(name.few)};                           \
    name.all = name.few

/** @return  a list of those that were listed; None when none was */
PyObject *mem_let_go(gone *out, bool failed);

/** Now, by the table's clock; PyErr_Occurred() says whether that failed. */
long long mem_clock(table *self);

/** Tell the policy of the hits so far, and the segment. */
void mem_tell_hits(table *self);

/* The following return 0, or -1 with an exception. */

int mem_drop(table *self, entry *it, gone *out);
int mem_expire(table *self, long long now_ns, gone *out);

/** Takes over the caller's reference to `it`. */
int mem_put(table *self, entry *it, uint64_t weight, double cost,
            long long expires_ns, long long now_ns, gone *out);

#endif
