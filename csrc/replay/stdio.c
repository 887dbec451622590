/*
 * stdio.c - which descriptors lead to the run's standard output and error, and writing what the program writes there.
 *
 * In a replay no descriptor of the program exists. What it writes to the streams it was started with is written to ours, in the order
 * of the trace; for that the aliases of 0, 1 and 2 are followed through dup, close, fork and exec.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "replay.h"

struct descriptors *descriptors_new(void)
{
    struct descriptors *descriptors = calloc(1, sizeof *descriptors);

    if (descriptors) {
        descriptors->users = 1;
        descriptors->stream[0] = 1;
        descriptors->stream[1] = 2;
        descriptors->stream[2] = 3;
    }
    return descriptors;
}

struct descriptors *descriptors_share(struct descriptors *shared)
{
    if (shared)
        shared->users++;
    return shared;
}

struct descriptors *descriptors_copy(const struct descriptors *other)
{
    struct descriptors *copy = other ? malloc(sizeof *copy) : NULL;

    if (copy) {
        *copy = *other;
        copy->users = 1;
    }
    return copy;
}

void descriptors_drop(struct descriptors *descriptors)
{
    if (descriptors && !--descriptors->users)
        free(descriptors);
}

/* A new image: shared tables are split, close-on-exec descriptors go. */
void descriptors_exec(struct actor *actor)
{
    struct descriptors *own = actor->descriptors;

    if (!own)
        return;
    if (own->users > 1) {
        own = descriptors_copy(own);
        if (!own)
            return;
        descriptors_drop(actor->descriptors);
        actor->descriptors = own;
    }
    for (uint32_t fd = 0; fd < STDIO_MAX; fd++)
        if (own->cloexec[fd])
            own->stream[fd] = own->cloexec[fd] = 0;
}

static void duplicate(struct descriptors *table, uint64_t from, int64_t to, int cloexec)
{
    if (to < 0 || to >= (int64_t)STDIO_MAX)
        return;
    table->stream[to] = from < STDIO_MAX ? table->stream[from] : 0;
    table->cloexec[to] = (uint8_t)cloexec;
}

static int stream_of_path(const struct sentra_event *event, uint8_t arg)
{
    static const struct { const char *path; int stream; } known[] = {
        {"/dev/stdin", 1}, {"/dev/stdout", 2}, {"/dev/stderr", 3}, {"/dev/fd/0", 1}, {"/dev/fd/1", 2}, {"/dev/fd/2", 3},
        {"/proc/self/fd/0", 1}, {"/proc/self/fd/1", 2}, {"/proc/self/fd/2", 3}, {"/dev/tty", 2},
    };
    const struct sentra_segment *path = find_segment(event, SENTRA_SEGMENT_IN, arg);

    for (size_t index = 0; path && index < sizeof known / sizeof known[0]; index++)
        if (strlen(known[index].path) == path->size && memcmp(known[index].path, path + 1, path->size) == 0)
            return known[index].stream;
    return 0;
}

static void opened(struct descriptors *table, const struct sentra_event *event, uint8_t path_arg, uint64_t flags)
{
    int stream = stream_of_path(event, path_arg);

    if (event->result < 0 || event->result >= (int64_t)STDIO_MAX)
        return;
    if (stream >= 1 && stream <= 3) /* /dev/stdout is whatever 1 is */
        stream = table->stream[stream - 1] ? table->stream[stream - 1] : (path_arg == 1 && stream == 2 ? 2 : 0);
    table->stream[event->result] = (uint8_t)stream;
    table->cloexec[event->result] = (flags & O_CLOEXEC) != 0;
}

static void control(struct descriptors *table, const struct sentra_event *event, const uint64_t *args)
{
    switch ((int)args[1]) {
    case F_DUPFD:
    case F_DUPFD_CLOEXEC:
        duplicate(table, args[0], event->result, (int)args[1] == F_DUPFD_CLOEXEC);
        break;
    case F_SETFD:
        if (args[0] < STDIO_MAX)
            table->cloexec[args[0]] = args[2] & FD_CLOEXEC;
        break;
    default:
        break;
    }
}

