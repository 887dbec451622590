/*
 * call.c - a system call from its entry to its completion.
 *
 * At entry the call is copied, decided on (our filter, then the special cases of special.c), its inputs are captured, and it is let
 * into the kernel, with or without the turn. At completion the result is read, the memory it wrote is captured, and one event is
 * recorded. A call that the kernel must not execute gets the number -1 and its result at once, and needs no second stop. The clocks
 * and ids that the supervisor knows as well as the kernel does are answered this way: it halves their cost.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/audit.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>

#include "call.h"
#include "filter.h"

#define X32_BIT 0x40000000u

/* What our filter says: executed, refused with an errno, or punished. */
static void decide(struct sentra_run *run, struct task *task, uint32_t arch)
{
    struct call *call = &task->call;
    uint32_t word = filter_decide(run, arch, call->nr, call->args, call->ip);
    uint32_t data = word & 0xffffu;

    if ((word & 0xffff0000u) != 0x7ff00000u /* SECCOMP_RET_TRACE */) {
        if (word == 0x7fff0000u /* ALLOW: a filter of the program's own asked for this stop */)
            return;
        data = SENTRA_FILTER_KILL;
    }
    switch (data & 0xf000u) {
    case SENTRA_FILTER_REFUSE:
        refuse(task, (int)(data & 0xfffu));
        break;
    case SENTRA_FILTER_KILL:
        refuse(task, EPERM);
        tracee_kill(task->tgid, SIGKILL);
        break;
    case SENTRA_FILTER_TRAP:
        refuse(task, ENOSYS);
        if (task->held_count < HELD_SIGNALS_MAX) {
            siginfo_t *info = &task->held[task->held_count].info;

            memset(info, 0, sizeof *info);
            info->si_signo = SIGSYS;
            info->si_code = 1 /* SYS_SECCOMP */;
            info->si_call_addr = (void *)(uintptr_t)call->ip; /* NOLINT */
            info->si_syscall = (int)call->nr;
            info->si_arch = arch;
            task->held[task->held_count++].since_ns = now_ns();
        }
        break;
    default:
        break;
    }
}

/* ---- entry ---- */

static void note_in_flight(struct sentra_run *run, const struct task *task)
{
    struct sentra_in_flight *slot;

    if (task->slot < 0)
        return;
    slot = &run->in_flight[task->slot];
    slot->nr = (uint32_t)task->call.nr;
    memcpy(slot->args, task->call.args, sizeof slot->args);
    slot->enter_ns = task->call.enter_ns - run->start_ns;
    atomic_store_explicit(&slot->task, task->inner_tid, memory_order_release);
}

/* Is this a wait that a signal ends, with the mask that the program has now? */
static int is_wait(const struct task *task)
{
    const struct call *call = &task->call;
    struct stat status;
    char path[64];

    switch (call->nr) {
    case SYS_nanosleep:
    case SYS_clock_nanosleep:
    case SYS_poll:
    case SYS_select:
    case SYS_epoll_wait:
    case SYS_wait4:
    case SYS_waitid:
    case SYS_pause:
        return 1;
    case SYS_ppoll:
        return !call->args[3];
    case SYS_epoll_pwait:
    case SYS_epoll_pwait2:
        return !call->args[4];
    case SYS_futex:
        return (call->args[1] & 0x7f) == 0 || (call->args[1] & 0x7f) == 9; /* WAIT, WAIT_BITSET */
    case SYS_read:
    case SYS_readv:
    case SYS_recvfrom:
    case SYS_recvmsg:
    case SYS_accept:
    case SYS_accept4:
        snprintf(path, sizeof path, "/proc/%d/fd/%d", task->tid, (int32_t)call->args[0]);
        return !stat(path, &status) && !S_ISREG(status.st_mode) && !S_ISDIR(status.st_mode);
    default:
        return 0;
    }
}

/* Looking at the clock is often the last thing before a wait; a few such looks may pass before a held signal is delivered. */
static int leads_to_wait(struct task *task)
{
    switch (task->call.nr) {
    case SYS_clock_gettime:
    case SYS_gettimeofday:
    case SYS_time:
        return ++task->looks_at_clock % 8 != 0;
    default:
        return 0;
    }
}

