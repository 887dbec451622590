/*
 * contents.c - file contents that reach the program, or leave it, without passing through its buffers.
 *
 * A shared writable mapping shows what the file holds at that moment, and what others write into it later; sendfile, copy_file_range and
 * splice move bytes inside the kernel. Both are read from the descriptor itself and go into DATA events, as INFO bytes of the call.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "run.h"

#define CONTENTS_MAX (256ull << 20)
#define RECENT_NS 10000000000ll

static int open_descriptor(const struct task *task, int32_t fd, struct stat *status)
{
    char path[64];
    int own;

    snprintf(path, sizeof path, "/proc/%d/fd/%d", task->tid, fd);
    if (stat(path, status) || !S_ISREG(status->st_mode))
        return -1; /* opening a pipe or a device would disturb it */
    own = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    return own;
}

/* One DATA event with bytes of the file; returns how many. */
static int64_t spill_chunk(struct sentra_run *run, const struct task *task, int fd, uint64_t at, uint64_t offset, uint32_t bytes, uint8_t arg)
{
    uint64_t args[3] = {at, offset, SENTRA_SEGMENT_INFO};
    struct sentra_event *event = event_begin(run, (uint32_t)sizeof *event + 24 + 16 + bytes, SENTRA_EVENT_DATA, task);
    ssize_t got;

    if (!event)
        return -1;
    event->nr = arg;
    event_args(event, args, 3);
    got = pread(fd, (unsigned char *)event + event->size + sizeof(struct sentra_segment), bytes, (off_t)at);
    if (got <= 0)
        return got; /* the reservation is simply not committed */
    event_segment(event, at, (uint32_t)got, SENTRA_SEGMENT_INFO, arg, 0);
    event_commit(run, event);
    return got;
}

/* Bytes [from, to) of the file, holes left out, as DATA events: args = place in the file, place in the range, INFO. */
static uint64_t spill_range(struct sentra_run *run, const struct task *task, int fd, uint64_t from, uint64_t to, uint8_t arg)
{
    uint64_t at = from;

    while (at < to) {
        off_t data = lseek(fd, (off_t)at, SEEK_DATA);
        off_t hole;

        if (data < 0 || (uint64_t)data >= to)
            break;
        hole = lseek(fd, data, SEEK_HOLE);
        if (hole < 0 || (uint64_t)hole > to)
            hole = (off_t)to;
        for (at = (uint64_t)data; at < (uint64_t)hole;) {
            uint64_t left = (uint64_t)hole - at;
            int64_t got = spill_chunk(run, task, fd, at, at - from, left < SENTRA_SPILL_CHUNK ? (uint32_t)left : SENTRA_SPILL_CHUNK, arg);

            if (got <= 0)
                return at - from;
            at += (uint64_t)got;
        }
    }
    return to - from;
}

static int is_recent(const struct stat *status)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (now.tv_sec - status->st_mtim.tv_sec) * 1000000000ll + now.tv_nsec - status->st_mtim.tv_nsec < RECENT_NS;
}

static void remember_shared(struct sentra_run *run, const struct stat *status)
{
    if (run->shared_count < sizeof run->shared / sizeof run->shared[0] && !shared_file(run, status->st_dev, status->st_ino))
        run->shared[run->shared_count++] = (struct shared_file){status->st_dev, status->st_ino};
}

int shared_file(const struct sentra_run *run, uint64_t dev, uint64_t ino)
{
    for (uint32_t index = 0; index < run->shared_count; index++)
        if (run->shared[index].ino == ino && run->shared[index].dev == dev)
            return 1;
    return 0;
}

/* A successful mmap of a file, shared and writable (or shared and written a moment ago): what it shows. Returns bytes covered. */
static uint64_t mapped_contents(struct sentra_run *run, struct task *task)
{
    const struct call *call = &task->call;
    uint64_t from = call->args[5], to = from + call->args[1], covered;
    struct stat status;
    int fd;

    if ((call->args[3] & 3) == 2 /* MAP_PRIVATE */ || (call->args[3] & 0x20) || (int32_t)call->args[4] < 0)
        return 0;
    fd = open_descriptor(task, (int32_t)call->args[4], &status);
    if (fd < 0)
        return 0;
    covered = 0;
    if ((call->args[2] & 2 /* PROT_WRITE */) || is_recent(&status)) {
        remember_shared(run, &status);
        if (to > (uint64_t)status.st_size)
            to = (uint64_t)status.st_size;
        if (from < to && (uint64_t)status.st_blocks * 512 > CONTENTS_MAX)
            record_note(run, task, SENTRA_NOTE_INEXACT, "a shared mapping of %llu bytes is too large to be kept", (unsigned long long)(to - from));
        else if (from < to)
            covered = spill_range(run, task, fd, from, to, CONTENTS_MAPPED);
    }
    close(fd);
    return covered;
}

