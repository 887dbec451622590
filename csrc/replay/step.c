/*
 * step.c - letting a task run until its next stop, and running single calls in it.
 *
 * step_on is the only place where user code runs. What ended the stretch becomes the actor's state. A stretch that the recording ended by
 * force (SCHED, or a signal in the middle of user code) is ended at the recorded instruction: at a proven spin every hit of a
 * breakpoint there is the same state once two hits in a row have been.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../intercept/run.h"
#include "replay.h"

#define SPIN_HITS_MAX 64

static uint64_t clock_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000ull + (uint64_t)now.tv_nsec;
}

/* Waits for this task to stop or die. 1: *status is filled. 0: it takes too long, or the replay is to stop. */
int await_stop(struct sentra_replay *replay, struct actor *actor, int *status)
{
    uint64_t since = clock_ns();

    for (;;) {
        pid_t got = waitpid(actor->tid, status, __WALL);

        if (got == actor->tid)
            return 1;
        if (got < 0 && errno != EINTR) {
            *status = 0;
            actor->state = ACTOR_DEAD;
            return 0;
        }
        if (atomic_load(&replay->stop_requested))
            return 0;
        if (replay->options.hang_ns && clock_ns() - since > replay->options.hang_ns)
            return 0;
    }
}

static void read_entry(struct actor *actor)
{
    struct syscall_info info;

    if (tracee_call_info(actor->tid, &info, INFO_SECCOMP)) {
        actor->state = ACTOR_RUNNING; /* killed meanwhile */
        return;
    }
    actor->call.nr = info.seccomp.nr;
    for (int index = 0; index < 6; index++)
        actor->call.args[index] = info.seccomp.args[index];
    actor->call.ip = info.instruction_pointer;
    actor->call.sp = info.stack_pointer;
    actor->state = ACTOR_ENTRY;
}

static int at_tsc(struct actor *actor)
{
    struct user_regs_struct regs;
    unsigned char code[3] = {0};

    if (actor->fault.si_signo != SIGSEGV || actor->fault.si_code != SI_KERNEL || ptrace(PTRACE_GETREGS, actor->tid, 0, &regs))
        return 0;
    if (tracee_read(actor->tid, regs.rip, code, 3) < 2)
        return 0;
    return code[0] == 0x0f && (code[1] == 0x31 || (code[1] == 0x01 && code[2] == 0xf9));
}

/* What the stop means for a task in user code. 0: it is settled; 1: nothing of interest, go on with that signal. */
static int settle(struct sentra_replay *replay, struct actor *actor, int status)
{
    struct stop stop = classify_stop(actor->tid, status);

    (void)replay;
    switch (stop.kind) {
    case STOP_SECCOMP:
        read_entry(actor);
        return 0;
    case STOP_SIGNAL:
        if (ptrace(PTRACE_GETSIGINFO, actor->tid, 0, &actor->fault))
            return 0;
        if (!tracee_is_fault(&actor->fault) || (actor->fault.si_code == 4 && actor->fault.si_signo == SIGTRAP && !actor->breakpoint_set))
            return 1; /* the real end of a child, a real timer: the recorded signals come from the trace */
        actor->state = at_tsc(actor) ? ACTOR_TSC : ACTOR_SIGNAL;
        return 0;
    case STOP_EXIT:
        actor->state = ACTOR_EXITING;
        return 0;
    case STOP_DEAD:
        actor->state = ACTOR_DEAD;
        return 0;
    default:
        return 1;
    }
}

static void run_to_stop(struct sentra_replay *replay, struct actor *actor, int signo)
{
    int status;

    do {
        actor->state = ACTOR_RUNNING;
        if (ptrace(PTRACE_CONT, actor->tid, 0, (long)signo) && errno != ESRCH)
            return;
        signo = 0;
        if (!await_stop(replay, actor, &status)) {
            if (actor->state != ACTOR_DEAD && !atomic_load(&replay->stop_requested))
                diverge(replay, actor, SENTRA_DIVERGENCE_HANG, "the task made no system call for longer than a stretch of the recording may take");
            return;
        }
    } while (settle(replay, actor, status));
}

/* ---- stretches that ended in the middle of user code ---- */

static void breakpoint(struct actor *actor, uint64_t ip)
{
    actor->breakpoint_set = ip != 0;
    tracee_debug_register(actor->tid, 0, ip);
    tracee_debug_register(actor->tid, 7, ip ? 1 : 0);
}

