/* signal.c - delivering recorded signals where they were delivered, and feeding time stamps. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../intercept/run.h"
#include "replay.h"

/* Without a handler these do nothing, or stop the task, which a replay does not: stopping has no effect but on time. */
static int has_no_effect(int signo)
{
    return signo == SIGCHLD || signo == SIGURG || signo == SIGWINCH || signo == SIGCONT || signo == SIGSTOP || signo == SIGTSTP ||
           signo == SIGTTIN || signo == SIGTTOU;
}

static int is_ignored(const struct actor *actor, int signo)
{
    char text[4096];
    const char *line;

    if (tracee_status(actor->tid, text, sizeof text))
        return 0;
    line = strstr(text, "\nSigIgn:");
    return line ? (int)(strtoull(line + 8, NULL, 16) >> (signo - 1) & 1) : 0;
}

static int stops_task(int signo)
{
    return signo == SIGSTOP || signo == SIGTSTP || signo == SIGTTIN || signo == SIGTTOU;
}

/* Nothing is delivered: a call that the signal interrupted is made again, as the kernel would have it. */
static void restart_by_hand(struct actor *actor)
{
    struct user_regs_struct regs;

    if (actor->state != ACTOR_COMPLETED || ptrace(PTRACE_GETREGS, actor->tid, 0, &regs))
        return;
    if ((int64_t)regs.rax > -512 || (int64_t)regs.rax < -516)
        return;
    regs.rax = (int64_t)regs.rax == -516 ? SYS_restart_syscall : actor->call.nr;
    regs.rip = actor->call.ip - 2;
    regs.orig_rax = (unsigned long)-1;
    ptrace(PTRACE_SETREGS, actor->tid, 0, &regs);
}

static void go_on_unsignalled(struct sentra_replay *replay, struct actor *actor)
{
    if (actor->state == ACTOR_ENTRY)
        return; /* it has reached its next call already */
    restart_by_hand(actor);
    step_on(replay, actor, 0);
}

/* A SCHED event that begins a turn: the task goes on from where it was stopped. */
void apply_start(struct sentra_replay *replay, struct actor *actor)
{
    if (actor->state != ACTOR_FRESH && actor->state != ACTOR_COMPLETED)
        return;
    if (stops_for_signal(replay, actor))
        actor->state = ACTOR_COMPLETED; /* a signal comes first, or another stop */
    else
        go_on_unsignalled(replay, actor);
}

/* Makes the kernel begin a delivery and replaces what it delivers by the recorded signal. */
static void deliver(struct sentra_replay *replay, struct actor *actor, int signo, siginfo_t *info)
{
    int status;

    syscall(SYS_tgkill, actor->tgid, actor->tid, signo);
    for (;;) {
        struct stop stop;

        if (ptrace(PTRACE_CONT, actor->tid, 0, 0L) || !await_stop(replay, actor, &status))
            return;
        stop = classify_stop(actor->tid, status);
        if (stop.kind == STOP_SIGNAL && stop.signo == signo)
            break;
        if (stop.kind != STOP_TRAP && stop.kind != STOP_GROUP) {
            if (stop.kind == STOP_DEAD)
                actor->state = ACTOR_DEAD;
            else
                diverge(replay, actor, SENTRA_DIVERGENCE_STOP, "signal %d was delivered here in the recording and is not now", signo);
            return;
        }
    }
    ptrace(PTRACE_SETSIGINFO, actor->tid, 0, info);
    step_on(replay, actor, signo);
}

/* A call that swaps the signal mask while it waits was interrupted: really suspend with that mask, so that the kernel's state is the same. */
static uint64_t swapped_mask(const struct actor *actor)
{
    const uint64_t *args = actor->call.args;
    uint64_t pair[2];

    switch (actor->call.nr) {
    case SYS_rt_sigsuspend:
        return args[0];
    case SYS_ppoll:
        return args[3];
    case SYS_epoll_pwait:
    case SYS_epoll_pwait2:
        return args[4];
    case SYS_pselect6:
        return args[5] && tracee_read(actor->tid, args[5], pair, sizeof pair) == (int)sizeof pair ? pair[0] : 0;
    default:
        return 0;
    }
}

