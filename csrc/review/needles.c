/*
 * needles.c - finds pieces of many needles in large buffers.
 *
 * Every fourth group of eight bytes ("gram") of each needle goes into a table; a bitmap, of which one bit in 64 is set, says for each
 * position of the buffer whether its gram can be in the table. A hit is extended in both directions, so what is reported is the longest
 * piece of the needle that stands there: secrets that were cut into packets are found by their pieces, without saying where the cuts are.
 *
 * Needles and buffers are hostile. Grams that say little (a few bytes over and over) or that occur too often are left out, so that the
 * work at each position is bounded.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sentra.h"

enum { GRAM = 8, STEP = 4, CHAIN_MAX = 32, SAME_NEEDLE_MAX = 4 };
static const uint32_t NONE = UINT32_MAX;
static const uint64_t MIX = 0x9e3779b97f4a7c15u;

struct place {                    /* a gram of a needle */
    uint64_t gram;
    uint32_t needle, at;
    uint32_t next;                /* another place with the same gram */
};

struct needle {
    const unsigned char *data;
    uint32_t size, least;
    uint64_t diagonal, end;       /* of its latest hit: where the needle would begin, and up to where it was compared */
    uint64_t search;              /* which search that was in */
};

struct sentra_needles {
    unsigned char *data;
    struct needle *needles;
    struct place *places;
    uint32_t *slots;              /* hash of gram → first place */
    uint64_t *bitmap;
    uint64_t grams, search;
    uint32_t count, slot_shift, bit_shift;
};

static inline uint64_t gram_at(const unsigned char *data)
{
    uint64_t gram;
    memcpy(&gram, data, sizeof gram);
    return gram;
}

static inline uint64_t rotated(uint64_t gram, int by)
{
    return gram << by | gram >> (64 - by);
}

/* "aaaaaaaa", "abababab", "abcdabcd" would be everywhere. */
static int says_little(uint64_t gram)
{
    return gram == rotated(gram, 8) || gram == rotated(gram, 16) || gram == rotated(gram, 32);
}

static uint32_t log2_above(uint64_t value, uint32_t least, uint32_t most)
{
    uint32_t bits = least;
    while (bits < most && (uint64_t)1 << bits < value)
        bits++;
    return bits;
}

static void add(struct sentra_needles *all, uint32_t needle, uint32_t at)
{
    uint64_t gram = gram_at(all->needles[needle].data + at), mask = ((uint64_t)1 << (64 - all->slot_shift)) - 1;
    uint64_t slot = gram * MIX >> all->slot_shift;
    uint32_t length = 0, same = 0;
    if (says_little(gram))
        return;
    while (all->slots[slot] != NONE && all->places[all->slots[slot]].gram != gram)
        slot = (slot + 1) & mask;
    for (uint32_t i = all->slots[slot]; i != NONE; i = all->places[i].next) {
        same += all->places[i].needle == needle;
        if (++length >= CHAIN_MAX || same >= SAME_NEEDLE_MAX)
            return;
    }
    all->places[all->grams] = (struct place){gram, needle, at, all->slots[slot]};
    all->slots[slot] = (uint32_t)all->grams++;
    uint64_t bit = gram * MIX >> all->bit_shift;
    all->bitmap[bit >> 6] |= (uint64_t)1 << (bit & 63);
}

