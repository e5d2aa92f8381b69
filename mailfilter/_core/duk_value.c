/* Converts values between Python and JavaScript; see duk_value.h for the rules. */
#include "duk_value.h"

#include <math.h>
#include <string.h>

enum { SHORT_ARRAY = 64 };          /* elements of an array whose list is made as long as it is at once */

PyObject *value_undefined;

void duk_frame_clear(duk_frame *frame) {
    Py_CLEAR(frame->arguments);
    Py_CLEAR(frame->result);
    if (frame->scratch) {
        PyMem_Free(frame->scratch);
        frame->scratch = NULL;
    }
}

void duk_host_leave(duk_host *host) {
    Py_CLEAR(host->outcome);
    if (!host->frames) return;
    for (unsigned i = 0; i <= host->depth; i++) duk_frame_clear(&host->frames[i]);
    host->depth = 0;
    host->frames = NULL;
}

static void refuse(duk_context *ctx, const char *what) {
    duk.push_error_object_raw(ctx, DUK_ERROR_TYPE, NULL, 0, "%s", what);
    duk.throw_raw(ctx);
}

/* Length of the valid UTF-8 sequence at p (RFC 3629: no surrogates, nothing over-long), or 0. */
static inline int sequence_length(const unsigned char *p, size_t left) {
    unsigned char a = p[0];
    if (a < 0x80) return 1;
    if (a >= 0xC2 && a <= 0xDF) return left >= 2 && (p[1] & 0xC0) == 0x80 ? 2 : 0;
    if (a >= 0xE0 && a <= 0xEF) {
        if (left < 3 || (p[1] & 0xC0) != 0x80 || (p[2] & 0xC0) != 0x80) return 0;
        if ((a == 0xE0 && p[1] < 0xA0) || (a == 0xED && p[1] >= 0xA0)) return 0;
        return 3;
    }
    if (a >= 0xF0 && a <= 0xF4) {
        if (left < 4 || (p[1] & 0xC0) != 0x80 || (p[2] & 0xC0) != 0x80 || (p[3] & 0xC0) != 0x80) return 0;
        if ((a == 0xF0 && p[1] < 0x90) || (a == 0xF4 && p[1] >= 0x90)) return 0;
        return 4;
    }
    return 0;
}

static void push_octets(duk_context *ctx, duk_host *host, const char *text, size_t n) {
    const unsigned char *p = (const unsigned char *)text;
    size_t i = 0, bad = 0;
    while (i < n) {
        if (i + 8 <= n) {
            uint64_t word;
            memcpy(&word, p + i, 8);
            if (!(word & 0x8080808080808080ULL)) { i += 8; continue; }
        }
        int len = sequence_length(p + i, n - i);
        if (len) i += (size_t)len;
        else { bad++; i++; }
    }
    if (!bad) {
        duk.push_lstring(ctx, text, n);
        return;
    }
    char *out = PyMem_Malloc(n + 2 * bad);
    if (!out) refuse(ctx, "out of memory");
    duk_frame *frame = host_frame(host);
    if (frame->scratch) PyMem_Free(frame->scratch);
    frame->scratch = out;
    size_t o = 0;
    for (i = 0; i < n;) {
        int len = sequence_length(p + i, n - i);
        if (len) {
            memcpy(out + o, p + i, (size_t)len);
            o += (size_t)len;
            i += (size_t)len;
        } else {                                    /* U+DC00 + byte, as UTF-8 writes a surrogate */
            out[o++] = (char)0xED;
            out[o++] = (char)(0xB0 | (p[i] >> 6));
            out[o++] = (char)(0x80 | (p[i] & 0x3F));
            i++;
        }
    }
    duk.push_lstring(ctx, out, o);
    frame->scratch = NULL;
    PyMem_Free(out);
}

