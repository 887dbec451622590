/*
 * pack.c - the second pass: records to columns. The layout is in pack.h.
 *
 * Memory is proportional to the block (at most a few megabytes) and freed at the end of each call; nothing is kept.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "pack.h"

struct shape {
    const unsigned char *key;     /* as it is stored: SENTRA_SHAPE_HEAD bytes and SENTRA_SHAPE_SEGMENT per segment */
    uint32_t key_bytes;
    uint32_t count;
    uint32_t first;               /* of its events in packer.order */
    uint8_t nargs, nsegs;
};

struct packed_event {
    const unsigned char *record;
    uint32_t shape;
    uint32_t segment_at;          /* offset of the segment that is being packed */
    uint32_t big;                 /* index of this event's next large segment */
};

struct packer {
    struct packed_event *events;
    uint32_t count;
    struct shape *shapes;
    uint32_t nshapes;
    uint32_t *slots;              /* hash table of shapes, 0 = free, else index + 1 */
    uint32_t slot_mask;
    uint32_t *order;              /* events grouped by shape */
    unsigned char *keys, *keys_end;
    uint64_t *matrix;             /* the columns of one shape, or one global column */
    const struct sentra_big_segment *bigs;
    uint32_t nbigs;
    uint32_t *big_hash;           /* hash index of each referenced large segment */
    uint32_t threshold;
};

static uint64_t field(const unsigned char *record, size_t offset)
{
    uint64_t value;

    memcpy(&value, record + offset, sizeof value);
    return value;
}

static struct sentra_event header_of(const unsigned char *record)
{
    struct sentra_event event;

    memcpy(&event, record, sizeof event);
    return event;
}

static struct sentra_segment segment_of(const struct packed_event *event)
{
    struct sentra_segment segment;

    memcpy(&segment, event->record + event->segment_at, sizeof segment);
    return segment;
}

/* The shape's description of the segment at `record + at`; advances *big past it if it is a large one. */
static void describe_segment(const struct packer *packer, const unsigned char *record, const struct sentra_event *event, uint64_t at,
                             uint32_t *big, unsigned char *out)
{
    struct sentra_segment segment;
    unsigned mode = 0;

    memcpy(&segment, record + at, sizeof segment);
    if (segment.arg < event->nargs && field(record, sizeof *event + 8ull * segment.arg) == segment.addr)
        mode |= SENTRA_MODE_AT_ARG;
    if (segment.size >= packer->threshold) {
        if (*big < packer->nbigs && packer->bigs[*big].reference)
            mode |= SENTRA_MODE_BLOB;
        (*big)++;
    }
    out[0] = segment.kind;
    out[1] = segment.arg;
    out[2] = (unsigned char)segment.flags;
    out[3] = (unsigned char)(segment.flags >> 8);
    out[4] = (unsigned char)mode;
}

static uint32_t build_key(struct packer *packer, const unsigned char *record, uint32_t *big)
{
    struct sentra_event event = header_of(record);
    unsigned char *key = packer->keys_end;
    uint64_t at = sizeof event + 8ull * event.nargs;

    memcpy(key, &event.type, 2);
    memcpy(key + 2, &event.flags, 2);
    memcpy(key + 4, &event.nr, 4);
    key[8] = event.nargs;
    key[9] = event.nsegs;
    for (unsigned i = 0; i < event.nsegs; i++) {
        struct sentra_segment segment;

        memcpy(&segment, record + at, sizeof segment);
        describe_segment(packer, record, &event, at, big, key + SENTRA_SHAPE_HEAD + SENTRA_SHAPE_SEGMENT * i);
        at += sizeof segment + sentra_pad8(segment.size);
    }
    return SENTRA_SHAPE_HEAD + SENTRA_SHAPE_SEGMENT * event.nsegs;
}

