/*
 * codings.c - takes text codings off large buffers, and finds where compressed data may begin.
 *
 * Buffers are hostile and mostly not coded at all: runs that are too short to matter are passed over, and what is put out is never
 * longer than what came in (and a little), so the caller's memory is bounded by what it hands over.
 */
#include <string.h>

#include "sentra.h"

enum { SEPARATOR = 4, CONTEXT = 256, SKIP_RUN_MAX = 64 * 1024 };
static const uint64_t LEAST_RUN[] = {0, 24, 24, 24};

static int8_t base64_value[256], base32_value[256], hex_value[256];
static const uint8_t may_begin[256] = {[0x1f] = 1, [0x78] = 1, [0x28] = 1, ['P'] = 1, ['B'] = 1, [0xfd] = 1};

__attribute__((constructor)) static void fill_tables(void)
{
    memset(base64_value, -1, sizeof base64_value);
    memset(base32_value, -1, sizeof base32_value);
    memset(hex_value, -1, sizeof hex_value);
    for (int i = 0; i < 26; i++) {
        base64_value['A' + i] = (int8_t)i;
        base64_value['a' + i] = (int8_t)(26 + i);
        base32_value['A' + i] = base32_value['a' + i] = (int8_t)i;
    }
    for (int i = 0; i < 10; i++) {
        base64_value['0' + i] = (int8_t)(52 + i);
        hex_value['0' + i] = (int8_t)i;
    }
    for (int i = 0; i < 6; i++) {
        base32_value['2' + i] = (int8_t)(26 + i);
        hex_value['a' + i] = hex_value['A' + i] = (int8_t)(10 + i);
    }
    base64_value['+'] = base64_value['-'] = 62;
    base64_value['/'] = base64_value['_'] = 63;
}

/* What a decoder puts out, and from where. */
struct sink {
    const unsigned char *data;
    uint64_t bytes;
    unsigned char *out;
    uint64_t used;
    struct sentra_coding_span *spans;
    uint64_t max_spans, count;
};

static void finish_span(struct sink *sink, uint64_t from, uint64_t to, uint64_t begun)
{
    sink->spans[sink->count++] = (struct sentra_coding_span){from, to - from, begun, sink->used - begun};
    memset(sink->out + sink->used, 0, SEPARATOR);
    sink->used += SEPARATOR;
}

/* A line break in the middle of a run: one or two bytes. */
static uint64_t line_break(const struct sink *sink, uint64_t at)
{
    if (at < sink->bytes && sink->data[at] == '\n')
        return 1;
    return at + 1 < sink->bytes && sink->data[at] == '\r' && sink->data[at + 1] == '\n' ? 2 : 0;
}

static void decode_run(struct sink *sink, const int8_t *values, unsigned bits, uint64_t from, uint64_t to, uint32_t skip)
{
    uint64_t begun = sink->used;
    uint32_t held = 0, have = 0;
    for (uint64_t at = from; at < to; at++) {
        int8_t value = values[sink->data[at]];
        if (value < 0)
            continue;
        if (skip) {
            skip--;
            continue;
        }
        held = held << bits | (uint32_t)value;
        have += bits;
        if (have >= 8) {
            have -= 8;
            sink->out[sink->used++] = (unsigned char)(held >> have);
            held &= (1u << have) - 1;
        }
    }
    finish_span(sink, from, to, begun);
}

static void decode_runs(struct sink *sink, uint32_t coding, const int8_t *values, unsigned bits, uint32_t skip)
{
    for (uint64_t at = 0; at < sink->bytes && sink->count < sink->max_spans;) {
        uint64_t first = at + LEAST_RUN[coding]; /* looked at from behind: most data is left in large steps */
        if (first > sink->bytes)
            break;
        while (first > at && values[sink->data[first - 1]] >= 0)
            first--;
        if (first > at) {
            at = first;
            continue;
        }
        uint64_t from = at, digits = 0, gap;
        for (;;) {
            uint64_t line = at;
            while (at < sink->bytes && values[sink->data[at]] >= 0)
                at++;
            digits += at - line;
            gap = at - line >= 32 ? line_break(sink, at) : 0; /* words on lines of their own are no run */
            if (!gap || at + gap >= sink->bytes || values[sink->data[at + gap]] < 0)
                break;
            at += gap;
        }
        if (digits >= LEAST_RUN[coding] + skip && (!skip || at - from <= SKIP_RUN_MAX))
            decode_run(sink, values, bits, from, at, skip);
    }
}

