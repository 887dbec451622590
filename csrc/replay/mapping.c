/*
 * mapping.c - memory mappings: at the recorded address, of the recorded content.
 *
 * A private mapping of a file maps its blob. A shared one maps an object that all tasks of the replay share per recorded (device, inode),
 * a file in the replay's own temporary file system; what the recording saw in it is written there first. So does a private mapping of
 * a small file that was changed recently, since it may be mapped shared or written later, which the private mapping then shows. The task opens and closes the file itself
 * by injected calls, since none of its own descriptors exist.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "replay.h"

#define SHARED_DIRECTORY "/.shared"
#define SCRATCH_BELOW_STACK 640u /* under the red zone; the bytes there are put back */

/* Runs open(path) in the task; *fd is its descriptor. */
static int open_in_task(struct sentra_replay *replay, struct actor *actor, const char *path, int flags, int64_t *fd)
{
    char saved[IMAGE_PATH_BYTES], text[IMAGE_PATH_BYTES] = {0};
    uint64_t at = actor->call.sp - SCRATCH_BELOW_STACK;
    uint64_t args[6] = {(uint64_t)AT_FDCWD, at, (uint64_t)flags | O_CLOEXEC, 0, 0, 0};
    int failed;

    snprintf(text, sizeof text, "%s", path);
    if (tracee_read(actor->tid, at, saved, sizeof saved) != (int)sizeof saved || tracee_write(actor->tid, at, text, sizeof text)) {
        diverge(replay, actor, SENTRA_DIVERGENCE_UNSUPPORTED, "there is no room on the stack at 0x%llx to name a file", (unsigned long long)at);
        return -1;
    }
    failed = inject_call(replay, actor, SYS_openat, args, fd);
    tracee_write(actor->tid, at, saved, sizeof saved);
    if (!failed && *fd < 0) {
        diverge(replay, actor, SENTRA_DIVERGENCE_TRACE, "a recorded file cannot be opened for its mapping (%s): %s", path, strerror((int)-*fd));
        return -1;
    }
    return failed;
}

/* ---- shared objects ---- */

static void shared_name(char *out, size_t size, const struct replay_file *file)
{
    snprintf(out, size, SHARED_DIRECTORY "/%llx-%llx", (unsigned long long)file->dev, (unsigned long long)file->ino);
}

/* Puts the file's recorded content into the object of its inode. */
static int fill_object(const struct actor *actor, int fd, const struct replay_file *file)
{
    char blob[192], bytes[65536];
    ssize_t got = 0;
    off_t at = 0;
    int from;

    if (!file->path[0])
        return 0;
    snprintf(blob, sizeof blob, "/proc/%d/root%s", actor->tid, file->path);
    from = open(blob, O_RDONLY | O_CLOEXEC);
    while (from >= 0 && (got = read(from, bytes, sizeof bytes)) > 0) {
        if (pwrite(fd, bytes, (size_t)got, at) != got)
            break;
        at += got;
    }
    if (from >= 0)
        close(from);
    return from >= 0 && !got ? 0 : -1;
}

/* This file's content is now what the object has; another state of the same inode was there before. */
static void mark_content(struct sentra_replay *replay, struct replay_file *file)
{
    for (uint32_t index = 0; index < replay->files_count; index++)
        if (replay->files[index].dev == file->dev && replay->files[index].ino == file->ino)
            replay->files[index].in_object = 0;
    file->in_object = 1;
}

/* The object as seen from outside, through the task's root; made with the file's recorded content at its first use. */
static int open_shared(struct sentra_replay *replay, const struct actor *actor, struct replay_file *file)
{
    char name[IMAGE_PATH_BYTES], path[192];
    int fd;

    shared_name(name, sizeof name, file);
    snprintf(path, sizeof path, "/proc/%d/root%s", actor->tid, name);
    fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd >= 0)
        return fd;
    fd = open(path, O_RDWR | O_CLOEXEC | O_CREAT | O_EXCL | O_NOFOLLOW, 0700);
    if (fd >= 0 && !fill_object(actor, fd, file))
        mark_content(replay, file);
    return fd;
}

static int write_contents(const struct actor *actor, int fd, uint8_t arg)
{
    for (const struct chunk *chunk = actor->chunks; chunk; chunk = chunk->next)
        if (chunk->kind == SENTRA_SEGMENT_INFO && chunk->arg == arg &&
            pwrite(fd, chunk->data, chunk->size, (off_t)chunk->address) != (ssize_t)chunk->size)
            return -1;
    return 0;
}

static int prepare_object(struct sentra_replay *replay, struct actor *actor, struct replay_file *file, int shared)
{
    int fd = open_shared(replay, actor, file);
    struct stat status;
    int failed;

    if (fd < 0) {
        diverge(replay, actor, SENTRA_DIVERGENCE_TRACE, "a mapping cannot be prepared: %s", strerror(errno));
        return -1;
    }
    failed = fstat(fd, &status) || ((uint64_t)status.st_size < file->size && ftruncate(fd, (off_t)file->size));
    if (!failed && shared) {
        failed = write_contents(actor, fd, 7);
        mark_content(replay, file);
    } else if (!failed && !file->in_object) {
        failed = fill_object(actor, fd, file) || ftruncate(fd, (off_t)file->size);
        mark_content(replay, file);
    }
    close(fd);
    if (failed)
        diverge(replay, actor, SENTRA_DIVERGENCE_TRACE, "a mapping cannot be filled: %s", strerror(errno));
    return failed ? -1 : 0;
}

