/* fingerprint.c - BLAKE2b-256 of long keys, by hashlib. */
#include "codec.h"

#include <string.h>

/* From 2,048 bytes at a time on hashlib lets go of the GIL. To get it back
 * beside a busy thread would take longer than all the rest. */
enum { AT_ONCE = 2047 };

bool
codec_prepare_fingerprint(codec_state *state)
{
    PyObject *hashlib = PyImport_ImportModule("hashlib");
    if (!hashlib)
        return false;
    state->blake2b = PyObject_GetAttrString(hashlib, "blake2b");
    Py_DECREF(hashlib);
    state->its_size = Py_BuildValue("{s:i}", "digest_size", CODEC_FINGERPRINT);
    return state->blake2b && state->its_size;
}

static bool
update(PyObject *hasher, const uint8_t *bytes, size_t size)
{
    /* read only, and gone before the bytes are */
    PyObject *piece = PyMemoryView_FromMemory((char *)(uintptr_t)bytes,
                                              (Py_ssize_t)size, PyBUF_READ);
    PyObject *none =
        piece ? PyObject_CallMethod(hasher, "update", "O", piece) : NULL;
    Py_XDECREF(piece);
    Py_XDECREF(none);
    return none;
}

bool
codec_fingerprint(const codec_state *state, const uint8_t *bytes, size_t size,
                  uint8_t out[CODEC_FINGERPRINT])
{
    PyObject *hasher =
        PyObject_VectorcallDict(state->blake2b, NULL, 0, state->its_size);
    bool fine = hasher;
    for (size_t at = 0; fine && at < size; at += AT_ONCE)
        fine = update(hasher, bytes + at,
                      size - at < AT_ONCE ? size - at : AT_ONCE);
    PyObject *digest =
        fine ? PyObject_CallMethod(hasher, "digest", NULL) : NULL;
    fine = digest && PyBytes_Check(digest) &&
           PyBytes_GET_SIZE(digest) == CODEC_FINGERPRINT;
    if (fine)
        memcpy(out, PyBytes_AS_STRING(digest), CODEC_FINGERPRINT);
    Py_XDECREF(digest);
    Py_XDECREF(hasher);
    return fine;
}
