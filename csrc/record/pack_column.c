/*
 * pack_column.c - one column of 64-bit values to bytes and back; also the varints.
 *
 * The encoder tries the cheapest description first: constant, equal to an earlier column, few distinct values, and else
 * byte planes of the value or of its difference to the one before. Planes beat varints here: zstd sees like with like, and
 * a reader in Python reassembles them with slice assignments.
 */
#include <stdlib.h>
#include <string.h>

#include "pack.h"

int sentra_put_varint(struct sentra_sink *out, uint64_t value)
{
    do {
        if (out->at == out->end)
            return -1;
        *out->at++ = (unsigned char)((value & 127) | (value > 127 ? 128 : 0));
        value >>= 7;
    } while (value);
    return 0;
}

int sentra_put_bytes(struct sentra_sink *out, const void *bytes, uint64_t count)
{
    if ((uint64_t)(out->end - out->at) < count)
        return -1;
    if (count)
        memcpy(out->at, bytes, count);
    out->at += count;
    return 0;
}

int sentra_get_varint(struct sentra_view *in, uint64_t *value)
{
    uint64_t result = 0;

    for (unsigned shift = 0; shift < 64; shift += 7) {
        unsigned char byte;

        if (in->at == in->end)
            return -1;
        byte = *in->at++;
        if (shift == 63 && byte > 1)
            return -1;
        result |= (uint64_t)(byte & 127) << shift;
        if (!(byte & 128)) {
            *value = result;
            return 0;
        }
    }
    return -1;
}

const unsigned char *sentra_get_bytes(struct sentra_view *in, uint64_t count)
{
    const unsigned char *at = in->at;

    if ((uint64_t)(in->end - in->at) < count)
        return NULL;
    in->at += count;
    return at;
}

static unsigned byte_length(uint64_t value)
{
    return value ? (unsigned)(71 - __builtin_clzll(value)) / 8 : 0;
}

/* ---- dictionary of at most 255 values ---- */

struct dictionary {
    uint64_t values[255];
    uint16_t slots[512];      /* 0 = free, else index + 1 */
    uint32_t count;
};

static int dictionary_index(struct dictionary *dictionary, uint64_t value)
{
    uint32_t slot = (uint32_t)((value * 0x9e3779b97f4a7c15ull) >> 55);

    while (dictionary->slots[slot]) {
        if (dictionary->values[dictionary->slots[slot] - 1] == value)
            return dictionary->slots[slot] - 1;
        slot = (slot + 1) & 511;
    }
    if (dictionary->count == 255)
        return -1;
    dictionary->values[dictionary->count] = value;
    dictionary->slots[slot] = (uint16_t)++dictionary->count;
    return (int)dictionary->count - 1;
}

static int dictionary_build(struct dictionary *dictionary, const uint64_t *values, uint32_t n)
{
    memset(dictionary->slots, 0, sizeof dictionary->slots);
    dictionary->count = 0;
    for (uint32_t i = 0; i < n; i++)
        if (dictionary_index(dictionary, values[i]) < 0)
            return -1;
    return 0;
}

static int put_dictionary(struct sentra_sink *out, struct dictionary *dictionary, const uint64_t *values, uint32_t n)
{
    unsigned char mode = SENTRA_COLUMN_DICT;

    if (sentra_put_bytes(out, &mode, 1) < 0 || sentra_put_varint(out, dictionary->count) < 0)
        return -1;
    for (uint32_t i = 0; i < dictionary->count; i++)
        if (sentra_put_varint(out, dictionary->values[i]) < 0)
            return -1;
    if ((uint64_t)(out->end - out->at) < n)
        return -1;
    for (uint32_t i = 0; i < n; i++)
        *out->at++ = (unsigned char)dictionary_index(dictionary, values[i]);
    return 0;
}

/* ---- planes ---- */

struct estimate {
    uint64_t bytes;           /* sum of the bytes each value needs: what entropy coding cannot get around */
    unsigned width;
};

static struct estimate estimate_values(const uint64_t *values, uint32_t n, uint64_t base)
{
    struct estimate result = { 0, 1 };

    for (uint32_t i = 0; i < n; i++) {
        unsigned length = byte_length(values[i] - base);

        result.bytes += length;
        result.width = length > result.width ? length : result.width;
    }
    return result;
}

static struct estimate estimate_deltas(const uint64_t *values, uint32_t n)
{
    struct estimate result = { 0, 1 };

    for (uint32_t i = 1; i < n; i++) {
        unsigned length = byte_length(sentra_zigzag(values[i] - values[i - 1]));

        result.bytes += length;
        result.width = length > result.width ? length : result.width;
    }
    return result;
}

static int put_planes(struct sentra_sink *out, const uint64_t *values, uint32_t n, uint64_t base, unsigned width)
{
    unsigned char mode = SENTRA_COLUMN_PLANES, bytes = (unsigned char)width;

    if (sentra_put_bytes(out, &mode, 1) < 0 || sentra_put_varint(out, base) < 0 || sentra_put_bytes(out, &bytes, 1) < 0 ||
        (uint64_t)(out->end - out->at) < (uint64_t)n * width)
        return -1;
    for (unsigned plane = 0; plane < width; plane++)
        for (uint32_t i = 0; i < n; i++)
            *out->at++ = (unsigned char)((values[i] - base) >> (8 * plane));
    return 0;
}

