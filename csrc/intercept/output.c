/*
 * output.c - writes to the run's standard streams happen one after the other, in the order of the trace.
 *
 * Two tasks that are inside a write to the same pipe at once reach it in an order that only the kernel knows; a replay writes in the order
 * of the events. So a task keeps its turn during such a write as long as there is room for it, and while one task waits for room, others
 * that want to write are held at their entry. A guess of "there is room" that was wrong costs a moment: watch_holder takes the turn away.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "run.h"

static int own_stream(const struct sentra_run *run, int number)
{
    return run->options.launch.stdio[number] >= 0 ? run->options.launch.stdio[number] : number;
}

/* Our descriptor of the standard stream that the program's descriptor leads to; -1 when it leads elsewhere. */
int standard_stream(const struct sentra_run *run, const struct task *task, int32_t fd)
{
    struct stat status, stream;
    char path[64];

    snprintf(path, sizeof path, "/proc/%d/fd/%d", task->tid, fd);
    if (stat(path, &status))
        return -1;
    for (int number = 1; number <= 2; number++) {
        int own = own_stream(run, number);

        if (!fstat(own, &stream) && stream.st_dev == status.st_dev && stream.st_ino == status.st_ino)
            return own;
    }
    return -1;
}

static uint64_t offered_bytes(const struct task *task)
{
    const struct call *call = &task->call;
    uint64_t total = 0;

    if (call->nr != SYS_writev)
        return call->args[2];
    for (uint64_t index = 0; index < call->args[2] && index < 64; index++) {
        uint64_t entry[2];

        if (peek(task, call->args[1] + index * 16, entry, sizeof entry) != (int)sizeof entry)
            break;
        total += entry[1];
    }
    return total;
}

/* Whether a write of that size can be expected to return without waiting for a reader. */
static int has_room(int own, uint64_t bytes)
{
    struct pollfd ready = {own, POLLOUT, 0};
    struct stat status;
    int used = 0, size;

    if (fstat(own, &status) || S_ISREG(status.st_mode) || (fcntl(own, F_GETFL) & O_NONBLOCK))
        return 1;
    if (poll(&ready, 1, 0) != 1 || !(ready.revents & (POLLOUT | POLLERR | POLLHUP)))
        return 0;
    if (!S_ISFIFO(status.st_mode) || bytes <= 4096)
        return 1;
    size = fcntl(own, F_GETPIPE_SZ);
    return size > 0 && !ioctl(own, FIONREAD, &used) && used == 0 && bytes <= (uint64_t)size;
}

static int is_write(uint64_t nr)
{
    return nr == SYS_write || nr == SYS_writev || nr == SYS_sendto;
}

/* A call that may wait, at its entry: how a write to a standard stream goes in. */
enum output_way output_entry(struct sentra_run *run, struct task *task)
{
    int own;

    if (!is_write(task->call.nr) || !run->options.serialise)
        return OUTPUT_OTHER;
    own = standard_stream(run, task, (int32_t)task->call.args[0]);
    if (own < 0)
        return OUTPUT_OTHER;
    if (run->output_writer && run->output_writer != task)
        return OUTPUT_WAIT;
    return has_room(own, offered_bytes(task)) ? OUTPUT_KEEP : OUTPUT_FREE;
}

/* The task that was inside a write without the turn has come out, or ended: the others may try. */
void output_done(struct sentra_run *run, const struct task *task)
{
    if (run->output_writer != task)
        return;
    run->output_writer = NULL;
    for (uint32_t index = 0; index < TASK_BUCKETS; index++)
        for (struct task *at = run->tasks[index]; at; at = at->next)
            if (at->state == TASK_PARKED)
                ready_push(run, at, PENDING_ENTER);
}
