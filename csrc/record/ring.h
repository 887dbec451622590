/*
 * ring.h - the arena and its rings: how records leave a writer without a lock and survive its death.
 *
 * The arena is one file mapped MAP_SHARED: a control page, in-flight slots, then rings. Each ring has ONE
 * producer and one consumer. The producer reserves contiguous space (the data is mapped twice in a row, so a
 * record never wraps), writes the record, takes the run's next sequence number and publishes with a release store
 * of `tail`. A SIGKILL at any moment leaves whole records before `tail` and nothing after it.
 * ring.c is freestanding: no libc, no thread-local storage, so that it can run inside a program later.
 * arena.c (creating, mapping, opening) is ordinary C.
 */
#ifndef SENTRA_RING_H
#define SENTRA_RING_H

#include <stdatomic.h>

#include "event.h"

#define SENTRA_ARENA_MAGIC 0x31414e4552415453ull /* "STARENA1" */
#define SENTRA_ARENA_VERSION 1u
#define SENTRA_RINGS_MAX 4u
#define SENTRA_IN_FLIGHT_SLOTS 1024u

struct sentra_ring {                      /* 256 bytes, in the control page */
    uint64_t capacity;                    /* data bytes, a power of two, a multiple of the page size */
    uint64_t offset;                      /* of the data in the arena file */
    _Alignas(64) _Atomic uint64_t tail;   /* bytes ever published: the producer's */
    _Alignas(64) _Atomic uint64_t head;   /* bytes ever consumed: the sealer's */
    _Alignas(64) _Atomic uint32_t full;   /* 1 while the producer waits for space (a futex word) */
};

struct sentra_in_flight {                 /* a call that was entered and not completed */
    _Atomic int32_t task;                 /* 0 = free; written last */
    uint32_t nr;
    uint64_t args[6];
    uint64_t enter_ns;
};
_Static_assert(sizeof(struct sentra_in_flight) == 64, "one cache line");

struct sentra_arena_control {             /* first page of the arena */
    uint64_t magic;
    uint32_t version;
    uint32_t rings;
    uint64_t start_monotonic_ns;
    uint64_t start_realtime_ns;
    _Alignas(64) _Atomic uint64_t seq;    /* last sequence number given out */
    _Alignas(64) struct sentra_ring ring[SENTRA_RINGS_MAX];
    _Alignas(64) _Atomic uint32_t closed; /* 1: nobody drains any more, a producer that waits for space gives up */
};
_Static_assert(sizeof(struct sentra_ring) == 256, "four cache lines");
_Static_assert(sizeof(struct sentra_arena_control) == 1216, "docs/TRACE_FORMAT.md and arena_image.py state the same offsets");

/* Where things are in the arena file: the control page, the slots, then each ring's data. */
#define SENTRA_ARENA_SLOTS_OFFSET 4096u
#define SENTRA_ARENA_DATA_OFFSET (SENTRA_ARENA_SLOTS_OFFSET + SENTRA_IN_FLIGHT_SLOTS * 64u)
#define SENTRA_RING_BYTES_MIN (2u * SENTRA_RECORD_MAX)
#define SENTRA_RING_BYTES_MAX (1ull << 30)

/* A producer's private view of its ring. wait_space is called when the ring is full; it returns 0 to look again, -1 to give up. */
struct sentra_writer {
    struct sentra_arena_control *control;
    struct sentra_ring *ring;
    unsigned char *data;                  /* mapped twice in a row */
    int (*wait_space)(void *context);
    void *context;
};

/* Contiguous space for a record of at most `bytes` (a multiple of 8, at most SENTRA_RECORD_MAX), or NULL when wait_space gave up. */
struct sentra_event *sentra_reserve(struct sentra_writer *writer, uint32_t bytes);
/* Give the record its sequence number and publish it. event->size must be final and at most what was reserved. */
uint64_t sentra_commit(struct sentra_writer *writer, struct sentra_event *event);
/* reserve + copy + commit for a record that is complete but for size and seq. Returns seq, 0 when wait_space gave up. */
uint64_t sentra_append(struct sentra_writer *writer, const struct sentra_event *header, const void *payload, uint32_t payload_bytes);

/* 1 when a quarter of the ring waits to be sealed: the moment to call sentra_arena_wake_sealer(). Costs two loads. */
static inline int sentra_wants_sealer(const struct sentra_writer *writer)
{
    const struct sentra_ring *ring = writer->ring;
    uint64_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);

    return tail - atomic_load_explicit(&ring->head, memory_order_relaxed) >= ring->capacity / 4;
}

/* arena.c */
struct sentra_arena;
struct sentra_arena_control *sentra_arena_control(struct sentra_arena *arena);
struct sentra_in_flight *sentra_arena_in_flight(struct sentra_arena *arena);
/* The writer of ring `index`; `wait_space` waits on the arena's futex until the sealer made room or the arena was closed. */
int sentra_arena_writer(struct sentra_arena *arena, uint32_t index, struct sentra_writer *out);
/* Tell the sealer that there is something to do (its eventfd); cheap when it has been told already. */
void sentra_arena_wake_sealer(struct sentra_arena *arena);

#endif
