/*
 * call.c - applying a recorded system call to the task that is making it again.
 *
 * Compared: number, every argument, every byte the program hands over. Then the bytes the kernel wrote are written and the recorded
 * result is returned without executing anything; calls that change the process itself are executed and must give the recorded result.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../intercept/run.h"
#include "replay.h"

/* ---- comparing ---- */

/* Going on makes sense where the call is answered from the trace anyway: only what the program handed over is another. */
static int may_pass(const struct sentra_replay *replay, const struct sentra_call_row *row)
{
    uint32_t most = sizeof replay->passed / sizeof replay->passed[0];

    return row && !(row->flags & SENTRA_CALL_EXECUTE) && replay->passed_count < replay->options.keep_going && replay->passed_count < most;
}

/* 0: noted and passed; -1: the replay has diverged. */
static int differs(struct sentra_replay *replay, const struct actor *actor, enum sentra_divergence_kind kind, int argument,
                   uint64_t expected, uint64_t actual, uint64_t offset, const char *what)
{
    const struct sentra_call_row *row = sentra_call(replay->event->nr);

    diverge(replay, actor, kind, "%s: %s of argument %d differ%s at byte %llu: recorded 0x%llx, now 0x%llx", row ? row->name : "?", what,
            argument + 1, kind == SENTRA_DIVERGENCE_BYTES ? "" : "s", (unsigned long long)offset, (unsigned long long)expected,
            (unsigned long long)actual);
    replay->divergence.argument = argument;
    replay->divergence.expected = expected;
    replay->divergence.actual = actual;
    replay->divergence.offset = offset;
    if (!may_pass(replay, row))
        return -1;
    replay->passed[replay->passed_count++] = replay->divergence;
    memset(&replay->divergence, 0, sizeof replay->divergence);
    replay->diverged = 0;
    return 0;
}

static int compare_bytes(struct sentra_replay *replay, struct actor *actor, uint64_t address, const unsigned char *expected, uint64_t size,
                         uint8_t arg, uint64_t base)
{
    unsigned char now[16384];

    for (uint64_t at = 0; at < size;) {
        uint64_t want = size - at < sizeof now ? size - at : sizeof now;
        int got = tracee_read(actor->tid, address + at, now, want);

        if (got <= 0) {
            return differs(replay, actor, SENTRA_DIVERGENCE_BYTES, arg, expected[at], 0, base + at, "the bytes (unreadable now)");
        }
        if (memcmp(now, expected + at, (size_t)got) != 0) {
            int index = 0;

            while (now[index] == expected[at + (uint64_t)index])
                index++;
            return differs(replay, actor, SENTRA_DIVERGENCE_BYTES, arg, expected[at + (uint64_t)index], now[index],
                           base + at + (uint64_t)index, "the bytes");
        }
        at += (uint64_t)got;
    }
    return 0;
}

/* The data of a vector lies where its entries say; `vector` is the recorded copy of them. */
struct vector {
    const struct iovec *entries;
    uint32_t count;
    uint64_t address;
};

static int each_part(const struct vector *vector, const unsigned char *data, uint64_t size, uint64_t skip, struct sentra_replay *replay,
                     struct actor *actor, uint8_t arg, int writing)
{
    uint64_t done = 0;

    for (uint32_t index = 0; index < vector->count && done < size; index++) {
        uint64_t address = (uint64_t)(uintptr_t)vector->entries[index].iov_base, length = vector->entries[index].iov_len;
        uint64_t part;

        if (skip >= length) {
            skip -= length;
            continue;
        }
        part = length - skip < size - done ? length - skip : size - done;
        if (writing ? tracee_write(actor->tid, address + skip, data + done, part)
                    : compare_bytes(replay, actor, address + skip, data + done, part, arg, done))
            return -1;
        done += part;
        skip = 0;
    }
    return 0;
}

/* Walks a call's segments with the memory of what they mean: vectors are seen before their data. */
struct placement {
    struct vector vectors[40];
    uint32_t count;
    uint64_t awaited; /* the vector whose data come next: messages may share one */
};

