/*
 * A compiled policy ready to be copied: the bytes of a heap, and where in them pointers are.
 *
 * The heap is built twice, in two regions whose addresses differ by a multiple of 2^32. A word is a pointer
 * into the region when the two builds differ by exactly that distance and it lies inside the region; it
 * is moved by as much as a copy is. The distance is a multiple of 2^32 because the engine seeds its string
 * hash with the low half of the heap's address: both builds then lay out alike. (The seed is kept in the
 * heap, so copies may live anywhere.)
 *
 * What may differ otherwise: the two words of the random generator, which every copy gets anew, and what nothing reads:
 * the padding behind the tags of values, and upper halves that are left of a pointer that was there before.
 *
 * Must not know: Python, mail, what the policy is.
 */
#ifndef MAILFILTER_IMAGE_H
#define MAILFILTER_IMAGE_H

#include "arena.h"

/* Addresses of the builds. Their low half is far from zero, so that small integers, with a stale upper half
 * beside them, do not look like pointers into the region. */
#define IMAGE_FIRST_BASE 0x500040000000ULL
#define IMAGE_DISTANCE   (1ULL << 32)

enum image_verdict {
    IMAGE_GOOD = 0,
    IMAGE_NO_MEMORY,
    IMAGE_SIZES_DIFFER,         /* the builds used different amounts of memory */
    IMAGE_VALUES_DIFFER,        /* a word differs that is neither pointer nor random state: see `at` */
    IMAGE_RANDOM_NOT_FOUND,     /* no two words of random state */
    IMAGE_NOT_MOVABLE,          /* its blocks cannot be moved together: a pointer that is not understood */
    IMAGE_COPY_DIFFERS          /* a copy moved to the third base is not what was built there */
};

typedef struct image {
    size_t used;                /* bytes of the region that the heap uses, header included */
    size_t cap;
    uint64_t base;              /* the address for which `bytes` is right */
    char *bytes;
    uint32_t *relocations;      /* indexes of words that are pointers into the region */
    size_t relocated, stale;
    uint32_t random[2];         /* indexes of the words of the random generator */
    size_t at;                  /* verdicts with a place: offset in bytes */
    int borrowed;               /* bytes and relocations lie in memory that is not ours (image_unpack) */
} image;

/* A region at a fixed address for a build; NULL when something is there already. */
arena *image_region(size_t cap, unsigned number);
void image_region_close(arena *a);

/* Make the image from three builds of the same heap in regions 0, 1 and 2. */
enum image_verdict image_make(image *im, arena *first, arena *second, arena *third);
void image_free(image *im);

/* An image in one piece, for other processes that were forked from the same parent (it holds addresses of the engine's
 * functions): so many octets, written to `to`. */
size_t image_packed_bytes(const image *im);
void image_pack(const image *im, void *to);
/* Use an image that was packed to `from`, aligned to 8 octets, as it lies there: that memory must stay and not change until
 * image_free. 0, or -1: it is no image. */
int image_unpack(image *im, const void *from, size_t length);

/* A fresh heap: a copy of the image in a region of its own, with random state of its own. NULL: no memory. */
arena *image_copy(const image *im);

/*
 * What an idle heap differs from its image, kept while its pages are given back to the system. The region
 * stays reserved, because the heap can only be put together again at its own address.
 */
typedef struct remains {
    size_t words;               /* words that differ from the image, or behind it from zero */
    size_t bytes;               /* what they take: see image.c */
    unsigned char *packed;
} remains;

/* Take the remains of a heap and give its pages back; 0, or -1 (no memory; nothing has changed). */
int image_hibernate(const image *im, arena *a, remains *r);
/* Put the heap together again; the remains are freed. */
void image_wake(const image *im, arena *a, remains *r);
/* End a sleeping heap without waking it: the remains are freed, the region is recycled. */
void image_forget(const image *im, arena *a, remains *r);
void remains_free(remains *r);

#endif
