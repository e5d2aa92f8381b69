/* Ticks, and the jump; see watch.h. */
#define _GNU_SOURCE
#include "watch.h"
#include "duk_api.h"

#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <pthread.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

static watch_slice *volatile running;           /* the slice under way, or NULL */
static volatile unsigned long slice;            /* its number */

static unsigned long seen;                      /* the slice that the last tick saw, and for how many ticks */
static unsigned ticks;
static unsigned most_ms;                        /* see watch_most_ms */

static watch_report report;
static volatile sig_atomic_t looking;           /* the handler is asking the engine where it is */
static struct sigaction old_segv, old_bus;      /* while it is looking */
static struct sigaction segv_before, bus_before;        /* whose a fault is that is not the engine's */

/* The kernel looks at CPU timers in its own tick, which may be longer than ours: so many of ours one signal stands for.
 * What else makes the timer overrun is not counted: a hypervisor's other guests, for one, whose time looks like ours. Seen;
 * handlers of some microseconds were stopped by it. */
static unsigned ticks_at_once = 1;

static int started;
static timer_t timer;
static uintptr_t engine_from, engine_to;        /* the engine's instructions */

/* Where libc's functions on memory begin, as this processor has them; one is never longer than LEAF_BYTES, and what
 * lies behind it is its like. They call nothing and leave the stack as it is. */
enum { LEAVES = 4, LEAF_BYTES = 4096 };
static uintptr_t leaves[LEAVES];

static int find_text(struct dl_phdr_info *info, size_t size, void *base) {
    if (info->dlpi_addr != (uintptr_t)base) return 0;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *header = &info->dlpi_phdr[i];
        if (header->p_type == PT_LOAD && (header->p_flags & PF_X)) {
            engine_from = info->dlpi_addr + header->p_vaddr;
            engine_to = engine_from + header->p_memsz;
        }
    }
    return 1;
}

/* Where the thread was. */
static uintptr_t interrupted_at(const void *context) {
    const ucontext_t *c = context;
#if defined(__x86_64__)
    return (uintptr_t)c->uc_mcontext.gregs[REG_RIP];
#elif defined(__aarch64__)
    return (uintptr_t)c->uc_mcontext.pc;
#else
#error "the watchdog needs to know where this processor keeps its instruction pointer"
#endif
}

/* Where the function that it was in returns to, provided that it is a leaf. The word on the stack is nobody's variable, and
 * AddressSanitizer would say so. */
__attribute__((no_sanitize_address)) static uintptr_t returns_to(const void *context) {
    const ucontext_t *c = context;
#if defined(__x86_64__)
    return *(const uintptr_t *)(uintptr_t)c->uc_mcontext.gregs[REG_RSP];
#else
    return (uintptr_t)c->uc_mcontext.regs[30];
#endif
}

/* The linker's names for the ends of a section. */
extern const char __start_arena_text[] __attribute__((visibility("hidden")));
extern const char __stop_arena_text[] __attribute__((visibility("hidden")));

/* The engine, or the allocator that works for it alone. */
static inline int in_engine(uintptr_t at) {
    return (at >= engine_from && at < engine_to) ||
        (at >= (uintptr_t)__start_arena_text && at < (uintptr_t)__stop_arena_text);
}

/* Whether nothing but the engine is halfway through something. */
static int may_be_left(const void *context) {
    uintptr_t at = interrupted_at(context);
    if (in_engine(at)) return 1;
    for (int i = 0; i < LEAVES; i++)
        if (at - leaves[i] < LEAF_BYTES) return in_engine(returns_to(context));
    return 0;
}

static void on_bad_memory(int signal) {
    (void)signal;
    if (looking) siglongjmp(*running->escape, 2);
    _exit(139);
}

/* Runs under duk.safe_call, which makes the engine write down how far the running function has come, and keeps an
 * error, met on the way, away from the policy. */
static duk_ret places(duk_context *ctx, void *udata) {
    (void)udata;
    for (int level = -1; level >= -24 && report.count < WATCH_PLACES; level--) {
        duk.inspect_callstack_entry(ctx, level);
        if (duk.get_type(ctx, -1) != DUK_TYPE_OBJECT) break;
        duk.get_prop_string(ctx, -1, "lineNumber");
        int line = duk.get_int(ctx, -1);
        duk.pop(ctx);
        duk.get_prop_string(ctx, -1, "function");
        duk.get_prop_string(ctx, -1, "fileName");
        const char *file = duk.get_string(ctx, -1);
        if (file && line > 0) {
            watch_place *place = &report.places[report.count];
            place->line = line;
            strncpy(place->file, file, WATCH_NAME_BYTES - 1);
            place->file[WATCH_NAME_BYTES - 1] = 0;
            report.count++;
        } else if (level == -1) report.native = 1;
        duk.pop_n(ctx, 3);
    }
    return 0;
}

/* Ask the engine which lines are on its call stack. It was interrupted anywhere, so that it may crash or loop while it
 * looks; both lead to the escape. The heap is not used again in any case. */