static const struct vector *vector_at(const struct placement *placement, uint64_t address)
{
    for (uint32_t index = 0; index < placement->count; index++)
        if (placement->vectors[index].address == address)
            return &placement->vectors[index];
    return NULL;
}

static uint8_t memory_of(const struct actor *actor, uint8_t arg)
{
    const struct sentra_call_row *row = sentra_call(actor->call.nr);

    return row && arg < row->nargs ? row->args[arg].memory : (uint8_t)SENTRA_MEM_NONE;
}

/* A vector's own bytes are an IN segment at an address that is the argument's or a message's msg_iov, seen for the first time. */
static int is_vector(const struct actor *actor, const struct placement *placement, const struct sentra_segment *segment, uint64_t message_vector)
{
    uint8_t memory = memory_of(actor, segment->arg);

    if (segment->kind != SENTRA_SEGMENT_IN || segment->size % sizeof(struct iovec) || (segment->flags & SENTRA_SEGMENT_SPILLED))
        return 0;
    if (vector_at(placement, segment->addr) && (memory == SENTRA_MEM_IOVEC || placement->awaited == segment->addr))
        return 0;
    if (memory == SENTRA_MEM_IOVEC)
        return segment->addr == actor->call.args[segment->arg];
    return (memory == SENTRA_MEM_MSGHDR || memory == SENTRA_MEM_MMSGHDR) && segment->addr == message_vector;
}

static int apply_spilled(struct sentra_replay *replay, struct actor *actor, const struct placement *placement, const struct sentra_segment *segment,
                         int writing)
{
    const struct vector *vector = vector_at(placement, segment->addr);

    for (const struct chunk *chunk = actor->chunks; chunk; chunk = chunk->next) {
        if (chunk->kind != segment->kind || chunk->arg != segment->arg || chunk->address != segment->addr)
            continue;
        if (vector ? each_part(vector, chunk->data, chunk->size, chunk->offset, replay, actor, segment->arg, writing)
            : writing ? tracee_write(actor->tid, chunk->address + chunk->offset, chunk->data, chunk->size)
                      : compare_bytes(replay, actor, chunk->address + chunk->offset, chunk->data, chunk->size, segment->arg, chunk->offset))
            return -1;
    }
    return 0;
}

/* Message headers name the vectors that follow them. */
static uint64_t next_message_vector(const struct actor *actor, const struct sentra_segment *headers, uint32_t index)
{
    uint8_t memory = memory_of(actor, headers->arg);
    uint32_t stride = memory == SENTRA_MEM_MMSGHDR ? sizeof(struct mmsghdr) : sizeof(struct msghdr);
    struct msghdr header;

    if ((index + 1) * stride > headers->size)
        return 0;
    memcpy(&header, (const unsigned char *)(headers + 1) + index * stride, sizeof header);
    return (uint64_t)(uintptr_t)header.msg_iov;
}

/* Compares (kind IN) or writes (kind OUT) all segments of that kind. */
static int apply_segments(struct sentra_replay *replay, struct actor *actor, const struct sentra_event *event, uint8_t kind)
{
    struct segment_walk walk = segments_of(event);
    struct placement placement = {.count = 0, .awaited = 0};
    const struct sentra_segment *segment, *headers = NULL;
    uint32_t message = 0;

    while ((segment = next_segment(&walk))) {
        const unsigned char *data = (const unsigned char *)(segment + 1);
        uint64_t message_vector = headers ? next_message_vector(actor, headers, message) : 0;
        const struct vector *vector = vector_at(&placement, segment->addr);
        uint8_t memory = segment->arg < 6 ? memory_of(actor, segment->arg) : 0;

        if (segment->kind == SENTRA_SEGMENT_IN && !headers && (memory == SENTRA_MEM_MSGHDR || memory == SENTRA_MEM_MMSGHDR) &&
            segment->addr == actor->call.args[segment->arg])
            headers = segment;
        if (is_vector(actor, &placement, segment, message_vector) && placement.count < 40) {
            placement.vectors[placement.count++] =
                (struct vector){(const struct iovec *)data, segment->size / (uint32_t)sizeof(struct iovec), segment->addr};
            placement.awaited = segment->addr;
            message++;
            vector = NULL;
        } else if (segment->addr == placement.awaited) {
            placement.awaited = 0;
        }
        if (segment->kind != kind)
            continue;
        if (segment->flags & SENTRA_SEGMENT_SPILLED) {
            if (apply_spilled(replay, actor, &placement, segment, kind == SENTRA_SEGMENT_OUT))
                return -1;
        } else if (vector && segment->addr == vector->address && (kind == SENTRA_SEGMENT_OUT || data != (const unsigned char *)vector->entries)) {
            if (each_part(vector, data, segment->size, 0, replay, actor, segment->arg, kind == SENTRA_SEGMENT_OUT))
                return -1;
        } else if (kind == SENTRA_SEGMENT_OUT) {
            if (segment->size && tracee_write(actor->tid, segment->addr, data, segment->size)) {
                diverge(replay, actor, SENTRA_DIVERGENCE_TASK, "the recorded bytes cannot be written to 0x%llx", (unsigned long long)segment->addr);
                return -1;
            }
        } else if (compare_bytes(replay, actor, segment->addr, data, segment->size, segment->arg, 0)) {
            return -1;
        }
    }
    return 0;
}

