/*
 * capture.c - one SYSCALL event from a task's call: its arguments, what it read (the stash) and what the kernel wrote (items).
 *
 * At entry the bytes that the program hands over went to the task's stash, already in the shape of segments (inputs.c). At completion
 * the bytes that the kernel wrote are read straight into the record (outputs.c, items.c). Large buffers, and file contents that do not
 * pass through buffers (contents.c), travel in DATA events before the record. What is known to escape capture is noted here, once a run.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "capture.h"

/* places in run->unknown_noted; ioctls share those from NOTED_IOCTL on, by their number */
enum { NOTED_VM_WRITE = 0, NOTED_SHM = 1, NOTED_MEMORY = 2, NOTED_IOCTL = 4, NOTED_IOCTLS = 60 };

/* What mmap mapped: the file's identity, and for shared mappings nothing else may be assumed about its content. */
static uint32_t mapped_file(struct sentra_run *run, const struct task *task, int64_t result)
{
    const struct call *call = &task->call;
    struct file_identity identity;
    uint32_t file_id;
    char path[64];

    if (call->nr != SYS_mmap || (result < 0 && result > -4096) || (call->args[3] & MAP_ANONYMOUS) || (int32_t)call->args[4] < 0)
        return 0;
    snprintf(path, sizeof path, "/proc/%d/fd/%d", task->tid, (int32_t)call->args[4]);
    file_id = file_register(run, task, path, &identity);
    if (file_id)
        mapping_remember(run, identity.dev, identity.ino, task->tgid);
    return file_id;
}

static void note_once(struct sentra_run *run, const struct task *task, uint8_t number, const char *text)
{
    if (run->unknown_noted[number])
        return;
    run->unknown_noted[number] = 1;
    record_note(run, task, SENTRA_NOTE_INEXACT, "%s", text);
}

static int opens_memory(const struct task *task)
{
    const struct call *call = &task->call;
    uint8_t arg = call->nr == SYS_open ? 0 : 1;
    uint32_t size = 0;
    const char *path = (const char *)stashed(task, call->args[arg], arg, &size);

    return path && size > 10 && memcmp(path, "/proc/", 6) == 0 && memcmp(path + size - 4, "/mem", 4) == 0 &&
           (call->args[arg + 1] & O_ACCMODE) != O_RDONLY;
}

/* Calls whose effect on the program's memory is not captured: from here on a replay may differ. */
static void note_unknown(struct sentra_run *run, const struct task *task, int64_t result)
{
    const struct call *call = &task->call;
    struct sentra_arg_row scratch;

    if (result < 0 && result > -4096)
        return;
    if (call->nr == SYS_ioctl && !call->command && !unknown_ioctl(call, &scratch) && call->args[2] >= 4096)
        note_once(run, task, (uint8_t)(NOTED_IOCTL + call->args[1] % NOTED_IOCTLS),
                  "an ioctl that is not in the table: what it wrote was not captured");
    else if (call->nr == SYS_process_vm_writev)
        note_once(run, task, NOTED_VM_WRITE, "a process wrote into the memory of another (process_vm_writev)");
    else if (call->nr == SYS_shmat)
        note_once(run, task, NOTED_SHM, "System V shared memory was attached");
    else if ((call->nr == SYS_open || call->nr == SYS_openat) && opens_memory(task))
        note_once(run, task, NOTED_MEMORY, "the memory of a process was opened for writing (/proc/PID/mem)");
}

/* Room for the event's own part: header, arguments, stash, and the two segments that record_call may add at the end. */
static uint32_t event_room(const struct task *task, uint8_t nargs)
{
    return (uint32_t)sizeof(struct sentra_event) + nargs * 8u + task->stash.used + 48;
}

/* One SYSCALL event from the task's call, its stash and the memory the kernel wrote. */
void record_call(struct sentra_run *run, struct task *task, int64_t result, uint16_t flags)
{
    struct call *call = &task->call;
    uint8_t nargs = call->row ? call->row->nargs : 6;
    struct sentra_event *event;
    uint64_t contents = 0;
    uint32_t room, file_id = 0;
    uint8_t contents_arg = 0;

    items_reset();
    capture_outputs(task, result, flags);
    room = items_spill_large(run, task);
    if (!(flags & (SENTRA_FLAG_REFUSED | SENTRA_FLAG_IN_FLIGHT))) {
        contents = capture_contents(run, task, result, &contents_arg);
        file_id = call->nr == SYS_mmap ? mapped_file(run, task, result) : written_shared_file(run, task, result);
    }
    note_unknown(run, task, result);

    event = event_begin(run, event_room(task, nargs) + room, SENTRA_EVENT_SYSCALL, task);
    if (!event)
        return;
    event->flags = flags;
    event->nr = (uint32_t)call->nr;
    event->result = result;
    event->duration_ns = event->time_ns + run->start_ns > call->enter_ns ? event->time_ns + run->start_ns - call->enter_ns : 0;
    event_args(event, call->args, nargs);
    if (task->stash.used)
        memcpy((unsigned char *)event + event->size, task->stash.data, task->stash.used);
    event->size += task->stash.used;
    event->nsegs = task->stash.segments;
    items_append(task, event);
    if (file_id && event->nsegs < SEGMENTS_MAX)
        memcpy(event_segment(event, 0, 4, SENTRA_SEGMENT_FILE, call->nr == SYS_mmap ? 4 : 0, 0), &file_id, 4);
    if (contents && event->nsegs < SEGMENTS_MAX)
        memcpy(event_segment(event, 0, 8, SENTRA_SEGMENT_INFO, contents_arg, SENTRA_SEGMENT_SPILLED), &contents, 8);
    event_commit(run, event);
    run->stats.syscalls++;
    if (flags & SENTRA_FLAG_REFUSED)
        run->stats.refused++;
    if (task->slot >= 0)
        atomic_store_explicit(&run->in_flight[task->slot].task, 0, memory_order_release);
}
