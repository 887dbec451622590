/*
 * stash.c - bytes that the program handed over, kept with its task from the entry of a call until the call is recorded.
 *
 * They stand there already in the shape of segments, so that recording copies them in one piece. What is looked at again later (a
 * vector, a message header) is looked at here, never in the program's memory a second time.
 *
 * The stash moves when it grows: a pointer into it, as stashed() returns, holds until the next addition.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>

#include "capture.h"

#define STRING_MAX (128u * 1024u)
#define STRINGS_MAX 64u

void stash_reset(struct task *task)
{
    task->stash.used = 0;
    task->stash.segments = 0;
}

static unsigned char *stash_segment(struct task *task, uint64_t address, uint32_t size, const struct item *item)
{
    struct stash *stash = &task->stash;
    uint32_t padded = (size + 7u) & ~7u;
    uint32_t need = stash->used + (uint32_t)sizeof(struct sentra_segment) + padded;
    struct sentra_segment *segment;

    if (stash->segments == SEGMENTS_MAX)
        return NULL;
    if (need > stash->capacity) {
        uint32_t capacity = need + 1024u;
        unsigned char *grown = realloc(stash->data, capacity);

        if (!grown)
            return NULL;
        stash->data = grown;
        stash->capacity = capacity;
    }
    segment = (struct sentra_segment *)(stash->data + stash->used);
    *segment = (struct sentra_segment){.addr = address, .size = size, .kind = item->kind, .arg = item->arg, .flags = item->flags};
    memset((unsigned char *)(segment + 1) + size, 0, padded - size);
    stash->used = need;
    stash->segments++;
    return (unsigned char *)(segment + 1);
}

/* The bytes after a header in the stash shrink to what could be read. */
static void stash_shrink(struct task *task, unsigned char *data, uint32_t size)
{
    struct sentra_segment *segment = (struct sentra_segment *)data - 1;
    uint32_t padded = (size + 7u) & ~7u;

    segment->size = size;
    memset(data + size, 0, padded - size);
    task->stash.used = (uint32_t)(data - task->stash.data) + padded;
}

/* The copy of memory at `address` that was put into the stash at entry, or NULL. */
const unsigned char *stashed(const struct task *task, uint64_t address, uint8_t arg, uint32_t *size)
{
    uint32_t at = 0;

    while (at < task->stash.used) {
        const struct sentra_segment *segment = (const struct sentra_segment *)(task->stash.data + at);

        if (segment->addr == address && segment->arg == arg && segment->kind == SENTRA_SEGMENT_IN) {
            *size = segment->size;
            return (const unsigned char *)(segment + 1);
        }
        at += (uint32_t)sizeof *segment + ((segment->size + 7u) & ~7u);
    }
    return NULL;
}

/* The item's bytes as they are now. Large ones go ahead in DATA events, and the stash keeps only how many there were. */
void stash_item(struct sentra_run *run, struct task *task, struct item *item)
{
    unsigned char *data;

    item_cap(run, item);
    if (item->size > SENTRA_SPILL_CHUNK || task->stash.used + item->size > RECORD_BUDGET) {
        uint64_t total = item_spill(run, task, item);

        item->flags |= SENTRA_SEGMENT_SPILLED;
        data = stash_segment(task, item->address, 8, item);
        if (data)
            memcpy(data, &total, 8);
        return;
    }
    data = stash_segment(task, item->address, (uint32_t)item->size, item);
    if (data) {
        uint32_t got = item_read(task, item, 0, data, (uint32_t)item->size);

        if (got < item->size) {
            stash_shrink(task, data, got);
            ((struct sentra_segment *)data - 1)->flags |= SENTRA_SEGMENT_UNREADABLE;
        }
    }
}

void stash_plain(struct sentra_run *run, struct task *task, uint64_t address, uint64_t size, uint8_t arg)
{
    struct item item = {.address = address, .size = size, .kind = SENTRA_SEGMENT_IN, .arg = arg};

    stash_item(run, task, &item);
}

/* ---- strings ---- */

/* Reads a NUL-terminated string, page by page; returns its length without the NUL, -1 if its start is unreadable. */
static int64_t read_string(const struct task *task, uint64_t address, unsigned char *out, uint32_t limit, uint16_t *flags)
{
    uint32_t length = 0;

    while (length < limit) {
        uint32_t chunk = 4096u - (uint32_t)((address + length) & 4095u);
        const unsigned char *end;
        int got;

        if (length == 0 && chunk > 256)
            chunk = 256;
        if (chunk > limit - length)
            chunk = limit - length;
        got = peek(task, address + length, out + length, chunk);
        if (got <= 0)
            return length ? (int64_t)length : -1;
        end = memchr(out + length, 0, (size_t)got);
        if (end)
            return end - out;
        length += (uint32_t)got;
    }
    *flags |= SENTRA_SEGMENT_TRUNCATED;
    return length;
}

void stash_string(struct task *task, uint64_t address, uint8_t arg, uint32_t limit)
{
    static _Thread_local unsigned char text[STRING_MAX];
    struct item item = {.kind = SENTRA_SEGMENT_IN, .arg = arg, .flags = SENTRA_SEGMENT_STRING};
    int64_t length = read_string(task, address, text, limit, &item.flags);
    unsigned char *data;

    if (length < 0) {
        item.flags |= SENTRA_SEGMENT_UNREADABLE;
        length = 0;
    }
    data = stash_segment(task, address, (uint32_t)length, &item);
    if (data)
        memcpy(data, text, (size_t)length);
}

/* A NULL-terminated array of strings (argv), as far as half the budget goes. */
void stash_strings(struct task *task, uint64_t address, uint8_t arg)
{
    uint64_t pointers[STRINGS_MAX];
    int got = peek(task, address, pointers, sizeof pointers);

    for (int index = 0; index < got / 8 && pointers[index]; index++) {
        if (task->stash.used > RECORD_BUDGET / 2)
            return;
        stash_string(task, pointers[index], arg, 4096);
    }
}
