/*
 * run.c - the life of one recorded run: launch, the loop over stops, the end.
 *
 * sentra_run_loop is called once, by the thread that becomes the tracer. The other functions of the boundary may be called by other
 * threads meanwhile; they touch only what is atomic, locked or constant.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "run.h"

#define TICK_NS 40000000l
#define TICK_SIGNAL (SIGRTMAX - 3)
#define TRACE_OPTIONS                                                                                                       \
    (PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACESECCOMP | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE |     \
     PTRACE_O_TRACEEXEC | PTRACE_O_TRACEEXIT | PTRACE_O_EXITKILL)

/* ---- stops of each kind ---- */

static void grant(struct sentra_run *run, struct task *task)
{
    turn_take(run, task);
    if (task->pending == PENDING_COMPLETE) {
        call_complete(run, task);
    } else if (task->pending == PENDING_ENTER) {
        call_enter(run, task);
    } else {
        uint64_t reason = SCHED_START;

        record_simple(run, task, SENTRA_EVENT_SCHED, SCHED_START, 0, &reason, 1);
        resume_user(run, task, 0);
    }
}

static void dispatch(struct sentra_run *run)
{
    while (!run->holder && run->ready_head)
        grant(run, ready_pop(run));
}

static void syscall_exit(struct sentra_run *run, struct task *task)
{
    if (task->state == TASK_CALL_FREE)
        ready_push(run, task, PENDING_COMPLETE);
    else
        call_complete(run, task);
}

static void start_child(struct sentra_run *run, struct task *child)
{
    if (child->restore_child) /* clone3, CLONE_UNTRACED: the child gets the program's registers, but its own stack */
        tracee_restore_arguments(child->tid, &child->restore);
    child->restore_child = 0;
    ready_push(run, child, PENDING_START);
}

static uint64_t clone_flags(const struct task *parent, int event)
{
    if (event == PTRACE_EVENT_FORK && parent->call.nr == SYS_fork)
        return SIGCHLD;
    if (event == PTRACE_EVENT_VFORK && parent->call.nr == SYS_vfork)
        return 0x4000 | 0x100 | SIGCHLD; /* CLONE_VFORK | CLONE_VM */
    if (parent->call.registers_changed) { /* clone3: the flags as they were given to clone */
        long now = ptrace(PTRACE_PEEKUSER, parent->tid, offsetof(struct user_regs_struct, rdi), 0);

        return (uint64_t)now;
    }
    return parent->call.args[0];
}

static void new_task(struct sentra_run *run, struct task *parent, int event)
{
    unsigned long tid = 0;
    struct task *child;
    uint64_t args[3];

    if (ptrace(PTRACE_GETEVENTMSG, parent->tid, 0, &tid) || !tid)
        return;
    child = task_find(run, (int32_t)tid);
    if (!child)
        child = task_add(run, (int32_t)tid);
    if (!child)
        return;
    task_read_ids(child);
    args[0] = (uint64_t)parent->inner_tid;
    args[1] = (uint64_t)child->inner_tgid;
    args[2] = clone_flags(parent, event);
    if (parent->call.registers_changed) {
        child->restore = parent->call.saved;
        child->restore_child = 1;
    }
    child->tsc_denied = parent->tsc_denied;
    child->segv_blocked = parent->segv_blocked;
    record_simple(run, child, SENTRA_EVENT_TASK, 0, 0, args, 3);
    if (child->tgid == child->tid)
        run->stats.processes++;
    else
        run->stats.threads++;
    if (child->seen_first_stop)
        start_child(run, child);
    if (event == PTRACE_EVENT_VFORK) { /* waits until the child has executed or ended */
        parent->state = TASK_CALL_FREE;
        turn_release(run, parent);
    }
    resume_call(run, parent);
}