/* What an interrupted wait returns to a program whose handler runs: EINTR, or the call again where the kernel may restart it. */
static int64_t interrupted_result(const struct task *task)
{
    const struct call *call = &task->call;
    struct timespec wanted;
    uint64_t rest = call->nr == SYS_nanosleep ? call->args[1] : call->nr == SYS_clock_nanosleep && !call->args[1] ? call->args[3] : 0;
    uint64_t request = call->nr == SYS_nanosleep ? call->args[0] : call->args[2];

    if (rest && peek(task, request, &wanted, sizeof wanted) == (int)sizeof wanted)
        poke(task, rest, &wanted, sizeof wanted);
    switch (call->nr) {
    case SYS_read:
    case SYS_readv:
    case SYS_recvfrom:
    case SYS_recvmsg:
    case SYS_accept:
    case SYS_accept4:
    case SYS_wait4:
    case SYS_waitid:
    case SYS_futex:
        return -512; /* ERESTARTSYS */
    default:
        return -EINTR;
    }
}

/*
 * A signal was held in user code and this is the next call. Before a wait it would come too early: its handler would only set a flag, and
 * the program would wait all the same. So the wait is interrupted by it as soon as it began.
 */
static void interrupt_wait(struct sentra_run *run, struct task *task)
{
    task->call.interrupted = 1;
    task->call.answer = interrupted_result(task);
    task->state = TASK_CALL;
    set_register(task, REGISTER(orig_rax), (uint64_t)-1);
    resume_call(run, task);
}

/* A signal was held in user code and this is the next call: deliver it first, then run the call. */
static void deliver_before(struct sentra_run *run, struct task *task)
{
    set_register(task, REGISTER(orig_rax), (uint64_t)-1);
    set_register(task, REGISTER(rax), task->call.nr);
    set_register(task, REGISTER(rip), task->call.ip - 2); /* back on the syscall instruction */
    signal_inject_held(run, task, PLACE_BEFORE);
}

static void remember_boundary(struct task *task, uint64_t ip, uint64_t sp, int64_t result)
{
    task->boundary_ip = ip;
    task->boundary_sp = sp;
    task->boundary_result = result;
    task->at_boundary = 1;
}

static void put_registers_back(struct task *task, int64_t result)
{
    struct user_regs_struct regs = task->call.saved;

    regs.rax = (uint64_t)result;
    regs.orig_rax = task->call.nr;
    ptrace(PTRACE_SETREGS, task->tid, 0, &regs);
}

/* The kernel skips a call whose number is -1 and returns what is in rax. */
static void complete_answered(struct sentra_run *run, struct task *task)
{
    struct call *call = &task->call;
    uint16_t flags = call->answered == 1 ? SENTRA_FLAG_REFUSED : SENTRA_FLAG_ANSWERED;
    int trap = call->answered == 1 && task->held_count && task->held[task->held_count - 1].info.si_signo == SIGSYS;

    if (task->scratch.slot)
        scratch_restore(run, task);
    if (call->registers_changed)
        put_registers_back(task, call->answer);
    set_register(task, REGISTER(orig_rax), (uint64_t)-1);
    set_register(task, REGISTER(rax), trap ? call->nr : (uint64_t)call->answer); /* as after SECCOMP_RET_TRAP */
    if (call->foreign_abi)
        flags |= SENTRA_FLAG_FOREIGN_ABI;
    record_call(run, task, call->answer, flags);
    if (call->watch)
        network_completed(run, task, call->answer);
    remember_boundary(task, call->ip, call->sp, call->answer);
    if (trap && !task->injecting)
        signal_inject_held(run, task, PLACE_BOUNDARY);
    else
        resume_user(run, task, 0);
}

/* The call may wait for others: they may run. */
void call_without_turn(struct sentra_run *run, struct task *task)
{
    task->state = TASK_CALL_FREE;
    turn_release(run, task);
}