static uint32_t find_shape(struct packer *packer, uint32_t key_bytes)
{
    const unsigned char *key = packer->keys_end;
    uint32_t hash = 2166136261u, slot;
    struct shape *shape;

    for (uint32_t i = 0; i < key_bytes; i++)
        hash = (hash ^ key[i]) * 16777619u;
    for (slot = hash & packer->slot_mask; packer->slots[slot]; slot = (slot + 1) & packer->slot_mask) {
        shape = &packer->shapes[packer->slots[slot] - 1];
        if (shape->key_bytes == key_bytes && !memcmp(shape->key, key, key_bytes))
            return packer->slots[slot] - 1;
    }
    packer->shapes[packer->nshapes] = (struct shape){ .key = key, .key_bytes = key_bytes, .nargs = key[8], .nsegs = key[9] };
    packer->keys_end += key_bytes;
    packer->slots[slot] = ++packer->nshapes;
    return packer->nshapes - 1;
}

/* Merge again, exactly as far as the scan came, and give each event its shape. */
static int collect(struct packer *packer, const struct sentra_pack_source *sources, uint32_t count, const struct sentra_pack_scan *scan)
{
    struct sentra_merge merge = { .sources = sources, .count = count, .damaged = -1 };
    uint32_t size = 0, big = 0;
    uint64_t raw = 0;

    for (uint32_t i = 0; i < packer->count; i++) {
        struct packed_event *event = &packer->events[i];
        int source = sentra_merge_next(&merge, &event->record, &size);
        uint32_t before = big;

        if (source < 0 || (raw += size) > scan->raw_bytes)
            return -1;
        merge.at[source] += size;
        event->big = before;
        event->segment_at = (uint32_t)sizeof(struct sentra_event) + 8u * header_of(event->record).nargs;
        event->shape = find_shape(packer, build_key(packer, event->record, &big));
        packer->shapes[event->shape].count++;
        if (big > packer->nbigs)
            return -1;
    }
    return memcmp(merge.at, scan->taken, sizeof merge.at) ? -1 : 0;
}

static void group(struct packer *packer)
{
    uint32_t first = 0;

    for (uint32_t s = 0; s < packer->nshapes; s++) {
        packer->shapes[s].first = first;
        first += packer->shapes[s].count;
        packer->shapes[s].count = 0;
    }
    for (uint32_t i = 0; i < packer->count; i++) {
        struct shape *shape = &packer->shapes[packer->events[i].shape];

        packer->order[shape->first + shape->count++] = i;
    }
}

/* Number the distinct hashes of referenced segments in order of appearance and write them. */
static int put_hashes(struct packer *packer, struct sentra_sink *out)
{
    uint32_t mask = 1, distinct = 0, *slots;
    const struct sentra_big_segment **table;
    int result = -1;

    while (mask < 2 * packer->nbigs + 2)
        mask *= 2;
    slots = calloc(mask, sizeof *slots);
    table = calloc(packer->nbigs + 1, sizeof *table);
    mask--;
    for (uint32_t i = 0; slots && table && i < packer->nbigs; i++) {
        const struct sentra_big_segment *big = &packer->bigs[i];
        uint32_t slot = (uint32_t)field(big->hash, 0) & mask;

        if (!big->reference)
            continue;
        while (slots[slot] && memcmp(table[slots[slot] - 1]->hash, big->hash, 32))
            slot = (slot + 1) & mask;
        if (!slots[slot]) {
            table[distinct] = big;
            slots[slot] = ++distinct;
        }
        packer->big_hash[i] = slots[slot] - 1;
    }
    if (slots && table && sentra_put_varint(out, distinct) == 0) {
        result = 0;
        for (uint32_t i = 0; i < distinct && result == 0; i++)
            result = sentra_put_bytes(out, table[i]->hash, 32);
    }
    free(slots);
    free(table);
    return result;
}

static int put_global_columns(struct packer *packer, struct sentra_sink *out, uint64_t first_seq)
{
    uint64_t expected = first_seq;

    for (uint32_t i = 0; i < packer->count; i++) {
        uint64_t seq = header_of(packer->events[i].record).seq;

        packer->matrix[i] = seq - expected;
        expected = seq + 1;
    }
    if (sentra_put_column(out, packer->matrix, 0, packer->count) < 0)
        return -1;
    for (uint32_t i = 0; i < packer->count; i++)
        packer->matrix[i] = header_of(packer->events[i].record).time_ns;
    if (sentra_put_column(out, packer->matrix, 0, packer->count) < 0)
        return -1;
    for (uint32_t i = 0; i < packer->count; i++)
        packer->matrix[i] = (uint32_t)header_of(packer->events[i].record).task;
    if (sentra_put_column(out, packer->matrix, 0, packer->count) < 0)
        return -1;
    for (uint32_t i = 0; i < packer->count; i++)
        packer->matrix[i] = packer->events[i].shape;
    return sentra_put_column(out, packer->matrix, 0, packer->count);
}