/* A new image. When a thread other than the leader executed it, that thread is now known by the leader's id. */
static void exec_done(struct sentra_run *run, int32_t tid)
{
    struct task *task = task_find(run, tid);
    unsigned long old_tid = 0;

    if (ptrace(PTRACE_GETEVENTMSG, tid, 0, &old_tid))
        return;
    if (old_tid && (int32_t)old_tid != tid) {
        struct task *executor = task_find(run, (int32_t)old_tid);

        if (executor) {
            if (task)
                task_remove(run, task);
            task_rename(run, executor, tid);
            task = executor;
        }
    }
    if (!task)
        return;
    for (uint32_t index = 0; index < TASK_BUCKETS; index++) {
        struct task *next;

        for (struct task *at = run->tasks[index]; at; at = next) {
            next = at->next;
            if (at != task && at->tgid == task->tgid)
                task_remove(run, at);
        }
    }
    record_call(run, task, 0, 0);
    task->call.in_exec = 0;
    task->at_boundary = 0;
    image_loaded(run, task);
    resume_user(run, task, 0);
}

/* A leader that ends before its threads stays a zombie that wait does not report: its memory is settled once it is one. */
static void await_zombie(const struct task *task)
{
    char path[64], text[512];

    snprintf(path, sizeof path, "/proc/%d/stat", task->tid);
    for (int rounds = 0; rounds < 200; rounds++) {
        FILE *file = fopen(path, "re");
        const char *state;
        size_t got;

        if (!file)
            return;
        got = fread(text, 1, sizeof text - 1, file);
        fclose(file);
        text[got] = 0;
        state = strrchr(text, ')');
        if (!state || state[2] == 'Z' || state[2] == 'X')
            return;
        sched_yield();
    }
}

static void exit_event(struct sentra_run *run, struct task *task)
{
    unsigned long status = 0;
    int in_call = task->state == TASK_CALL || task->state == TASK_CALL_FREE || (task->state == TASK_READY && task->pending == PENDING_COMPLETE);
    int leader_early;
    uint64_t args[2];

    ptrace(PTRACE_GETEVENTMSG, task->tid, 0, &status);
    ready_remove(run, task);
    if (in_call && task->call.row && !(task->call.row->flags & SENTRA_CALL_NO_RETURN))
        record_call(run, task, 0, SENTRA_FLAG_IN_FLIGHT);
    args[0] = (uint32_t)status;
    task->state = TASK_EXITING;
    args[1] = task_group_size(run, task->tgid) == 0;
    task->seen_first_stop = 2; /* its EXIT event is recorded */
    record_simple(run, task, SENTRA_EVENT_EXIT, 0, 0, args, 2);
    leader_early = task->tid == task->tgid && !args[1];
    ptrace(PTRACE_CONT, task->tid, 0, 0L);
    if (leader_early) {
        await_zombie(task);
        turn_release(run, task);
    } /* else the turn is kept until it is dead: what the kernel writes at its end comes before anybody runs */
}

static void dead(struct sentra_run *run, int32_t tid, int status)
{
    struct task *task = task_find(run, tid);

    if (tid == run->launched.init_pid)
        run->init_alive = 0;
    if (!task)
        return;
    if (task->seen_first_stop != 2) {
        uint64_t args[2] = {(uint32_t)status, 0};

        task->state = TASK_EXITING;
        args[1] = task_group_size(run, task->tgid) == 0;
        record_simple(run, task, SENTRA_EVENT_EXIT, 0, 0, args, 2);
    }
    if (tid == run->main_tgid) {
        run->stats.exit_status = status;
        run->stats.main_pid = 0;
    }
    task_remove(run, task);
}

static void group_stop(struct sentra_run *run, struct task *task, int signo)
{
    turn_release(run, task);
    task->state = TASK_STOPPED;
    if (!task->stop_reported)
        record_simple(run, task, SENTRA_EVENT_STOP, (uint32_t)signo, 0, NULL, 0);
    task->stop_reported = 1;
    ptrace(PTRACE_LISTEN, task->tid, 0, 0L);
    if (task->tid == run->main_tgid && run->options.job_control && signo != SIGSTOP && getpgid(task->tid) == getpgrp())
        kill(getpid(), SIGSTOP); /* by the terminal: the shell that started us sees its job stopped */
}

static void trap_stop(struct sentra_run *run, struct task *task)
{
    if (!task->seen_first_stop) {
        task->seen_first_stop = 1;
        if (task->state == TASK_NEW)
            start_child(run, task);
        else
            resume_user(run, task, 0); /* the agent's own first stop */
    } else if (task->state == TASK_STOPPED) {
        task->stop_reported = 0;
        record_simple(run, task, SENTRA_EVENT_STOP, SIGCONT, 0, NULL, 0);
        ready_push(run, task, PENDING_START);
    } else if (task->state == TASK_CALL || task->state == TASK_CALL_FREE) {
        resume_call(run, task);
    } else if (task->state != TASK_READY) {
        ptrace(PTRACE_CONT, task->tid, 0, 0L);
    }
}