/* A write to a file that is mapped shared somewhere: the mapping must show it. */
void apply_shared_write(struct sentra_replay *replay, struct actor *actor, const struct sentra_event *event)
{
    const struct sentra_segment *named = find_segment(event, SENTRA_SEGMENT_FILE, 0);
    const struct sentra_segment *data;
    const uint64_t *args = event_args_of(event);
    uint32_t file_id;
    int fd;

    if (!named || event->nr == SYS_mmap || named->size < 4)
        return;
    memcpy(&file_id, named + 1, 4);
    if (!file_id || file_id > replay->files_count)
        return;
    fd = open_shared(replay, actor, &replay->files[file_id - 1]);
    if (fd < 0)
        return;
    data = find_segment(event, SENTRA_SEGMENT_IN, 1);
    if (event->nr == SYS_ftruncate)
        (void)!ftruncate(fd, (off_t)args[1]);
    else if (event->nr == SYS_pwrite64 && data && !(data->flags & SENTRA_SEGMENT_SPILLED))
        (void)!pwrite(fd, data + 1, data->size, (off_t)args[3]);
    close(fd);
}

/* ---- mmap ---- */

static struct replay_file *mapped(struct sentra_replay *replay, const struct sentra_event *event)
{
    const struct sentra_segment *named = find_segment(event, SENTRA_SEGMENT_FILE, 4);
    uint32_t file_id;

    if (!named || named->size < 4)
        return NULL;
    memcpy(&file_id, named + 1, 4);
    return file_id && file_id <= replay->files_count ? &replay->files[file_id - 1] : NULL;
}

static int map_at(struct sentra_replay *replay, struct actor *actor, const struct sentra_event *event, int64_t fd, int anonymous)
{
    const uint64_t *args = event_args_of(event);
    uint64_t flags = args[3] & ~0x40ull; /* MAP_32BIT: the address is given */
    int64_t result;

    if (!(flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)))
        flags |= MAP_FIXED_NOREPLACE;
    if (anonymous)
        flags = (flags & ~0xfull) | MAP_PRIVATE | MAP_ANONYMOUS;
    tracee_set_register(actor->tid, REGISTER(rdi), (uint64_t)event->result);
    tracee_set_register(actor->tid, REGISTER(r10), flags);
    if (fd >= 0)
        tracee_set_register(actor->tid, REGISTER(r8), (uint64_t)fd);
    if (run_call(replay, actor, &result))
        return -1;
    tracee_set_register(actor->tid, REGISTER(rdi), args[0]);
    tracee_set_register(actor->tid, REGISTER(r10), args[3]);
    tracee_set_register(actor->tid, REGISTER(r8), args[4]);
    if (result != event->result) {
        diverge(replay, actor, SENTRA_DIVERGENCE_RESULT, "mmap gave 0x%llx in the recording and 0x%llx now", (unsigned long long)event->result,
                (unsigned long long)result);
        return -1;
    }
    return 0;
}

/* The task is at the exit of mmap; it closes the injected descriptor and ends up at the exit of a call again. */
static int close_in_task(struct sentra_replay *replay, struct actor *actor, int64_t fd)
{
    struct user_regs_struct saved, regs;
    int64_t ignored;
    int status;

    if (ptrace(PTRACE_GETREGS, actor->tid, 0, &saved))
        return -1;
    regs = saved;
    regs.rip = actor->call.ip - 2;
    regs.rax = SYS_close;
    regs.rdi = (uint64_t)fd;
    regs.orig_rax = (unsigned long)-1;
    if (ptrace(PTRACE_SETREGS, actor->tid, 0, &regs) || ptrace(PTRACE_CONT, actor->tid, 0, 0L) || !await_stop(replay, actor, &status))
        return -1;
    if (run_call(replay, actor, &ignored))
        return -1;
    return ptrace(PTRACE_SETREGS, actor->tid, 0, &saved) ? -1 : 0;
}

/* A successful mmap. 0: mapped, the task is at the exit of its call with everything in place. */
int apply_mapping(struct sentra_replay *replay, struct actor *actor, const struct sentra_event *event)
{
    const uint64_t *args = event_args_of(event);
    struct replay_file *file = mapped(replay, event);
    int shared = (args[3] & 3) != MAP_PRIVATE && find_segment(event, SENTRA_SEGMENT_INFO, 7);
    char name[IMAGE_PATH_BYTES];
    int64_t fd = -1;

    if ((args[3] & MAP_ANONYMOUS) || (int32_t)args[4] < 0)
        return map_at(replay, actor, event, -1, 0);
    if (!file) /* a device such as /dev/zero */
        return map_at(replay, actor, event, -1, 1);
    if (!shared && (args[3] & 3) != MAP_PRIVATE && (args[2] & PROT_WRITE))
        shared = 1; /* an empty shared file */
    if (shared || (file->recent && file->path[0])) {
        if (prepare_object(replay, actor, file, shared))
            return -1;
        shared_name(name, sizeof name, file);
    } else {
        snprintf(name, sizeof name, "%s", file->path);
        if (!name[0]) {
            diverge(replay, actor, SENTRA_DIVERGENCE_TRACE, "the content of a mapped file is not in the trace");
            return -1;
        }
    }
    if (open_in_task(replay, actor, name, shared ? O_RDWR : O_RDONLY, &fd))
        return -1;
    if (map_at(replay, actor, event, fd, 0))
        return -1;
    return close_in_task(replay, actor, fd);
}