static void push_text(duk_context *ctx, duk_host *host, PyObject *text) {
    Py_ssize_t n;
    if (PyUnicode_IS_ASCII(text)) {
        duk.push_lstring(ctx, (const char *)PyUnicode_1BYTE_DATA(text), (size_t)PyUnicode_GET_LENGTH(text));
        return;
    }
    const char *utf8 = PyUnicode_AsUTF8AndSize(text, &n);
    if (utf8) {
        duk.push_lstring(ctx, utf8, (size_t)n);
        return;
    }
    PyErr_Clear();                                  /* lone surrogates: escaped octets */
    PyObject *encoded = PyUnicode_AsEncodedString(text, "utf-8", "surrogatepass");
    if (!encoded) {
        PyErr_Clear();
        refuse(ctx, "text cannot be encoded");
    }
    n = PyBytes_GET_SIZE(encoded);
    char *out = PyMem_Malloc(n ? (size_t)n : 1);
    if (out) memcpy(out, PyBytes_AS_STRING(encoded), (size_t)n);
    Py_DECREF(encoded);
    if (!out) refuse(ctx, "out of memory");
    duk_frame *frame = host_frame(host);
    if (frame->scratch) PyMem_Free(frame->scratch);
    frame->scratch = out;
    duk.push_lstring(ctx, out, (size_t)n);
    frame->scratch = NULL;
    PyMem_Free(out);
}

void value_push(duk_context *ctx, duk_host *host, PyObject *value, int depth) {
    if (depth > VALUE_DEPTH_LIMIT) refuse(ctx, "value is nested too deeply");
    if (value == Py_None) duk.push_null(ctx);
    else if (value == value_undefined) duk.push_undefined(ctx);
    else if (PyUnicode_CheckExact(value)) push_text(ctx, host, value);
    else if (PyBytes_CheckExact(value)) push_octets(ctx, host, PyBytes_AS_STRING(value), (size_t)PyBytes_GET_SIZE(value));
    else if (value == Py_True || value == Py_False) duk.push_boolean(ctx, value == Py_True);
    else if (PyLong_Check(value)) {
        double number = PyLong_AsDouble(value);
        if (number == -1.0 && PyErr_Occurred()) {
            PyErr_Clear();
            number = _PyLong_Sign(value) < 0 ? -INFINITY : INFINITY;
        }
        duk.push_number(ctx, number);
    } else if (PyFloat_Check(value)) duk.push_number(ctx, PyFloat_AS_DOUBLE(value));
    else if (PyList_Check(value) || PyTuple_Check(value)) {
        duk.require_stack(ctx, 4);
        duk.push_array(ctx);
        for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(value); i++) {
            value_push(ctx, host, PySequence_Fast_GET_ITEM(value, i), depth + 1);
            duk.put_prop_index(ctx, -2, (unsigned)i);
        }
    } else if (PyDict_Check(value)) {
        PyObject *key, *item;
        Py_ssize_t at = 0;
        duk.require_stack(ctx, 4);
        duk.push_object(ctx);
        while (PyDict_Next(value, &at, &key, &item)) {
            Py_ssize_t n;
            const char *name = PyUnicode_Check(key) ? PyUnicode_AsUTF8AndSize(key, &n) : NULL;
            if (!name) {
                PyErr_Clear();
                refuse(ctx, "a key is no text");
            }
            value_push(ctx, host, item, depth + 1);
            duk.put_prop_lstring(ctx, -2, name, (size_t)n);
        }
    } else if (PyByteArray_Check(value)) {
        size_t n = (size_t)PyByteArray_GET_SIZE(value);
        duk.require_stack(ctx, 4);
        void *p = duk.push_buffer_raw(ctx, n, 0);
        if (n) memcpy(p, PyByteArray_AS_STRING(value), n);
        duk.push_buffer_object(ctx, -1, 0, n, DUK_UINT8ARRAY);
        duk.remove(ctx, -2);
    } else refuse(ctx, "a Python object of this type cannot become a JavaScript value");
}

static PyObject *number_to_python(double number) {
    if (number >= -9007199254740992.0 && number <= 9007199254740992.0 && number == floor(number))
        return PyLong_FromLongLong((long long)number);
    return PyFloat_FromDouble(number);
}

static void take_room(duk_context *ctx, duk_host *host, size_t n) {
    duk_frame *frame = host_frame(host);
    if (n > frame->room) refuse(ctx, "value is too large");
    frame->room -= n;
}

