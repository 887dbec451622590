/*
 * arena.c - the arena file: creating, opening, mapping, waiting, waking.
 *
 * The file is allocated to its last byte when it is created, so that a full disk can never turn a store into a SIGBUS.
 * Each ring's data is mapped twice in a row, so that a record and a peek are always contiguous. An arena that is opened
 * (not created) is hostile input: a crash or somebody else wrote it, so every field is checked before it is used.
 * What only this process needs (file descriptors, whether the sealer has been told) lives in struct sentra_arena,
 * never in the file.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "ring.h"
#include "sentra.h"

struct waiter {
    struct sentra_arena *arena;
    uint32_t index;
};

struct sentra_arena {
    int fd;
    int event_fd;
    _Atomic uint32_t told;                /* 1: the eventfd is readable or about to be */
    int elsewhere;                        /* 1: another process empties the eventfd, so `told` cannot be known */
    unsigned char *head;                  /* control page and in-flight slots */
    uint32_t rings;
    uint64_t capacity[SENTRA_RINGS_MAX];  /* checked copies: the file's own may change under us */
    unsigned char *data[SENTRA_RINGS_MAX];
    struct waiter waiters[SENTRA_RINGS_MAX];
};

static const size_t head_bytes = SENTRA_ARENA_DATA_OFFSET;

