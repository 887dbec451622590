/*
 * special.c - calls that need more than a row of the table: looked at, changed or answered at their entry.
 *
 * A call is here for one of four reasons: the engine owns what it asks for (the trap on time stamps, CPU affinity, address layout);
 * its effect could not be recorded or repeated (PI futexes, MADV_FREE, a process group that the supervisor is in); it would hide
 * calls from us (CLONE_UNTRACED, user dispatch, a listener); or the supervisor knows the answer as well as the kernel does (clocks
 * and ids), and answering halves the cost. Each function either leaves the call alone, changes an argument, or answers it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/sched.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "call.h"

#define ADDR_NO_RANDOMIZE_BIT 0x0040000u
#define MESSAGES_MAX 32u

/* The affinity calls speak of one CPU, number 0, whichever one the run is pinned to. */
static void enter_affinity(struct task *task)
{
    struct call *call = &task->call;
    uint64_t mask = 1, size = call->args[1];

    if (call->nr == SYS_sched_getaffinity) {
        if (size < 8 || size % 8)
            answer(task, -EINVAL);
        else
            answer(task, poke(task, call->args[2], &mask, sizeof mask) ? -EFAULT : 8);
        return;
    }
    mask = 0;
    if (peek(task, call->args[2], &mask, size < 8 ? size : 8) < 0)
        answer(task, size ? -EFAULT : -EINVAL);
    else
        answer(task, mask & 1 ? 0 : -EINVAL);
}

static void enter_getcpu(struct task *task)
{
    uint32_t zero = 0;
    const struct call *call = &task->call;

    if ((call->args[0] && poke(task, call->args[0], &zero, 4)) || (call->args[1] && poke(task, call->args[1], &zero, 4)))
        answer(task, -EFAULT);
    else
        answer(task, 0);
}

static void enter_prctl(struct sentra_run *run, struct task *task)
{
    const struct call *call = &task->call;
    uint32_t mode = task->tsc_denied ? PR_TSC_SIGSEGV : PR_TSC_ENABLE;

    switch ((int)call->args[0]) {
    case PR_SET_TSC: /* the trap stays ours; what the program asked for decides what we do with it */
        if (call->args[1] == PR_TSC_ENABLE || call->args[1] == PR_TSC_SIGSEGV) {
            task->tsc_denied = call->args[1] == PR_TSC_SIGSEGV;
            answer(task, 0);
        } else {
            answer(task, -EINVAL);
        }
        break;
    case PR_GET_TSC:
        answer(task, poke(task, call->args[1], &mode, sizeof mode) ? -EFAULT : 0);
        break;
    case 59: /* PR_SET_SYSCALL_USER_DISPATCH: calls would be turned into signals before we see them */
        refuse(task, EINVAL);
        break;
    case PR_SET_SECCOMP:
        record_note(run, task, SENTRA_NOTE_UNSEEN,
                    "the program installs a seccomp filter of its own: calls that it refuses leave no event");
        break;
    default:
        break;
    }
}

static void enter_seccomp(struct sentra_run *run, struct task *task)
{
    const struct call *call = &task->call;

    if (call->args[0] != 1 /* SECCOMP_SET_MODE_FILTER */)
        return;
    if (call->args[1] & 8 /* NEW_LISTENER: its supervisor could let calls through unseen */)
        refuse(task, EPERM);
    else
        record_note(run, task, SENTRA_NOTE_UNSEEN,
                    "the program installs a seccomp filter of its own: calls that it refuses leave no event");
}

/* kill(0, sig) reaches a whole process group. When that is the one the supervisor is in, it must not leave the sandbox. */
static void enter_kill(struct sentra_run *run, struct task *task)
{
    const struct call *call = &task->call;
    pid_t group = getpgrp();
    int signo = (int)call->args[1];

    if ((int32_t)call->args[0] != 0 || getpgid(task->tgid) != group)
        return;
    if (signo < 0 || signo > 64) {
        answer(task, -EINVAL);
        return;
    }
    for (uint32_t index = 0; signo && index < TASK_BUCKETS; index++)
        for (const struct task *at = run->tasks[index]; at; at = at->next)
            if (at->tid == at->tgid && at->state != TASK_EXITING && getpgid(at->tgid) == group)
                tracee_kill(at->tgid, signo);
    answer(task, 0);
}

static void enter_futex(struct task *task)
{
    switch (task->call.args[1] & 0x7f) {
    case 6: /* LOCK_PI, UNLOCK_PI, TRYLOCK_PI, WAIT_REQUEUE_PI, CMP_REQUEUE_PI, LOCK_PI2: the kernel would write the lock by itself */
    case 7:
    case 8:
    case 11:
    case 12:
    case 13:
        refuse(task, ENOSYS);
        break;
    default:
        break;
    }
}

/*
 * clone3 takes its flags from memory. It is executed as clone with the same meaning, so that what was looked at is what
 * happens; what clone cannot say is answered ENOSYS, for which libraries have a fallback.
 */