/* Runs to the recorded instruction; `proven`: until the complete state there repeats. */
static void run_to_instruction(struct sentra_replay *replay, struct actor *actor, uint64_t ip, int proven, int signo)
{
    struct user_regs_struct regs;
    uint64_t hash, before = 0;

    breakpoint(actor, ip);
    for (int hits = 0; hits < SPIN_HITS_MAX; hits++) {
        run_to_stop(replay, actor, signo);
        signo = 0;
        if (actor->state != ACTOR_SIGNAL || actor->fault.si_signo != SIGTRAP || actor->fault.si_code != 4 /* TRAP_HWBKPT */) {
            if (!replay->diverged && (actor->state == ACTOR_ENTRY || actor->state == ACTOR_SIGNAL))
                diverge(replay, actor, SENTRA_DIVERGENCE_STOP, "the recorded thread was in a loop at 0x%llx here; this one left it",
                        (unsigned long long)ip);
            return;
        }
        if (!proven)
            break;
        if (ptrace(PTRACE_GETREGS, actor->tid, 0, &regs))
            return;
        hash = tracee_state_hash(actor->tid, &regs);
        if (hash && hash == before)
            break;
        before = hash;
    }
    breakpoint(actor, 0);
    actor->state = ACTOR_FRESH;
}

/* A signal without a handler ended the stretch somewhere: give it a moment to come to a stop by itself, then stop it. */
static void run_a_while(struct sentra_replay *replay, struct actor *actor, int signo)
{
    struct timespec pause = {0, 1000000};
    int status;

    actor->state = ACTOR_RUNNING;
    ptrace(PTRACE_CONT, actor->tid, 0, (long)signo);
    for (int rounds = 0;; rounds++) {
        pid_t got = waitpid(actor->tid, &status, __WALL | WNOHANG);

        if (got < 0) {
            actor->state = ACTOR_DEAD;
            return;
        }
        if (got == actor->tid) {
            if (!settle(replay, actor, status))
                return;
            actor->state = ACTOR_FRESH; /* our interrupt */
            return;
        }
        if (rounds == 100)
            ptrace(PTRACE_INTERRUPT, actor->tid, 0, 0L);
        if (rounds > 2000)
            return;
        nanosleep(&pause, NULL);
    }
}

/* The task goes on in user code (with a signal, at a signal-delivery stop) until its next stop. */
void step_on(struct sentra_replay *replay, struct actor *actor, int signo)
{
    const struct sentra_event *next;

    if (replay->diverged || actor->state == ACTOR_DEAD)
        return;
    next = feed_peek_of(replay, actor->inner_tid);
    if (next && next->nargs >= 2) {
        const uint64_t *args = event_args_of(next);

        if (next->type == SENTRA_EVENT_SCHED && next->nr != SCHED_START) {
            run_to_instruction(replay, actor, args[1], next->nr == SCHED_SPIN, signo);
            return;
        }
        if (next->type == SENTRA_EVENT_SIGNAL && args[1] == PLACE_SPIN) {
            run_to_instruction(replay, actor, args[0], 1, signo);
            return;
        }
        if (next->type == SENTRA_EVENT_SIGNAL && args[1] == PLACE_ANYWHERE) {
            run_a_while(replay, actor, signo);
            return;
        }
    }
    run_to_stop(replay, actor, signo);
}

/* ---- single calls ---- */

/* The call at whose entry the task is runs in the kernel; stops at its exit. 0: *result; -1: the task died, or stopped otherwise. */
int run_call(struct sentra_replay *replay, struct actor *actor, int64_t *result)
{
    struct syscall_info info;
    int status;

    do {
        if (ptrace(PTRACE_SYSCALL, actor->tid, 0, 0L) || !await_stop(replay, actor, &status))
            return -1;
        if (WIFEXITED(status) || WIFSIGNALED(status)) {
            actor->state = ACTOR_DEAD;
            return -1;
        }
        if (status >> 8 == (SIGTRAP | PTRACE_EVENT_EXIT << 8)) {
            actor->state = ACTOR_EXITING;
            return -1;
        }
    } while (classify_stop(actor->tid, status).kind != STOP_SYSCALL_EXIT);
    if (tracee_call_info(actor->tid, &info, INFO_EXIT))
        return -1;
    *result = info.exit.rval;
    return 0;
}

/* At the entry of its call, the task makes another one first; afterwards it is at the entry of its own call again. */
int inject_call(struct sentra_replay *replay, struct actor *actor, uint64_t nr, const uint64_t args[6], int64_t *result)
{
    struct user_regs_struct saved, regs;
    int status;

    if (ptrace(PTRACE_GETREGS, actor->tid, 0, &saved))
        return -1;
    regs = saved;
    regs.orig_rax = nr;
    regs.rdi = args[0];
    regs.rsi = args[1];
    regs.rdx = args[2];
    regs.r10 = args[3];
    regs.r8 = args[4];
    regs.r9 = args[5];
    if (ptrace(PTRACE_SETREGS, actor->tid, 0, &regs) || run_call(replay, actor, result))
        return -1;
    saved.rax = actor->call.nr;
    saved.rip = actor->call.ip - 2; /* the syscall instruction once more */
    saved.orig_rax = (unsigned long)-1;
    if (ptrace(PTRACE_SETREGS, actor->tid, 0, &saved) || ptrace(PTRACE_CONT, actor->tid, 0, 0L) || !await_stop(replay, actor, &status))
        return -1;
    if (classify_stop(actor->tid, status).kind != STOP_SECCOMP)
        return -1;
    return 0;
}