static int hex_byte(const struct sink *sink, uint64_t at)
{
    if (at + 1 >= sink->bytes || hex_value[sink->data[at]] < 0 || hex_value[sink->data[at + 1]] < 0)
        return -1;
    return hex_value[sink->data[at]] << 4 | hex_value[sink->data[at + 1]];
}

/* \uXXXX as UTF-8, or as one byte where it can be one: so binary data is written in JSON. Surrogates are left as they are. Returns the
 * bytes put to text, 0 if it is none. */
static uint32_t universal(const struct sink *sink, uint64_t at, unsigned char *text)
{
    int high = hex_byte(sink, at), low = hex_byte(sink, at + 2);
    if (high < 0 || low < 0 || (high >= 0xd8 && high < 0xe0))
        return 0;
    uint32_t code = (uint32_t)(high << 8 | low);
    if (code < 0x100) {
        text[0] = (unsigned char)code;
        return 1;
    }
    if (code < 0x800) {
        text[0] = (unsigned char)(0xc0 | code >> 6);
        text[1] = (unsigned char)(0x80 | (code & 63));
        return 2;
    }
    text[0] = (unsigned char)(0xe0 | code >> 12);
    text[1] = (unsigned char)(0x80 | (code >> 6 & 63));
    text[2] = (unsigned char)(0x80 | (code & 63));
    return 3;
}

static uint64_t backslash(const struct sink *sink, uint64_t at, unsigned char *text, uint32_t *size)
{
    static const char names[] = "nrtbf\"\\/'", meanings[] = "\n\r\t\b\f\"\\/'";
    unsigned char next = at + 1 < sink->bytes ? sink->data[at + 1] : 0;
    const char *name = next ? strchr(names, next) : NULL;
    int value = next == 'x' ? hex_byte(sink, at + 2) : -1;
    *size = 1;
    if (name)
        text[0] = (unsigned char)meanings[name - names];
    else if (value >= 0)
        text[0] = (unsigned char)value;
    else if (next == 'u')
        return (*size = universal(sink, at + 2, text)) ? 6 : 0;
    else
        return 0;
    return name ? 2 : 4;
}

/* Length of the escape that begins at `at`, 0 if none does; what it stands for in text. */
static uint64_t escape(const struct sink *sink, uint32_t coding, uint64_t at, unsigned char *text, uint32_t *size)
{
    if (coding == SENTRA_CODING_BACKSLASH)
        return backslash(sink, at, text, size);
    int value = hex_byte(sink, at + 1);
    *size = 1;
    text[0] = (unsigned char)value;
    if (value >= 0)
        return 3;
    uint64_t gap = coding == SENTRA_CODING_QUOTED_PRINTABLE ? line_break(sink, at + 1) : 0;
    *size = 0;
    return gap ? gap + 1 : 0;
}

/* Escapes that are no more than CONTEXT * 2 apart, with what stands around them. */
static void decode_island(struct sink *sink, uint32_t coding, unsigned char mark, uint64_t from, uint64_t to)
{
    unsigned char text[4];
    uint32_t size;
    uint64_t begun = sink->used, length;
    for (uint64_t at = from; at < to;) {
        if (sink->data[at] == mark && (length = escape(sink, coding, at, text, &size))) {
            memcpy(sink->out + sink->used, text, size);
            sink->used += size;
            at += length;
        } else {
            sink->out[sink->used++] = sink->data[at++];
        }
    }
    finish_span(sink, from, to, begun);
}

