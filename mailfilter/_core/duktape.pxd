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
        void *host
        void *context
    arena *arena_open(size_t cap)
    void arena_close(arena *a)
    size_t arena_pooled()
    size_t arena_in_use()
    size_t arena_free_bytes(const arena *a)

cdef extern from "duk_value.h":
    ctypedef struct duk_host:
        void *owner
        PyObject *arrived
    void duk_host_leave(duk_host *host)
    PyObject *value_undefined

cdef extern from "duk_step.h":
    ctypedef int (*step_host_call)(void *owner, PyObject *arguments, PyObject **result) noexcept
    step_host_call step_host
    cdef enum step_status:
        STEP_OK
        STEP_THREW
        STEP_DEAD
        STEP_STOPPED
    int step_create(arena *region, duk_host *host)
    step_status step_load(arena *region, const char *name, const char *source, size_t length, unsigned budget_ms,
                          PyObject **result)
    step_status step_call(arena *region, int entry, PyObject *arguments, unsigned budget_ms, PyObject **result)
    void step_collect(arena *region, unsigned budget_ms)

cdef extern from "image.h":
    enum:
        IMAGE_GOOD
        IMAGE_NO_MEMORY
        IMAGE_SIZES_DIFFER
        IMAGE_VALUES_DIFFER
        IMAGE_RANDOM_NOT_FOUND
        IMAGE_NOT_MOVABLE
        IMAGE_COPY_DIFFERS
    ctypedef struct image:
        size_t used
        size_t relocated
        size_t stale
        size_t at
    ctypedef struct remains:
        size_t bytes
    arena *image_region(size_t cap, unsigned number)
    void image_region_close(arena *a)
    int image_make(image *im, arena *first, arena *second, arena *third)
    void image_free(image *im)
    size_t image_packed_bytes(const image *im)
    void image_pack(const image *im, void *to)
    int image_unpack(image *im, const void *from_, size_t length)
    arena *image_copy(const image *im)
    int image_hibernate(const image *im, arena *a, remains *r)
    void image_wake(const image *im, arena *a, remains *r)
    void image_forget(const image *im, arena *a, remains *r)
    void remains_free(remains *r)

cdef extern from "watch.h":
    ctypedef struct watch_place:
        int line
        const char *file
    ctypedef struct watch_report:
        int crashed
        int native
        int count
        watch_place *places
    unsigned watch_most_ms()
    const watch_report *watch_last()
