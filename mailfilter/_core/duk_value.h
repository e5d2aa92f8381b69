/*
 * Values across the border between Python and JavaScript, by Duktape's C API alone (no JSON text).
 *
 *   Python                       JavaScript
 *   None                         null
 *   UNDEFINED (the sentinel)     undefined
 *   bool, int, float             boolean, number (an int beyond 2^53 loses precision like any number)
 *   str                          string (lone surrogates are kept)
 *   bytes                        string: valid UTF-8 as text, every other byte B as U+DC00+B (see below)
 *   bytearray                    Uint8Array (a copy)
 *   list, tuple; dict            Array; Object (keys must be str)
 *
 * and back: undefined and null become None, a string str, a buffer or typed array bytes, an array list,
 * any other object a dict of its own enumerable properties; functions and symbols None.
 *
 * Octets from the network are not always text. Duktape would take a string beginning with 0x80, 0x81,
 * 0x82 or 0xFF for a Symbol, so octets that are not part of valid UTF-8 become U+DC80 … U+DCFF, one for
 * each octet, which is what Python calls surrogateescape; encoding a str with that error handler is the way
 * back. Both directions together lose nothing.
 *
 * Everything here may throw by longjmp and must be called under duk.safe_call or in a native function.
 * New references are anchored in the host while something that may throw still runs.
 *
 * Must not know: mail, sessions, what the values mean.
 */
#ifndef MAILFILTER_DUK_VALUE_H
#define MAILFILTER_DUK_VALUE_H

#include <Python.h>
#include "duk_api.h"

enum {
    VALUE_DEPTH_LIMIT = 16,             /* nesting of arrays and objects, both ways */
    VALUE_COUNT_LIMIT = 200000,         /* elements in one value that a policy hands out; for octets: value_begin */
    HOST_NESTING_LIMIT = 8              /* host.now below a getter or finalizer that runs inside another conversion */
};

/* Anchors of one entry: what is under construction while something that may throw still runs. */
typedef struct duk_frame {
    PyObject *arguments;
    PyObject *result;
    char *scratch;
    size_t count;                       /* elements converted in the running conversion */
    size_t room;                        /* octets of texts and buffers that it may still hand out */
} duk_frame;

/* What belongs to one heap but lies outside its region. A conversion may run JavaScript of the policy (a getter, a
 * Proxy trap, a finalizer), and that may call host.now: each entry has a frame of its own, so that the inner one
 * never drops what the outer one is still building. */
typedef struct duk_host {
    void *owner;                        /* the Heap object (borrowed; it owns this struct) */
    PyObject *arrived;                  /* the header section of the running message, a list of name, [part, …], …; or NULL */
    PyObject *outcome;                  /* what a handler has answered, while its coroutine has yet to say so; or NULL */
    unsigned depth;                     /* the frame in use; 0: the call from outside */
    duk_frame *frames;                  /* HOST_NESTING_LIMIT + 1 of them while JavaScript runs, on the C stack: an idle
                                         * heap has none */
} duk_host;

static inline duk_frame *host_frame(duk_host *host) { return &host->frames[host->depth]; }

/* Drop what one frame anchors. Cannot throw. */
void duk_frame_clear(duk_frame *frame);
/* Drop what all frames anchor, and leave them. Cannot throw. */
void duk_host_leave(duk_host *host);

/* Push a Python value (borrowed reference). */
void value_push(duk_context *ctx, duk_host *host, PyObject *value, int depth);

/* A conversion to Python begins in this frame. One text of a heap may be in an array a thousand times, and would be copied as
 * often: so all that one value has in texts and buffers may be as large as the heap, `room` octets, and no larger. */
static inline void value_begin(duk_frame *frame, size_t room) {
    frame->count = 0;
    frame->room = room;
}

/* Turn the value at `index` into a new Python reference stored in *slot, which must be an anchor or a
 * place inside something anchored. On a throw *slot holds what was built so far (or NULL). */
void value_get(duk_context *ctx, duk_host *host, int index, PyObject **slot, int depth);

/* A string of JavaScript as a new reference; NULL (no exception is set) when there is no memory. A symbol is None. */
PyObject *value_text(duk_context *ctx, duk_host *host, int index);

/* The sentinel for undefined, set once by heap.pyx. */
extern PyObject *value_undefined;

#endif