PyObject *value_text(duk_context *ctx, duk_host *host, int index) {
    size_t n;
    if (duk.is_symbol(ctx, index)) Py_RETURN_NONE;
    const char *text = duk.get_lstring(ctx, index, &n);
    take_room(ctx, host, n);
    PyObject *result = PyUnicode_DecodeUTF8(text, (Py_ssize_t)n, "surrogatepass");
    if (!result) {
        PyErr_Clear();
        result = PyUnicode_DecodeUTF8(text, (Py_ssize_t)n, "replace");
        if (!result) PyErr_Clear();
    }
    return result;
}

void value_get(duk_context *ctx, duk_host *host, int index, PyObject **slot, int depth) {
    PyObject *made = NULL;
    if (depth > VALUE_DEPTH_LIMIT) refuse(ctx, "value is nested too deeply (or contains itself)");
    if (++host_frame(host)->count > VALUE_COUNT_LIMIT) refuse(ctx, "value has too many elements");
    switch (duk.get_type(ctx, index)) {
    case DUK_TYPE_BOOLEAN:
        made = PyBool_FromLong((long)duk.get_boolean(ctx, index));
        break;
    case DUK_TYPE_NUMBER:
        made = number_to_python(duk.get_number(ctx, index));
        break;
    case DUK_TYPE_STRING:
        made = value_text(ctx, host, index);
        break;
    case DUK_TYPE_BUFFER:
    case DUK_TYPE_OBJECT: {
        if (duk.is_buffer_data(ctx, index)) {
            size_t n;
            const char *p = duk.get_buffer_data(ctx, index, &n);
            take_room(ctx, host, n);
            made = PyBytes_FromStringAndSize(p, (Py_ssize_t)n);
        } else if (duk.is_function(ctx, index)) {
            made = Py_NewRef(Py_None);
        } else if (duk.is_array(ctx, index)) {
            duk.require_stack(ctx, 4);
            if (index < 0) index += duk.get_top(ctx);
            size_t n;
            n = duk.get_length(ctx, index);
            if (n > VALUE_COUNT_LIMIT) refuse(ctx, "array is too long");
            /* A long one grows while elements are counted: several in one another could not be as long as they say. */
            int at_once = n <= SHORT_ARRAY;
            PyObject *list = PyList_New(at_once ? (Py_ssize_t)n : 0);
            if (!list) break;
            Py_XSETREF(*slot, list);                /* anchored before anything below can throw; it bears empty places */
            for (size_t i = 0; i < n; i++) {
                if (!at_once && PyList_Append(list, Py_None) < 0) { PyErr_Clear(); refuse(ctx, "out of memory"); }
                duk.get_prop_index(ctx, index, (unsigned)i);
                value_get(ctx, host, -1, &((PyListObject *)list)->ob_item[i], depth + 1);
                duk.pop(ctx);
            }
            return;
        } else {
            duk.require_stack(ctx, 6);
            if (index < 0) index += duk.get_top(ctx);
            PyObject *dict = PyDict_New();
            if (!dict) break;
            Py_XSETREF(*slot, dict);
            duk.enumerate(ctx, index, DUK_ENUM_OWN);
            for (;;) {                              /* [… enum key value] */
                unsigned more;
                more = duk.next(ctx, -1, 1);
                if (!more) break;
                PyObject *key = value_text(ctx, host, -2);
                PyObject *box = key ? PyList_New(2) : NULL;         /* holds the value while it grows, and the key */
                if (box) PyList_SET_ITEM(box, 1, key);
                else Py_XDECREF(key);
                int kept = box && PyDict_SetItem(dict, key, box) == 0;
                Py_XDECREF(box);                    /* from here on the dictionary keeps it */
                if (!kept) {
                    PyErr_Clear();
                    refuse(ctx, "out of memory");
                }
                value_get(ctx, host, -1, &((PyListObject *)box)->ob_item[0], depth + 1);
                PyObject *item = Py_NewRef(((PyListObject *)box)->ob_item[0]);
                if (PyDict_SetItem(dict, key, item) < 0) PyErr_Clear();     /* frees the box */
                Py_DECREF(item);
                duk.set_top(ctx, duk.get_top(ctx) - 2);
            }
            duk.pop(ctx);
            return;
        }
        break;
    }
    default:                                        /* undefined, null, pointers, light functions */
        made = Py_NewRef(Py_None);
    }
    if (!made) {
        PyErr_Clear();
        refuse(ctx, "out of memory");
    }
    Py_XSETREF(*slot, made);
}
