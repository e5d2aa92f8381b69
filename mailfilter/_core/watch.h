/*
 * The watchdog: stops JavaScript that does not return.
 *
 * The engine has no interrupt counter, and a native built-in (a back-tracking regular expression, a huge
 * join) would run on even if it had. So a timer on the CPU clock of the thread that runs JavaScript ticks every
 * WATCH_TICK_MS of CPU that the thread burns, never while it waits. When the same slice (one entry into
 * JavaScript) has been seen for longer than its budget, the signal handler jumps out of it. The heap is
 * then in no known state and is forgotten whole: all its memory is in its region, so nothing is lost and no lock is
 * held. It jumps only when the interrupted instruction is the engine's own: never out of Python (a native function of
 * ours, an operation), never out of libc (memory, time zones), which may hold a lock or be halfway through something
 * that belongs to everybody. The next tick tries again. Between the entry and the engine's own frames there is
 * never a frame of Python: code that converts values keeps what it makes anchored (duk_value.h).
 *
 * One thread of a process runs JavaScript. Must not know: Python, mail, what is run.
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
    int count;
    watch_place places[WATCH_PLACES];
} watch_report;

/* A slice begins: from now on it may be stopped after `budget_ms` of CPU by a jump to `escape` with
 * the value 2. `in_coroutine`: whether it runs in the region's coroutine. Slices do not nest. */
void watch_begin(arena *region, int in_coroutine, sigjmp_buf *escape, unsigned budget_ms);
/* It is over, by whatever way. 1 when it was stopped (also when an error of the engine, met while the handler asked
 * for the place, led out of it before the jump). */
int watch_end(void);
/* What the last slice that was stopped was doing. */
const watch_report *watch_last(void);

#endif
