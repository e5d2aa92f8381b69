/* The allocator of one JavaScript heap; see arena.h. */
#include "arena.h"

#include <string.h>
#include <sys/mman.h>

enum { HEADER = 8, STEP = 8, SMALL = 63, PAGE = 4096, FREE = 1 /* in a header, while blocks are merged */ };
enum { LEAST_TAIL = 1024 };         /* what a block that shrinks must have to spare to be cut */
enum { TABLE_SPAN = 1 << 21 };      /* what one of the system's page tables maps */

static arena *pool[ARENA_POOL_LIMIT];
static size_t pooled, in_use;

/* Size class of a payload: its number, and the bytes such a block really has. */
static inline unsigned class_of(size_t size, size_t *room) {
    size_t units = (size + STEP - 1) / STEP;
    if (units == 0) units = 1;
    if (units <= SMALL) {
        *room = units * STEP;
        return (unsigned)units - 1;
    }
    /* Above 504 bytes: the top two bits below the leading one choose among four classes of a doubling. */
    unsigned shift = 63 - (unsigned)__builtin_clzll((unsigned long long)(units - 1));
    size_t quarter = (size_t)1 << (shift - 2);
    size_t rounded = (units + quarter - 1) & ~(quarter - 1);
    unsigned class = SMALL + (shift - 5) * 4 + (unsigned)((rounded >> (shift - 2)) & 3);
    if (rounded >> (shift + 1)) class = SMALL + (shift - 4) * 4;   /* rounding reached the next doubling */
    *room = rounded * STEP;
    return class;       /* ARENA_LARGEST_CAP is 2^27 units of 8 bytes: class 151 at most */
}

static inline size_t *header_of(void *ptr) { return (size_t *)ptr - 1; }

/* Put a block into the list of the largest class that it can serve: what was merged or cut has odd sizes. */
static inline void keep_free(arena *a, void *ptr, size_t room) {
    size_t wanted;
    unsigned class = class_of(room, &wanted);
    if (wanted > room) class--;
    *(void **)ptr = a->free_list[class];
    a->free_list[class] = ptr;
}

/* A block of `room` bytes out of a free one of class `from` or above; NULL: there is none. */
ARENA_TEXT static void *cut(arena *a, size_t room, unsigned from) {
    for (unsigned class = from; class < ARENA_CLASSES; class++) {
        void *ptr = a->free_list[class];
        if (!ptr) continue;
        size_t have = *header_of(ptr);
        a->free_list[class] = *(void **)ptr;
        if (have - room >= HEADER + STEP) {
            char *rest = (char *)ptr + room + HEADER;
            *header_of(rest) = have - room - HEADER;
            *header_of(ptr) = room;
            keep_free(a, rest, have - room - HEADER);
        }
        return ptr;
    }
    return NULL;
}

/* Join free blocks that lie side by side, and give those at the end back to the top. Done only when nothing fits any
 * more, as the engine collects garbage then anyway. Whether anything was joined. The lists are sound at every moment:
 * the watchdog may stop a heap in the middle of this and ask it where it was. */
ARENA_TEXT static int merge(arena *a) {
    void *lists[ARENA_CLASSES];
    char *at = (char *)a + arena_first_block(), *end = (char *)a + a->top;
    int joined = 0;
    memcpy(lists, a->free_list, sizeof lists);
    memset(a->free_list, 0, sizeof a->free_list);
    __asm__ volatile("" ::: "memory");
    for (int class = 0; class < ARENA_CLASSES; class++)
        for (void *ptr = lists[class]; ptr; ptr = *(void **)ptr) *header_of(ptr) |= FREE;
    while (at < end) {
        size_t room = *(size_t *)at;
        if (room & FREE) {
            char *next = at + HEADER + (room -= FREE);
            for (; next < end && (*(size_t *)next & FREE); next = at + HEADER + room) {
                room += HEADER + *(size_t *)next - FREE;
                joined = 1;
            }
            *(size_t *)at = room;
            if (next == end) {
                if (a->top > a->peak) a->peak = a->top;
                a->top = (size_t)(at - (char *)a);
                return 1;
            }
            __asm__ volatile("" ::: "memory");
            keep_free(a, at + HEADER, room);
        }
        at += HEADER + room;
    }
    return joined;
}