/* The columns of segment `index` of a shape: [address], size, [hash index]; then step to the next segment. */
static int put_segment_columns(struct packer *packer, struct sentra_sink *out, const struct shape *shape, unsigned index, uint32_t *column)
{
    unsigned mode = shape->key[SENTRA_SHAPE_HEAD + SENTRA_SHAPE_SEGMENT * index + 4];
    uint32_t n = shape->count;

    if (!(mode & SENTRA_MODE_AT_ARG)) {
        for (uint32_t i = 0; i < n; i++)
            packer->matrix[(uint64_t)*column * n + i] = segment_of(&packer->events[packer->order[shape->first + i]]).addr;
        if (sentra_put_column(out, packer->matrix, (*column)++, n) < 0)
            return -1;
    }
    for (uint32_t i = 0; i < n; i++)
        packer->matrix[(uint64_t)*column * n + i] = segment_of(&packer->events[packer->order[shape->first + i]]).size;
    if (sentra_put_column(out, packer->matrix, (*column)++, n) < 0)
        return -1;
    for (uint32_t i = 0; i < n; i++) {
        struct packed_event *event = &packer->events[packer->order[shape->first + i]];
        struct sentra_segment segment = segment_of(event);

        if (mode & SENTRA_MODE_BLOB)
            packer->matrix[(uint64_t)*column * n + i] = packer->big_hash[event->big];
        event->big += segment.size >= packer->threshold;
        event->segment_at += (uint32_t)(sizeof segment + sentra_pad8(segment.size));
    }
    return mode & SENTRA_MODE_BLOB ? sentra_put_column(out, packer->matrix, (*column)++, n) : 0;
}

static int put_shape_columns(struct packer *packer, struct sentra_sink *out, const struct shape *shape)
{
    uint32_t n = shape->count, column = 2;

    for (uint32_t i = 0; i < n; i++) {
        struct sentra_event event = header_of(packer->events[packer->order[shape->first + i]].record);

        packer->matrix[i] = event.duration_ns;
        packer->matrix[n + i] = sentra_zigzag((uint64_t)event.result);
    }
    if (sentra_put_column(out, packer->matrix, 0, n) < 0 || sentra_put_column(out, packer->matrix, 1, n) < 0)
        return -1;
    for (unsigned arg = 0; arg < shape->nargs; arg++, column++) {
        for (uint32_t i = 0; i < n; i++)
            packer->matrix[(uint64_t)column * n + i] =
                field(packer->events[packer->order[shape->first + i]].record, sizeof(struct sentra_event) + 8ull * arg);
        if (sentra_put_column(out, packer->matrix, column, n) < 0)
            return -1;
    }
    for (unsigned i = 0; i < shape->nsegs; i++)
        if (put_segment_columns(packer, out, shape, i, &column) < 0)
            return -1;
    return 0;
}

/* Inline bytes of one shape, segment by segment; with out NULL only counts them. */
static int put_shape_data(struct packer *packer, struct sentra_sink *out, const struct shape *shape, uint64_t *total)
{
    for (uint32_t i = 0; i < shape->count; i++) {
        struct packed_event *event = &packer->events[packer->order[shape->first + i]];

        event->segment_at = (uint32_t)sizeof(struct sentra_event) + 8u * shape->nargs;
    }
    for (unsigned index = 0; index < shape->nsegs; index++) {
        unsigned mode = shape->key[SENTRA_SHAPE_HEAD + SENTRA_SHAPE_SEGMENT * index + 4];

        for (uint32_t i = 0; i < shape->count; i++) {
            struct packed_event *event = &packer->events[packer->order[shape->first + i]];
            struct sentra_segment segment = segment_of(event);

            if (!(mode & SENTRA_MODE_BLOB)) {
                *total += segment.size;
                if (out && sentra_put_bytes(out, event->record + event->segment_at + sizeof segment, segment.size) < 0)
                    return -1;
            }
            event->segment_at += (uint32_t)(sizeof segment + sentra_pad8(segment.size));
        }
    }
    return 0;
}

