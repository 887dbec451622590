/*
 * image.c - tasks that come, change their image, and end.
 *
 * The kernel gives thread ids in order, in a namespace of our own, so the same clones in the same order give the same ids. An image
 * is executed from its blob; the initial stack is then overwritten with the recorded one (arguments, environment, auxiliary vector and its
 * random bytes), after checking that the kernel has put the image where the recording's was.
 */
#define _GNU_SOURCE
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../intercept/run.h"
#include "replay.h"

#define PATH_BELOW_STACK 1024u

/* ---- new tasks ---- */

static int is_clone(uint64_t nr)
{
    return nr == SYS_clone || nr == SYS_fork || nr == SYS_vfork || nr == 435;
}

/* clone3 is executed as the clone that the recording executed. */
static void clone3_as_clone(struct actor *actor, uint64_t flags)
{
    struct clone_args wanted;
    struct user_regs_struct regs;

    memset(&wanted, 0, sizeof wanted);
    if (tracee_read(actor->tid, actor->call.args[0], &wanted, actor->call.args[1] < sizeof wanted ? actor->call.args[1] : sizeof wanted) < 0 ||
        ptrace(PTRACE_GETREGS, actor->tid, 0, &regs))
        return;
    actor->clone_registers = regs;
    regs.orig_rax = SYS_clone;
    regs.rdi = flags;
    regs.rsi = wanted.stack ? wanted.stack + wanted.stack_size : 0;
    regs.rdx = wanted.flags & CLONE_PIDFD ? wanted.pidfd : wanted.parent_tid;
    regs.r10 = wanted.child_tid;
    regs.r8 = wanted.tls;
    ptrace(PTRACE_SETREGS, actor->tid, 0, &regs);
}

static int await_first_stop(struct sentra_replay *replay, struct actor *child)
{
    int status;

    return await_stop(replay, child, &status) && WIFSTOPPED(status) ? 0 : -1;
}

/* A TASK event: its parent is at the entry of the clone that makes it. */
void apply_task(struct sentra_replay *replay, const struct sentra_event *event)
{
    const uint64_t *args = event_args_of(event);
    struct actor *parent = event->nargs >= 3 ? actor_find(replay, (int32_t)args[0]) : NULL;
    struct actor *child;
    unsigned long tid = 0;
    int status, kind;
    int32_t tgid, inner_tid, inner_tgid;

    if (!parent || parent->state != ACTOR_ENTRY || !is_clone(parent->call.nr)) {
        diverge(replay, parent, SENTRA_DIVERGENCE_STOP, "the recorded task made task %d here; this one did not", event->task);
        return;
    }
    if (parent->call.nr == 435)
        clone3_as_clone(parent, args[2]);
    else if (parent->call.nr == SYS_clone && (parent->call.args[0] & CLONE_UNTRACED))
        tracee_set_register(parent->tid, REGISTER(rdi), parent->call.args[0] & ~(uint64_t)CLONE_UNTRACED);
    if (ptrace(PTRACE_SYSCALL, parent->tid, 0, 0L) || !await_stop(replay, parent, &status))
        return;
    kind = status >> 16;
    if (!WIFSTOPPED(status) || (kind != PTRACE_EVENT_CLONE && kind != PTRACE_EVENT_FORK && kind != PTRACE_EVENT_VFORK) ||
        ptrace(PTRACE_GETEVENTMSG, parent->tid, 0, &tid)) {
        diverge(replay, parent, SENTRA_DIVERGENCE_RESULT, "the recorded task made task %d here; now the kernel made none", event->task);
        return;
    }
    child = actor_add(replay, (int32_t)tid, event->task, (int32_t)args[1]);
    if (!child)
        return;
    child->parent_tid = parent->tid;
    child->shares_memory = (args[2] & CLONE_VM) && (int32_t)args[1] == event->task;
    child->descriptors = args[2] & CLONE_FILES ? descriptors_share(parent->descriptors) : descriptors_copy(parent->descriptors);
    if (await_first_stop(replay, child) || tracee_ids(child->tid, &tgid, &inner_tid, &inner_tgid))
        return;
    child->tgid = tgid;
    if (parent->clone_registers.rip)
        tracee_restore_arguments(child->tid, &parent->clone_registers);
    if (inner_tid != event->task) {
        diverge(replay, child, SENTRA_DIVERGENCE_RESULT, "the new task is %d now and was %d in the recording", inner_tid, event->task);
        return;
    }
    if (kind == PTRACE_EVENT_VFORK) {
        ptrace(PTRACE_SYSCALL, parent->tid, 0, 0L);
        parent->state = ACTOR_WAITING;
    } else {
        parent->state = ACTOR_CLONING;
    }
}

