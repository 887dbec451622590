/* bench.c - measures the recorder as it is: real appends into a real arena. Called by scripts/bench_record.py. */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>
#include <time.h>

#include "ring.h"
#include "sentra.h"

static uint64_t clock_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static int consume_all(struct sentra_arena *arena, uint32_t index)
{
    const unsigned char *data;
    uint64_t bytes, position;

    if (sentra_ring_peek(arena, index, &data, &bytes, &position) < 0)
        return -1;
    return sentra_ring_consume(arena, index, bytes);
}

static int append_batch(struct sentra_writer *writer, struct sentra_event *event, const unsigned char *payload, uint32_t bytes, uint32_t batch)
{
    for (uint32_t i = 0; i < batch; i++) {
        event->time_ns++;
        if (!sentra_append(writer, event, payload, bytes))
            return -1;
    }
    return 0;
}

int sentra_arena_bench(struct sentra_arena *arena, uint32_t index, uint32_t payload, uint32_t batch, uint32_t samples, int32_t consume,
                       uint64_t *picoseconds, struct sentra_error *error)
{
    static unsigned char bytes[SENTRA_SPILL_CHUNK];
    struct sentra_event event = { .type = SENTRA_EVENT_NOTE, .nsegs = payload ? 1 : 0 };
    struct sentra_segment segment = { .size = payload ? payload - 16 : 0, .kind = SENTRA_SEGMENT_INFO };
    struct sentra_writer writer;

    if (payload > sizeof bytes || (payload && payload < 16) || sentra_arena_writer(arena, index, &writer) < 0)
        return sentra_fail(error, EINVAL, "measure appends", "payload of %u bytes, batch of %u", payload, batch);
    memcpy(bytes, &segment, sizeof segment);
    for (uint32_t i = 0; i < samples; i++) {
        uint64_t start;

        if (consume && consume_all(arena, index) < 0)
            return sentra_fail(error, EIO, "consume ring", "%u", index);
        start = clock_ns();
        if (append_batch(&writer, &event, bytes, payload, batch) < 0)
            return sentra_fail(error, EPIPE, "append", "the arena was closed");
        picoseconds[i] = (clock_ns() - start) * 1000 / (batch ? batch : 1);
        if (!consume && sentra_wants_sealer(&writer))
            sentra_arena_wake_sealer(arena);
    }
    return 0;
}