static uint64_t now_ns(clockid_t clock)
{
    struct timespec now;

    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

struct sentra_arena_control *sentra_arena_control(struct sentra_arena *arena)
{
    return (struct sentra_arena_control *)arena->head;
}

struct sentra_in_flight *sentra_arena_in_flight(struct sentra_arena *arena)
{
    return (struct sentra_in_flight *)(arena->head + SENTRA_ARENA_SLOTS_OFFSET);
}

static struct sentra_ring *ring_of(struct sentra_arena *arena, uint32_t index)
{
    return &sentra_arena_control(arena)->ring[index];
}

void sentra_arena_free(struct sentra_arena *arena)
{
    if (!arena)
        return;
    for (uint32_t i = 0; i < arena->rings; i++)
        if (arena->data[i])
            munmap(arena->data[i], 2 * arena->capacity[i]);
    if (arena->head)
        munmap(arena->head, head_bytes);
    if (arena->event_fd >= 0)
        close(arena->event_fd);
    if (arena->fd >= 0)
        close(arena->fd);
    free(arena);
}

static struct sentra_arena *arena_alloc(struct sentra_error *error)
{
    struct sentra_arena *arena = calloc(1, sizeof *arena);

    if (!arena) {
        sentra_fail(error, ENOMEM, "allocate arena", "%s", "");
        return NULL;
    }
    arena->fd = -1;
    arena->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (arena->event_fd < 0) {
        sentra_fail(error, errno, "create eventfd", "%s", "");
        sentra_arena_free(arena);
        return NULL;
    }
    return arena;
}

static int map_head(struct sentra_arena *arena, const char *path, struct sentra_error *error)
{
    void *head = mmap(NULL, head_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, arena->fd, 0);

    if (head == MAP_FAILED)
        return sentra_fail(error, errno, "map arena", "%s", path);
    arena->head = head;
    return 0;
}

/* Ring `index` of `capacity` bytes at `offset` of the file, twice in a row. */
static int map_ring(struct sentra_arena *arena, uint32_t index, uint64_t capacity, uint64_t offset, struct sentra_error *error)
{
    unsigned char *base = mmap(NULL, 2 * capacity, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (base == MAP_FAILED)
        return sentra_fail(error, errno, "reserve ring", "%llu bytes", (unsigned long long)(2 * capacity));
    arena->data[index] = base;
    arena->capacity[index] = capacity;
    arena->waiters[index] = (struct waiter){ arena, index };
    arena->rings = index + 1;
    for (int half = 0; half < 2; half++)
        if (mmap(base + (uint64_t)half * capacity, capacity, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, arena->fd, (off_t)offset) == MAP_FAILED)
            return sentra_fail(error, errno, "map ring", "ring %u", index);
    return 0;
}

/* First touch of a page costs microseconds; pay for it now. Only for a file that is new: it writes zeros. */
static void prefault(volatile unsigned char *from, uint64_t bytes)
{
    for (uint64_t i = 0; i < bytes; i += 4096)
        from[i] = 0;
}

static int check_ring_bytes(uint64_t bytes, uint32_t rings, struct sentra_error *error)
{
    if (rings < 1 || rings > SENTRA_RINGS_MAX)
        return sentra_fail(error, EINVAL, "create arena", "%u rings, not 1 to %u", rings, SENTRA_RINGS_MAX);
    if (bytes < SENTRA_RING_BYTES_MIN || bytes > SENTRA_RING_BYTES_MAX || (bytes & (bytes - 1)))
        return sentra_fail(error, EINVAL, "create arena", "ring of %llu bytes: not a power of two from %u to %llu",
                           (unsigned long long)bytes, SENTRA_RING_BYTES_MIN, SENTRA_RING_BYTES_MAX);
    return 0;
}

static int create_file(struct sentra_arena *arena, const char *path, uint64_t ring_bytes, uint32_t rings, struct sentra_error *error)
{
    int err;

    arena->fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (arena->fd < 0)
        return sentra_fail(error, errno, "create arena file", "%s", path);
    err = posix_fallocate(arena->fd, 0, (off_t)(head_bytes + ring_bytes * rings));
    return err ? sentra_fail(error, err, "allocate arena file", "%s", path) : 0;
}

static void init_control(struct sentra_arena *arena, uint64_t ring_bytes, uint32_t rings)
{
    struct sentra_arena_control *control = sentra_arena_control(arena);

    control->version = SENTRA_ARENA_VERSION;
    control->rings = rings;
    control->start_monotonic_ns = now_ns(CLOCK_MONOTONIC);
    control->start_realtime_ns = now_ns(CLOCK_REALTIME);
    for (uint32_t i = 0; i < rings; i++) {
        control->ring[i].capacity = ring_bytes;
        control->ring[i].offset = head_bytes + i * ring_bytes;
    }
    atomic_thread_fence(memory_order_release);
    control->magic = SENTRA_ARENA_MAGIC;
}

struct sentra_arena *sentra_arena_create(const char *path, uint64_t ring_bytes, uint32_t rings, struct sentra_error *error)
{
    struct sentra_arena *arena;

    if (check_ring_bytes(ring_bytes, rings, error) < 0 || !(arena = arena_alloc(error)))
        return NULL;
    if (create_file(arena, path, ring_bytes, rings, error) < 0 || map_head(arena, path, error) < 0)
        goto failed;
    prefault(arena->head, head_bytes);
    for (uint32_t i = 0; i < rings; i++) {
        if (map_ring(arena, i, ring_bytes, head_bytes + i * ring_bytes, error) < 0)
            goto failed;
        if (i == 0) /* the engine's; other writers come late, if at all, and pay for what they touch */
            prefault(arena->data[i], 2 * ring_bytes);
    }
    init_control(arena, ring_bytes, rings);
    return arena;
failed:
    if (arena->fd >= 0)
        unlink(path);
    sentra_arena_free(arena);
    return NULL;
}

/* All fields of a foreign control page; the file has `size` bytes. */
static int check_control(const struct sentra_arena_control *control, uint64_t size, const char *path, struct sentra_error *error)
{
    if (control->magic != SENTRA_ARENA_MAGIC)
        return sentra_fail(error, EINVAL, "open arena", "%s: no arena (magic)", path);
    if (control->version != SENTRA_ARENA_VERSION)
        return sentra_fail(error, EINVAL, "open arena", "%s: version %u, not %u", path, control->version, SENTRA_ARENA_VERSION);
    if (control->rings < 1 || control->rings > SENTRA_RINGS_MAX)
        return sentra_fail(error, EINVAL, "open arena", "%s: %u rings", path, control->rings);
    for (uint32_t i = 0; i < control->rings; i++) {
        const struct sentra_ring *ring = &control->ring[i];
        uint64_t capacity = ring->capacity, used = ring->tail - ring->head;

        if (capacity < SENTRA_RING_BYTES_MIN || capacity > SENTRA_RING_BYTES_MAX || (capacity & (capacity - 1)) ||
            ring->offset != head_bytes + i * capacity || ring->offset + capacity > size || used > capacity || ring->tail % 8 || ring->head % 8)
            return sentra_fail(error, EINVAL, "open arena", "%s: ring %u is damaged", path, i);
    }
    return 0;
}

static int open_file(struct sentra_arena *arena, const char *path, uint64_t *size, struct sentra_error *error)
{
    struct stat status;

    arena->fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (arena->fd < 0 || fstat(arena->fd, &status) < 0)
        return sentra_fail(error, errno, "open arena file", "%s", path);
    if (!S_ISREG(status.st_mode) || (uint64_t)status.st_size < head_bytes)
        return sentra_fail(error, EINVAL, "open arena", "%s: no regular file or too short", path);
    *size = (uint64_t)status.st_size;
    return 0;
}

struct sentra_arena *sentra_arena_open(const char *path, struct sentra_error *error)
{
    struct sentra_arena *arena = arena_alloc(error);
    struct sentra_arena_control copy;
    uint64_t size = 0;

    if (!arena)
        return NULL;
    if (open_file(arena, path, &size, error) < 0 || map_head(arena, path, error) < 0)
        goto failed;
    memcpy(&copy, arena->head, sizeof copy);
    if (check_control(&copy, size, path, error) < 0)
        goto failed;
    for (uint32_t i = 0; i < copy.rings; i++)
        if (map_ring(arena, i, copy.ring[i].capacity, copy.ring[i].offset, error) < 0)
            goto failed;
    return arena;
failed:
    sentra_arena_free(arena);
    return NULL;
}

static void futex_wake(_Atomic uint32_t *word)
{
    syscall(SYS_futex, word, FUTEX_WAKE, 1 << 30, NULL, NULL, 0);
}

void sentra_arena_close(struct sentra_arena *arena)
{
    atomic_store(&sentra_arena_control(arena)->closed, 1);
    for (uint32_t i = 0; i < arena->rings; i++) {
        atomic_store(&ring_of(arena, i)->full, 0);
        futex_wake(&ring_of(arena, i)->full);
    }
}

int sentra_arena_eventfd(struct sentra_arena *arena)
{
    return arena->event_fd;
}

void sentra_arena_use_eventfd(struct sentra_arena *arena, int32_t fd)
{
    close(arena->event_fd);
    arena->event_fd = fd;
    arena->elsewhere = 1;
}

uint32_t sentra_arena_rings(struct sentra_arena *arena)
{
    return arena->rings;
}

uint64_t sentra_arena_ring_bytes(struct sentra_arena *arena)
{
    return arena->capacity[0];
}

uint64_t sentra_arena_start_monotonic_ns(struct sentra_arena *arena)
{
    return sentra_arena_control(arena)->start_monotonic_ns;
}

uint64_t sentra_arena_start_realtime_ns(struct sentra_arena *arena)
{
    return sentra_arena_control(arena)->start_realtime_ns;
}

void sentra_arena_wake_sealer(struct sentra_arena *arena)
{
    uint64_t one = 1;

    /* The exchange orders it after the caller's store of `tail`; a plain look at `told` could be older than that store. */
    if (atomic_exchange(&arena->told, 1) && !arena->elsewhere)
        return;
    /* Only EAGAIN at 2^64 - 2 unread wake-ups could fail here, and then it is readable anyway. */
    if (write(arena->event_fd, &one, sizeof one) < 0)
        return;
}

void sentra_arena_listen(struct sentra_arena *arena)
{
    uint64_t count;
    ssize_t got = read(arena->event_fd, &count, sizeof count);

    (void)got; /* EAGAIN: nobody called */
    /* In this order: a call after the read leaves the eventfd readable, one before it is answered by the peek that follows. */
    atomic_exchange(&arena->told, 0);
}

/*
 * The producer found no room. Sets `full`, then looks again: consume() stores `head` before it looks at `full`, so one
 * of the two sees the other. The timeout only bounds the harm of a sealer that died.
 */
static int wait_space(void *context)
{
    const struct waiter *waiter = context;
    struct sentra_arena *arena = waiter->arena;
    struct sentra_ring *ring = ring_of(arena, waiter->index);
    const uint64_t capacity = arena->capacity[waiter->index];
    struct timespec timeout = { .tv_sec = 1 };

    /* A program of the same user can write to the file: then nothing here means anything, and nobody would ever make room. */
    if (ring->capacity != capacity || atomic_load(&ring->tail) - atomic_load(&ring->head) > capacity)
        return -1;
    atomic_store(&ring->full, 1);
    sentra_arena_wake_sealer(arena);
    if (atomic_load(&sentra_arena_control(arena)->closed))
        return -1;
    if (atomic_load(&ring->tail) - atomic_load(&ring->head) <= capacity - SENTRA_RECORD_MAX) {
        atomic_store(&ring->full, 0);
        return 0;
    }
    syscall(SYS_futex, &ring->full, FUTEX_WAIT, 1, &timeout, NULL, 0);
    return atomic_load(&sentra_arena_control(arena)->closed) ? -1 : 0;
}

int sentra_arena_writer(struct sentra_arena *arena, uint32_t index, struct sentra_writer *out)
{
    if (index >= arena->rings)
        return -1;
    *out = (struct sentra_writer){
        .control = sentra_arena_control(arena),
        .ring = ring_of(arena, index),
        .data = arena->data[index],
        .wait_space = wait_space,
        .context = &arena->waiters[index],
    };
    return 0;
}

int sentra_ring_peek(struct sentra_arena *arena, uint32_t index, const unsigned char **data, uint64_t *bytes, uint64_t *position)
{
    struct sentra_ring *ring;
    uint64_t tail, head;

    if (index >= arena->rings)
        return -1;
    ring = ring_of(arena, index);
    tail = atomic_load_explicit(&ring->tail, memory_order_acquire);
    head = atomic_load_explicit(&ring->head, memory_order_relaxed);
    if (tail - head > arena->capacity[index])
        return -1;
    *data = arena->data[index] + (head & (arena->capacity[index] - 1));
    *bytes = tail - head;
    *position = head;
    return 0;
}

int sentra_ring_consume(struct sentra_arena *arena, uint32_t index, uint64_t bytes)
{
    struct sentra_ring *ring;
    uint64_t head;

    if (index >= arena->rings)
        return -1;
    ring = ring_of(arena, index);
    head = atomic_load_explicit(&ring->head, memory_order_relaxed);
    if (bytes > atomic_load_explicit(&ring->tail, memory_order_acquire) - head)
        return -1;
    atomic_store(&ring->head, head + bytes);
    if (atomic_load(&ring->full)) {
        atomic_store(&ring->full, 0);
        futex_wake(&ring->full);
    }
    return 0;
}

uint64_t sentra_arena_append(struct sentra_arena *arena, uint32_t index, const void *record, uint32_t bytes)
{
    struct sentra_writer writer;
    struct sentra_event header;
    uint64_t seq;

    if (bytes < sizeof header || sentra_arena_writer(arena, index, &writer) < 0)
        return 0;
    memcpy(&header, record, sizeof header);
    seq = sentra_append(&writer, &header, (const unsigned char *)record + sizeof header, bytes - (uint32_t)sizeof header);
    if (seq && sentra_wants_sealer(&writer))
        sentra_arena_wake_sealer(arena);
    return seq;
}

int sentra_arena_set_in_flight(struct sentra_arena *arena, uint32_t slot, int32_t task, uint32_t nr, const uint64_t *args, uint64_t enter_ns)
{
    struct sentra_in_flight *entry;

    if (slot >= SENTRA_IN_FLIGHT_SLOTS)
        return -1;
    entry = &sentra_arena_in_flight(arena)[slot];
    atomic_store_explicit(&entry->task, 0, memory_order_release);
    if (task) {
        entry->nr = nr;
        memcpy(entry->args, args, sizeof entry->args);
        entry->enter_ns = enter_ns;
        atomic_store_explicit(&entry->task, task, memory_order_release);
    }
    return 0;
}