/* Joining looks at every block of the region: a heap that stays full would spend all its time with it, for a few bytes each
 * time. Seen. So something must have been freed since the last time, or the wish be as large as the effort. */
static inline int worth_merging(arena *a, size_t room) {
    size_t least = a->top / 32;
    if (a->freed < least && room < least) return 0;
    a->freed = 0;
    return 1;
}

ARENA_TEXT void *arena_alloc(void *udata, size_t size) {
    arena *a = udata;
    if (size == 0) return NULL;
    if (size > a->cap) { a->denied = size; return NULL; }
    size_t room;
    unsigned class = class_of(size, &room);
    void *ptr = a->free_list[class];
    if (ptr) {
        a->free_list[class] = *(void **)ptr;
        if (a->zeroing) memset(ptr, 0, *header_of(ptr));
        return ptr;
    }
    if (room + HEADER > a->cap - a->top) {
        ptr = cut(a, room, class + 1);
        if (!ptr && worth_merging(a, room) && merge(a) && room + HEADER > a->cap - a->top) ptr = cut(a, room, class);
        if (ptr) {
            if (a->zeroing) memset(ptr, 0, *header_of(ptr));
            return ptr;
        }
        if (room + HEADER > a->cap - a->top) {
            a->denied = size;
            return NULL;
        }
    }
    size_t *header = (size_t *)((char *)a + a->top);
    a->top += room + HEADER;
    *header = room;
    if (a->zeroing) memset(header + 1, 0, room);    /* the top may have come down over used memory */
    return header + 1;
}

ARENA_TEXT void arena_free(void *udata, void *ptr) {
    arena *a = udata;
    if (!ptr) return;
    size_t room = *header_of(ptr);
    a->freed += room;
    if ((char *)ptr + room == (char *)a + a->top) {     /* the newest block: give it back to the top */
        if (a->top > a->peak) a->peak = a->top;
        a->top -= room + HEADER;
        return;
    }
    keep_free(a, ptr, room);
}

/* A block that is to have `wanted` bytes and has `room`: the rest is free again. Else what was in it once would be kept with the
 * block, asleep or awake. */
ARENA_TEXT static void cut_tail(arena *a, void *ptr, size_t wanted, size_t room) {
    a->freed += room - wanted;
    if ((char *)ptr + room == (char *)a + a->top) {
        if (a->top > a->peak) a->peak = a->top;
        a->top -= room - wanted;
        *header_of(ptr) = wanted;
        return;
    }
    char *rest = (char *)ptr + wanted + HEADER;
    *header_of(rest) = room - wanted - HEADER;
    *header_of(ptr) = wanted;
    keep_free(a, rest, room - wanted - HEADER);
}

ARENA_TEXT void *arena_realloc(void *udata, void *ptr, size_t size) {
    arena *a = udata;
    if (!ptr) return arena_alloc(a, size);
    if (size == 0) { arena_free(a, ptr); return NULL; }
    size_t room = *header_of(ptr);
    size_t wanted;
    if (size <= room) {
        class_of(size, &wanted);
        if (room - wanted >= LEAST_TAIL && wanted < room) cut_tail(a, ptr, wanted, room);
        return ptr;
    }
    if (size <= a->cap && (char *)ptr + room == (char *)a + a->top) {   /* the newest block grows in place */
        class_of(size, &wanted);
        if (wanted - room <= a->cap - a->top) {
            a->top += wanted - room;
            if (a->zeroing) memset((char *)ptr + room, 0, wanted - room);
            *header_of(ptr) = wanted;
            return ptr;
        }
    }
    void *bigger = arena_alloc(a, size);
    if (!bigger) return NULL;
    memcpy(bigger, ptr, room);
    arena_free(a, ptr);
    return bigger;
}

