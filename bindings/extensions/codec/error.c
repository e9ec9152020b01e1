/* error.c - says where in an object something is that cannot be
 * written: value['messages'][3].client */
#include "codec.h"

enum { STEPS_SHOWN = 24 };

/* "['key']", or ".key" for a field of something that is not plain. Never
 * calls code of the object's. */
static PyObject *
key_text(const codec_step *step)
{
    PyObject *key = step->key;
    if (!PyUnicode_CheckExact(key)) {
        if (PyLong_CheckExact(key) || PyBytes_CheckExact(key))
            return PyUnicode_FromFormat("[%.80R]", key);
        return PyUnicode_FromFormat("[%.80s]", Py_TYPE(key)->tp_name);
    }
    if (step->up && step->up->typed)
        return PyUnicode_FromFormat(".%.80U", key);
    return PyUnicode_FromFormat("[%.80R]", key);
}

static PyObject *
step_text(const codec_step *step)
{
    if (step->key)
        return key_text(step);
    if (step->typed)
        return PyUnicode_FromString("");
    if (step->index >= 0)
        return PyUnicode_FromFormat("[%zd]", step->index);
    return PyUnicode_FromString("{}"); /* somewhere in a set */
}

/* From the root to here. */
static PyObject *
path_text(const codec_walk *walk)
{
    const codec_step *steps[PERF_CODEC_DEPTH + 1];
    size_t count = 0;
    for (const codec_step *s = walk->step; s; s = s->up)
        if (count < PERF_CODEC_DEPTH)
            steps[count++] = s;
    PyObject *path = PyUnicode_FromString(walk->root);
    for (size_t i = 0; path && i < count; i++) {
        PyObject *part = i < STEPS_SHOWN ? step_text(steps[count - 1 - i])
                                         : PyUnicode_FromString("...");
        PyUnicode_AppendAndDel(&path, part);
        if (i == STEPS_SHOWN)
            break;
    }
    return path;
}

static bool
holds_itself(const codec_walk *walk, PyObject *object)
{
    for (const codec_step *s = walk->step; s; s = s->up)
        if (object && s->container == object)
            return true;
    return false;
}

static PyObject *
message_text(const codec_walk *walk, PyObject *object, const char *why,
             PyObject *cause)
{
    PyObject *path = path_text(walk), *text = NULL;
    const char *verb =
        walk->canonical ? "has no canonical form" : "cannot be stored";
    const char *hint =
        walk->canonical ? "pass key=, or register_key" : "register_type";
    if (!path)
        return NULL;
    if (why)
        text = PyUnicode_FromFormat(
            "%U: %s", path,
            holds_itself(walk, object) ? "it holds itself" : why);
    else if (cause)
        text = PyUnicode_FromFormat("%U: %R %s: %R", path, Py_TYPE(object),
                                    verb, cause);
    else
        text = PyUnicode_FromFormat("%U: %R %s: %s(%s, ...)", path,
                                    Py_TYPE(object), verb, hint,
                                    Py_TYPE(object)->tp_name);
    Py_DECREF(path);
    return text;
}

void
codec_unencodable(codec_walk *walk, PyObject *object, const char *why)
{
    PyObject *type, *cause, *trace;
    PyErr_Fetch(&type, &cause, &trace);
    PyErr_NormalizeException(&type, &cause, &trace);
    if (cause && trace)
        PyException_SetTraceback(cause, trace);
    /* raised by an encoder that encodes on its own: its path is the better */
    if (type && PyErr_GivenExceptionMatches(type, walk->unencodable)) {
        PyErr_Restore(type, cause, trace);
        return;
    }
    PyObject *text = message_text(walk, object, why, cause);
    PyObject *error =
        text ? PyObject_CallOneArg(walk->unencodable, text) : NULL;
    if (error) {
        if (cause)
            PyException_SetCause(error, Py_NewRef(cause));
        PyErr_SetObject(walk->unencodable, error);
    }
    Py_XDECREF(error);
    Py_XDECREF(text);
    Py_XDECREF(type);
    Py_XDECREF(cause);
    Py_XDECREF(trace);
}
