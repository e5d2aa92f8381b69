/*
 * The watchdog: stops JavaScript that does not return.
 *
 * The engine has no interrupt counter, and a native built-in (a back-tracking regular expression, a huge
 * join) would run on even if it had. So a timer on the CPU clock of the thread that runs JavaScript ticks every
 * WATCH_TICK_MS of CPU that the thread burns, never while it waits. When the same slice (one entry into
 * JavaScript) has been seen for so long that its budget may be used up with the next tick, the signal handler jumps out of it (the
 * shortest budget there is comes to one or two ticks). The heap is
 * then in no known state and is forgotten whole: all its memory is in its region, so nothing is lost and no lock is
 * held. It jumps only when the interrupted instruction is the engine's own, of its allocator (arena.h), or of memcpy, memmove, memset or memcmp called
 * by the engine (a policy can spend all its time there, with buffers): never out of Python (a native function of
 * ours, an operation), never out of the rest of libc (memory, time zones), which may hold a lock or be halfway through
 * something that belongs to everybody. The next tick tries again. Between the entry and the engine's own frames there is
 * never a frame of Python: code that converts values keeps what it makes anchored (duk_value.h).
 *
 * In the same way it leaves JavaScript in which the engine itself goes wrong and touches memory that is not there
 * (SIGSEGV, SIGBUS, with the instruction pointer where a tick may jump, too): one session ends and not all of the process.
 * Such a fault anywhere else is left to whoever had it before.
 *
 * One thread of a process runs JavaScript. Slices nest when an operation, answered by Python, enters another heap; the
 * outer one's budget begins anew after that. Must not know: Python, mail, what is run.
 */
#ifndef MAILFILTER_WATCH_H
#define MAILFILTER_WATCH_H

#include <setjmp.h>
#include <signal.h>
#include "arena.h"

enum { WATCH_TICK_MS = 5, WATCH_PLACES = 8, WATCH_NAME_BYTES = 120 };

/* Where the stopped JavaScript was, innermost first; as far as it could be found. */
typedef struct watch_place {
    int line;
    char file[WATCH_NAME_BYTES];
} watch_place;

typedef struct watch_report {
    int crashed;                /* it touched memory that is not there, before its time was up */
    int native;                 /* the innermost function was one of the engine's own, not JavaScript */
    int count;
    watch_place places[WATCH_PLACES];
} watch_report;

/* One slice: where the escape is and whose it is. */
typedef struct watch_slice {
    arena *region;
    sigjmp_buf *escape;
    unsigned limit_ticks;
    int in_coroutine;
    struct watch_slice *outer;
} watch_slice;

/* A slice begins: from now on it may be stopped after `budget_ms` of CPU by a jump to `escape` with
 * the value 2. `slice` belongs to the caller and must live until watch_end. `in_coroutine`: whether it runs in the
 * region's coroutine. */
void watch_begin(watch_slice *slice, arena *region, int in_coroutine, sigjmp_buf *escape, unsigned budget_ms);
/* It is over, by whatever way. 1 when it was stopped (also when an error of the engine, met while the handler asked
 * for the place, led out of it before the jump). */
int watch_end(watch_slice *slice);
/* Before anything outside the engine runs (Python, above all): a slice that the handler is about to end, and that an
 * error of the engine led on, ends here. Does not return then. */
void watch_check(void);
/* Milliseconds of CPU that the last slice has burnt at most; by a clock that tells the time of day it may have taken longer,
 * when the system had other things to do. */
unsigned watch_most_ms(void);
/* What the last slice that was stopped was doing. */
const watch_report *watch_last(void);

#endif
