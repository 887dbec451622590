/*
 * pack.h - the packed form of a block: the same fields as event.h, turned into columns.
 *
 * Events of one shape (type, flags, number, argument and segment layout) are stored together, one column per field,
 * because a column of one meaning compresses far better than a row of many, and because Python can then decode it at
 * C speed. docs/TRACE_FORMAT.md has the layout; sentra_sandbox/trace/codec.py is the other reader of it.
 *
 *   packed  = varint version, count, first_seq, nshapes, shape[nshapes], varint nhashes, hash[nhashes] of 32 bytes,
 *             column seq gaps, column times, column tasks, column shape ids,
 *             per shape: columns duration, result (zig-zag), args, per segment [addr], size, [hash index],
 *             varint data bytes, data (inline segment bytes: by shape, by segment, by event)
 *   shape   = u16 type, u16 flags, u32 nr, u8 nargs, u8 nsegs, per segment: u8 kind, u8 arg, u16 flags, u8 mode
 *   column  = u8 mode, then per mode what enum sentra_column says
 *
 * Unpacking treats its input as hostile: every read is checked against the end, every index against its table.
 */
#ifndef SENTRA_PACK_H
#define SENTRA_PACK_H

#include "event.h"
#include "sentra.h"

#define SENTRA_PACK_VERSION 1u
#define SENTRA_BLOCK_EVENTS_MAX 65536u
#define SENTRA_SHAPE_HEAD 10u
#define SENTRA_SHAPE_SEGMENT 5u

enum sentra_column {
    SENTRA_COLUMN_CONST = 0,  /* varint value */
    SENTRA_COLUMN_COPY = 1,   /* varint index of an earlier column of the same shape */
    SENTRA_COLUMN_DICT = 2,   /* varint k (2..255), k varint values, n bytes < k */
    SENTRA_COLUMN_PLANES = 3, /* varint base, u8 width (1..8), byte 0 of all values, byte 1 of all, ...; value = base + it mod 2^64 */
    SENTRA_COLUMN_DELTA = 4   /* varint first value, u8 width, planes of the n - 1 zig-zag differences mod 2^64 */
};

enum sentra_segment_mode {
    SENTRA_MODE_AT_ARG = 1,   /* addr equals args[arg]: no address column */
    SENTRA_MODE_BLOB = 2      /* the bytes are a blob: hash index column instead of inline data */
};

/* Output and input with their ends. */
struct sentra_sink {
    unsigned char *at, *end;
};

struct sentra_view {
    const unsigned char *at, *end;
};

int sentra_put_varint(struct sentra_sink *out, uint64_t value);
int sentra_put_bytes(struct sentra_sink *out, const void *bytes, uint64_t count);
/* Column `column` of a matrix of columns with `n` values each. The earlier ones may be referred to. */
int sentra_put_column(struct sentra_sink *out, const uint64_t *matrix, uint32_t column, uint32_t n);

int sentra_get_varint(struct sentra_view *in, uint64_t *value);
const unsigned char *sentra_get_bytes(struct sentra_view *in, uint64_t count);
int sentra_get_column(struct sentra_view *in, uint64_t *matrix, uint32_t column, uint32_t n);

/* The size of the well-formed record at `data`, 0 if what is there is none. */
uint32_t sentra_check_record(const unsigned char *data, uint64_t bytes);

/* The merge that both passes share: the next record in order of seq. */
struct sentra_merge {
    const struct sentra_pack_source *sources;
    uint32_t count;
    uint64_t at[4];
    int32_t damaged;
};

/* The source whose next record has the lowest seq, -1 at the end. *record and *size describe it. */
int sentra_merge_next(struct sentra_merge *merge, const unsigned char **record, uint32_t *size);

static inline uint64_t sentra_zigzag(uint64_t value)
{
    return (value << 1) ^ (uint64_t)-(int64_t)(value >> 63);
}

static inline uint64_t sentra_unzigzag(uint64_t value)
{
    return (value >> 1) ^ (uint64_t)-(int64_t)(value & 1);
}

static inline uint64_t sentra_pad8(uint64_t bytes)
{
    return (bytes + 7) & ~(uint64_t)7;
}

#endif
