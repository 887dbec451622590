/*
 * unpack.c - columns back to records, byte for byte as they were in the ring. The layout is in pack.h.
 *
 * The input is hostile: nothing is allocated before the records it claims are known to fit into the caller's buffer, every
 * index is checked against its table, every byte read against the end.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "pack.h"

struct unpack_shape {
    const unsigned char *key;
    uint8_t nargs, nsegs;
    uint32_t count;
    uint32_t rank;                /* events of it already written */
    uint64_t *matrix;
    const unsigned char **data;   /* of segment s of event r: data[s * count + r] */
    uint32_t *sizes;              /* the same way */
};

struct unpacker {
    struct sentra_view in;
    const struct sentra_pack_source *blobs;
    uint64_t blob_count;
    uint64_t count, first_seq, nshapes, nhashes;
    const unsigned char *hashes;
    struct unpack_shape *shapes;
    uint64_t *global;             /* gaps, times, tasks, shape ids */
    const char *wrong;            /* what the damage is */
};

static int damaged(struct unpacker *unpacker, const char *what)
{
    unpacker->wrong = what;
    return -1;
}

static int get_shapes(struct unpacker *unpacker)
{
    unpacker->shapes = calloc(unpacker->nshapes, sizeof *unpacker->shapes);
    if (!unpacker->shapes)
        return damaged(unpacker, "out of memory");
    for (uint64_t s = 0; s < unpacker->nshapes; s++) {
        struct unpack_shape *shape = &unpacker->shapes[s];

        if (!(shape->key = sentra_get_bytes(&unpacker->in, SENTRA_SHAPE_HEAD)))
            return damaged(unpacker, "shapes cut short");
        shape->nargs = shape->key[8];
        shape->nsegs = shape->key[9];
        if (!sentra_get_bytes(&unpacker->in, (uint64_t)SENTRA_SHAPE_SEGMENT * shape->nsegs))
            return damaged(unpacker, "shapes cut short");
    }
    return 0;
}

/* Everything before the columns. */
static int get_head(struct unpacker *unpacker)
{
    uint64_t version;

    if (sentra_get_varint(&unpacker->in, &version) < 0 || version != SENTRA_PACK_VERSION)
        return damaged(unpacker, "unknown version");
    if (sentra_get_varint(&unpacker->in, &unpacker->count) < 0 || sentra_get_varint(&unpacker->in, &unpacker->first_seq) < 0 ||
        sentra_get_varint(&unpacker->in, &unpacker->nshapes) < 0 || !unpacker->count || unpacker->count > SENTRA_BLOCK_EVENTS_MAX ||
        !unpacker->first_seq || !unpacker->nshapes || unpacker->nshapes > unpacker->count)
        return damaged(unpacker, "impossible counts");
    if (get_shapes(unpacker) < 0)
        return -1;
    if (sentra_get_varint(&unpacker->in, &unpacker->nhashes) < 0 || unpacker->nhashes > (uint64_t)(unpacker->in.end - unpacker->in.at) / 32)
        return damaged(unpacker, "hashes cut short");
    unpacker->hashes = sentra_get_bytes(&unpacker->in, 32 * unpacker->nhashes);
    return 0;
}

/* Global columns; counts the events of each shape and checks that even empty records would fit into `capacity`. */
static int get_global(struct unpacker *unpacker, uint64_t capacity)
{
    uint32_t n = (uint32_t)unpacker->count;
    uint64_t needed = 0;

    if (64ull * n > capacity || !(unpacker->global = malloc(4ull * n * sizeof *unpacker->global)))
        return damaged(unpacker, "more events than room");
    for (uint32_t column = 0; column < 4; column++)
        if (sentra_get_column(&unpacker->in, unpacker->global, column, n) < 0)
            return damaged(unpacker, "a common column");
    for (uint32_t i = 0; i < n; i++) {
        uint64_t id = unpacker->global[3ull * n + i];
        struct unpack_shape *shape;

        if (id >= unpacker->nshapes || unpacker->global[2ull * n + i] > UINT32_MAX)
            return damaged(unpacker, "a shape or task number");
        shape = &unpacker->shapes[id];
        shape->count++;
        needed += sizeof(struct sentra_event) + 8ull * shape->nargs + 16ull * shape->nsegs;
    }
    return needed > capacity ? damaged(unpacker, "more events than room") : 0;
}