static void enter_clone3(struct task *task)
{
    struct call *call = &task->call;
    struct clone_args wanted;
    uint64_t size = call->args[1];
    const uint64_t inexpressible = CLONE_INTO_CGROUP | CLONE_CLEAR_SIGHAND | 0xffull;
    uint64_t parent_tid;

    memset(&wanted, 0, sizeof wanted);
    if (size < 64 || size > 4096) {
        answer(task, size > 4096 ? -E2BIG : -EINVAL);
        return;
    }
    if (peek(task, call->args[0], &wanted, size < sizeof wanted ? size : sizeof wanted) < 64) {
        answer(task, -EFAULT);
        return;
    }
    parent_tid = wanted.flags & CLONE_PIDFD ? wanted.pidfd : wanted.parent_tid;
    if ((wanted.flags & inexpressible) || wanted.set_tid_size || (wanted.flags >> 33) ||
        ((wanted.flags & CLONE_PIDFD) && (wanted.flags & CLONE_PARENT_SETTID))) {
        refuse(task, ENOSYS);
        return;
    }
    if (wanted.flags &
        (CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET | 0x80ull)) {
        refuse(task, EPERM);
        return;
    }
    if ((wanted.stack == 0) != (wanted.stack_size == 0) || wanted.exit_signal > 64) {
        answer(task, -EINVAL);
        return;
    }
    change_argument(task, 0, (wanted.flags & ~(uint64_t)CLONE_UNTRACED) | wanted.exit_signal);
    change_argument(task, 1, wanted.stack ? wanted.stack + wanted.stack_size : 0);
    change_argument(task, 2, parent_tid);
    change_argument(task, 3, wanted.child_tid);
    change_argument(task, 4, wanted.tls);
    set_register(task, REGISTER(orig_rax), SYS_clone);
}

/* Clocks that are the same for everybody; those of a process or thread are left to the kernel. */
static void enter_clock(struct task *task)
{
    const struct call *call = &task->call;
    const uint32_t shared = 1u << CLOCK_REALTIME | 1u << CLOCK_MONOTONIC | 1u << CLOCK_MONOTONIC_RAW | 1u << CLOCK_REALTIME_COARSE |
                            1u << CLOCK_MONOTONIC_COARSE | 1u << CLOCK_BOOTTIME | 1u << CLOCK_TAI;
    struct timespec now;

    if (call->args[0] > CLOCK_TAI || !(shared >> call->args[0] & 1) || clock_gettime((clockid_t)call->args[0], &now))
        return;
    if (!poke(task, call->args[1], &now, sizeof now))
        answer(task, 0);
}

static void enter_time_of_day(struct task *task)
{
    const struct call *call = &task->call;
    struct timespec now;
    int64_t out[2];

    clock_gettime(CLOCK_REALTIME, &now);
    out[0] = now.tv_sec;
    out[1] = now.tv_nsec / 1000;
    if (call->nr == SYS_time && (!call->args[0] || !poke(task, call->args[0], out, 8)))
        answer(task, now.tv_sec);
    else if (call->nr == SYS_gettimeofday && call->args[0] && !call->args[1] && !poke(task, call->args[0], out, sizeof out))
        answer(task, 0);
}

void enter_special(struct sentra_run *run, struct task *task)
{
    struct call *call = &task->call;

    switch (call->nr) {
    case SYS_clock_gettime:
        enter_clock(task);
        break;
    case SYS_gettimeofday:
    case SYS_time:
        enter_time_of_day(task);
        break;
    case SYS_getpid:
        answer(task, task->inner_tgid);
        break;
    case SYS_gettid:
        answer(task, task->inner_tid);
        break;
    case SYS_sched_setaffinity:
    case SYS_sched_getaffinity:
        if (run->options.one_cpu)
            enter_affinity(task);
        break;
    case SYS_getcpu:
        if (run->options.one_cpu)
            enter_getcpu(task);
        break;
    case SYS_prctl:
        enter_prctl(run, task);
        break;
    case SYS_seccomp:
        enter_seccomp(run, task);
        break;
    case SYS_kill:
        enter_kill(run, task);
        break;
    case SYS_futex:
        enter_futex(task);
        break;
    case SYS_clone:
        if (call->args[0] & CLONE_UNTRACED)
            change_argument(task, 0, call->args[0] & ~(uint64_t)CLONE_UNTRACED);
        break;
    case SENTRA_NR_clone3:
        enter_clone3(task);
        break;
    case SYS_execve:
    case SYS_execveat:
        call->in_exec = 1;
        break;
    case SYS_personality: /* address randomisation stays off in programs that it executes */
        if ((uint32_t)call->args[0] != 0xffffffffu)
            change_argument(task, 0, call->args[0] | ADDR_NO_RANDOMIZE_BIT);
        break;
    case SYS_madvise:
        if (call->args[2] == 8 /* MADV_FREE: what is read later would depend on memory pressure */)
            change_argument(task, 2, 4 /* MADV_DONTNEED */);
        break;
    case SYS_sendmmsg:
    case SYS_recvmmsg: /* fewer messages than offered is a legal outcome; one record has to hold them */
        if ((uint32_t)call->args[2] > MESSAGES_MAX) {
            change_argument(task, 2, MESSAGES_MAX);
            call->args[2] = MESSAGES_MAX;
        }
        break;
    case SYS_socket:
    case SYS_socketpair:
        enter_socket(run, task);
        break;
    default:
        break;
    }
    if (run->options.network || run->options.trust_path)
        enter_network(run, task);
}
