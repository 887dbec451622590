/*
 * items.c - ranges of the program's memory that belong into the record at hand and are still to be read.
 *
 * An item is a plain range, or the first bytes of a vector. Items are read as late as possible, straight into the record; large ones
 * travel in DATA events before it.
 *
 * The pool is scratch of the engine's thread and private to this file (capture.h says who may use it when). It holds copies: the
 * entries of a vector are those that were read once, whatever the program's memory says now.
 */
#define _GNU_SOURCE
#include <string.h>

#include "capture.h"

#define POOL_MAX (33u * VECTOR_MAX)
#define ITEMS_MAX 200u

/* Items of the call at hand, and the entries of their vectors. */
static _Thread_local struct {
    struct item items[ITEMS_MAX];
    uint32_t count;
    struct iovec vectors[POOL_MAX];
    uint32_t vectors_count;
} pool;

void items_reset(void)
{
    pool.count = 0;
    pool.vectors_count = 0;
}

struct item *item_add(uint64_t address, uint64_t size, uint8_t kind, uint8_t arg)
{
    struct item *item;

    if (pool.count == ITEMS_MAX)
        return NULL;
    item = &pool.items[pool.count++];
    memset(item, 0, sizeof *item);
    item->address = address;
    item->size = size;
    item->kind = kind;
    item->arg = arg;
    return item;
}

/* Puts `count` entries of a vector at `entries` into the pool and adds an item for its first `limit` bytes. */
struct item *item_vector(uint64_t address, const struct iovec *entries, uint32_t count, uint64_t limit, uint8_t kind, uint8_t arg)
{
    uint64_t total = 0;
    struct item *item;

    if (pool.vectors_count + count > POOL_MAX)
        return NULL;
    for (uint32_t index = 0; index < count; index++) {
        uint64_t length = entries[index].iov_len;

        if (length > TRANSFER_MAX)
            length = TRANSFER_MAX;
        pool.vectors[pool.vectors_count + index] = (struct iovec){entries[index].iov_base, length};
        total += length;
    }
    item = item_add(address, total < limit ? total : limit, kind, arg);
    if (item) {
        item->vector = pool.vectors_count;
        item->vector_count = count;
        pool.vectors_count += count;
    }
    return item;
}

/* ---- reading ---- */

static int64_t read_vector(const struct task *task, const struct item *item, uint64_t offset, unsigned char *out, uint32_t bytes)
{
    struct iovec remote[64];
    uint32_t done = 0, index = 0, remotes;

    while (index < item->vector_count && offset >= pool.vectors[item->vector + index].iov_len)
        offset -= pool.vectors[item->vector + index++].iov_len;
    while (done < bytes && index < item->vector_count) {
        uint32_t want = 0;
        struct iovec local;
        ssize_t got;

        for (remotes = 0; remotes < 64 && index < item->vector_count && done + want < bytes; index++) {
            const struct iovec *part = &pool.vectors[item->vector + index];
            uint64_t length = part->iov_len - offset;

            if (length > bytes - done - want)
                length = bytes - done - want;
            if (length)
                remote[remotes++] = (struct iovec){(char *)part->iov_base + offset, length};
            want += (uint32_t)length;
            offset = 0;
        }
        if (!remotes)
            break;
        local = (struct iovec){out + done, want};
        got = process_vm_readv(task->tid, &local, 1, remote, remotes, 0);
        if (got <= 0)
            break;
        done += (uint32_t)got;
        if ((uint32_t)got < want)
            break;
    }
    return done;
}

/* At most `bytes` of the item from `offset`; fewer where the program's memory ends. */
uint32_t item_read(const struct task *task, const struct item *item, uint64_t offset, unsigned char *out, uint32_t bytes)
{
    int got;

    if (item->vector_count)
        return (uint32_t)read_vector(task, item, offset, out, bytes);
    got = peek(task, item->address + offset, out, bytes);
    return got > 0 ? (uint32_t)got : 0;
}

/* Sends the item's bytes ahead in DATA events; returns how many there were. */
uint64_t item_spill(struct sentra_run *run, struct task *task, const struct item *item)
{
    uint64_t offset = 0;

    while (offset < item->size) {
        uint64_t left = item->size - offset;
        uint32_t chunk = left < SENTRA_SPILL_CHUNK ? (uint32_t)left : SENTRA_SPILL_CHUNK;
        uint64_t args[3] = {item->address, offset, item->kind};
        struct sentra_event *event = event_begin(run, (uint32_t)sizeof *event + 24 + 16 + chunk, SENTRA_EVENT_DATA, task);
        unsigned char *data;
        uint32_t got;

        if (!event)
            break;
        event->nr = item->arg;
        event_args(event, args, 3);
        data = (unsigned char *)event + event->size + sizeof(struct sentra_segment);
        got = item_read(task, item, offset, data, chunk);
        if (!got)
            break; /* the reservation is simply not committed */
        event_segment(event, item->address + offset, got, item->kind, item->arg, 0);
        event_commit(run, event);
        offset += got;
        if (got < chunk)
            break;
    }
    return offset;
}

void item_cap(const struct sentra_run *run, struct item *item)
{
    if (run->options.max_capture && item->size > run->options.max_capture) {
        item->size = run->options.max_capture;
        item->flags |= SENTRA_SEGMENT_TRUNCATED;
    }
}

/* ---- into the record ---- */

/* Sends large items ahead and returns how much room the others need in the record. */
uint32_t items_spill_large(struct sentra_run *run, struct task *task)
{
    uint32_t room = 0;

    for (uint32_t index = 0; index < pool.count; index++) {
        struct item *item = &pool.items[index];

        item_cap(run, item);
        if (item->size > SENTRA_SPILL_CHUNK || room + task->stash.used + item->size > RECORD_BUDGET) {
            item->size = item_spill(run, task, item);
            item->spilled = 1;
            room += 24;
        } else {
            room += 16 + (((uint32_t)item->size + 7u) & ~7u);
        }
    }
    return room;
}

static void append_item(const struct task *task, struct sentra_event *event, const struct item *item)
{
    uint16_t flags = item->flags;
    unsigned char *data;
    uint32_t got;

    if (event->nsegs == SEGMENTS_MAX)
        return;
    if (item->spilled) {
        data = event_segment(event, item->address, 8, item->kind, item->arg, flags | SENTRA_SEGMENT_SPILLED);
        memcpy(data, &item->size, 8);
        return;
    }
    data = (unsigned char *)event + event->size + sizeof(struct sentra_segment);
    got = item_read(task, item, 0, data, (uint32_t)item->size);
    if (got < item->size)
        flags |= SENTRA_SEGMENT_UNREADABLE;
    event_segment(event, item->address, got, item->kind, item->arg, flags);
}

void items_append(const struct task *task, struct sentra_event *event)
{
    for (uint32_t index = 0; index < pool.count; index++)
        append_item(task, event, &pool.items[index]);
}