static int check_segment(struct unpacker *unpacker, struct unpack_shape *shape, unsigned index, const uint64_t *sizes, const uint64_t *hashes)
{
    for (uint32_t r = 0; r < shape->count; r++) {
        uint64_t at = (uint64_t)index * shape->count + r;

        if (sizes[r] > SENTRA_RECORD_MAX)
            return damaged(unpacker, "a segment's size");
        shape->sizes[at] = (uint32_t)sizes[r];
        if (!hashes)
            continue;
        if (hashes[r] >= unpacker->nhashes || hashes[r] >= unpacker->blob_count || unpacker->blobs[hashes[r]].bytes != sizes[r])
            return damaged(unpacker, "a blob of another size");
        shape->data[at] = unpacker->blobs[hashes[r]].data;
    }
    return 0;
}

static int get_shape_columns(struct unpacker *unpacker, struct unpack_shape *shape)
{
    uint32_t columns = 2u + shape->nargs + 3u * shape->nsegs, column = 0, n = shape->count;
    uint64_t instances = (uint64_t)shape->nsegs * n + 1;

    shape->matrix = malloc((uint64_t)columns * n * sizeof *shape->matrix + 8);
    shape->data = calloc(instances, sizeof *shape->data);
    shape->sizes = calloc(instances, sizeof *shape->sizes);
    if (!shape->matrix || !shape->data || !shape->sizes)
        return damaged(unpacker, "out of memory");
    for (; column < 2u + shape->nargs; column++)
        if (sentra_get_column(&unpacker->in, shape->matrix, column, n) < 0)
            return damaged(unpacker, "a column of an argument");
    for (unsigned s = 0; s < shape->nsegs; s++) {
        const unsigned char *key = shape->key + SENTRA_SHAPE_HEAD + SENTRA_SHAPE_SEGMENT * s;
        const uint64_t *sizes, *hashes = NULL;

        if (key[4] > (SENTRA_MODE_AT_ARG | SENTRA_MODE_BLOB) || ((key[4] & SENTRA_MODE_AT_ARG) && key[1] >= shape->nargs))
            return damaged(unpacker, "a segment's mode");
        if (!(key[4] & SENTRA_MODE_AT_ARG) && sentra_get_column(&unpacker->in, shape->matrix, column++, n) < 0)
            return damaged(unpacker, "a column of addresses");
        sizes = shape->matrix + (uint64_t)column * n;
        if (sentra_get_column(&unpacker->in, shape->matrix, column++, n) < 0)
            return damaged(unpacker, "a column of sizes");
        if (key[4] & SENTRA_MODE_BLOB) {
            hashes = shape->matrix + (uint64_t)column * n;
            if (sentra_get_column(&unpacker->in, shape->matrix, column++, n) < 0)
                return damaged(unpacker, "a column of hashes");
        }
        if (check_segment(unpacker, shape, s, sizes, hashes) < 0)
            return -1;
    }
    return 0;
}

/* Where each inline segment's bytes are. */
static int get_data(struct unpacker *unpacker)
{
    uint64_t total;

    if (sentra_get_varint(&unpacker->in, &total) < 0 || total != (uint64_t)(unpacker->in.end - unpacker->in.at))
        return damaged(unpacker, "data of another length");
    for (uint64_t s = 0; s < unpacker->nshapes; s++) {
        struct unpack_shape *shape = &unpacker->shapes[s];

        for (uint64_t at = 0; at < (uint64_t)shape->nsegs * shape->count; at++) {
            if (shape->key[SENTRA_SHAPE_HEAD + SENTRA_SHAPE_SEGMENT * (at / shape->count) + 4] & SENTRA_MODE_BLOB)
                continue;
            if (!(shape->data[at] = sentra_get_bytes(&unpacker->in, shape->sizes[at])))
                return damaged(unpacker, "data cut short");
        }
    }
    return unpacker->in.at == unpacker->in.end ? 0 : damaged(unpacker, "data left over");
}

static uint64_t record_size(const struct unpack_shape *shape)
{
    uint64_t size = sizeof(struct sentra_event) + 8ull * shape->nargs;

    for (unsigned s = 0; s < shape->nsegs; s++)
        size += sizeof(struct sentra_segment) + sentra_pad8(shape->sizes[(uint64_t)s * shape->count + shape->rank]);
    return size;
}

static void write_segments(struct unpack_shape *shape, const uint64_t *args, unsigned char *to)
{
    uint32_t n = shape->count, r = shape->rank, column = 2u + shape->nargs;

    for (unsigned s = 0; s < shape->nsegs; s++) {
        const unsigned char *key = shape->key + SENTRA_SHAPE_HEAD + SENTRA_SHAPE_SEGMENT * s;
        uint64_t at = (uint64_t)s * n + r;
        struct sentra_segment segment = { .size = shape->sizes[at], .kind = key[0], .arg = key[1], .flags = (uint16_t)(key[2] | key[3] << 8) };

        segment.addr = key[4] & SENTRA_MODE_AT_ARG ? args[key[1]] : shape->matrix[(uint64_t)column++ * n + r];
        column += key[4] & SENTRA_MODE_BLOB ? 2 : 1;
        memcpy(to, &segment, sizeof segment);
        to += sizeof segment;
        if (segment.size)
            memcpy(to, shape->data[at], segment.size);
        memset(to + segment.size, 0, sentra_pad8(segment.size) - segment.size);
        to += sentra_pad8(segment.size);
    }
}

