/* record.c - building one event in the ring: header, arguments, segments. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "run.h"

uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000ull + (uint64_t)now.tv_nsec;
}

/* Recording is impossible from here on: remember why and end the run; the trace keeps what it has. */
void run_fail(struct sentra_run *run, int err, const char *step)
{
    if (!run->failed) {
        run->failed = 1;
        sentra_fail(&run->failure, err, step, NULL);
    }
    sentra_run_stop(run);
}

/* Space for an event of at most `bytes` in all, header filled; NULL when the trace takes no more (the run is then being ended). */
struct sentra_event *event_begin(struct sentra_run *run, uint32_t bytes, uint16_t type, const struct task *task)
{
    struct sentra_event *event = NULL;

    if (!run->failed)
        event = sentra_reserve(&run->writer, (bytes + 7u) & ~7u);
    if (!event) {
        run_fail(run, ENOSPC, "write to the trace");
        return NULL;
    }
    memset(event, 0, sizeof *event);
    event->size = sizeof *event;
    event->type = type;
    event->task = task ? task->inner_tid : 0;
    event->time_ns = now_ns() - run->start_ns;
    return event;
}

uint64_t event_commit(struct sentra_run *run, struct sentra_event *event)
{
    uint64_t seq = sentra_commit(&run->writer, event);

    run->stats.events++;
    if (atomic_load_explicit(&run->writer.ring->tail, memory_order_relaxed) -
            atomic_load_explicit(&run->writer.ring->head, memory_order_relaxed) >= run->ring_wake_at)
        sentra_arena_wake_sealer(run->options.arena);
    return seq;
}

/* Appends a segment header and returns where its `size` bytes are or go; only the padding behind them is zeroed. */
unsigned char *event_segment(struct sentra_event *event, uint64_t addr, uint32_t size, uint8_t kind, uint8_t arg, uint16_t flags)
{
    struct sentra_segment *segment = (struct sentra_segment *)((unsigned char *)event + event->size);
    unsigned char *data = (unsigned char *)(segment + 1);
    uint32_t padded = (size + 7u) & ~7u;

    segment->addr = addr;
    segment->size = size;
    segment->kind = kind;
    segment->arg = arg;
    segment->flags = flags;
    memset(data + size, 0, padded - size); /* only the padding: the bytes may be there already */
    event->size += (uint32_t)sizeof *segment + padded;
    event->nsegs++;
    return data;
}

void event_args(struct sentra_event *event, const uint64_t *args, uint8_t count)
{
    if (count)
        memcpy((unsigned char *)event + event->size, args, count * 8u);
    event->size += count * 8u;
    event->nargs = count;
}

void record_simple(struct sentra_run *run, const struct task *task, uint16_t type, uint32_t nr, int64_t result,
                   const uint64_t *args, uint8_t nargs)
{
    struct sentra_event *event = event_begin(run, (uint32_t)sizeof *event + nargs * 8u, type, task);

    if (!event)
        return;
    event->nr = nr;
    event->result = result;
    event_args(event, args, nargs);
    event_commit(run, event);
}

void record_note(struct sentra_run *run, const struct task *task, enum sentra_note note, const char *format, ...)
{
    char text[256];
    struct sentra_event *event;
    va_list list;
    uint64_t seq;
    int length;

    va_start(list, format);
    length = vsnprintf(text, sizeof text, format, list);
    va_end(list);
    if (length < 0)
        return;
    if (length >= (int)sizeof text) /* cut */
        length = (int)sizeof text - 1;
    event = event_begin(run, (uint32_t)sizeof *event + 16 + sizeof text, SENTRA_EVENT_NOTE, task);
    if (!event)
        return;
    event->nr = note;
    memcpy(event_segment(event, 0, (uint32_t)length, SENTRA_SEGMENT_INFO, 0, 0), text, (size_t)length);
    seq = event_commit(run, event);
    if (note == SENTRA_NOTE_INEXACT && !run->inexact) {
        run->inexact = 1;
        snprintf(run->stats.inexact_reason, sizeof run->stats.inexact_reason, "%.*s", (int)sizeof run->stats.inexact_reason - 1, text);
        run->stats.inexact_seq = seq;
    }
}
