/* Images packed into one piece of memory that processes may share; see image.h. */
#include "image.h"

#include <string.h>

enum { MAGIC = 0x314d494d };        /* "MIM1" */

/* What it begins with; behind it the image's bytes, and its relocations. */
struct head {
    uint64_t magic;
    uint64_t used, cap, base, relocated, stale;
    uint32_t random[2];
};

size_t image_packed_bytes(const image *im) {
    return sizeof (struct head) + im->used + im->relocated * sizeof *im->relocations;
}

void image_pack(const image *im, void *to) {
    struct head h = {.magic = MAGIC, .used = im->used, .cap = im->cap, .base = im->base, .relocated = im->relocated,
                     .stale = im->stale, .random = {im->random[0], im->random[1]}};
    char *at = to;
    memcpy(at, &h, sizeof h);
    memcpy(at + sizeof h, im->bytes, im->used);
    memcpy(at + sizeof h + im->used, im->relocations, im->relocated * sizeof *im->relocations);
}

/* Is it what image_pack wrote? An index outside the image would move words of somebody else's. */
static int sound(const struct head *h, size_t length) {
    if (h->magic != MAGIC || h->used % 8 || h->used > h->cap || h->cap > ARENA_LARGEST_CAP) return 0;
    length -= sizeof *h;
    if (length < h->used || h->relocated > (length - h->used) / sizeof (uint32_t)) return 0;
    const uint32_t *list = (const uint32_t *)((const char *)(h + 1) + h->used);
    for (size_t i = 0; i < h->relocated; i++)
        if (list[i] >= h->used / 8) return 0;
    return h->random[0] < h->used / 8 && h->random[1] < h->used / 8;
}

int image_unpack(image *im, const void *from, size_t length) {
    const struct head *h = from;
    memset(im, 0, sizeof *im);
    if ((uintptr_t)from % 8 || length < sizeof *h || !sound(h, length)) return -1;
    im->used = h->used;
    im->cap = h->cap;
    im->base = h->base;
    im->relocated = h->relocated;
    im->stale = h->stale;
    im->random[0] = h->random[0];
    im->random[1] = h->random[1];
    im->bytes = (char *)(uintptr_t)(h + 1);                         /* only ever read */
    im->relocations = (uint32_t *)(uintptr_t)((const char *)(h + 1) + h->used);
    im->borrowed = 1;
    return 0;
}
