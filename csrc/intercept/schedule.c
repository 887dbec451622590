/*
 * schedule.c - one thread of the run in user code at a time.
 *
 * A task takes the turn, runs user code, and gives the turn up before a call that may wait, before any call when others have waited
 * long enough, when it stops, and when it dies. Finished calls queue for the turn; a call is recorded when its task gets the turn.
 * So every stretch of user code follows directly on an event of its task, and the order of events is the order in which user code
 * ran.
 *
 * A thread that computes without calls only delays the others; one that waits in user space for another thread would wait for ever,
 * so after a while the engine proves that it spins: the thread runs against a hardware breakpoint at its own instruction, and when
 * registers and all writable memory are the same at every hit, any hit may end its turn. When that cannot be proved in
 * PREEMPT_AFTER_NS the turn is taken anyway and the run loses the grade `exact`.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <unistd.h>

#include "run.h"

#define TURN_NS 3000000ull           /* others may run after this much of a turn, at a call */
#define TURN_CALLS 64u
#define SPIN_AFTER_NS 80000000ull    /* user code without a call before a spin is suspected */
#define PREEMPT_AFTER_NS 10000000000ull
#define PREEMPT_INEXACT_NS 20000000ull /* time slice once the grade is lost anyway */
#define PROBE_HIT_NS 300000000ull    /* a loop that takes longer than this for one turn is computing */
#define OUTPUT_WAITS_NS 10000000ull
#define PROBE_EQUAL 3u
#define PROBE_HITS 12u

void turn_take(struct sentra_run *run, struct task *task)
{
    if (run->options.serialise)
        run->holder = task;
    run->turn_since_ns = now_ns();
    run->turn_calls = 0;
}

void turn_release(struct sentra_run *run, struct task *task)
{
    if (run->holder == task)
        run->holder = NULL;
}

void ready_push(struct sentra_run *run, struct task *task, enum task_pending pending)
{
    task->state = TASK_READY;
    task->pending = pending;
    task->ready_next = NULL;
    task->queued = 1;
    if (run->ready_tail)
        run->ready_tail->ready_next = task;
    else
        run->ready_head = task;
    run->ready_tail = task;
}

struct task *ready_pop(struct sentra_run *run)
{
    struct task *task = run->ready_head;

    if (task) {
        run->ready_head = task->ready_next;
        if (!run->ready_head)
            run->ready_tail = NULL;
        task->queued = 0;
    }
    return task;
}

void ready_remove(struct sentra_run *run, struct task *task)
{
    struct task *before = NULL;

    if (!task->queued)
        return;
    for (struct task *at = run->ready_head; at; before = at, at = at->ready_next) {
        if (at != task)
            continue;
        if (before)
            before->ready_next = at->ready_next;
        else
            run->ready_head = at->ready_next;
        if (run->ready_tail == at)
            run->ready_tail = before;
        break;
    }
    task->queued = 0;
}

/* Back to user code, delivering `signo` when at a signal-delivery stop. */
void resume_user(struct sentra_run *run, struct task *task, int signo)
{
    task->state = TASK_USER;
    run->user_since_ns = now_ns();
    run->probe_after_ns = 0;
    ptrace(PTRACE_CONT, task->tid, 0, (long)signo);
}

/* Into (or on in) a system call, to stop at its exit. */
void resume_call(struct sentra_run *run, struct task *task)
{
    ptrace(PTRACE_SYSCALL, task->tid, 0, 0L);
}

/* At a call's entry: have others waited for long enough? */
int turn_is_over(const struct sentra_run *run)
{
    return run->options.serialise && run->ready_head &&
           (run->turn_calls >= TURN_CALLS || now_ns() - run->turn_since_ns > TURN_NS);
}

/* ---- proving a spin ---- */

/* The task is stopped: take the breakpoint away. */
static void probe_end(struct sentra_run *run, struct task *task)
{
    tracee_debug_register(task->tid, 7, 0);
    tracee_debug_register(task->tid, 0, 0);
    tracee_debug_register(task->tid, 6, 0);
    run->probe.phase = PROBE_NONE;
}

void probe_cancel(struct sentra_run *run)
{
    struct task *task = task_find(run, run->probe.tid);

    if (task)
        probe_end(run, task);
    run->probe.phase = PROBE_NONE;
}

static void probe_give_up(struct sentra_run *run, struct task *task)
{
    uint64_t since = run->user_since_ns, now = now_ns();

    probe_end(run, task);
    resume_user(run, task, 0);
    run->user_since_ns = since;
    run->probe_after_ns = now + (now - since); /* twice as long before the next try */
}

/* Ends the turn here. Held signals are delivered here too. */
static void take_turn_away(struct sentra_run *run, struct task *task, enum sched_reason reason)
{
    uint64_t args[4] = {reason, run->probe.ip, run->probe.hash, run->probe.hits};

    record_simple(run, task, SENTRA_EVENT_SCHED, reason, 0, args, 4);
    run->stats.preemptions++;
    if (task->held_count) {
        signal_inject_held(run, task, reason == SCHED_SPIN ? PLACE_SPIN : PLACE_ANYWHERE);
        return;
    }
    turn_release(run, task);
    ready_push(run, task, PENDING_START);
}

