/*
 * ring.c - appending a record: reserve, write, number, publish.
 *
 * Freestanding: no libc, no thread-local storage, no other file of ours. The ptrace tier calls it in the supervisor;
 * the recorder inside the program will link the very same file. tests/trace/test_ring.py proves that it has no
 * undefined symbol. One producer per ring; the order of the stores is what makes a SIGKILL harmless: the record first,
 * its sequence number next, `tail` last with release semantics.
 */
#include "ring.h"

/* The copy must not become a call of memcpy, which does not exist here: hence the barriers and the string move. */
static void copy_bytes(unsigned char *to, const unsigned char *from, uint64_t bytes)
{
#if defined(__x86_64__)
    if (bytes > 256) {
        __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(bytes) : : "memory");
        return;
    }
#endif
    while (bytes >= 8) {
        uint64_t word;

        __builtin_memcpy(&word, from, 8);
        __builtin_memcpy(to, &word, 8);
        to += 8;
        from += 8;
        bytes -= 8;
        __asm__ volatile("" : : : "memory");
    }
    while (bytes) {
        *to++ = *from++;
        bytes--;
        __asm__ volatile("" : : : "memory");
    }
}

struct sentra_event *sentra_reserve(struct sentra_writer *writer, uint32_t bytes)
{
    struct sentra_ring *ring = writer->ring;
    uint64_t capacity = ring->capacity;
    uint64_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);

    if (bytes > SENTRA_RECORD_MAX || bytes < sizeof(struct sentra_event) || bytes % 8)
        return 0;
    while (capacity - (tail - atomic_load_explicit(&ring->head, memory_order_acquire)) < bytes)
        if (writer->wait_space(writer->context) < 0)
            return 0;
    return (struct sentra_event *)(writer->data + (tail & (capacity - 1)));
}

uint64_t sentra_commit(struct sentra_writer *writer, struct sentra_event *event)
{
    struct sentra_ring *ring = writer->ring;
    uint64_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);
    uint64_t seq = atomic_fetch_add_explicit(&writer->control->seq, 1, memory_order_relaxed) + 1;

    event->seq = seq;
    tail += event->size;
    atomic_store_explicit(&ring->tail, tail, memory_order_release);
    /* The next record's lines have gone cold since the ring was last here: fetch them while the program runs on. */
    __builtin_prefetch(writer->data + (tail & (ring->capacity - 1)), 1);
    __builtin_prefetch(writer->data + (tail & (ring->capacity - 1)) + 64, 1);
    return seq;
}

uint64_t sentra_append(struct sentra_writer *writer, const struct sentra_event *header, const void *payload, uint32_t payload_bytes)
{
    uint32_t padded = (payload_bytes + 7) & ~7u;
    struct sentra_event *event;
    unsigned char *body;

    if (payload_bytes > SENTRA_RECORD_MAX)
        return 0;
    event = sentra_reserve(writer, (uint32_t)sizeof *event + padded);
    if (!event)
        return 0;
    body = (unsigned char *)(event + 1);
    copy_bytes((unsigned char *)event, (const unsigned char *)header, sizeof *event);
    copy_bytes(body, payload, payload_bytes);
    for (uint32_t i = payload_bytes; i < padded; i++)
        ((volatile unsigned char *)body)[i] = 0;
    event->size = (uint32_t)sizeof *event + padded;
    return sentra_commit(writer, event);
}