/* The next event of `shape`. */
static void write_record(struct unpack_shape *shape, uint64_t size, uint64_t seq, uint64_t time_ns, uint64_t task, unsigned char *to)
{
    uint64_t args[255];
    uint32_t n = shape->count, r = shape->rank;
    struct sentra_event event = { .size = (uint32_t)size, .seq = seq, .time_ns = time_ns, .task = (int32_t)(uint32_t)task };

    memcpy(&event.type, shape->key, 2);
    memcpy(&event.flags, shape->key + 2, 2);
    memcpy(&event.nr, shape->key + 4, 4);
    event.duration_ns = shape->matrix[r];
    event.result = (int64_t)sentra_unzigzag(shape->matrix[n + r]);
    event.nargs = shape->nargs;
    event.nsegs = shape->nsegs;
    for (unsigned arg = 0; arg < shape->nargs; arg++)
        args[arg] = shape->matrix[(2ull + arg) * n + r];
    memcpy(to, &event, sizeof event);
    memcpy(to + sizeof event, args, 8ull * shape->nargs);
    write_segments(shape, args, to + sizeof event + 8ull * shape->nargs);
    shape->rank++;
}

static int64_t write_records(struct unpacker *unpacker, unsigned char *out, uint64_t capacity)
{
    uint64_t n = unpacker->count, seq = unpacker->first_seq, at = 0;

    for (uint64_t i = 0; i < n; i++) {
        struct unpack_shape *shape = &unpacker->shapes[unpacker->global[3 * n + i]];
        uint64_t size = record_size(shape);

        if (size > SENTRA_RECORD_MAX || size > capacity - at)
            return damaged(unpacker, "more bytes than room");
        if (seq + unpacker->global[i] < seq)
            return damaged(unpacker, "a sequence number");
        seq += unpacker->global[i];
        write_record(shape, size, seq, unpacker->global[n + i], unpacker->global[2 * n + i], out + at);
        at += size;
        if (!++seq)
            return damaged(unpacker, "a sequence number");
    }
    return (int64_t)at;
}

static void free_unpacker(struct unpacker *unpacker)
{
    for (uint64_t s = 0; unpacker->shapes && s < unpacker->nshapes; s++) {
        free(unpacker->shapes[s].matrix);
        free(unpacker->shapes[s].data);
        free(unpacker->shapes[s].sizes);
    }
    free(unpacker->shapes);
    free(unpacker->global);
}

static int64_t unpack_all(struct unpacker *unpacker, unsigned char *out, uint64_t capacity)
{
    if (get_head(unpacker) < 0 || get_global(unpacker, capacity) < 0)
        return -1;
    for (uint64_t s = 0; s < unpacker->nshapes; s++) {
        if (!unpacker->shapes[s].count)
            return damaged(unpacker, "a shape without events");
        if (get_shape_columns(unpacker, &unpacker->shapes[s]) < 0)
            return -1;
    }
    return get_data(unpacker) < 0 ? -1 : write_records(unpacker, out, capacity);
}

int64_t sentra_unpack(const unsigned char *packed, uint64_t bytes, const struct sentra_pack_source *blobs, uint32_t blob_count,
                      unsigned char *out, uint64_t capacity, struct sentra_error *error)
{
    struct unpacker unpacker = { .in = { packed, packed + bytes }, .blobs = blobs, .blob_count = blob_count };
    int64_t result = unpack_all(&unpacker, out, capacity);

    if (result < 0)
        sentra_fail(error, EBADMSG, "unpack block", "%s, near byte %lld", unpacker.wrong, (long long)(unpacker.in.at - packed));
    free_unpacker(&unpacker);
    return result;
}

int64_t sentra_unpack_hashes(const unsigned char *packed, uint64_t bytes, const unsigned char **hashes, struct sentra_error *error)
{
    struct unpacker unpacker = { .in = { packed, packed + bytes } };
    int64_t result = get_head(&unpacker);

    if (result < 0) {
        sentra_fail(error, EBADMSG, "unpack block", "%s, near byte %lld", unpacker.wrong, (long long)(unpacker.in.at - packed));
    } else {
        *hashes = unpacker.hashes;
        result = (int64_t)unpacker.nhashes;
    }
    free_unpacker(&unpacker);
    return result;
}
