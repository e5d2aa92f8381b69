"""Extern declarations of the C beside this file, and nothing else: what heap.pyx may call.

Must not know: mail, sessions.
"""

from cpython.object cimport PyObject

cdef extern from "duk_api.h" nogil:
    const char *duk_api_bind(const char *path)

cdef extern from "arena.h" nogil:
    ctypedef struct arena:
        size_t cap
        size_t top
        size_t denied
        void *context
    arena *arena_open(size_t cap)
    void arena_close(arena *a)
    size_t arena_pooled()
    size_t arena_in_use()

cdef extern from "duk_value.h":
    ctypedef struct duk_host:
        void *owner
    void duk_host_clear(duk_host *host)
    PyObject *value_undefined

cdef extern from "duk_step.h":
    ctypedef int (*step_host_call)(void *owner, PyObject *arguments, PyObject **result) noexcept
    step_host_call step_host
    cdef enum step_status:
        STEP_OK
        STEP_THREW
        STEP_DEAD
    int step_create(arena *region, duk_host *host)
    step_status step_load(arena *region, const char *name, const char *source, size_t length, PyObject **result)
    step_status step_call(arena *region, int entry, PyObject *arguments, PyObject **result)
    void step_collect(arena *region)