static int64_t position_of(const struct task *task, int32_t fd)
{
    char path[64], text[256];
    int own, got;
    const char *found;

    snprintf(path, sizeof path, "/proc/%d/fdinfo/%d", task->tid, fd);
    own = open(path, O_RDONLY | O_CLOEXEC);
    if (own < 0)
        return -1;
    got = (int)read(own, text, sizeof text - 1);
    close(own);
    if (got <= 0)
        return -1;
    text[got] = 0;
    found = strstr(text, "pos:");
    return found ? strtoll(found + 4, NULL, 10) : -1;
}

/* The end of what was moved, in the file behind `fd`: its position, or the offset the call was given and has advanced. */
static int64_t moved_end(const struct task *task, int32_t fd, uint64_t offset_address)
{
    int64_t end;

    if (!offset_address)
        return position_of(task, fd);
    return peek(task, offset_address, &end, 8) == 8 ? end : -1;
}

static uint64_t moved_from(struct sentra_run *run, struct task *task, int32_t fd, uint64_t offset_address, int64_t bytes)
{
    struct stat status;
    int own = open_descriptor(task, fd, &status);
    int64_t end = own >= 0 ? moved_end(task, fd, offset_address) : -1;
    uint64_t moved = 0;

    if (end >= bytes)
        moved = spill_range(run, task, own, (uint64_t)(end - bytes), (uint64_t)end, CONTENTS_MOVED);
    if (own >= 0)
        close(own);
    return moved;
}

/* Bytes passed between descriptors that could not be looked at. Only where they are output does a replay lack them. */
static void note_unseen(struct sentra_run *run, const struct task *task, int32_t out)
{
    if (standard_stream(run, task, out) >= 0) {
        if (!run->inexact)
            record_note(run, task, SENTRA_NOTE_INEXACT, "output went from a pipe or socket to a standard stream inside the kernel (splice): it is not in the trace");
    } else if (!run->moved_noted) {
        run->moved_noted = 1;
        record_note(run, task, SENTRA_NOTE_UNSEEN, "bytes were moved between descriptors inside the kernel (splice or sendfile): their content is not in the trace");
    }
}

static uint64_t moved_contents(struct sentra_run *run, struct task *task, int64_t result)
{
    const struct call *call = &task->call;
    uint64_t moved = 0;

    if (call->nr == SYS_sendfile)
        moved = moved_from(run, task, (int32_t)call->args[1], call->args[2], result);
    else /* copy_file_range, splice: fd_in, off_in, fd_out, off_out */
        moved = moved_from(run, task, (int32_t)call->args[0], call->args[1], result);
    if (!moved && call->nr != SYS_sendfile)
        moved = moved_from(run, task, (int32_t)call->args[2], call->args[3], result);
    if (!moved)
        note_unseen(run, task, (int32_t)call->args[call->nr == SYS_sendfile ? 0 : 2]);
    return moved;
}

/* Called before the record of a completed call is built: sends contents ahead. Returns their size, *arg says which kind. */
uint64_t capture_contents(struct sentra_run *run, struct task *task, int64_t result, uint8_t *arg)
{
    switch (task->call.nr) {
    case SYS_mmap:
        *arg = CONTENTS_MAPPED;
        return result < 0 && result > -4096 ? 0 : mapped_contents(run, task);
    case SYS_sendfile:
    case SYS_copy_file_range:
    case SYS_splice:
        *arg = CONTENTS_MOVED;
        return result > 0 ? moved_contents(run, task, result) : 0;
    default:
        return 0;
    }
}

/* The file a call wrote to, when that file is mapped shared somewhere in the run: replay must write it too. 0: none. */
uint32_t written_shared_file(struct sentra_run *run, const struct task *task, int64_t result)
{
    struct file_identity identity;
    struct stat status;
    char path[64];

    if (!run->mapped_count || result < 0)
        return 0;
    switch (task->call.nr) {
    case SYS_write:
    case SYS_pwrite64:
    case SYS_writev:
    case SYS_pwritev:
    case SYS_pwritev2:
    case SYS_ftruncate:
        break;
    default:
        return 0;
    }
    snprintf(path, sizeof path, "/proc/%d/fd/%d", task->tid, (int32_t)task->call.args[0]);
    if (stat(path, &status) || !S_ISREG(status.st_mode))
        return 0;
    if (shared_file(run, status.st_dev, status.st_ino))
        return file_register(run, task, path, &identity);
    if (!run->mapped_noted && mapping_is_live(run, status.st_dev, status.st_ino)) {
        run->mapped_noted = 1;
        record_note(run, task, SENTRA_NOTE_INEXACT, "a file was written to while a process had it mapped: what the mapping showed is not in the trace");
    }
    return 0;
}
