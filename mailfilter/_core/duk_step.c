/* Enters JavaScript under protection; see duk_step.h. */
#include "duk_step.h"
#include "duk_library.h"
#include "watch.h"

#include <setjmp.h>
#include <stdio.h>
#include <string.h>

step_host_call step_host;

enum {
    ENTRIES = sizeof ((arena *)0)->entries / sizeof (void *),
    ENTRY_START = 1, ENTRY_RESUME, ENTRY_FAIL, ENTRY_BEGIN = 8,      /* js/engine.js */
    STASHED_COROUTINE = 300                 /* index in the heap's stash */
};

/* Whether an entry lets the coroutine of the handlers go on. */
static int runs_coroutine(int entry) { return entry >= ENTRY_START && entry <= ENTRY_FAIL; }

/* Where a fatal error of the running heap jumps to. One thread runs JavaScript, one heap at a time. */
static sigjmp_buf *fatal_exit;

static void on_fatal(void *udata, const char *message) {
    if (fatal_exit) siglongjmp(*fatal_exit, 1);
    fprintf(stderr, "mailfilter: JavaScript engine failed outside a protected call: %s\n", message ? message : "?");
    abort();
}

static duk_ret protected_now(duk_context *ctx, void *udata) {
    duk_host *host = udata;
    duk_frame *frame = host_frame(host);
    int n = duk.get_top(ctx);
    value_begin(frame, library_region(ctx)->cap);
    frame->arguments = PyTuple_New(n);
    if (!frame->arguments) {
        PyErr_Clear();
        duk.push_error_object_raw(ctx, DUK_ERROR_PLAIN, NULL, 0, "%s", "out of memory");
        duk.throw_raw(ctx);
    }
    for (int i = 0; i < n; i++)
        value_get(ctx, host, i, &((PyTupleObject *)frame->arguments)->ob_item[i], 0);
    int failed = step_host(host->owner, frame->arguments, &frame->result);
    Py_CLEAR(frame->arguments);
    if (failed) {
        PyObject *told = frame->result;
        duk.push_error_object_raw(ctx, DUK_ERROR_PLAIN, NULL, 0, "%s", "operation failed");
        if (told && PyTuple_CheckExact(told) && PyTuple_GET_SIZE(told) == 2) {
            PyObject *name = PyTuple_GET_ITEM(told, 0);
            value_push(ctx, host, PyTuple_GET_ITEM(told, 1), 0);
            duk.put_prop_string(ctx, -2, "message");
            if (!PyUnicode_CheckExact(name) || PyUnicode_CompareWithASCIIString(name, "Error") != 0) {
                value_push(ctx, host, name, 0);
                duk.put_prop_string(ctx, -2, "name");
            }
        }
        duk.throw_raw(ctx);
    }
    value_push(ctx, host, frame->result, 0);
    return 1;
}

/* What does not run JavaScript when it is converted to Python, nor fails but for want of memory. */
static int is_simple(duk_context *ctx, int index) {
    enum { SIMPLE = 1 << DUK_TYPE_UNDEFINED | 1 << DUK_TYPE_NULL | 1 << DUK_TYPE_BOOLEAN | 1 << DUK_TYPE_NUMBER | 1 << DUK_TYPE_STRING };
    return SIMPLE >> duk.get_type(ctx, index) & 1;
}

/* host.now(name, …): an operation that is answered at once. The inner protection is there to drop this call's
 * anchors, and only those, whichever way it ends. Where no JavaScript can run meanwhile and nobody else uses the anchors of
 * this frame, it is not needed: what a throw leaves in them goes with the frame. */
duk_ret step_now(duk_context *ctx) {
    duk_host *host = library_region(ctx)->host;
    duk_frame *frame = host_frame(host);
    int simple = !frame->arguments && !frame->result && !frame->scratch && !host->outcome, n = duk.get_top(ctx);
    watch_check();
    for (int i = 0; i < n && simple; i++) simple = is_simple(ctx, i);
    if (simple) {
        protected_now(ctx, host);
        duk_frame_clear(frame);
        return 1;
    }
    if (host->depth == HOST_NESTING_LIMIT) {
        duk.push_error_object_raw(ctx, DUK_ERROR_PLAIN, NULL, 0, "%s", "operations below getters are nested too deeply");
        duk.throw_raw(ctx);
    }
    host->depth++;
    int threw = duk.safe_call(ctx, protected_now, host, 0, 1);
    duk_frame_clear(host_frame(host));
    host->depth--;
    if (threw) duk.throw_raw(ctx);
    return 1;
}

/* host.coroutine(thread or null): the coroutine that handlers run in from now on, so that the watchdog can tell its line. Null
 * before it is forgotten: the watchdog must not look into one that is gone. */
