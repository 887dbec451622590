/*
 * files.c - files that the program maps or executes: each distinct content once per run.
 *
 * A file is known by device, inode, size and modification time. At its first use an open descriptor is queued for the sealer, which
 * copies the content into the blob store (or finds it there), and a FILE event names it. A small file that was changed not long ago may
 * be changed again before the sealer comes to it: it is copied into memory at once.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "run.h"

static uint64_t identity_hash(const struct file_identity *identity)
{
    uint64_t hash = identity->ino * 0x9e3779b97f4a7c15ull ^ identity->mtime_ns;

    hash ^= identity->dev * 0xff51afd7ed558ccdull + identity->size;
    return hash ^ (hash >> 31);
}

static int grow(struct sentra_run *run)
{
    uint32_t capacity = run->files_capacity ? run->files_capacity * 2 : 256;
    struct known_file *table = calloc(capacity, sizeof *table);

    if (!table)
        return -1;
    for (uint32_t index = 0; index < run->files_capacity; index++) {
        const struct known_file *known = &run->files[index];
        uint32_t at;

        if (!known->file_id)
            continue;
        for (at = (uint32_t)identity_hash(&known->identity) & (capacity - 1); table[at].file_id; at = (at + 1) & (capacity - 1))
            ;
        table[at] = *known;
    }
    free(run->files);
    run->files = table;
    run->files_capacity = capacity;
    return 0;
}

static struct known_file *find(struct sentra_run *run, const struct file_identity *identity)
{
    uint32_t at = (uint32_t)identity_hash(identity) & (run->files_capacity - 1);

    while (run->files[at].file_id && memcmp(&run->files[at].identity, identity, sizeof *identity) != 0)
        at = (at + 1) & (run->files_capacity - 1);
    return &run->files[at];
}

#define SNAPSHOT_BYTES (4ull << 20)
#define SNAPSHOT_AGE_S 86400

static int worth_a_snapshot(const struct file_identity *identity)
{
    return identity->size <= SNAPSHOT_BYTES && (uint64_t)time(NULL) < identity->mtime_ns / 1000000000ull + SNAPSHOT_AGE_S;
}

/* A copy in memory of an open file, or -1. */
static int snapshot_of(int fd)
{
    static _Thread_local char buffer[65536];
    int copy = memfd_create("sentra-mapped-file", MFD_CLOEXEC);
    off_t at = 0;
    ssize_t got;

    while (copy >= 0 && (got = pread(fd, buffer, sizeof buffer, at)) != 0) {
        if (got < 0 || write(copy, buffer, (size_t)got) != got) {
            close(copy);
            return -1;
        }
        at += got;
    }
    return copy;
}

static void queue_file(struct sentra_run *run, const char *proc_path, const char *path, uint32_t file_id, const struct file_identity *identity)
{
    int fd = open(proc_path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    int copy = -1;

    if (fd < 0)
        return; /* the sealer finds no content for this id and the trace says so */
    if (worth_a_snapshot(identity) && (copy = snapshot_of(fd)) >= 0) {
        close(fd);
        fd = copy;
    }
    pthread_mutex_lock(run->queue_lock);
    if (run->queue_count == run->queue_capacity) {
        uint32_t capacity = run->queue_capacity ? run->queue_capacity * 2 : 64;
        struct sentra_file *queue = realloc(run->queue, capacity * sizeof *queue);

        if (queue) {
            run->queue = queue;
            run->queue_capacity = capacity;
        }
    }
    if (run->queue_count < run->queue_capacity) {
        struct sentra_file *file = &run->queue[run->queue_count++];

        *file = (struct sentra_file){.file_id = file_id, .fd = fd, .dev = identity->dev, .ino = identity->ino, .size = identity->size,
                                     .mtime_ns = identity->mtime_ns, .snapshot = copy >= 0};
        snprintf(file->path, sizeof file->path, "%.*s", (int)sizeof file->path - 1, path);
    } else {
        close(fd);
    }
    pthread_mutex_unlock(run->queue_lock);
    sentra_arena_wake_sealer(run->options.arena);
}

/* The FILE event; `path` gets the file's name. */
static void record_file(struct sentra_run *run, const struct task *task, const char *proc_path, uint32_t file_id,
                        const struct file_identity *identity, char path[4097])
{
    uint64_t args[4] = {identity->dev, identity->ino, identity->size, identity->mtime_ns};
    ssize_t length = readlink(proc_path, path, 4096);
    struct sentra_event *event;

    if (length < 0) { /* not a link: /proc/PID/root/path */
        const char *inside = strstr(proc_path, "/root/");

        length = inside ? snprintf(path, 4096, "%s", inside + 5) : 0;
    }
    path[length] = 0;
    event = event_begin(run, (uint32_t)sizeof *event + 32 + 16 + 4096, SENTRA_EVENT_FILE, task);
    if (!event)
        return;
    event->nr = file_id;
    event_args(event, args, 4);
    memcpy(event_segment(event, 0, (uint32_t)length, SENTRA_SEGMENT_INFO, 0, 0), path, (size_t)length);
    event_commit(run, event);
}

/* The id of the regular file behind `proc_path` (a link in /proc of the task), 0 for anything else. Records it at its first use. */
uint32_t file_register(struct sentra_run *run, const struct task *task, const char *proc_path, struct file_identity *identity)
{
    struct known_file *known;
    struct stat status;
    char path[4097];

    if (stat(proc_path, &status) || !S_ISREG(status.st_mode))
        return 0;
    *identity = (struct file_identity){status.st_dev, status.st_ino, (uint64_t)status.st_size,
                                       (uint64_t)status.st_mtim.tv_sec * 1000000000ull + (uint64_t)status.st_mtim.tv_nsec};
    if (run->files_count * 2 >= run->files_capacity && grow(run)) {
        run_fail(run, ENOMEM, "keep track of a mapped file");
        return 0;
    }
    known = find(run, identity);
    if (!known->file_id) {
        known->identity = *identity;
        known->file_id = ++run->files_count;
        record_file(run, task, proc_path, known->file_id, identity, path);
        queue_file(run, proc_path, path, known->file_id, identity);
    }
    return known->file_id;
}

int files_init(struct sentra_run *run)
{
    run->queue_lock = calloc(1, sizeof *run->queue_lock);
    if (!run->queue_lock || grow(run))
        return -1;
    pthread_mutex_init(run->queue_lock, NULL);
    return 0;
}

void files_free(struct sentra_run *run)
{
    for (uint32_t index = 0; index < run->queue_count; index++)
        close(run->queue[index].fd);
    free(run->queue);
    free(run->files);
    free(run->mapped);
    free(run->queue_lock);
}

/* One file that the sealer has not taken yet: 1 and *out filled, or 0. */
int sentra_run_take_file(struct sentra_run *run, struct sentra_file *out)
{
    int taken = 0;

    pthread_mutex_lock(run->queue_lock);
    if (run->queue_count) {
        *out = run->queue[0];
        run->queue_count--;
        memmove(run->queue, run->queue + 1, run->queue_count * sizeof *run->queue);
        taken = 1;
    }
    pthread_mutex_unlock(run->queue_lock);
    return taken;
}