static int put_all(struct packer *packer, struct sentra_sink *out, uint64_t first_seq)
{
    uint64_t total = 0;

    if (sentra_put_varint(out, SENTRA_PACK_VERSION) < 0 || sentra_put_varint(out, packer->count) < 0 || sentra_put_varint(out, first_seq) < 0 ||
        sentra_put_varint(out, packer->nshapes) < 0)
        return -1;
    for (uint32_t s = 0; s < packer->nshapes; s++)
        if (sentra_put_bytes(out, packer->shapes[s].key, packer->shapes[s].key_bytes) < 0)
            return -1;
    if (put_hashes(packer, out) < 0 || put_global_columns(packer, out, first_seq) < 0)
        return -1;
    for (uint32_t s = 0; s < packer->nshapes; s++)
        if (put_shape_columns(packer, out, &packer->shapes[s]) < 0)
            return -1;
    for (uint32_t s = 0; s < packer->nshapes; s++)
        put_shape_data(packer, NULL, &packer->shapes[s], &total);
    if (sentra_put_varint(out, total) < 0)
        return -1;
    for (uint32_t s = 0; s < packer->nshapes; s++)
        if (put_shape_data(packer, out, &packer->shapes[s], &total) < 0)
            return -1;
    return 0;
}

static void free_packer(struct packer *packer)
{
    free(packer->events);
    free(packer->shapes);
    free(packer->slots);
    free(packer->order);
    free(packer->keys);
    free(packer->matrix);
    free(packer->big_hash);
}

static int alloc_packer(struct packer *packer, const struct sentra_pack_scan *scan)
{
    uint32_t slots = 16;

    while (slots < 2 * packer->count)
        slots *= 2;
    packer->slot_mask = slots - 1;
    packer->events = calloc(packer->count, sizeof *packer->events);
    packer->shapes = calloc(packer->count, sizeof *packer->shapes);
    packer->slots = calloc(slots, sizeof *packer->slots);
    packer->order = calloc(packer->count, sizeof *packer->order);
    /* A key is never longer than its record, and one more may be under construction. */
    packer->keys = packer->keys_end = malloc(scan->raw_bytes + SENTRA_SHAPE_HEAD + SENTRA_SHAPE_SEGMENT * 255u);
    /* Columns hold at most: 5 words of 8 bytes for the 64-byte header, one per argument, 3 per 16-byte segment header. */
    packer->matrix = malloc(2 * scan->raw_bytes);
    packer->big_hash = calloc(packer->nbigs + 1u, sizeof *packer->big_hash);
    return packer->events && packer->shapes && packer->slots && packer->order && packer->keys && packer->matrix && packer->big_hash ? 0 : -1;
}

int64_t sentra_pack(const struct sentra_pack_source *sources, uint32_t count, const struct sentra_pack_scan *scan, uint32_t threshold,
                    const struct sentra_big_segment *bigs, unsigned char *out, uint64_t capacity, struct sentra_error *error)
{
    struct packer packer = { .count = scan->events, .bigs = bigs, .nbigs = scan->bigs, .threshold = threshold };
    struct sentra_sink sink = { out, out + capacity };
    int64_t result = -1;

    if (!scan->events || scan->events > SENTRA_BLOCK_EVENTS_MAX || count < 1 || count > 4)
        return sentra_fail(error, EINVAL, "pack block", "%u events", scan->events);
    if (alloc_packer(&packer, scan) < 0) {
        sentra_fail(error, ENOMEM, "pack block", "%u events", scan->events);
    } else if (collect(&packer, sources, count, scan) < 0) {
        sentra_fail(error, EINVAL, "pack block", "the records are not those that were scanned");
    } else {
        group(&packer);
        if (put_all(&packer, &sink, scan->first_seq) < 0)
            sentra_fail(error, ENOBUFS, "pack block", "more than %llu bytes", (unsigned long long)capacity);
        else
            result = sink.at - out;
    }
    free_packer(&packer);
    return result;
}