/* Keeps the table right through a completed call. */
void descriptors_follow(struct sentra_replay *replay, struct actor *actor, const struct sentra_event *event)
{
    struct descriptors *table = actor->descriptors;
    const uint64_t *args = event_args_of(event);

    (void)replay;
    if (!table || event->result < 0 || !event->nargs)
        return;
    switch (event->nr) {
    case SYS_dup:
        duplicate(table, args[0], event->result, 0);
        break;
    case SYS_dup2:
        if (args[0] != args[1])
            duplicate(table, args[0], event->result, 0);
        break;
    case SYS_dup3:
        duplicate(table, args[0], event->result, (args[2] & O_CLOEXEC) != 0);
        break;
    case SYS_fcntl:
        control(table, event, args);
        break;
    case SYS_close:
        if (args[0] < STDIO_MAX)
            table->stream[args[0]] = table->cloexec[args[0]] = 0;
        break;
    case SYS_close_range:
        for (uint64_t fd = args[0]; fd <= args[1] && fd < STDIO_MAX; fd++) {
            if (args[2] & 4 /* CLOSE_RANGE_CLOEXEC */)
                table->cloexec[fd] = 1;
            else
                table->stream[fd] = table->cloexec[fd] = 0;
        }
        break;
    case SYS_ioctl:
        if (args[0] < STDIO_MAX && (args[1] == FIOCLEX || args[1] == FIONCLEX))
            table->cloexec[args[0]] = args[1] == FIOCLEX;
        break;
    case SYS_open:
        opened(table, event, 0, args[1]);
        break;
    case SYS_openat:
        opened(table, event, 1, args[2]);
        break;
    default: /* any other call that made a descriptor made it of something else */
        if (event->result < (int64_t)STDIO_MAX && sentra_call(event->nr) && (sentra_call(event->nr)->flags & SENTRA_CALL_FD_RESULT))
            table->stream[event->result] = table->cloexec[event->result] = 0;
        break;
    }
}

/* ---- output ---- */

static int write_all(int fd, const unsigned char *data, uint64_t bytes)
{
    while (bytes) {
        ssize_t done = write(fd, data, bytes);

        if (done < 0 && errno == EAGAIN) {
            struct pollfd wait = {fd, POLLOUT, 0};

            poll(&wait, 1, -1);
        } else if (done < 0 && errno != EINTR) {
            return -1;
        } else if (done > 0) {
            data += done;
            bytes -= (uint64_t)done;
        }
    }
    return 0;
}

static int emit_chunks(int fd, const struct actor *actor, uint8_t kind, uint8_t arg, uint64_t left)
{
    for (const struct chunk *chunk = actor->chunks; chunk && left; chunk = chunk->next) {
        uint64_t bytes = chunk->size < left ? chunk->size : left;

        if (chunk->kind != kind || chunk->arg != arg)
            continue;
        if (write_all(fd, chunk->data, bytes))
            return -1;
        left -= bytes;
    }
    return 0;
}

/* The bytes of one argument: the last IN segment with it (a vector's own bytes stand before its data). */
static int emit_argument(int fd, const struct actor *actor, const struct sentra_event *event, uint8_t kind, uint8_t arg)
{
    struct segment_walk walk = segments_of(event);
    const struct sentra_segment *segment, *last = NULL;
    uint64_t bytes = (uint64_t)event->result;

    while ((segment = next_segment(&walk)))
        if (segment->kind == kind && segment->arg == arg)
            last = segment;
    if (!last)
        return 0;
    if (last->flags & SENTRA_SEGMENT_SPILLED)
        return emit_chunks(fd, actor, kind, arg, bytes);
    return write_all(fd, (const unsigned char *)(last + 1), last->size < bytes ? last->size : bytes);
}

/* Writes what this call sent to a standard stream to ours. -1 when our stream is broken (nobody reads it any more). */
int emit_output(struct sentra_replay *replay, const struct actor *actor, const struct sentra_event *event)
{
    const uint64_t *args = event_args_of(event);
    uint64_t target = args[0];
    uint8_t kind = SENTRA_SEGMENT_IN, arg = 1;
    int stream, fd;

    if (event->result <= 0 || event->nargs < 3 || !actor->descriptors)
        return 0;
    switch (event->nr) {
    case SYS_write:
    case SYS_writev:
    case SYS_pwrite64:
    case SYS_pwritev:
    case SYS_pwritev2:
    case SYS_sendto:
    case SYS_sendmsg:
        break;
    case SYS_sendfile:
        kind = SENTRA_SEGMENT_INFO;
        arg = 8;
        break;
    case SYS_copy_file_range:
    case SYS_splice:
        target = args[2];
        kind = SENTRA_SEGMENT_INFO;
        arg = 8;
        break;
    default:
        return 0;
    }
    if (target >= STDIO_MAX)
        return 0;
    stream = actor->descriptors->stream[target];
    if (!stream)
        return 0;
    fd = replay->options.output_fds[stream == 3];
    return fd < 0 ? 0 : emit_argument(fd, actor, event, kind, arg);
}
