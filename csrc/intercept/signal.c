/*
 * signal.c - signals are delivered only where replay can deliver them again.
 *
 * Synchronous ones (a fault) come at their instruction. A signal that finds its task on the way out of a recorded call is delivered
 * there. One that finds it in the middle of user code and has a handler is held until the task's next recorded call, which is
 * cancelled, delivered before, and run again; without a handler it only kills, stops or does nothing, so it is let through.
 * The faults of a trapped time stamp counter are not signals at all: the instruction is emulated and recorded.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <x86intrin.h>

#include "run.h"

#define HOLD_IMPATIENT_NS 400000000ull  /* someone wants the program to react: interrupt, alarm, terminate */
#define HOLD_PATIENT_NS 5000000000ull

void signal_record(struct sentra_run *run, struct task *task, const siginfo_t *info, uint64_t ip, uint32_t place)
{
    uint64_t args[2] = {ip, place};
    struct sentra_event *event = event_begin(run, (uint32_t)sizeof *event + 16 + 16 + 128, SENTRA_EVENT_SIGNAL, task);

    if (!event)
        return;
    event->nr = (uint32_t)info->si_signo;
    event_args(event, args, 2);
    memcpy(event_segment(event, 0, 128, SENTRA_SEGMENT_INFO, 0, 0), info, 128);
    event_commit(run, event);
    run->stats.signals++;
}

/* ---- the time stamp counter ---- */

#define MASK_SEGV (1ull << (SIGSEGV - 1))

/* Remembers whether the program has SIGSEGV blocked: the kernel unblocks it to report a fault, also the faults that we make. */
void signal_read_mask(struct task *task)
{
    uint64_t mask;

    if (!ptrace(PTRACE_GETSIGMASK, task->tid, sizeof mask, &mask))
        task->segv_blocked = (mask & MASK_SEGV) != 0;
}

static void block_again(const struct task *task)
{
    uint64_t mask;

    if (!task->segv_blocked || ptrace(PTRACE_GETSIGMASK, task->tid, sizeof mask, &mask))
        return;
    mask |= MASK_SEGV;
    ptrace(PTRACE_SETSIGMASK, task->tid, sizeof mask, &mask);
}

static int emulate_tsc(struct sentra_run *run, struct task *task, struct user_regs_struct *regs)
{
    unsigned char code[3] = {0};
    uint32_t aux = 0;
    uint64_t counter, args[2];
    int precise;

    if (task->tsc_denied || peek(task, regs->rip, code, 3) < 2 || code[0] != 0x0f)
        return 0;
    precise = code[1] == 0x01 && code[2] == 0xf9;
    if (code[1] != 0x31 && !precise)
        return 0;
    counter = __rdtsc();
    args[0] = regs->rip;
    args[1] = aux;
    record_simple(run, task, SENTRA_EVENT_TSC, (uint32_t)precise, (int64_t)counter, args, 2);
    regs->rax = counter & 0xffffffffu;
    regs->rdx = counter >> 32;
    if (precise)
        regs->rcx = aux;
    regs->rip += precise ? 3 : 2;
    ptrace(PTRACE_SETREGS, task->tid, 0, regs);
    block_again(task);
    run->stats.tsc_traps++;
    return 1;
}

/* ---- holding and delivering ---- */

static int at_boundary(const struct task *task, const struct user_regs_struct *regs)
{
    return task->at_boundary && regs->rip == task->boundary_ip && regs->rsp == task->boundary_sp &&
           (int64_t)regs->rax == task->boundary_result;
}

static void deliver(struct sentra_run *run, struct task *task, const siginfo_t *info, uint64_t ip, enum signal_place place)
{
    signal_record(run, task, info, ip, place);
    resume_user(run, task, info->si_signo);
}

static int hold(struct task *task, const siginfo_t *info)
{
    if (task->held_count == HELD_SIGNALS_MAX)
        return -1;
    for (uint8_t index = 0; index < task->held_count; index++)
        if (info->si_signo < 32 && task->held[index].info.si_signo == info->si_signo)
            return 0; /* standard signals do not queue */
    task->held[task->held_count].info = *info;
    task->held[task->held_count++].since_ns = now_ns();
    return 0;
}

/* The signal we sent to ourselves has arrived: what is delivered is the held one. */
static void deliver_held(struct sentra_run *run, struct task *task, uint64_t ip)
{
    siginfo_t info = task->held[0].info;

    task->injecting = 0;
    task->held_count--;
    memmove(&task->held[0], &task->held[1], task->held_count * sizeof task->held[0]);
    ptrace(PTRACE_SETSIGINFO, task->tid, 0, &info);
    deliver(run, task, &info, ip, task->inject_place);
}

/* The task is stopped where its first held signal may be delivered: make the kernel begin a delivery. */
void signal_inject_held(struct sentra_run *run, struct task *task, enum signal_place place)
{
    task->inject_place = (uint8_t)place;
    task->injecting = (uint8_t)task->held[0].info.si_signo;
    syscall(SYS_tgkill, task->tgid, task->tid, task->held[0].info.si_signo);
    resume_user(run, task, 0);
}

int signal_hold_overdue(const struct task *task, uint64_t now)
{
    for (uint8_t index = 0; index < task->held_count; index++) {
        int signo = task->held[index].info.si_signo;
        int impatient = signo == SIGINT || signo == SIGTERM || signo == SIGQUIT || signo == SIGHUP || signo == SIGALRM ||
                        signo == SIGVTALRM || signo == SIGPROF;

        if (!task->injecting && now - task->held[index].since_ns > (impatient ? HOLD_IMPATIENT_NS : HOLD_PATIENT_NS))
            return 1;
    }
    return 0;
}

/* A signal-delivery stop. */
void signal_stop(struct sentra_run *run, struct task *task, int signo)
{
    struct user_regs_struct regs;
    siginfo_t info;

    if (ptrace(PTRACE_GETSIGINFO, task->tid, 0, &info) || ptrace(PTRACE_GETREGS, task->tid, 0, &regs))
        return; /* killed meanwhile */
    if (signo == SIGSEGV && info.si_code == SI_KERNEL && run->options.hide_vdso && emulate_tsc(run, task, &regs)) {
        resume_user(run, task, 0);
        return;
    }
    if (signo == SIGTRAP && info.si_code == 4 /* TRAP_HWBKPT: a breakpoint of ours that was hit as it was taken away */) {
        uint64_t since = run->user_since_ns;

        resume_user(run, task, 0);
        run->user_since_ns = since;
        return;
    }
    if (task->injecting == signo && task->held_count && (signo < 32 || info.si_code == SI_TKILL)) { /* standard ones merge with ours */
        deliver_held(run, task, regs.rip);
    } else if (tracee_is_fault(&info)) {
        deliver(run, task, &info, regs.rip, PLACE_FAULT);
    } else if (at_boundary(task, &regs)) {
        deliver(run, task, &info, regs.rip, PLACE_BOUNDARY);
    } else if (!tracee_has_handler(task->tid, signo) || hold(task, &info)) {
        deliver(run, task, &info, regs.rip, PLACE_ANYWHERE);
    } else {
        uint64_t since = run->user_since_ns;

        resume_user(run, task, 0);
        run->user_since_ns = since;
    }
}
