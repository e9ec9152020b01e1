/* codec.h - what the files of the module libperf._codec share.
 *
 * Values become bytes and come back; keys become the bytes they are compared
 * by. Nothing here makes an object of a type that Python code has not
 * registered: what is not plain goes through a callable. */
#ifndef LIBPERF_BINDINGS_CODEC_H
#define LIBPERF_BINDINGS_CODEC_H
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <libperf/codec.h>
#include <libperf/entry.h>
#include <libperf/hash.h>

enum {
    CODEC_LIMIT = 256 << 20, /* bytes of one value, if nobody says */
    CODEC_FINGERPRINT = 32   /* bytes that stand for a long key */
};

typedef struct codec_state {
    PyObject *unencodable;     /* class Unencodable(TypeError) */
    PyObject *undecodable;     /* class Undecodable(ValueError) */
    PyObject *compressor_type; /* class Compressor */
    PyObject *blake2b;         /* hashlib.blake2b */
    PyObject *its_size;        /* {"digest_size": 32} */
} codec_state;

codec_state *codec_state_of(PyObject *module);

/** How a walk over an object came to where it is; for errors. */
typedef struct codec_step {
    const struct codec_step *up;
    PyObject *container; /* that is walked */
    PyObject *key;       /* of a dict; else NULL */
    Py_ssize_t index;    /* of a list or tuple; -1: it has none */
    PyObject *typed;     /* the object whose plain form this is; else NULL */
} codec_step;

typedef struct codec_walk {
    perf_codec_writer writer;
    PyObject *extend; /* what is not plain: object -> (name, plain) or None */
    PyObject *unencodable;
    const char *root;       /* what errors call the object */
    const codec_step *step; /* where it is */
    unsigned depth;
    bool canonical; /* the order of dicts means nothing, one NaN */
    uint8_t buffer[1024];
} codec_walk;

/** Begin a walk; codec_walk_end() when it is over. */
void codec_walk_begin(codec_walk *walk, codec_state *state, PyObject *extend,
                      const char *root, bool canonical);
void codec_walk_end(codec_walk *walk);

/** Append one token; false with an exception. */
bool codec_put(codec_walk *walk, const perf_token *token);

/** Append an object; false with an exception. */
bool codec_walk_object(codec_walk *walk, PyObject *object);

/** Say that an object cannot be written, by the path to it: Unencodable, and
 *  the exception that is set now, if any, as its cause. */
void codec_unencodable(codec_walk *walk, PyObject *object, const char *why);

/** Read a value; NULL with an exception. `memory`: about how many bytes its
 *  objects may take. */
PyObject *codec_read(codec_state *state, const uint8_t *bytes, size_t size,
                     PyObject *revive, size_t memory);

/** About how many bytes of memory an object takes, with what is inside it;
 *  looks at a bounded number of objects. Never fails. */
size_t codec_weigh(PyObject *object);

/** Functions of the module. */
PyObject *codec_entry_pack(PyObject *module, PyObject *const *args,
                           Py_ssize_t nargs);
PyObject *codec_entry_unpack(PyObject *module, PyObject *entry);

/** Fill in state->blake2b and its_size; false with an exception. */
bool codec_prepare_fingerprint(codec_state *state);

/** What stands for long bytes; false with an exception. */
bool codec_fingerprint(const codec_state *state, const uint8_t *bytes,
                       size_t size, uint8_t out[CODEC_FINGERPRINT]);

/** The type Compressor; NULL with an exception. */
PyObject *codec_make_compressor_type(PyObject *module);

#endif