/* ---- images ---- */

/* The path an ELF file names as its interpreter; 0 and empty when it has none. */
static int interpreter_of(int fd, char *out, size_t size)
{
    Elf64_Ehdr header;
    Elf64_Phdr part;

    out[0] = 0;
    if (pread(fd, &header, sizeof header, 0) != (ssize_t)sizeof header || memcmp(header.e_ident, ELFMAG, SELFMAG) != 0)
        return -1;
    for (unsigned index = 0; index < header.e_phnum; index++) {
        ssize_t got;

        if (pread(fd, &part, sizeof part, (off_t)(header.e_phoff + index * sizeof part)) != (ssize_t)sizeof part)
            return -1;
        if (part.p_type != PT_INTERP)
            continue;
        if (part.p_filesz >= size)
            return -1;
        got = pread(fd, out, part.p_filesz, (off_t)part.p_offset);
        if (got < 0)
            return -1;
        out[got] = 0;
    }
    return 0;
}

/* Makes the directories of an absolute path below `root`. */
static void make_parents(char *path, size_t root)
{
    for (char *slash = strchr(path + root + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        mkdir(path, 0755);
        *slash = '/';
    }
}

/* The kernel looks for the interpreter under the name that the program gives: a link there leads to its blob. */
static int place_interpreter(struct sentra_replay *replay, struct actor *actor, const char *image, const char *interpreter_blob)
{
    char path[512], name[256];
    int fd, length, failed;

    snprintf(path, sizeof path, "/proc/%d/root%s", actor->tid, image);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    failed = fd < 0 || interpreter_of(fd, name, sizeof name);
    if (fd >= 0)
        close(fd);
    if (failed) {
        diverge(replay, actor, SENTRA_DIVERGENCE_TRACE, "the recorded program %s cannot be read", image);
        return -1;
    }
    if (name[0] != '/' || strstr(name, "/../") || !interpreter_blob)
        return 0;
    length = snprintf(path, sizeof path, "/proc/%d/root", actor->tid);
    snprintf(path + length, sizeof path - (size_t)length, "%s", name);
    make_parents(path, (size_t)length);
    unlink(path);
    return symlink(interpreter_blob, path) && errno != EEXIST ? -1 : 0;
}

static const char *image_path(const struct sentra_replay *replay, const struct sentra_event *event, uint8_t number)
{
    const struct sentra_segment *named = find_segment(event, SENTRA_SEGMENT_FILE, number);
    uint32_t file_id = 0;

    if (named && named->size >= 4)
        memcpy(&file_id, named + 1, 4);
    return file_id && file_id <= replay->files_count && replay->files[file_id - 1].path[0] ? replay->files[file_id - 1].path : NULL;
}

/* Executes the image's blob in the task; its path is put below the stack, and taken away again where memory outlives the exec. */
static int execute_image(struct sentra_replay *replay, struct actor *actor, const char *path)
{
    uint64_t at = actor->call.sp - PATH_BELOW_STACK;
    char text[IMAGE_PATH_BYTES] = {0}, saved[IMAGE_PATH_BYTES];
    struct user_regs_struct regs;
    int kept;

    snprintf(text, sizeof text, "%s", path);
    kept = tracee_read(actor->tid, at, saved, sizeof saved) == (int)sizeof saved;
    if (!kept || tracee_write(actor->tid, at, text, sizeof text) || ptrace(PTRACE_GETREGS, actor->tid, 0, &regs)) {
        diverge(replay, actor, SENTRA_DIVERGENCE_UNSUPPORTED, "there is no room on the stack at 0x%llx to name a program", (unsigned long long)at);
        return -1;
    }
    if (actor->call.nr == SYS_execveat) {
        regs.rsi = regs.rdx;
        regs.rdx = regs.r10;
    }
    regs.rdi = at;
    regs.orig_rax = SYS_execve;
    ptrace(PTRACE_SETREGS, actor->tid, 0, &regs);
    ptrace(PTRACE_CONT, actor->tid, 0, 0L);
    for (;;) { /* threads of the process end first; the new image is reported under the leader's id */
        int status;
        pid_t tid = waitpid(-1, &status, __WALL | __WNOTHREAD);
        struct actor *other;

        if (tid < 0 && errno == EINTR && !atomic_load(&replay->stop_requested))
            continue;
        if (tid < 0)
            return -1;
        if (status >> 8 == (SIGTRAP | PTRACE_EVENT_EXEC << 8))
            break;
        other = actor_by_tid(replay, tid);
        if (classify_stop(tid, status).kind == STOP_SYSCALL_EXIT && other == actor) {
            diverge(replay, actor, SENTRA_DIVERGENCE_RESULT, "the recorded task executed a program here; now the kernel refused it");
            return -1;
        }
        if (other && (WIFEXITED(status) || WIFSIGNALED(status)))
            other->state = ACTOR_DEAD;
        else if (other && other->state == ACTOR_WAITING && classify_stop(tid, status).kind == STOP_SYSCALL_EXIT)
            other->vfork_done = 1; /* our vfork's parent comes out; its event is later */
        else
            ptrace(PTRACE_CONT, tid, 0, 0L);
    }
    if (actor->shares_memory && tracee_write(actor->parent_tid, at, saved, sizeof saved) == 0)
        actor->shares_memory = 0;
    return 0;
}

/* The other threads of the process are gone; the one that executed has the leader's ids. */
static void take_over_process(struct sentra_replay *replay, struct actor *actor)
{
    for (uint32_t index = 0; index < ACTOR_BUCKETS; index++) {
        struct actor *next;

        for (struct actor *at = replay->actors[index]; at; at = next) {
            next = at->next;
            if (at != actor && at->tgid == actor->tgid)
                actor_remove(replay, at);
        }
    }
    actor->tid = actor->tgid;
    if (actor->inner_tid != actor->inner_tgid)
        actor_renumber(replay, actor, actor->inner_tgid);
}

static uint64_t aux_value(const unsigned char *stack, uint64_t size, uint64_t wanted)
{
    const uint64_t *words = (const uint64_t *)stack;
    uint64_t count = size / 8, at;

    if (!count)
        return 0;
    at = words[0] + 2; /* argc, argv, NULL */
    while (at < count && words[at])
        at++;
    for (at++; at + 1 < count && words[at] != AT_NULL; at += 2)
        if (words[at] == wanted)
            return words[at + 1];
    return 0;
}

/* The recorded stack in place of the kernel's. */
static int load_stack(struct sentra_replay *replay, struct actor *actor, uint64_t sp, const unsigned char *stack, uint64_t size)
{
    static const uint64_t same[] = {AT_ENTRY, AT_BASE, AT_PHDR};
    struct user_regs_struct regs;
    unsigned char now[65536];
    uint64_t at, got;

    if (ptrace(PTRACE_GETREGS, actor->tid, 0, &regs))
        return -1;
    at = regs.rsp;
    got = (uint64_t)tracee_read(actor->tid, at, now, sizeof now);
    for (size_t index = 0; index < sizeof same / sizeof same[0] && (int64_t)got > 0; index++) {
        uint64_t recorded = aux_value(stack, size, same[index]), actual = aux_value(now, got, same[index]);

        if (recorded && actual && recorded != actual) {
            diverge(replay, actor, SENTRA_DIVERGENCE_RESULT, "the kernel put the program at 0x%llx; in the recording it was at 0x%llx",
                    (unsigned long long)actual, (unsigned long long)recorded);
            return -1;
        }
    }
    if (tracee_write(actor->tid, sp, stack, size)) {
        diverge(replay, actor, SENTRA_DIVERGENCE_RESULT, "the recorded initial stack at 0x%llx does not fit", (unsigned long long)sp);
        return -1;
    }
    regs.rsp = sp;
    return ptrace(PTRACE_SETREGS, actor->tid, 0, &regs) ? -1 : 0;
}

static unsigned char *joined_chunks(const struct actor *actor, uint8_t arg, uint64_t size)
{
    unsigned char *whole = calloc(1, size);

    for (const struct chunk *chunk = actor->chunks; whole && chunk; chunk = chunk->next)
        if (chunk->arg == arg && chunk->kind == SENTRA_SEGMENT_INFO && chunk->offset + chunk->size <= size)
            memcpy(whole + chunk->offset, chunk->data, chunk->size);
    return whole;
}

static int restore_stack(struct sentra_replay *replay, struct actor *actor, const struct sentra_event *event)
{
    const struct sentra_segment *stack = find_segment(event, SENTRA_SEGMENT_INFO, 2);
    uint64_t size;
    unsigned char *whole;
    int failed;

    if (!stack) {
        diverge(replay, actor, SENTRA_DIVERGENCE_TRACE, "the initial stack of a program is not in the trace");
        return -1;
    }
    if (!(stack->flags & SENTRA_SEGMENT_SPILLED))
        return load_stack(replay, actor, stack->addr, (const unsigned char *)(stack + 1), stack->size);
    memcpy(&size, stack + 1, 8);
    whole = size < (64u << 20) ? joined_chunks(actor, 2, size) : NULL;
    failed = !whole || load_stack(replay, actor, stack->addr, whole, size);
    free(whole);
    return failed ? -1 : 0;
}

/* An EXEC event: the execve that came before it is carried out. */
void apply_exec(struct sentra_replay *replay, struct actor *actor, const struct sentra_event *event)
{
    const char *image = image_path(replay, event, 0);

    if (!actor->exec_expected || !image) {
        diverge(replay, actor, SENTRA_DIVERGENCE_TRACE, "the program that was executed here is not in the trace");
        return;
    }
    actor->exec_expected = 0;
    if (place_interpreter(replay, actor, image, image_path(replay, event, 1)) || execute_image(replay, actor, image))
        return;
    replay->started = 1;
    take_over_process(replay, actor);
    descriptors_exec(actor);
    if (restore_stack(replay, actor, event))
        return;
    chunks_drop(actor);
    step_on(replay, actor, 0);
}

/* ---- ends ---- */

static void await_death(struct sentra_replay *replay, struct actor *actor)
{
    int status = 0;

    while (actor->state != ACTOR_DEAD) {
        if (!await_stop(replay, actor, &status))
            return;
        if (WIFEXITED(status) || WIFSIGNALED(status)) {
            actor->state = ACTOR_DEAD;
            if (actor->tid == replay->main_tid)
                replay->stats.exit_status = status;
            return;
        }
        if (status >> 8 == (SIGTRAP | PTRACE_EVENT_EXIT << 8) && actor->tid == actor->tgid) {
            struct actor *other = NULL;

            ptrace(PTRACE_CONT, actor->tid, 0, 0L);
            for (uint32_t index = 0; index < ACTOR_BUCKETS && !other; index++)
                for (other = replay->actors[index]; other && (other == actor || other->tgid != actor->tgid || other->state == ACTOR_DEAD);)
                    other = other->next;
            if (other) { /* a leader is reported dead only when its threads are */
                actor->state = ACTOR_EXITING;
                return;
            }
        } else {
            ptrace(PTRACE_CONT, actor->tid, 0, 0L);
        }
    }
}

/* The whole process is ending: its tasks stop on their way out in any order, and the leader is reported dead last. */
static void await_process_death(struct sentra_replay *replay, struct actor *actor)
{
    while (actor->state != ACTOR_DEAD && !atomic_load(&replay->stop_requested)) {
        int status;
        pid_t tid = waitpid(-1, &status, __WALL | __WNOTHREAD);
        struct actor *other = tid > 0 ? actor_by_tid(replay, tid) : NULL;

        if (tid < 0 && errno == EINTR)
            continue;
        if (tid < 0)
            return;
        if (WIFSTOPPED(status)) {
            if (other && other->state == ACTOR_WAITING && other->tgid != actor->tgid &&
                classify_stop(tid, status).kind == STOP_SYSCALL_EXIT)
                other->vfork_done = 1;
            else
                ptrace(PTRACE_CONT, tid, 0, 0L);
            continue;
        }
        if (tid == replay->main_tid)
            replay->stats.exit_status = status;
        if (other)
            other->state = ACTOR_DEAD;
    }
}

static void remove_process_when_dead(struct sentra_replay *replay, struct actor *actor)
{
    int32_t tgid = actor->tgid;
    struct actor *leader;

    actor_remove(replay, actor);
    leader = actor_by_tid(replay, tgid);
    if (leader && leader->state == ACTOR_EXITING) {
        for (uint32_t index = 0; index < ACTOR_BUCKETS; index++)
            for (struct actor *at = replay->actors[index]; at; at = at->next)
                if (at != leader && at->tgid == tgid)
                    return;
        await_death(replay, leader);
        actor_remove(replay, leader);
    }
}

/* A thread of its process is executing a program: the kernel ends the others when that is carried out. */
static int ends_by_exec(struct sentra_replay *replay, const struct actor *actor)
{
    for (uint32_t index = 0; index < ACTOR_BUCKETS; index++)
        for (const struct actor *at = replay->actors[index]; at; at = at->next)
            if (at != actor && at->tgid == actor->tgid && at->state == ACTOR_ENTRY &&
                (at->call.nr == SYS_execve || at->call.nr == SYS_execveat))
                return 1;
    return 0;
}

/* Is it the program's process, about to end, while others of the run live on? */
static int ends_before_others(struct sentra_replay *replay, const struct actor *actor)
{
    int others = 0;

    if (actor->tid != replay->main_tid || actor->state != ACTOR_EXITING)
        return 0;
    for (uint32_t index = 0; index < ACTOR_BUCKETS; index++)
        for (const struct actor *at = replay->actors[index]; at; at = at->next) {
            if (at != actor && at->tgid == actor->tgid)
                return 0;
            others += at != actor;
        }
    return others > 0;
}

/* The program's process, held at its exit since its EXIT event, may end. */
void end_program(struct sentra_replay *replay)
{
    struct actor *actor = replay->ending;

    if (!actor)
        return;
    replay->ending = NULL;
    ptrace(PTRACE_CONT, actor->tid, 0, 0L);
    actor->state = ACTOR_RUNNING;
    await_process_death(replay, actor);
    if (actor->state == ACTOR_DEAD)
        remove_process_when_dead(replay, actor);
}

/*
 * An EXIT event: the task ends now, by its own call or because something killed it. With the program's own process init ends the sandbox,
 * and everything in it: what other processes still did in the moment before that is in the trace, so the program is let go last.
 */
void apply_exit(struct sentra_replay *replay, const struct sentra_event *event)
{
    struct actor *actor = actor_find(replay, event->task);
    const uint64_t *args = event_args_of(event);
    int status = event->nargs ? (int)args[0] : 0;

    if (!actor || (actor->state < ACTOR_RUNNING && !actor->group_exits && ends_by_exec(replay, actor)))
        return; /* it ended, or ends, with its process's exec */
    if (ends_before_others(replay, actor)) {
        replay->ending = actor;
        return;
    }
    if (actor->state == ACTOR_EXITING) {
        ptrace(PTRACE_CONT, actor->tid, 0, 0L);
        actor->state = ACTOR_RUNNING;
    } else if (actor->state != ACTOR_RUNNING && actor->state != ACTOR_DEAD) {
        if (!WIFSIGNALED(status) && !actor->group_exits) {
            diverge(replay, actor, SENTRA_DIVERGENCE_STOP, "the recorded task ended here; this one has not");
            return;
        }
        if (!actor->group_exits) /* else exit_group of another thread is ending it already */
            tracee_kill(actor->tgid, SIGKILL);
        actor->state = ACTOR_RUNNING;
    }
    if (WIFSIGNALED(status) || actor->group_exits)
        await_process_death(replay, actor);
    else
        await_death(replay, actor);
    if (actor->state == ACTOR_DEAD)
        remove_process_when_dead(replay, actor);
}