size_t arena_first_block(void) { return (sizeof (arena) + 15) & ~(size_t)15; }

void arena_begin(arena *a, size_t cap) {
    memset(a, 0, sizeof *a);
    a->cap = cap;
    a->top = arena_first_block();
}

/* Address space for a region, beginning where a page table does: what it keeps of the system's memory, 4 KiB for every 2 MiB
 * that were written in, then is its own and can be given back with its pages. It is as large as those pages once they sleep. */
static void *map(size_t bytes) {
    char *got = mmap(NULL, bytes + TABLE_SPAN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (got == MAP_FAILED) return NULL;
    size_t before = -(uintptr_t)got & (TABLE_SPAN - 1);
    if (before) munmap(got, before);
    if (before < TABLE_SPAN) munmap(got + before + bytes, TABLE_SPAN - before);
    return got + before;
}

/* Bytes of address space of a region with this cap: whole page tables. */
static size_t mapped(size_t cap) { return (cap + ARENA_SLACK + TABLE_SPAN - 1) & ~(size_t)(TABLE_SPAN - 1); }

void arena_empty(arena *a, size_t cap) {
    size_t bytes = mapped(cap);
    if (mmap(a, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) == MAP_FAILED)
        madvise(a, bytes, MADV_DONTNEED);       /* too many mappings to split one for a moment: only its pages, then */
}

arena *arena_open(size_t cap) {
    arena *a = NULL;
    if (cap > ARENA_LARGEST_CAP) cap = ARENA_LARGEST_CAP;
    cap = (cap + PAGE - 1) & ~(size_t)(PAGE - 1);
    for (size_t i = pooled; i-- > 0;)
        if (pool[i]->cap == cap) {
            a = pool[i];
            pool[i] = pool[--pooled];
            break;
        }
    if (!a) {
        a = map(mapped(cap));
        if (!a) return NULL;
    }
    arena_begin(a, cap);
    in_use++;
    return a;
}

void arena_close(arena *a) {
    size_t written = a->top > a->peak ? a->top : a->peak;
    in_use--;
#ifdef MAILFILTER_DEBUG
    memset((char *)a + sizeof *a, 0xDB, written - sizeof *a);   /* a stale pointer must not find old data */
#endif
    if (pooled == ARENA_POOL_LIMIT) {
        /* One of another size, of a policy that was replaced, makes room. */
        size_t i = 0;
        while (i < pooled && pool[i]->cap == a->cap) i++;
        arena *given_up = i < pooled ? pool[i] : a;
        if (i < pooled) pool[i] = pool[--pooled];
        munmap(given_up, mapped(given_up->cap));
        if (given_up == a) return;
    }
    /* Pages far above what a usual session touches go back to the system. */
    size_t keep = (size_t)1 << 20;
    if (written > keep) madvise((char *)a + keep, a->cap + ARENA_SLACK - keep, MADV_DONTNEED);
    pool[pooled++] = a;
}

size_t arena_pooled(void) { return pooled; }
size_t arena_in_use(void) { return in_use; }

size_t arena_free_bytes(const arena *a) {
    size_t total = 0;
    for (int class = 0; class < ARENA_CLASSES; class++)
        for (void *ptr = a->free_list[class]; ptr; ptr = *(void **)ptr) total += *header_of(ptr) + HEADER;
    return total;
}

void arena_each_free(const arena *a, void (*visit)(void *data, size_t from, size_t to), void *data) {
    for (int class = 0; class < ARENA_CLASSES; class++)
        for (void *ptr = a->free_list[class]; ptr; ptr = *(void **)ptr) {
            size_t from = (size_t)((char *)ptr - (char *)a);
            visit(data, from + sizeof (void *), from + *header_of(ptr));
        }
}