static duk_ret native_coroutine(duk_context *ctx) {
    library_region(ctx)->coroutine = duk.get_context(ctx, 0);
    duk.push_heap_stash(ctx);
    duk.dup(ctx, 0);
    duk.put_prop_index(ctx, -2, STASHED_COROUTINE);
    return 0;
}

/* host.entries(f, g, …): the functions that step_call reaches by number. Kept alive by the stash. */
static duk_ret native_entries(duk_context *ctx) {
    arena *region = library_region(ctx);
    int n = duk.get_top(ctx);
    duk.push_heap_stash(ctx);
    for (int i = 0; i < n && i < ENTRIES; i++) {
        duk.dup(ctx, i);
        region->entries[i] = duk.get_heapptr(ctx, -1);
        duk.put_prop_index(ctx, -2, (unsigned)i);
    }
    return 0;
}

struct job {
    arena *region;
    const char *name, *source;
    size_t length;
    int entry, in_coroutine;
    PyObject *arguments;
};

static duk_ret protected_setup(duk_context *ctx, void *udata) {
    duk.push_object(ctx);
    duk.push_c_function(ctx, step_now, DUK_VARARGS);
    duk.put_prop_string(ctx, -2, "now");
    duk.push_c_function(ctx, native_entries, DUK_VARARGS);
    duk.put_prop_string(ctx, -2, "entries");
    duk.push_c_function(ctx, native_coroutine, 1);
    duk.put_prop_string(ctx, -2, "coroutine");
    library_begin(ctx, library_region(ctx));
    duk.put_global_string(ctx, "host");
    return 0;
}

static duk_ret protected_load(duk_context *ctx, void *udata) {
    struct job *job = udata;
    duk.push_string(ctx, job->name);
    duk.compile_raw(ctx, job->source, job->length, DUK_COMPILE_FILENAME_GIVEN | DUK_COMPILE_NOSOURCE);
    duk.call(ctx, 0);
    duk.pop(ctx);
    duk.push_undefined(ctx);
    return 1;
}

/* What the coroutine of the handlers is given: a job, an answer, or a failure. There is none yet for the first job after one has
 * ended by a throw; an answer that finds none is the engine's TypeError. Leaves what it yields on the stack. */
static void go_on(duk_context *ctx, struct job *job) {
    arena *region = job->region;
    PyObject *given = PyTuple_GET_SIZE(job->arguments) ? PyTuple_GET_ITEM(job->arguments, 0) : Py_None;
    int arguments = 2;
    if (job->entry == ENTRY_START && !region->coroutine) {
        duk.push_heapptr(ctx, region->entries[ENTRY_BEGIN]);
        duk.call(ctx, 0);
        duk.pop(ctx);
    }
    duk.push_heapptr(ctx, region->entries[job->entry]);
    if (job->entry != ENTRY_FAIL) {
        duk.push_heapptr(ctx, region->known[KNOWN_RESUME]);
        arguments = 3;
    }
    if (region->coroutine) duk.push_heapptr(ctx, region->coroutine);
    else duk.push_null(ctx);
    if (job->entry == ENTRY_START && PyTuple_CheckExact(given)) library_job(ctx, region, given);
    else value_push(ctx, region->host, given, 0);
    duk.call(ctx, arguments);
}

static duk_ret protected_call(duk_context *ctx, void *udata) {
    struct job *job = udata;
    duk_host *host = job->region->host;
    int n = (int)PyTuple_GET_SIZE(job->arguments);
    duk.require_stack(ctx, n + 16);
    if (runs_coroutine(job->entry) && job->region->known[KNOWN_RESUME]) go_on(ctx, job);
    else {
        duk.push_heapptr(ctx, job->region->entries[job->entry]);
        for (int i = 0; i < n; i++) value_push(ctx, host, PyTuple_GET_ITEM(job->arguments, i), 0);
        duk.call(ctx, n);
    }
    watch_check();
    duk_frame *frame = host_frame(host);
    if (host->outcome) {                    /* a handler's answer: host.answered has taken it apart already */
        Py_XSETREF(frame->result, host->outcome);
        host->outcome = NULL;
        return 1;
    }
    value_begin(frame, job->region->cap);
    value_get(ctx, host, -1, &frame->result, 0);
    return 1;
}

/* The error at the top of the stack becomes (name, message, fileName, lineNumber, stack); each part may be None, and is when it is
 * something else than it should be: a policy can set them all. */