static void look(void) {
    struct sigaction mine = {.sa_handler = on_bad_memory, .sa_flags = SA_NODEFER};
    arena *region = running->region;
    duk_context *ctx = running->in_coroutine && region->coroutine ? region->coroutine : region->context;
    report.count = report.native = 0;
    sigaction(SIGSEGV, &mine, &old_segv);
    sigaction(SIGBUS, &mine, &old_bus);
    looking = 1;
    region->cap += ARENA_SLACK;
    duk.safe_call(ctx, places, NULL, 0, 0);
}

static void looked(void) {
    running->region->cap -= ARENA_SLACK;
    looking = 0;
    sigaction(SIGSEGV, &old_segv, NULL);
    sigaction(SIGBUS, &old_bus, NULL);
}

/* The engine touched memory that is not there: a mistake of its own, which some text or other brought out. Its heap is
 * forgotten like one that was stopped; everything else goes on. */
static void on_fault(int number, siginfo_t *info, void *context) {
    (void)info;
    if (looking) siglongjmp(*running->escape, 2);
    if (running && may_be_left(context)) {
        report.crashed = 1;
        look();
        siglongjmp(*running->escape, 2);
    }
    /* Not the engine's. It happens again when we return, and then to whom it would have happened without us. */
    sigaction(number, number == SIGBUS ? &bus_before : &segv_before, NULL);
}

static void on_tick(int signal, siginfo_t *info, void *context) {
    int kept = errno;
    (void)signal;
    if (looking) siglongjmp(*running->escape, 2);   /* a whole tick of looking: it loops, or went astray */
    if (!running) return;
    if (slice != seen) {
        seen = slice;
        ticks = 0;
        return;
    }
    (void)info;
    ticks += ticks_at_once;
    if (ticks < running->limit_ticks) return;
    if (!may_be_left(context)) return;
    report.crashed = 0;
    look();
    errno = kept;
    siglongjmp(*running->escape, 2);
}

/* A forked process has no timer of its own yet. */
static void forget(void) { started = 0; }

static void start(void) {
    static int registered;
    struct sigaction action = {.sa_sigaction = on_tick, .sa_flags = SA_SIGINFO | SA_NODEFER | SA_RESTART};
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGRTMIN + 3};
    struct itimerspec every = {{0, WATCH_TICK_MS * 1000000L}, {0, WATCH_TICK_MS * 1000000L}};
    struct timespec kernel_tick;
    Dl_info engine;
    started = 1;
    if (!registered) {
        registered = 1;
        leaves[0] = (uintptr_t)dlsym(RTLD_DEFAULT, "memcpy");
        leaves[1] = (uintptr_t)dlsym(RTLD_DEFAULT, "memmove");
        leaves[2] = (uintptr_t)dlsym(RTLD_DEFAULT, "memset");
        leaves[3] = (uintptr_t)dlsym(RTLD_DEFAULT, "memcmp");
        pthread_atfork(NULL, NULL, forget);
        if (dladdr(*(void **)&duk.call, &engine)) dl_iterate_phdr(find_text, engine.dli_fbase);
        struct sigaction fault = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_NODEFER};
        sigaction(SIGSEGV, &fault, &segv_before);
        sigaction(SIGBUS, &fault, &bus_before);
    }
    if (clock_getres(CLOCK_MONOTONIC_COARSE, &kernel_tick) == 0 && kernel_tick.tv_sec == 0) {
        ticks_at_once = (unsigned)(kernel_tick.tv_nsec / (WATCH_TICK_MS * 1000000L));
        if (ticks_at_once == 0) ticks_at_once = 1;
    }
    sigaction(SIGRTMIN + 3, &action, NULL);
    event.sigev_notify_thread_id = (pid_t)syscall(SYS_gettid);
    if (timer_create(CLOCK_THREAD_CPUTIME_ID, &event, &timer) == 0) timer_settime(timer, 0, &every, NULL);
}

void watch_begin(watch_slice *mine, arena *region, int in_coroutine, sigjmp_buf *escape, unsigned budget_ms) {
    /* Up to a tick has gone by unseen when the first one comes: the budget is what others wait at most. */
    unsigned whole = budget_ms / WATCH_TICK_MS;
    if (!started) start();
    *mine = (watch_slice){.region = region, .escape = escape, .limit_ticks = whole > 1 ? whole - 1 : 1,
                          .in_coroutine = in_coroutine, .outer = running};
    slice++;
    running = mine;
}

int watch_end(watch_slice *mine) {
    int stopped = looking;
    most_ms = ((seen == slice ? ticks + ticks_at_once : 0) + ticks_at_once) * WATCH_TICK_MS;
    if (stopped) looked();
    slice++;
    running = mine->outer;
    return stopped;
}

void watch_check(void) {
    if (looking) siglongjmp(*running->escape, 2);
}

unsigned watch_most_ms(void) { return most_ms; }

const watch_report *watch_last(void) { return &report; }