static void decode_islands(struct sink *sink, uint32_t coding, unsigned char mark)
{
    unsigned char text[4];
    uint32_t size;
    uint64_t island_from = 0, island_to = 0, last_end = 0;
    for (uint64_t at = 0; at < sink->bytes;) {
        const unsigned char *next = memchr(sink->data + at, mark, sink->bytes - at);
        if (!next)
            break;
        at = (uint64_t)(next - sink->data);
        uint64_t length = escape(sink, coding, at, text, &size);
        if (!length) {
            at++;
            continue;
        }
        if (island_to && at > island_to + CONTEXT) {
            if (sink->count < sink->max_spans)
                decode_island(sink, coding, mark, island_from, island_to);
            last_end = island_to;
            island_to = 0;
        }
        if (!island_to)
            island_from = at > last_end + CONTEXT ? at - CONTEXT : last_end;
        at += length;
        island_to = at + CONTEXT < sink->bytes ? at + CONTEXT : sink->bytes;
    }
    if (island_to && sink->count < sink->max_spans)
        decode_island(sink, coding, mark, island_from, island_to);
}

int64_t sentra_coding_decode(uint32_t coding, uint32_t skip, const unsigned char *data, uint64_t bytes, unsigned char *out,
                             struct sentra_coding_span *spans, uint64_t max_spans, uint64_t *span_count)
{
    struct sink sink = {data, bytes, out, 0, spans, max_spans, 0};
    if (coding == SENTRA_CODING_BASE64)
        decode_runs(&sink, coding, base64_value, 6, skip);
    else if (coding == SENTRA_CODING_BASE32)
        decode_runs(&sink, coding, base32_value, 5, skip);
    else if (coding == SENTRA_CODING_HEX)
        decode_runs(&sink, coding, hex_value, 4, skip);
    else if (coding == SENTRA_CODING_PERCENT)
        decode_islands(&sink, coding, '%');
    else if (coding == SENTRA_CODING_BACKSLASH)
        decode_islands(&sink, coding, '\\');
    else if (coding == SENTRA_CODING_QUOTED_PRINTABLE)
        decode_islands(&sink, coding, '=');
    *span_count = sink.count;
    return (int64_t)sink.used;
}

static uint32_t magic_at(const unsigned char *data, uint64_t bytes)
{
    switch (data[0]) {
    case 0x1f:
        return bytes > 18 && data[1] == 0x8b && data[2] == 8 && data[3] < 0x20 ? SENTRA_MAGIC_GZIP : 0;
    case 0x78:
        return bytes > 6 && (data[1] == 0x01 || data[1] == 0x5e || data[1] == 0x9c || data[1] == 0xda) && (data[2] & 6) != 6
                   ? SENTRA_MAGIC_ZLIB : 0;
    case 0x28:
        return bytes > 8 && !memcmp(data, "\x28\xb5\x2f\xfd", 4) ? SENTRA_MAGIC_ZSTD : 0;
    case 'P':
        return bytes > 30 && !memcmp(data, "PK\3\4", 4) ? SENTRA_MAGIC_ZIP : 0;
    case 'B':
        return bytes > 14 && !memcmp(data, "BZh", 3) && !memcmp(data + 4, "1AY&SY", 6) ? SENTRA_MAGIC_BZIP2 : 0;
    case 0xfd:
        return bytes > 24 && !memcmp(data, "\xfd" "7zXZ", 6) ? SENTRA_MAGIC_XZ : 0;
    default:
        return 0;
    }
}

int64_t sentra_coding_magics(const unsigned char *data, uint64_t bytes, uint64_t *out, uint64_t max, uint64_t *done)
{
    uint64_t found = 0, at = 0;
    for (; at + 4 < bytes && found < max; at++) {
        if (!may_begin[data[at]])
            continue;
        uint32_t kind = magic_at(data + at, bytes - at);
        if (kind)
            out[found++] = at << 8 | kind;
    }
    *done = found < max ? bytes : at;
    return (int64_t)found;
}

void sentra_coding_histogram(const unsigned char *data, uint64_t bytes, uint64_t *counts)
{
    for (uint64_t i = 0; i < bytes; i++)
        counts[data[i]]++;
}