/* A stop of a task we do not know: a child whose parent's event has not come yet, or the remains of an exec. */
static void unknown_task(struct sentra_run *run, const struct stop *stop)
{
    if (stop->kind == STOP_TRAP) {
        struct task *task = task_add(run, stop->tid);

        if (task)
            task->seen_first_stop = 1;
    } else if (stop->kind == STOP_EXEC) {
        exec_done(run, stop->tid);
    } else if (stop->kind != STOP_DEAD) {
        ptrace(PTRACE_CONT, stop->tid, 0, 0L);
    }
}

static void handle(struct sentra_run *run, const struct stop *stop)
{
    struct task *task = task_find(run, stop->tid);

    run->stats.stops++;
    if (stop->kind == STOP_DEAD) {
        dead(run, stop->tid, stop->status);
        return;
    }
    if (!task) {
        unknown_task(run, stop);
        return;
    }
    if (probe_stop(run, task, stop))
        return;
    switch (stop->kind) {
    case STOP_SECCOMP:
        if (turn_is_over(run)) {
            turn_release(run, task);
            ready_push(run, task, PENDING_ENTER);
        } else {
            call_enter(run, task);
        }
        break;
    case STOP_SYSCALL_EXIT:
        syscall_exit(run, task);
        break;
    case STOP_SIGNAL:
        signal_stop(run, task, stop->signo);
        break;
    case STOP_GROUP:
        group_stop(run, task, stop->signo);
        break;
    case STOP_TRAP:
        trap_stop(run, task);
        break;
    case STOP_NEW_TASK:
        new_task(run, task, stop->event);
        break;
    case STOP_EXEC:
        exec_done(run, stop->tid);
        break;
    case STOP_EXIT:
        exit_event(run, task);
        break;
    default:
        break;
    }
}

/* ---- the loop ---- */

static void on_tick(int signo)
{
    (void)signo; /* only there to interrupt wait */
}

static int start_ticks(timer_t *timer)
{
    struct sigaction action = {.sa_handler = on_tick};
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = TICK_SIGNAL};
    struct itimerspec period = {{0, TICK_NS}, {0, TICK_NS}};
    sigset_t unblock;

    event._sigev_un._tid = (pid_t)syscall(SYS_gettid);
    sigemptyset(&unblock);
    sigaddset(&unblock, TICK_SIGNAL);
    if (sigaction(TICK_SIGNAL, &action, NULL) || pthread_sigmask(SIG_UNBLOCK, &unblock, NULL))
        return -1;
    if (timer_create(CLOCK_MONOTONIC, &event, timer))
        return -1;
    return timer_settime(*timer, 0, &period, NULL);
}

static int pin(const struct sentra_run *run, struct sentra_error *error)
{
    cpu_set_t set;

    if (run->options.cpu < 0)
        return 0;
    CPU_ZERO(&set);
    CPU_SET((size_t)run->options.cpu, &set);
    if (sched_setaffinity(0, sizeof set, &set))
        return sentra_fail(error, errno, "pin the tracer to a CPU", "CPU %d", run->options.cpu);
    return 0;
}

static int start_agent(struct sentra_run *run, struct sentra_error *error)
{
    struct task *task;

    if (sentra_launch(&run->options.launch, &run->launched, error))
        return -1;
    run->init_alive = 1;
    if (ptrace(PTRACE_SEIZE, run->launched.agent_pid, 0, TRACE_OPTIONS))
        return sentra_fail(error, errno, "trace the program (ptrace)", "pid %d", run->launched.agent_pid);
    task = task_add(run, run->launched.agent_pid);
    if (!task)
        return sentra_fail(error, ENOMEM, "keep track of a task", NULL);
    task->inner_tid = task->inner_tgid = run->launched.agent_inner_pid;
    task->state = TASK_USER;
    task->seen_first_stop = 1;
    run->main_tgid = task->tid;
    run->stats.main_pid = task->tid;
    run->stats.processes = 1;
    turn_take(run, task);
    return sentra_launch_go(&run->launched, error);
}