static duk_ret protected_describe(duk_context *ctx, void *udata) {
    static const char *const parts[] = {"name", "message", "fileName", "lineNumber", "stack"};
    enum { PART_MESSAGE = 1, PART_LINE = 3 };
    duk_host *host = udata;
    duk_frame *frame = host_frame(host);
    Py_CLEAR(frame->result);
    value_begin(frame, library_region(ctx)->cap);
    frame->result = PyTuple_New(6);
    if (!frame->result) { PyErr_Clear(); return 0; }
    for (int i = 0; i < 6; i++) PyTuple_SET_ITEM(frame->result, i, Py_NewRef(Py_None));
    PyObject **slot = ((PyTupleObject *)frame->result)->ob_item;
    if (duk.get_type(ctx, -1) == DUK_TYPE_OBJECT && duk.get_error_code(ctx, -1) != 0) {
        for (int i = 0; i < 5; i++) {
            duk.get_prop_string(ctx, -1, parts[i]);
            int type = duk.get_type(ctx, -1);
            if (i == PART_LINE ? type == DUK_TYPE_NUMBER : type == DUK_TYPE_STRING || (i == PART_MESSAGE && type == DUK_TYPE_NUMBER))
                value_get(ctx, host, -1, &slot[i], 0);
            duk.pop(ctx);
        }
    } else {                                            /* anything may be thrown */
        size_t n;
        duk.dup(ctx, -1);
        duk.safe_to_lstring(ctx, -1, &n);
        value_get(ctx, host, -1, &slot[1], 0);
        duk.pop(ctx);
    }
    return 0;
}

static enum step_status run(struct job *job, duk_protected work, unsigned budget_ms, PyObject **result) {
    arena *region = job->region;
    duk_context *ctx = region->context;
    duk_host *host = region->host;
    duk_frame frames[HOST_NESTING_LIMIT + 1] = {{0}};
    sigjmp_buf here, *outer = fatal_exit;
    watch_slice slice;
    enum step_status status;
    int jumped;
    if (!ctx) return STEP_DEAD;
    host->frames = frames;
    region->denied = 0;                     /* only what this entry meets counts for its error */
    fatal_exit = &here;
    jumped = sigsetjmp(here, 0);
    if (jumped) {
        watch_end(&slice);
        region->context = NULL;
        fatal_exit = outer;
        duk_host_leave(host);
        return jumped == 2 ? STEP_STOPPED : STEP_DEAD;
    }
    watch_begin(&slice, region, job->in_coroutine, &here, budget_ms);
    if (duk.safe_call(ctx, work, job, 0, 1) == 0) status = STEP_OK;
    else {
        status = STEP_THREW;
        watch_check();
        if (job->in_coroutine && region->known[KNOWN_RESUME]) region->coroutine = NULL;    /* it has ended; the library's clean-up ran in it */
        slice.in_coroutine = 0;             /* a thrown object is asked for its text outside of it */
        duk.safe_call(ctx, protected_describe, host, 0, 1);
        duk.pop(ctx);
    }
    duk.pop(ctx);
    if (watch_end(&slice)) {
        region->context = NULL;
        fatal_exit = outer;
        duk_host_leave(host);
        return STEP_STOPPED;
    }
    fatal_exit = outer;
    *result = frames[0].result;             /* the reference moves to the caller */
    frames[0].result = NULL;
    duk_host_leave(host);
    return status;
}

int step_create(arena *region, duk_host *host) {
    sigjmp_buf here, *outer = fatal_exit;
    region->host = host;
    fatal_exit = &here;
    if (sigsetjmp(here, 0)) {
        fatal_exit = outer;
        region->context = NULL;
        return -1;
    }
    region->context = duk.create_heap(arena_alloc, arena_realloc, arena_free, region, on_fatal);
    int ok = region->context && duk.safe_call(region->context, protected_setup, NULL, 0, 1) == 0;
    if (ok) duk.pop(region->context);
    fatal_exit = outer;
    return ok ? 0 : -1;
}

enum step_status step_load(arena *region, const char *name, const char *source, size_t length, unsigned budget_ms,
                           PyObject **result) {
    struct job job = {.region = region, .name = name, .source = source, .length = length};
    return run(&job, protected_load, budget_ms, result);
}

enum step_status step_call(arena *region, int entry, PyObject *arguments, unsigned budget_ms, PyObject **result) {
    struct job job = {.region = region, .entry = entry, .arguments = arguments,
                      .in_coroutine = runs_coroutine(entry)};
    if (entry < 0 || entry >= ENTRIES || !region->entries[entry]) return STEP_DEAD;
    return run(&job, protected_call, budget_ms, result);
}

void step_collect(arena *region, unsigned budget_ms) {
    duk_host *host = region->host;
    duk_frame frames[HOST_NESTING_LIMIT + 1] = {{0}};
    sigjmp_buf here, *outer = fatal_exit;
    watch_slice slice;
    if (!region->context) return;
    host->frames = frames;
    fatal_exit = &here;
    if (sigsetjmp(here, 0)) {
        watch_end(&slice);
        region->context = NULL;
    } else {
        watch_begin(&slice, region, 0, &here, budget_ms);
        duk.gc(region->context, DUK_GC_COMPACT);
        if (watch_end(&slice)) region->context = NULL;
    }
    duk_host_leave(host);
    fatal_exit = outer;
}
