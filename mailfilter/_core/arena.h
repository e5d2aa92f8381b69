/*
 * The memory of one JavaScript heap: one region that holds every byte Duktape allocates.
 *
 * A region has a hard cap; reaching it makes an allocation fail, which Duktape turns into an error of
 * the policy. Freed blocks are kept by size class and used again; when nothing fits any more, neighbours
 * are joined and larger ones cut. The region is never given back piecemeal. A heap is ended by forgetting
 * its region as a whole (no destructor needs to run), so a heap that was stopped in the middle of anything
 * costs nothing to drop. Regions are recycled through a pool, because fresh pages cost more than anything
 * else about a heap.
 *
 * The header lies at the region's start; all book-keeping of the region is inside it.
 *
 * Must not know: Python, Duktape's insides, mail.
 */
#ifndef MAILFILTER_ARENA_H
#define MAILFILTER_ARENA_H

#include <stddef.h>
#include <stdint.h>

/* The functions that the engine calls lie together: the watchdog may leave them, because what they were halfway through
 * is forgotten with the region. */
#define ARENA_TEXT __attribute__((section("arena_text")))

enum {
    ARENA_CLASSES = 160,        /* 63 classes of 8-byte steps up to 504 bytes, then 4 for each doubling */
    ARENA_SLACK = 1 << 16,      /* mapped behind the cap: room for asking a stopped heap where it was */
    ARENA_LARGEST_CAP = 1 << 30, ARENA_POOL_LIMIT = 64       /* regions kept for the next heap, at most */
};

typedef struct arena {
    size_t cap;                 /* bytes of the region that may be used */
    size_t top;                 /* bytes used so far, header included; it comes down when the newest block is freed */
    size_t peak;                /* where the top was when it last came down, or higher: pages up to there were written */
    size_t freed;               /* bytes freed since free neighbours were last joined */
    size_t zeroing;             /* whether every block is handed out as zeros: in the builds of an image */
    size_t denied;              /* size of the allocation that met the cap last, 0: none did */
    void *host;                 /* who owns the heap in this region (a struct duk_host), outside the region */
    void *context;              /* the heap's first duk_context, inside the region */
    void *coroutine;            /* the duk_context that handlers run in, inside the region; NULL: none */
    void *entries[12];          /* functions of the library that the host calls, inside the region */
    void *names[32];            /* texts of the heap, inside the region: names of properties that the host looks up */
    void *known[16];            /* objects and symbols of the library, inside the region: duk_library.h */
    void *free_list[ARENA_CLASSES];
} arena;

/* A region whose heap may use `cap` bytes, recycled or new; NULL: the system gave no memory. */
arena *arena_open(size_t cap);
/* Begin book-keeping in a region of `cap` bytes that somebody else has mapped. */
void arena_begin(arena *a, size_t cap);
/* Forget the heap and keep the region for the next one, or return it to the system. */
void arena_close(arena *a);
/* Give all memory of a region of arena_open back to the system, with the page tables. From then on it is all zeros, its header,
 * too, and still reserved. */
void arena_empty(arena *a, size_t cap);
/* Regions in the pool now, and regions in use now (for leak checks). */
size_t arena_pooled(void);
size_t arena_in_use(void);

/* Bytes below the high-water mark that are free. */
size_t arena_free_bytes(const arena *a);

/* Offset of the first block's header, where blocks follow one another: a size_t of the data's size, and the data. */
size_t arena_first_block(void);
/* Call visit(data, from, to) for the inside of every free block: offsets in bytes from the region's start, behind the
 * link that the block's first word is. */
void arena_each_free(const arena *a, void (*visit)(void *data, size_t from, size_t to), void *data);

/* The three functions that Duktape calls; udata is the arena. */
void *arena_alloc(void *udata, size_t size);
void *arena_realloc(void *udata, void *ptr, size_t size);
void arena_free(void *udata, void *ptr);

#endif
