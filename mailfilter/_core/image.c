/* Images of heaps: finding the pointers, copying, hibernating; see image.h. */
#include "image.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>

static inline uint64_t *words_of(const void *region) { return (uint64_t *)region; }

arena *image_region(size_t cap, unsigned number) {
    /* As arena_open does it: copies have regions of that size, and find their way back into the pool by it. */
    if (cap > ARENA_LARGEST_CAP) cap = ARENA_LARGEST_CAP;
    cap = (cap + 4095) & ~(size_t)4095;
    void *at = (void *)(uintptr_t)(IMAGE_FIRST_BASE + number * IMAGE_DISTANCE);
    arena *a = mmap(at, cap + ARENA_SLACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
    if (a == MAP_FAILED) return NULL;
    if (a != at) {                      /* a kernel before 4.17 takes the address for a hint */
        munmap(a, cap + ARENA_SLACK);
        return NULL;
    }
    arena_begin(a, cap);
    /* What a block held before would make words that look like pointers: the end of a string, and behind it the
     * upper half of a pointer that lay there. Seen; it cost the string its final NUL in every copy. */
    a->zeroing = 1;
    return a;
}

void image_region_close(arena *a) { munmap(a, a->cap + ARENA_SLACK); }

static inline int is_pointer(uint64_t first, uint64_t second, uint64_t base, size_t used) {
    return second - first == IMAGE_DISTANCE && first >= base && first < base + used;
}

/* A pointer of the engine: inside the region, and aligned as its objects and its byte code are. */
static inline int is_aligned(uint64_t word) { return (word & 3) == 0; }

/* The upper half kept from a pointer, the lower half written since: nothing reads the upper one. */
static inline int is_stale(uint64_t first, uint64_t second) {
    return second - first == IMAGE_DISTANCE && (first >> 32) == IMAGE_FIRST_BASE >> 32;
}

/*
 * A value of the engine is a tag, a small number in four octets, four octets of padding, and the eight octets of the value.
 * The padding is copied with it from the C stack and holds whatever lay there; nothing reads it. So the upper half of a
 * word may differ where that word is a tag. But a number that differs looks alike: 1.25 and 1.5 have the same lower half,
 * zero, which is the tag of numbers.
 *
 * What lies behind tells them apart. The tags of texts, objects and buffers stand before a pointer, and so does any other
 * tag but a number's whose value was a pointer before. A number would have to end in the octets of one of these tags, in
 * all builds, and be the last of its table to be taken for it. A number's tag, and any other with the same value behind it
 * in all builds, must have a padding as no number of everyday has an upper half: below 2^20, which is that of zero and of
 * numbers below 2.3e-308. Padding that was a text or a number before is refused with it, which is seldom; such builds are
 * alike the next time.
 */
enum { TAG_NUMBER = 0, MOST_TAG = 10 };
static int is_padding(const uint64_t *first, const uint64_t *second, const uint64_t *third, size_t i, size_t count) {
    uint64_t a = first[i], b = second[i], c = third[i];
    if ((uint32_t)a > MOST_TAG || (uint32_t)a != (uint32_t)b || (uint32_t)a != (uint32_t)c || i + 1 == count) return 0;
    if ((uint32_t)a != TAG_NUMBER && second[i + 1] - first[i + 1] == IMAGE_DISTANCE &&
        third[i + 1] - second[i + 1] == IMAGE_DISTANCE) return 1;
    return first[i + 1] == second[i + 1] && first[i + 1] == third[i + 1] && ((a | b | c) >> 52) == 0;
}

/* The image at this address. A stretch that the processor's cache holds is copied, and then what points in it is
 * moved, so that memory is gone through once. */
static void copy_to(char *to, const image *im) {
    enum { STRETCH = 65536 };
    const uint32_t *at = im->relocations, *end = at + im->relocated;
    uint64_t shift = (uint64_t)(uintptr_t)to - im->base, *word = words_of(to);
    for (size_t from = 0; from < im->used; from += STRETCH) {
        size_t length = im->used - from < STRETCH ? im->used - from : STRETCH;
        uint32_t next = (uint32_t)((from + length) / 8);
        memcpy(to + from, im->bytes + from, length);
        for (; end - at >= 4 && at[3] < next; at += 4) {
            word[at[0]] += shift;
            word[at[1]] += shift;
            word[at[2]] += shift;
            word[at[3]] += shift;
        }
        for (; at < end && *at < next; at++) word[*at] += shift;
    }
}

static void forget_host(arena *a) { a->host = NULL; }

/* One block of the region: its data begins at `from` and ends at `to` (offsets); afterwards at `moved_to`. */
struct block {
    size_t from, to, moved_to;
    int is_free;
};

struct blocks {
    struct block *list;
    size_t count;
};

static void mark_free(void *data, size_t from, size_t to) {
    struct blocks *b = data;
    size_t low = 0, high = b->count;
    (void)to;
    from -= sizeof (void *);
    while (low + 1 < high) {
        size_t middle = (low + high) / 2;
        if (b->list[middle].from <= from) low = middle; else high = middle;
    }
    b->list[low].is_free = 1;
}

/* The block that an offset belongs to. A pointer may stand right behind its block (the end of a stack). */
static const struct block *block_of(const struct blocks *b, size_t offset) {
    size_t low = 0, high = b->count;
    if (b->count == 0 || offset < b->list[0].from) return NULL;
    while (low + 1 < high) {
        size_t middle = (low + high) / 2;
        if (b->list[middle].from <= offset) low = middle; else high = middle;
    }
    return offset <= b->list[low].to ? &b->list[low] : NULL;
}

/* Move the blocks of the image together: compiling leaves holes, which every copy would carry. Every pointer is
 * known, so every block can move. 0, or -1 when there is no memory for it (the image stays as it was). */
static int compact(image *im) {
    arena *a = (arena *)im->bytes;
    struct blocks blocks = {NULL, 0};
    size_t first = arena_first_block(), at, top = first, kept = 0;
    for (at = first; at < im->used; at += sizeof (size_t) + *(size_t *)(im->bytes + at)) blocks.count++;
    blocks.list = calloc(blocks.count + 1, sizeof *blocks.list);
    char *packed = calloc(1, im->used);
    uint64_t *old = words_of(im->bytes), *new = words_of(packed);
    if (!blocks.list || !packed || blocks.count == 0) goto fail;
    blocks.count = 0;
    for (at = first; at < im->used; at += sizeof (size_t) + *(size_t *)(im->bytes + at)) {
        struct block *b = &blocks.list[blocks.count++];
        b->from = at + sizeof (size_t);
        b->to = b->from + *(size_t *)(im->bytes + at);
    }
    /* The free lists hold addresses of the first build: look at it where it still lies. */
    arena_each_free((const arena *)(uintptr_t)im->base, mark_free, &blocks);
    memcpy(packed, im->bytes, first);
    memset(((arena *)packed)->free_list, 0, sizeof a->free_list);
    for (size_t i = 0; i < blocks.count; i++) {
        struct block *b = &blocks.list[i];
        if (b->is_free) continue;
        b->moved_to = top + sizeof (size_t);
        memcpy(packed + top, im->bytes + b->from - sizeof (size_t), b->to - b->from + sizeof (size_t));
        top += b->to - b->from + sizeof (size_t);
    }
    for (size_t i = 0; i < im->relocated; i++) {
        size_t place = (size_t)im->relocations[i] * 8, goal = (size_t)(old[im->relocations[i]] - im->base);
        const struct block *in = block_of(&blocks, place), *to = block_of(&blocks, goal);
        if (place >= first) {
            if (!in || place == in->to) goto fail;                  /* a pointer in a block's header: not understood */
            if (in->is_free) continue;
            place = in->moved_to + (place - in->from);
        } else if (place >= offsetof(arena, free_list) && place < offsetof(arena, free_list) + sizeof a->free_list) continue;
        if (goal == 0) new[place / 8] = im->base;                   /* the region itself, as udata */
        else if (goal < first || !to) goto fail;
        else if (to->is_free) {                                     /* left over where nothing reads it */
            new[place / 8] = 0;
            continue;
        } else new[place / 8] = im->base + to->moved_to + (goal - to->from);
        im->relocations[kept++] = (uint32_t)(place / 8);
    }
    for (int i = 0; i < 2; i++) {
        size_t place = (size_t)im->random[i] * 8;
        const struct block *in = block_of(&blocks, place);
        if (!in || in->is_free) goto fail;
        im->random[i] = (uint32_t)((in->moved_to + (place - in->from)) / 8);
    }
    ((arena *)packed)->top = top;
    ((arena *)packed)->peak = ((arena *)packed)->freed = 0;
    im->relocated = kept;
    im->used = top;
    free(im->bytes);
    im->bytes = packed;
    free(blocks.list);
    return 0;
fail:
    free(blocks.list);
    free(packed);
    return -1;
}

enum image_verdict image_make(image *im, arena *first, arena *second, arena *third) {
    memset(im, 0, sizeof *im);
    forget_host(first);
    forget_host(second);
    forget_host(third);
    if (first->top != second->top || first->top != third->top) return IMAGE_SIZES_DIFFER;
    size_t used = first->top, count = used / 8, found = 0;
    const uint64_t *a = words_of(first), *b = words_of(second), *c = words_of(third);
    uint64_t base = (uint64_t)(uintptr_t)first;
    im->used = used;
    im->cap = first->cap;
    im->base = base;
    im->relocations = malloc(count * sizeof *im->relocations);
    im->bytes = malloc(used);
    char *moved = malloc(used);
    if (!im->relocations || !im->bytes || !moved) {
        free(moved);
        image_free(im);
        return IMAGE_NO_MEMORY;
    }
    memcpy(im->bytes, first, used);
    ((arena *)im->bytes)->zeroing = 0;
    for (size_t i = 0; i < count; i++) {
        if (a[i] == b[i] && a[i] == c[i]) continue;
        if (is_pointer(a[i], b[i], base, used) && is_aligned(a[i])) im->relocations[im->relocated++] = (uint32_t)i;
        else if (is_stale(a[i], b[i])) im->stale++;
        else if (is_padding(a, b, c, i, count)) im->stale++;
        else if (found < 2 && (found == 0 || im->random[0] + 1 == i)) im->random[found++] = (uint32_t)i;
        else {
            free(moved);
            size_t at = i * 8;
            image_free(im);
            im->at = at;
            return IMAGE_VALUES_DIFFER;
        }
    }
    if (found != 2) {
        free(moved);
        image_free(im);
        return IMAGE_RANDOM_NOT_FOUND;
    }
    /* Does a copy at the third base equal what was built there, but for what may differ? */
    memcpy(moved, im->bytes, used);
    ((arena *)moved)->zeroing = 1;
    uint64_t *m = words_of(moved), shift = 2 * IMAGE_DISTANCE;
    for (size_t i = 0; i < im->relocated; i++) m[im->relocations[i]] += shift;
    for (size_t i = 0; i < count; i++) {
        if (m[i] == c[i] || i == im->random[0] || i == im->random[1]) continue;
        if (c[i] - a[i] == shift && (a[i] >> 32) == IMAGE_FIRST_BASE >> 32) continue;     /* stale */
        if (is_padding(a, b, c, i, count)) continue;
        free(moved);
        image_free(im);
        im->at = i * 8;
        return IMAGE_COPY_DIFFERS;
    }
    free(moved);
    if (compact(im) != 0) {
        image_free(im);
        return IMAGE_NOT_MOVABLE;
    }
    uint32_t *fitting = realloc(im->relocations, im->relocated * sizeof *fitting);
    if (fitting) im->relocations = fitting;
    return IMAGE_GOOD;
}

void image_free(image *im) {
    if (!im->borrowed) {
        free(im->bytes);
        free(im->relocations);
    }
    im->bytes = NULL;
    im->relocations = NULL;
    im->relocated = 0;
}

/* Random words for the generators of copies: from the system, many at a time. */
static uint64_t random_word(void) {
    static uint64_t drawn[256];
    static size_t left;
    if (left == 0) {
        for (size_t have = 0; have < sizeof drawn;) {       /* a signal may cut a large request short */
            ssize_t got = getrandom((char *)drawn + have, sizeof drawn - have, 0);
            if (got > 0) have += (size_t)got;
            else if (errno != EINTR) abort();
        }
        left = sizeof drawn / sizeof *drawn;
    }
    return drawn[--left];
}

arena *image_copy(const image *im) {
    arena *a = arena_open(im->cap);
    if (!a) return NULL;
    copy_to((char *)a, im);
    words_of(a)[im->random[0]] = random_word();
    words_of(a)[im->random[1]] = random_word() | 1;      /* a state of zeros would give zeros for ever */
    return a;
}

/* What the image looks like at this address; one buffer for all, grown as needed. */
static const uint64_t *moved_image(const image *im, const arena *a) {
    static char *buffer;
    static size_t room;
    if (room < im->used) {
        char *bigger = realloc(buffer, im->used);
        if (!bigger) return NULL;
        buffer = bigger;
        room = im->used;
    }
    memcpy(buffer, im->bytes, im->used);
    uint64_t shift = (uint64_t)(uintptr_t)a - im->base, *word = words_of(buffer);
    for (size_t i = 0; i < im->relocated; i++) word[im->relocations[i]] += shift;
    return word;
}

struct blank {
    const uint64_t *fresh;
    char *now;
    size_t used;
};

/* What lies in a free block is nothing: make it equal to the image, or to the zeros behind it. */
static void blank_free(void *data, size_t from, size_t to) {
    struct blank *b = data;
    size_t inside = to < b->used ? to : b->used;
    if (from < inside) memcpy(b->now + from, (const char *)b->fresh + from, inside - from);
    if (to > b->used) {
        size_t at = from > b->used ? from : b->used;
        memset(b->now + at, 0, to - at);
    }
}

/*
 * One word that differs takes one octet and what that says: its lower half is the distance from the word before (0: a
 * number of 7 bits an octet follows, low first), its upper half the kind of the value. The kinds are what engines' heaps
 * are full of; most words take three octets.
 */
enum {
    KIND_OCTETS = 0,        /* and up to 8: so many octets of the value, low first, the others are zero */
    KIND_OFFSET = 8,        /* 9, 10, 11: an address in the region: in 1, 2, 3 octets its offset, divided by 8 */
    KIND_ODD_OFFSET = 12,   /* in 4 octets an offset that is no multiple of 8, or larger */
    KIND_NUMBER = 13,       /* in 2 octets the uppermost ones: 1.0, 25.0 */
    KIND_TAG = 14,          /* a tag, and behind it in 2 octets the upper half of an address that lay in its padding */
    KIND_COUNTED = 15,      /* two octets, and one that belongs into the upper half: flags and references, two sizes */
    NEAR = 15, PACKED_WORD_LIMIT = 1 + 5 + 8
};

static unsigned char *put(unsigned char *out, uint64_t value, unsigned octets) {
    for (; octets; octets--, value >>= 8) *out++ = (unsigned char)value;
    return out;
}

static uint64_t get(const unsigned char **in, unsigned octets) {
    uint64_t value = 0;
    for (unsigned i = 0; i < octets; i++) value |= (uint64_t)*(*in)++ << (8 * i);
    return value;
}

static inline unsigned octets_of(uint64_t value) { return value ? (71 - (unsigned)__builtin_clzll(value)) / 8 : 0; }

static unsigned char *pack(unsigned char *out, size_t distance, uint64_t value, uint64_t base, size_t room) {
    unsigned char *head = out++;
    unsigned kind;
    *head = distance <= NEAR ? (unsigned char)distance : 0;
    if (!*head) {
        for (; distance >= 0x80; distance >>= 7) *out++ = (unsigned char)(distance | 0x80);
        *out++ = (unsigned char)distance;
    }
    if (value >= base && value < base + room) {
        uint64_t offset = value - base;
        if ((offset & 7) || offset >> 27) {
            kind = KIND_ODD_OFFSET;
            out = put(out, offset, 4);
        } else {
            unsigned octets = offset >> 11 ? octets_of(offset >> 3) : 1;
            kind = KIND_OFFSET + octets;
            out = put(out, offset >> 3, octets);
        }
    } else if (value && !(value << 16)) {
        kind = KIND_NUMBER;
        out = put(out, value >> 48, 2);
    } else if (value >> 32 && !(value >> 48) && (uint32_t)value <= 0xFF) {
        kind = KIND_TAG;
        *out++ = (unsigned char)value;
        out = put(out, value >> 32, 2);
    } else if (value >> 32 && !(value >> 40) && (uint32_t)value <= 0xFFFF) {
        kind = KIND_COUNTED;
        out = put(out, value, 2);
        *out++ = (unsigned char)(value >> 32);
    } else {
        kind = octets_of(value);
        out = put(out, value, kind);
    }
    *head |= (unsigned char)(kind << 4);
    return out;
}

/* The place of the next word, counted from the word before, and its value. */
static size_t unpack(const unsigned char **in, uint64_t base, uint64_t *value) {
    unsigned char head = *(*in)++;
    unsigned kind = head >> 4;
    size_t distance = head & NEAR;
    if (!distance)
        for (unsigned shift = 0;; shift += 7) {
            distance |= (size_t)(**in & 0x7F) << shift;
            if (!(*(*in)++ & 0x80)) break;
        }
    switch (kind) {
    case KIND_OFFSET + 1: case KIND_OFFSET + 2: case KIND_OFFSET + 3:
        *value = base + (get(in, kind - KIND_OFFSET) << 3);
        break;
    case KIND_ODD_OFFSET:
        *value = base + get(in, 4);
        break;
    case KIND_NUMBER:
        *value = get(in, 2) << 48;
        break;
    case KIND_TAG:
        *value = get(in, 1);
        *value |= get(in, 2) << 32;
        break;
    case KIND_COUNTED:
        *value = get(in, 2);
        *value |= get(in, 1) << 32;
        break;
    default:
        *value = get(in, kind);
    }
    return distance;
}

int image_hibernate(const image *im, arena *a, remains *r) {
    const uint64_t *fresh = moved_image(im, a), *now = words_of(a);
    size_t top = a->top > im->used ? a->top : im->used, inside = im->used / 8, all = (top + 7) / 8, last = 0;
    size_t room = a->cap + ARENA_SLACK, count = 0;
    memset(r, 0, sizeof *r);
    if (!fresh) return -1;
    struct blank b = {.fresh = fresh, .now = (char *)a, .used = im->used};
    arena_each_free(a, blank_free, &b);
    for (size_t i = 0; i < all; i++) count += now[i] != (i < inside ? fresh[i] : 0);
    unsigned char *packed = malloc(count * PACKED_WORD_LIMIT + 1), *end = packed;
    if (!packed) return -1;
    for (size_t i = 0; i < all; i++)
        if (now[i] != (i < inside ? fresh[i] : 0)) {
            end = pack(end, i - last, now[i], (uint64_t)(uintptr_t)a, room);
            last = i;
        }
    r->words = count;
    r->bytes = (size_t)(end - packed);
    r->packed = realloc(packed, r->bytes + 1);
    if (!r->packed) r->packed = packed;
    arena_empty(a, im->cap);
    return 0;
}

void image_wake(const image *im, arena *a, remains *r) {
    const unsigned char *in = r->packed;
    copy_to((char *)a, im);
    uint64_t *word = words_of(a);
    for (size_t k = 0, at = 0; k < r->words; k++) {
        uint64_t value;
        at += unpack(&in, (uint64_t)(uintptr_t)a, &value);
        word[at] = value;
    }
    remains_free(r);
}

void image_forget(const image *im, arena *a, remains *r) {
    remains_free(r);
    arena_begin(a, im->cap);                /* its pages are zeros, but a region says its size in its header */
    arena_close(a);
}

void remains_free(remains *r) {
    free(r->packed);
    memset(r, 0, sizeof *r);
}