static int put_deltas(struct sentra_sink *out, const uint64_t *values, uint32_t n, unsigned width)
{
    unsigned char mode = SENTRA_COLUMN_DELTA, bytes = (unsigned char)width;

    if (sentra_put_bytes(out, &mode, 1) < 0 || sentra_put_varint(out, values[0]) < 0 || sentra_put_bytes(out, &bytes, 1) < 0 ||
        (uint64_t)(out->end - out->at) < (uint64_t)(n - 1) * width)
        return -1;
    for (unsigned plane = 0; plane < width; plane++)
        for (uint32_t i = 1; i < n; i++)
            *out->at++ = (unsigned char)(sentra_zigzag(values[i] - values[i - 1]) >> (8 * plane));
    return 0;
}

static int put_reference(struct sentra_sink *out, unsigned char mode, uint64_t value)
{
    return sentra_put_bytes(out, &mode, 1) < 0 || sentra_put_varint(out, value) < 0 ? -1 : 0;
}

static int is_constant(const uint64_t *values, uint32_t n)
{
    for (uint32_t i = 1; i < n; i++)
        if (values[i] != values[0])
            return 0;
    return 1;
}

int sentra_put_column(struct sentra_sink *out, const uint64_t *matrix, uint32_t column, uint32_t n)
{
    const uint64_t *values = matrix + (uint64_t)column * n;
    struct dictionary dictionary;
    struct estimate raw, delta;
    uint64_t base = values[0];

    if (is_constant(values, n))
        return put_reference(out, SENTRA_COLUMN_CONST, values[0]);
    for (uint32_t earlier = 0; earlier < column; earlier++)
        if (!memcmp(values, matrix + (uint64_t)earlier * n, n * sizeof *values))
            return put_reference(out, SENTRA_COLUMN_COPY, earlier);
    for (uint32_t i = 1; i < n; i++)
        base = values[i] < base ? values[i] : base;
    raw = estimate_values(values, n, base);
    delta = estimate_deltas(values, n);
    if (raw.bytes > n / 2 && delta.bytes > n / 2 && dictionary_build(&dictionary, values, n) == 0 && dictionary.count * 4 <= n)
        return put_dictionary(out, &dictionary, values, n);
    if (raw.bytes <= delta.bytes)
        return put_planes(out, values, n, base, raw.width);
    return put_deltas(out, values, n, delta.width);
}

/* ---- reading ---- */

static int get_dictionary(struct sentra_view *in, uint64_t *values, uint32_t n)
{
    uint64_t count, table[255];
    const unsigned char *indexes;

    if (sentra_get_varint(in, &count) < 0 || count < 2 || count > 255)
        return -1;
    for (uint32_t i = 0; i < count; i++)
        if (sentra_get_varint(in, &table[i]) < 0)
            return -1;
    if (!(indexes = sentra_get_bytes(in, n)))
        return -1;
    for (uint32_t i = 0; i < n; i++) {
        if (indexes[i] >= count)
            return -1;
        values[i] = table[indexes[i]];
    }
    return 0;
}

/* `n` little-endian values of 1 to 8 bytes, plane by plane. */
static int get_planes(struct sentra_view *in, uint64_t *values, uint32_t n)
{
    const unsigned char *width = sentra_get_bytes(in, 1), *planes;

    if (!width || *width < 1 || *width > 8 || !(planes = sentra_get_bytes(in, (uint64_t)n * *width)))
        return -1;
    memset(values, 0, n * sizeof *values);
    for (unsigned plane = 0; plane < *width; plane++)
        for (uint32_t i = 0; i < n; i++)
            values[i] |= (uint64_t)*planes++ << (8 * plane);
    return 0;
}

static int get_deltas(struct sentra_view *in, uint64_t *values, uint32_t n)
{
    if (sentra_get_varint(in, &values[0]) < 0 || get_planes(in, values + 1, n - 1) < 0)
        return -1;
    for (uint32_t i = 1; i < n; i++)
        values[i] = values[i - 1] + sentra_unzigzag(values[i]);
    return 0;
}

int sentra_get_column(struct sentra_view *in, uint64_t *matrix, uint32_t column, uint32_t n)
{
    uint64_t *values = matrix + (uint64_t)column * n, argument;
    const unsigned char *mode = sentra_get_bytes(in, 1);

    if (!mode)
        return -1;
    switch (*mode) {
    case SENTRA_COLUMN_DICT:
        return get_dictionary(in, values, n);
    case SENTRA_COLUMN_DELTA:
        return get_deltas(in, values, n);
    case SENTRA_COLUMN_CONST:
    case SENTRA_COLUMN_COPY:
    case SENTRA_COLUMN_PLANES:
        break;
    default:
        return -1;
    }
    if (sentra_get_varint(in, &argument) < 0)
        return -1;
    if (*mode == SENTRA_COLUMN_COPY) {
        if (argument >= column)
            return -1;
        memcpy(values, matrix + argument * n, n * sizeof *values);
        return 0;
    }
    if (*mode == SENTRA_COLUMN_PLANES && get_planes(in, values, n) < 0)
        return -1;
    for (uint32_t i = 0; i < n; i++)
        values[i] = *mode == SENTRA_COLUMN_CONST ? argument : values[i] + argument;
    return 0;
}