static uint64_t recorded_argument(const struct actor *actor, uint8_t arg)
{
    uint64_t value = actor->call.args[arg];

    if (arg == 2 && (actor->call.nr == SYS_sendmmsg || actor->call.nr == SYS_recvmmsg) && (uint32_t)value > 32)
        return 32; /* as in the recording */
    return value;
}

static const char *name_of(uint64_t nr)
{
    const struct sentra_call_row *row = sentra_call(nr);

    return row ? row->name : "an unknown call";
}

static int compare_call(struct sentra_replay *replay, struct actor *actor, const struct sentra_event *event)
{
    const uint64_t *args = event_args_of(event);

    if (actor->state != ACTOR_ENTRY) {
        static const char *const states[] = {"has not started", "is in a call", "waits for a signal", "is in clone", "is in vfork",
                                             "reads the time stamp counter", "has a fault", "is ending", "is ending", "has ended"};

        diverge(replay, actor, actor->state == ACTOR_DEAD || actor->state >= ACTOR_RUNNING ? SENTRA_DIVERGENCE_TASK : SENTRA_DIVERGENCE_STOP,
                "the recorded task called %s here; this one %s", name_of(event->nr), states[actor->state]);
        return -1;
    }
    if (event->nr != (uint32_t)actor->call.nr) {
        diverge(replay, actor, SENTRA_DIVERGENCE_CALL, "the recorded task called %s here; this one calls %s", name_of(event->nr),
                name_of(actor->call.nr));
        return -1;
    }
    for (uint8_t arg = 0; arg < event->nargs && arg < 6; arg++) {
        if (args[arg] != recorded_argument(actor, arg) &&
            differs(replay, actor, SENTRA_DIVERGENCE_ARGUMENT, arg, args[arg], actor->call.args[arg], 0, "the value"))
            return -1;
    }
    return apply_segments(replay, actor, event, SENTRA_SEGMENT_IN);
}

/* ---- answering ---- */

/* At the entry of its call: the kernel skips it and the program finds `result`. */
void answer_call(struct actor *actor, int64_t result)
{
    tracee_set_register(actor->tid, REGISTER(orig_rax), (uint64_t)-1);
    tracee_set_register(actor->tid, REGISTER(rax), (uint64_t)result);
}

/* Does the recording deliver a signal to this task, or stop it, before it goes on in user code? */
int stops_for_signal(struct sentra_replay *replay, const struct actor *actor)
{
    const struct sentra_event *next = feed_peek_of(replay, actor->inner_tid);

    if (next && next->type == SENTRA_EVENT_STOP)
        return next->nr != SIGCONT;
    return next && next->type == SENTRA_EVENT_SIGNAL && next->nargs >= 2 && event_args_of(next)[1] == PLACE_BOUNDARY;
}

/* The call's result is in place and the task is stopped: on to the next stop, unless a signal comes first. */
static void go_on(struct sentra_replay *replay, struct actor *actor)
{
    if (stops_for_signal(replay, actor))
        actor->state = ACTOR_COMPLETED;
    else
        step_on(replay, actor, 0);
}