struct sentra_needles *sentra_needles_new(const unsigned char *data, const uint32_t *sizes, const uint32_t *least, uint32_t count,
                                          struct sentra_error *error)
{
    uint64_t total = 0, places = 0;
    for (uint32_t i = 0; i < count; i++) {
        total += sizes[i];
        places += sizes[i] >= GRAM ? (sizes[i] - GRAM) / STEP + 2 : 0;
    }
    if (places >= NONE) {
        sentra_fail(error, E2BIG, "prepare the search", "%llu pieces of needles", (unsigned long long)places);
        return NULL;
    }
    struct sentra_needles *all = calloc(1, sizeof *all);
    uint32_t slot_bits = log2_above(places * 2, 8, 33), bit_bits = log2_above(places * 64, 16, 27);
    if (!all)
        goto no_memory;
    all->count = count;
    all->slot_shift = 64 - slot_bits;
    all->bit_shift = 64 - bit_bits;
    all->data = malloc(total + 1);
    all->needles = calloc((size_t)count + 1, sizeof *all->needles);
    all->places = calloc(places + 1, sizeof *all->places);
    all->slots = malloc(sizeof *all->slots << slot_bits);
    all->bitmap = calloc(((uint64_t)1 << bit_bits) / 64, sizeof *all->bitmap);
    if (!all->data || !all->needles || !all->places || !all->slots || !all->bitmap)
        goto no_memory;
    memset(all->slots, 0xff, sizeof *all->slots << slot_bits);
    if (total)
        memcpy(all->data, data, total);
    const unsigned char *at = all->data;
    for (uint32_t i = 0; i < count; at += sizes[i], i++) {
        all->needles[i] = (struct needle){at, sizes[i], least[i] > GRAM ? least[i] : GRAM, 0, 0, 0};
        if (sizes[i] < GRAM)
            continue;
        for (uint32_t j = 0; j + GRAM <= sizes[i]; j += STEP)
            add(all, i, j);
        if ((sizes[i] - GRAM) % STEP)
            add(all, i, sizes[i] - GRAM);
    }
    return all;
no_memory:
    sentra_needles_free(all);
    sentra_fail(error, ENOMEM, "prepare the search", "%u needles", count);
    return NULL;
}

void sentra_needles_free(struct sentra_needles *all)
{
    if (!all)
        return;
    free(all->data);
    free(all->needles);
    free(all->places);
    free(all->slots);
    free(all->bitmap);
    free(all);
}

uint64_t sentra_needles_grams(const struct sentra_needles *all)
{
    return all->grams;
}

/* The longest equal stretch around a gram. 1: *hit is filled and long enough. */
static int extended(struct sentra_needles *all, const struct place *place, const unsigned char *data, uint64_t bytes, uint64_t at,
                    struct sentra_needle_hit *hit)
{
    struct needle *needle = &all->needles[place->needle];
    uint64_t diagonal = at - place->at;    /* may wrap: only compared */
    if (needle->search == all->search && needle->diagonal == diagonal && at < needle->end)
        return 0;                          /* part of what was found or refused already */
    uint32_t from = place->at, to = place->at + GRAM;
    uint64_t left = at, right = at + GRAM;
    while (from > 0 && left > 0 && needle->data[from - 1] == data[left - 1]) {
        from--;
        left--;
    }
    while (to < needle->size && right < bytes && needle->data[to] == data[right]) {
        to++;
        right++;
    }
    needle->search = all->search;
    needle->diagonal = diagonal;
    needle->end = right;
    if (to - from < needle->least)
        return 0;
    *hit = (struct sentra_needle_hit){left, place->needle, from, to - from, 0};
    return 1;
}

int64_t sentra_needles_find(struct sentra_needles *all, const unsigned char *data, uint64_t bytes, struct sentra_needle_hit *out,
                            uint64_t max, uint64_t *done)
{
    uint64_t found = 0, mask = ((uint64_t)1 << (64 - all->slot_shift)) - 1;
    all->search++;
    *done = bytes;
    if (!all->grams || max < CHAIN_MAX)
        return 0;
    const uint64_t *bitmap = all->bitmap;
    const uint32_t bit_shift = all->bit_shift;
    for (uint64_t at = 0; at + GRAM <= bytes; at++) {
        uint64_t gram = gram_at(data + at), hash = gram * MIX, bit = hash >> bit_shift;
        if (__builtin_expect(!(bitmap[bit >> 6] >> (bit & 63) & 1), 1))
            continue;
        uint64_t slot = hash >> all->slot_shift;
        while (all->slots[slot] != NONE && all->places[all->slots[slot]].gram != gram)
            slot = (slot + 1) & mask;
        for (uint32_t i = all->slots[slot]; i != NONE; i = all->places[i].next)
            found += (uint64_t)extended(all, &all->places[i], data, bytes, at, &out[found]);
        if (found + CHAIN_MAX > max) {
            *done = at + 1;
            break;
        }
    }
    return (int64_t)found;
}