static void probe_interrupted(struct sentra_run *run, struct task *task)
{
    struct user_regs_struct regs;
    struct probe *probe = &run->probe;

    if (ptrace(PTRACE_GETREGS, task->tid, 0, &regs))
        return;
    probe->ip = regs.rip;
    if (probe->force) {
        if (!run->inexact)
            record_note(run, task, SENTRA_NOTE_INEXACT, "a thread ran %llu ms without a system call while %s; its turn was ended at 0x%llx",
                        (unsigned long long)((now_ns() - run->user_since_ns) / 1000000), task->held_count ? "a signal waited for it" : "others waited",
                        (unsigned long long)regs.rip);
        probe_end(run, task);
        take_turn_away(run, task, SCHED_FORCED);
        return;
    }
    if (tracee_debug_register(task->tid, 0, regs.rip) || tracee_debug_register(task->tid, 7, 1)) {
        probe_give_up(run, task);
        return;
    }
    probe->phase = PROBE_HIT;
    probe->hits = probe->equal = 0;
    probe->started_ns = now_ns();
    ptrace(PTRACE_CONT, task->tid, 0, 0L);
}

static void probe_hit(struct sentra_run *run, struct task *task)
{
    struct probe *probe = &run->probe;
    struct user_regs_struct regs;
    uint64_t hash;

    if (ptrace(PTRACE_GETREGS, task->tid, 0, &regs))
        return;
    hash = tracee_state_hash(task->tid, &regs);
    probe->hits++;
    if (!hash) {
        probe_give_up(run, task);
        return;
    }
    if (probe->hits > 1 && hash == probe->hash) {
        probe->equal++;
    } else {
        probe->equal = 0;
        probe->hash = hash;
    }
    if (probe->equal >= PROBE_EQUAL) {
        probe_end(run, task);
        take_turn_away(run, task, SCHED_SPIN);
    } else if (probe->hits >= PROBE_HITS) {
        probe_give_up(run, task);
    } else {
        probe->started_ns = now_ns();
        ptrace(PTRACE_CONT, task->tid, 0, 0L);
    }
}

/* A stop of the task that is being probed. Returns 1 when the stop was the probe's own and is dealt with. */
int probe_stop(struct sentra_run *run, struct task *task, const struct stop *stop)
{
    struct probe *probe = &run->probe;

    if (probe->phase == PROBE_NONE || probe->tid != task->tid)
        return 0;
    if (stop->kind == STOP_TRAP) {
        if (probe->phase == PROBE_INTERRUPT)
            probe_interrupted(run, task);
        else
            probe_give_up(run, task);
        return 1;
    }
    if (stop->kind == STOP_SIGNAL && stop->signo == SIGTRAP && probe->phase == PROBE_HIT) {
        siginfo_t info;

        if (!ptrace(PTRACE_GETSIGINFO, task->tid, 0, &info) && info.si_code == 4 /* TRAP_HWBKPT */) {
            probe_hit(run, task);
            return 1;
        }
    }
    if (stop->kind != STOP_DEAD)
        probe_end(run, task); /* it made a call, got a signal or ended: it does not spin */
    else
        probe->phase = PROBE_NONE;
    return 0;
}

static void probe_start(struct sentra_run *run, struct task *task, int force)
{
    run->probe = (struct probe){.phase = PROBE_INTERRUPT, .tid = task->tid, .started_ns = now_ns(), .force = (uint8_t)force};
    if (ptrace(PTRACE_INTERRUPT, task->tid, 0, 0L))
        run->probe.phase = PROBE_NONE;
}

/*
 * A call that keeps its turn until the kernel has read its argument takes long. It has not read it for certain while the task could not
 * run yet (a busy machine); once it sleeps, it has. What was placed for the kernel is taken back then: there are few such places.
 */
static void give_up_kept_turn(struct sentra_run *run, struct task *task)
{
    if (!tracee_sleeps(task->tid))
        return;
    call_without_turn(run, task);
    if (task->scratch.slot)
        scratch_restore(run, task);
}

/* Called a few times a second: does the thread that has the turn hold up others, or a signal of its own? */
void watch_holder(struct sentra_run *run)
{
    struct task *task = run->holder;
    uint64_t now = now_ns(), elapsed;
    int overdue;

    if (task && task->state == TASK_CALL && task->call.row && (task->call.row->flags & SENTRA_CALL_BLOCKS) && !task->call.in_exec &&
        now - task->call.enter_ns > OUTPUT_WAITS_NS) { /* a call that was expected not to wait: a write to a standard stream, mostly */
        if (task->call.keeps_turn) {
            give_up_kept_turn(run, task);
            return;
        }
        call_without_turn(run, task);
        if (!run->output_writer)
            run->output_writer = task;
        return;
    }
    if (!task || task->state != TASK_USER || now < run->user_since_ns)
        return;
    elapsed = now - run->user_since_ns;
    if (!run->ready_head && !task->held_count)
        return;
    if (run->probe.phase == PROBE_HIT) {
        if (now - run->probe.started_ns > PROBE_HIT_NS)
            ptrace(PTRACE_INTERRUPT, task->tid, 0, 0L); /* no hit for long: probe_stop gives up */
        return;
    }
    if (run->probe.phase != PROBE_NONE)
        return;
    overdue = elapsed > (run->inexact ? PREEMPT_INEXACT_NS : PREEMPT_AFTER_NS) || signal_hold_overdue(task, now);
    if (overdue)
        probe_start(run, task, 1);
    else if (elapsed > SPIN_AFTER_NS && now >= run->probe_after_ns)
        probe_start(run, task, 0);
}