static int executed(const struct sentra_event *event, const uint64_t *args)
{
    const struct sentra_call_row *row = sentra_call(event->nr);

    if (event->flags & (SENTRA_FLAG_REFUSED | SENTRA_FLAG_ANSWERED))
        return 0;
    switch (event->nr) {
    case SYS_mmap:
        return event->result >= 0 || event->result < -4095;
    case SYS_prctl:
        return (int)args[0] == 22 || (int)args[0] == 38; /* SET_SECCOMP, SET_NO_NEW_PRIVS */
    case SYS_seccomp:
    case SYS_set_tid_address:
        return 1;
    case SYS_prlimit64:
        return args[1] == 3 && args[2]; /* the stack's limit shapes the next image */
    case SYS_setrlimit:
        return args[0] == 3;
    case SYS_clone:
    case SYS_fork:
    case SYS_vfork:
    case 435: /* clone3: those that succeeded were seen as TASK events */
    case SYS_execve:
    case SYS_execveat:
    case SYS_shmat:
    case SYS_shmdt:
        return 0;
    default:
        return row && (row->flags & SENTRA_CALL_EXECUTE);
    }
}

/* Runs it in the kernel; the program finds the recorded result, which must be the kernel's too where memory depends on it. */
static void execute(struct sentra_replay *replay, struct actor *actor, const struct sentra_event *event, const uint64_t *args)
{
    int64_t result;

    if (event->nr == SYS_madvise && args[2] == 8)
        tracee_set_register(actor->tid, REGISTER(rdx), 4); /* MADV_FREE, as in the recording */
    if (event->nr == SYS_personality && (uint32_t)args[0] != 0xffffffffu)
        tracee_set_register(actor->tid, REGISTER(rdi), args[0] | 0x0040000u);
    if (run_call(replay, actor, &result))
        return;
    if (event->nr == SYS_madvise || event->nr == SYS_personality) {
        tracee_set_register(actor->tid, REGISTER(rdx), args[2]);
        tracee_set_register(actor->tid, REGISTER(rdi), args[0]);
    }
    if (result != event->result && (event->nr == SYS_mremap || event->nr == SYS_brk)) {
        diverge(replay, actor, SENTRA_DIVERGENCE_RESULT, "%s returned 0x%llx in the recording and 0x%llx now", name_of(event->nr),
                (unsigned long long)event->result, (unsigned long long)result);
        return;
    }
    tracee_set_register(actor->tid, REGISTER(rax), (uint64_t)event->result);
    if (!apply_segments(replay, actor, event, SENTRA_SEGMENT_OUT))
        go_on(replay, actor);
}

/* Emulated, but a signal follows: it must find the task at the exit of the call, restartable where the recording's was. */
static void answer_and_stop(struct sentra_replay *replay, struct actor *actor, const struct sentra_event *event)
{
    int64_t ignored;

    answer_call(actor, event->result);
    if (run_call(replay, actor, &ignored))
        return;
    tracee_set_register(actor->tid, REGISTER(rax), (uint64_t)event->result);
    if (event->flags & SENTRA_FLAG_RESTARTED)
        tracee_set_register(actor->tid, REGISTER(orig_rax), event->nr);
    actor->state = ACTOR_COMPLETED;
}

static void emulate(struct sentra_replay *replay, struct actor *actor, const struct sentra_event *event)
{
    if (apply_segments(replay, actor, event, SENTRA_SEGMENT_OUT))
        return;
    if (emit_output(replay, actor, event)) {
        replay->broken_output = 1; /* the reader of our output has gone: go on without it, as the recorded program did */
        replay->options.output_fds[0] = replay->options.output_fds[1] = -1;
    }
    if (stops_for_signal(replay, actor)) {
        answer_and_stop(replay, actor, event);
    } else if (event->flags & SENTRA_FLAG_RESTARTED) { /* another thread took the signal: the kernel made the call again */
        answer_call(actor, event->result == -516 ? SYS_restart_syscall : (int64_t)event->nr);
        tracee_set_register(actor->tid, REGISTER(rip), actor->call.ip - 2);
        step_on(replay, actor, 0);
    } else {
        answer_call(actor, event->result);
        step_on(replay, actor, 0);
    }
}