static void let_in(struct sentra_run *run, struct task *task)
{
    const struct call *call = &task->call;
    uint32_t flags = call->row ? call->row->flags : 0;

    if (call->command)
        flags |= call->command->flags;
    task->state = TASK_CALL;
    if (flags & SENTRA_CALL_NO_RETURN) {
        record_call(run, task, 0, 0);
        ptrace(PTRACE_CONT, task->tid, 0, 0L);
        return;
    } else if ((flags & SENTRA_CALL_BLOCKS) && !call->keeps_turn) {
        enum output_way way = output_entry(run, task);

        if (way == OUTPUT_WAIT) {
            task->state = TASK_PARKED;
            turn_release(run, task);
            return;
        }
        if (way != OUTPUT_KEEP)
            call_without_turn(run, task);
        if (way == OUTPUT_FREE)
            run->output_writer = task;
    }
    resume_call(run, task);
}

/* restart_syscall has no arguments of its own; what it writes is where the interrupted call wanted it. */
static void restart_interrupted(struct task *task)
{
    task->call.row = task->interrupted.row;
    memcpy(task->call.args, task->interrupted.args, sizeof task->call.args);
}

/* A seccomp stop. */
void call_enter(struct sentra_run *run, struct task *task)
{
    struct call *call = &task->call;
    struct syscall_info info;

    if (tracee_call_info(task->tid, &info, INFO_SECCOMP))
        return; /* killed meanwhile */
    if (task->scratch.slot)
        scratch_release(run, task);
    memset(call, 0, offsetof(struct call, saved));
    call->nr = info.seccomp.nr;
    memcpy(call->args, info.seccomp.args, sizeof call->args);
    call->ip = info.instruction_pointer;
    call->sp = info.stack_pointer;
    call->enter_ns = now_ns();
    run->turn_calls++;
    call->foreign_abi = info.arch != AUDIT_ARCH_X86_64 || (call->nr & X32_BIT);
    task->at_boundary = 0;
    if (task->held_count && !task->injecting && !call->foreign_abi && !is_wait(task) && !leads_to_wait(task)) {
        deliver_before(run, task);
        return;
    }
    if (!call->foreign_abi) {
        call->row = sentra_call(call->nr);
        if (call->nr == SYS_restart_syscall && task->interrupted.row)
            restart_interrupted(task);
        call->command = call->row && (call->row->flags & SENTRA_CALL_COMMANDS) ? sentra_command((uint32_t)call->nr, call->args) : NULL;
    }
    decide(run, task, info.arch);
    capture_inputs(run, task);
    if (!call->answered)
        enter_special(run, task);
    if (call->answered) {
        complete_answered(run, task);
        return;
    }
    if (task->held_count && !task->injecting && !call->foreign_abi && is_wait(task)) {
        interrupt_wait(run, task);
        return;
    }
    note_in_flight(run, task);
    let_in(run, task);
}

/* ---- completion ---- */

/* At a syscall-exit stop, with the turn: record the call and go on. */
void call_complete(struct sentra_run *run, struct task *task)
{
    struct call *call = &task->call;
    uint16_t flags = task->state == TASK_READY ? SENTRA_FLAG_BLOCKED : 0;
    struct syscall_info info;
    int64_t result;

    if (tracee_call_info(task->tid, &info, INFO_EXIT)) {
        resume_user(run, task, 0); /* killed meanwhile, or a stop we did not ask for */
        return;
    }
    result = info.exit.rval;
    if (call->interrupted) { /* as the kernel would leave it: the handler's flags decide whether it is made again */
        result = call->answer;
        set_register(task, REGISTER(rax), (uint64_t)result);
        if (result != -EINTR)
            set_register(task, REGISTER(orig_rax), call->nr);
    }
    if (task->scratch.slot)
        scratch_restore(run, task);
    if (call->as_sendmsg)
        result = network_sent_one(task, result);
    if (call->registers_changed)
        put_registers_back(task, result);
    if (result <= -512 && result >= -516) {
        flags |= SENTRA_FLAG_RESTARTED;
        task->interrupted.row = call->row;
        memcpy(task->interrupted.args, call->args, sizeof call->args);
    }
    record_call(run, task, result, flags);
    output_done(run, task);
    if (call->watch)
        network_completed(run, task, result);
    call->in_exec = 0;
    if (call->nr == SYS_rt_sigprocmask || call->nr == SYS_rt_sigreturn)
        signal_read_mask(task);
    if (call->interrupted) {
        call->interrupted = 0;
        signal_inject_held(run, task, PLACE_BOUNDARY);
        return;
    }
    remember_boundary(task, info.instruction_pointer, info.stack_pointer, result);
    resume_user(run, task, 0);
}