/* At the exit of the emulated call: run sigsuspend with the signal pending, then continue as from the recorded call. */
static int suspend_with_mask(struct sentra_replay *replay, struct actor *actor, uint64_t mask, int signo)
{
    struct user_regs_struct saved, regs;
    int64_t result;
    int status;

    if (ptrace(PTRACE_GETREGS, actor->tid, 0, &saved))
        return -1;
    regs = saved;
    regs.rip = actor->call.ip - 2;
    regs.rax = SYS_rt_sigsuspend;
    regs.orig_rax = (unsigned long)-1;
    regs.rdi = mask;
    regs.rsi = 8;
    if (ptrace(PTRACE_SETREGS, actor->tid, 0, &regs) || ptrace(PTRACE_CONT, actor->tid, 0, 0L) || !await_stop(replay, actor, &status) ||
        classify_stop(actor->tid, status).kind != STOP_SECCOMP)
        return -1;
    syscall(SYS_tgkill, actor->tgid, actor->tid, signo);
    if (run_call(replay, actor, &result))
        return -1;
    return ptrace(PTRACE_SETREGS, actor->tid, 0, &saved) ? -1 : 0;
}

static void fault(struct sentra_replay *replay, struct actor *actor, const siginfo_t *info)
{
    if ((actor->state != ACTOR_SIGNAL && actor->state != ACTOR_TSC) || actor->fault.si_signo != info->si_signo) {
        diverge(replay, actor, SENTRA_DIVERGENCE_STOP, "the recorded task had signal %d (a fault) here; this one had not", info->si_signo);
        return;
    }
    step_on(replay, actor, info->si_signo);
}

/* A SIGNAL event: args = instruction, enum signal_place. */
void apply_signal(struct sentra_replay *replay, struct actor *actor, const struct sentra_event *event)
{
    const struct sentra_segment *recorded = find_segment(event, SENTRA_SEGMENT_INFO, 0);
    const uint64_t *args = event_args_of(event);
    siginfo_t info;
    int signo = (int)event->nr;
    uint64_t mask;

    if (!recorded || recorded->size != sizeof info || event->nargs < 2) {
        diverge(replay, actor, SENTRA_DIVERGENCE_TRACE, "a signal is incomplete in the trace");
        return;
    }
    memcpy(&info, recorded + 1, sizeof info);
    if (args[1] == PLACE_FAULT) {
        fault(replay, actor, &info);
        return;
    }
    if (actor->state == ACTOR_DEAD || actor->state == ACTOR_RUNNING || actor->state == ACTOR_EXITING)
        return; /* it was ending anyway */
    if (args[1] == PLACE_BEFORE && actor->state == ACTOR_ENTRY) {
        struct user_regs_struct regs;

        if (ptrace(PTRACE_GETREGS, actor->tid, 0, &regs))
            return;
        regs.orig_rax = (unsigned long)-1;
        regs.rax = actor->call.nr;
        regs.rip = actor->call.ip - 2;
        ptrace(PTRACE_SETREGS, actor->tid, 0, &regs);
    } else if (args[1] == PLACE_BEFORE) {
        diverge(replay, actor, SENTRA_DIVERGENCE_STOP, "signal %d was delivered before a call in the recording; there is no call now", signo);
        return;
    } else if (args[1] == PLACE_ANYWHERE && actor->state == ACTOR_ENTRY) {
        if (!tracee_has_handler(actor->tid, signo) && (has_no_effect(signo) || is_ignored(actor, signo)))
            return; /* it came on the way to this call, which is still to be made */
        answer_call(actor, -EINTR); /* it only ends or stops the task, or the grade was lost */
    }
    if (!tracee_has_handler(actor->tid, signo) && (has_no_effect(signo) || is_ignored(actor, signo))) {
        if (stops_task(signo) && !is_ignored(actor, signo))
            return; /* it goes on when its turn begins again */
        go_on_unsignalled(replay, actor);
        return;
    }
    mask = args[1] == PLACE_BOUNDARY && actor->state == ACTOR_COMPLETED ? swapped_mask(actor) : 0;
    if (mask && suspend_with_mask(replay, actor, mask, signo))
        return;
    deliver(replay, actor, signo, &info);
}

/* A TSC event: the task is at its time stamp instruction. */
void apply_tsc(struct sentra_replay *replay, struct actor *actor, const struct sentra_event *event)
{
    struct user_regs_struct regs;
    uint64_t counter = (uint64_t)event->result;

    if (actor->state != ACTOR_TSC || ptrace(PTRACE_GETREGS, actor->tid, 0, &regs)) {
        diverge(replay, actor, SENTRA_DIVERGENCE_STOP, "the recorded task read the time stamp counter here; this one did not");
        return;
    }
    if (event->nargs && regs.rip != event_args_of(event)[0]) {
        diverge(replay, actor, SENTRA_DIVERGENCE_STOP, "the time stamp counter is read at another instruction than in the recording");
        return;
    }
    regs.rax = counter & 0xffffffffu;
    regs.rdx = counter >> 32;
    if (event->nr)
        regs.rcx = event->nargs > 1 ? event_args_of(event)[1] : 0;
    regs.rip += event->nr ? 3 : 2;
    ptrace(PTRACE_SETREGS, actor->tid, 0, &regs);
    step_on(replay, actor, 0);
}