/* The parent of a new task comes out of its clone. */
static void finish_clone(struct sentra_replay *replay, struct actor *actor, const struct sentra_event *event)
{
    int64_t result = 0;

    if (run_call(replay, actor, &result))
        return;
    if (result != event->result) {
        diverge(replay, actor, SENTRA_DIVERGENCE_RESULT, "the new task is %lld now and was %lld in the recording", (long long)result,
                (long long)event->result);
        return;
    }
    if (actor->clone_registers.rip) { /* a clone3 that was executed as clone */
        struct user_regs_struct regs = actor->clone_registers;

        regs.rax = (uint64_t)result;
        ptrace(PTRACE_SETREGS, actor->tid, 0, &regs);
        actor->clone_registers.rip = 0;
    }
    if (!apply_segments(replay, actor, event, SENTRA_SEGMENT_OUT)) /* a pidfd has the recorded number */
        go_on(replay, actor);
}

static void resume_syscall(const struct actor *actor)
{
    ptrace(PTRACE_SYSCALL, actor->tid, 0, 0L);
}

/* vfork's parent was let into the kernel already; wait for it to come out. */
static void finish_vfork(struct sentra_replay *replay, struct actor *actor, const struct sentra_event *event)
{
    struct stop stop;
    int status;

    while (!actor->vfork_done) {
        if (!await_stop(replay, actor, &status))
            return;
        stop = classify_stop(actor->tid, status);
        if (stop.kind == STOP_SYSCALL_EXIT)
            break;
        if (stop.kind == STOP_DEAD || stop.kind == STOP_EXIT) {
            diverge(replay, actor, SENTRA_DIVERGENCE_STOP, "the recorded task returned from vfork here; this one ended");
            return;
        }
        resume_syscall(actor); /* the kernel's own signals are not the recording's */
    }
    actor->vfork_done = 0;
    tracee_set_register(actor->tid, REGISTER(rax), (uint64_t)event->result);
    if (!apply_segments(replay, actor, event, SENTRA_SEGMENT_OUT))
        go_on(replay, actor);
}

/* A SYSCALL event. */
void apply_call(struct sentra_replay *replay, struct actor *actor, const struct sentra_event *event)
{
    const struct sentra_call_row *row = sentra_call(event->nr);
    const uint64_t *args = event_args_of(event);

    if (event->flags & SENTRA_FLAG_IN_FLIGHT) {
        ; /* it ended inside the call (a vfork too): its EXIT event comes */
    } else if (actor->state == ACTOR_CLONING) {
        finish_clone(replay, actor, event);
    } else if (actor->state == ACTOR_WAITING) {
        finish_vfork(replay, actor, event);
    } else if (!replay->started && (event->nr == SYS_execve || event->nr == SYS_execveat)) {
        actor->exec_expected = 1; /* the program's own first execve: made by the launcher */
    } else if (compare_call(replay, actor, event)) {
        ;
    } else if (row && (row->flags & SENTRA_CALL_NO_RETURN)) {
        actor->state = ACTOR_RUNNING;
        ptrace(PTRACE_CONT, actor->tid, 0, 0L);
    } else if ((event->nr == SYS_execve || event->nr == SYS_execveat) && event->result == 0) {
        actor->exec_expected = 1;
    } else if (event->nr == SYS_mmap && executed(event, args)) {
        if (!apply_mapping(replay, actor, event))
            go_on(replay, actor);
    } else if (executed(event, args)) {
        execute(replay, actor, event, args);
    } else if ((event->nr == SYS_shmat || event->nr == SYS_shmdt) && (event->result >= 0 || event->result < -4095)) {
        diverge(replay, actor, SENTRA_DIVERGENCE_UNSUPPORTED, "the program uses System V shared memory, which cannot be replayed yet");
    } else {
        apply_shared_write(replay, actor, event);
        emulate(replay, actor, event);
    }
    if (!replay->diverged)
        descriptors_follow(replay, actor, event);
    chunks_drop(actor);
}
