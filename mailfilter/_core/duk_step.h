/*
 * The protected calls into a heap: every way from the host into JavaScript goes through one of them.
 *
 * Each runs under duk.safe_call, so that no longjmp crosses a frame that is not plain C. The result, or the
 * error in five fields, comes out as Python objects. A fatal error of the engine (its own consistency
 * lost, or memory gone where it cannot throw) jumps back to the entry and marks the heap dead; the region
 * is then forgotten whole.
 *
 * Must not know: mail, sessions, uvloop.
 */
#ifndef MAILFILTER_DUK_STEP_H
#define MAILFILTER_DUK_STEP_H

#include "arena.h"
#include "duk_value.h"

enum step_status {
    STEP_OK = 0,
    STEP_THREW = 1,
    STEP_DEAD = 2,              /* the engine failed beyond an exception */
    STEP_STOPPED = 3            /* the watchdog stopped it; watch_last() tells where. The heap is dead */
};

/* Called by the native function host.now(name, …): *result gets a new reference, or, with -1, a
 * (class name, message) tuple. Never lets an exception out. */
typedef int (*step_host_call)(void *owner, PyObject *arguments, PyObject **result);
extern step_host_call step_host;

/* host.now(name, …), a native function: an operation that is answered at once. Its arguments are all that is on the stack. */
duk_ret step_now(duk_context *ctx);

/* Make the heap inside the region: Duktape's built-ins and the global `host`. 0, or -1. */
int step_create(arena *region, duk_host *host);
/* Compile and run `source` as a program named `name`. */
/* Each may burn `budget_ms` of CPU. */
enum step_status step_load(arena *region, const char *name, const char *source, size_t length, unsigned budget_ms,
                           PyObject **result);
/* Call library function number `entry` (registered by host.entries(...)) with a tuple of arguments. */
enum step_status step_call(arena *region, int entry, PyObject *arguments, unsigned budget_ms, PyObject **result);
/* Run the collector. It runs finalizers, which may be the policy's: after `budget_ms` of CPU the heap is dead. */
void step_collect(arena *region, unsigned budget_ms);

#endif