static void reap_init(struct sentra_run *run)
{
    int status;

    if (!run->init_alive)
        return;
    tracee_kill(run->launched.init_pid, SIGKILL);
    while (waitpid(run->launched.init_pid, &status, __WALL) < 0 && errno == EINTR)
        ;
    run->init_alive = 0;
}

static void trace_all(struct sentra_run *run)
{
    while (run->live_tasks || run->init_alive) {
        int status;
        pid_t tid;

        dispatch(run);
        tid = wait4(-1, &status, __WALL | __WNOTHREAD, NULL);
        if (tid > 0) {
            struct stop stop = classify_stop(tid, status);

            handle(run, &stop);
        } else if (errno == EINTR) {
            watch_holder(run);
            if (atomic_load(&run->stop_requested) && run->init_alive)
                tracee_kill(run->launched.init_pid, SIGKILL);
        } else {
            break; /* no tracee is left */
        }
    }
}

static void finish(struct sentra_run *run)
{
    uint64_t one = 1;

    reap_init(run);
    run->stats.finished = 1;
    run->stats.live_tasks = 0;
    sentra_arena_wake_sealer(run->options.arena);
    if (write(run->done_fd, &one, sizeof one) < 0)
        return; /* an eventfd that nobody reads: nothing is lost */
}

/*
 * Runs the program to its end. 0: it ran (stats.exit_status has its wait status). -1: it could not be started, or could not be
 * recorded to its end; *error says why; the sandbox is gone in either case.
 */
int sentra_run_loop(struct sentra_run *run, struct sentra_error *error)
{
    timer_t timer;
    int result;

    if (pin(run, error) || start_ticks(&timer)) {
        finish(run);
        return -1;
    }
    result = start_agent(run, error);
    if (!result)
        trace_all(run);
    timer_delete(timer);
    finish(run);
    if (!result && run->failed) {
        *error = run->failure;
        result = -1;
    } else if (!result && sentra_launch_failure(&run->launched, error) > 0) {
        result = -1;
    }
    sentra_launch_close(&run->launched);
    return result;
}

/* ---- the rest of the boundary ---- */

struct sentra_run *sentra_run_new(const struct sentra_run_options *options, struct sentra_error *error)
{
    struct sentra_run *run = calloc(1, sizeof *run);

    if (!run || files_init(run)) {
        sentra_fail(error, ENOMEM, "prepare the run", NULL);
        free(run);
        return NULL;
    }
    run->options = *options;
    run->control = sentra_arena_control(options->arena);
    run->in_flight = sentra_arena_in_flight(options->arena);
    run->start_ns = run->control->start_monotonic_ns;
    run->stats.exit_status = -1;
    run->filter_count = (uint32_t)options->launch.filter_count;
    run->filter = malloc(run->filter_count * 8u + 1);
    run->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (!run->filter || run->done_fd < 0 || sentra_arena_writer(options->arena, 0, &run->writer)) {
        sentra_fail(error, errno, "prepare the run", NULL);
        sentra_run_free(run);
        return NULL;
    }
    network_init(run);
    if (run->filter_count)
        memcpy(run->filter, options->launch.filter, run->filter_count * 8u);
    run->ring_wake_at = run->writer.ring->capacity / 4;
    return run;
}

/* Sends a signal to the agent's main process. 0, or -1 when it is gone. */
int sentra_run_signal(struct sentra_run *run, int signo)
{
    int32_t pid = run->stats.main_pid;

    return tracee_kill(pid, signo);
}

/* Ends the run: everything in the sandbox is killed. */
void sentra_run_stop(struct sentra_run *run)
{
    atomic_store(&run->stop_requested, 1);
    if (run->init_alive)
        tracee_kill(run->launched.init_pid, SIGKILL);
}

void sentra_run_stats(struct sentra_run *run, struct sentra_run_stats *out)
{
    *out = run->stats;
}

int sentra_run_done_fd(struct sentra_run *run)
{
    return run->done_fd;
}

void sentra_run_free(struct sentra_run *run)
{
    if (!run)
        return;
    for (uint32_t index = 0; index < TASK_BUCKETS; index++)
        while (run->tasks[index])
            task_remove(run, run->tasks[index]);
    files_free(run);
    network_free(run);
    free(run->filter);
    if (run->done_fd >= 0)
        close(run->done_fd);
    free(run);
}
