/*
 * replay.c - the life of one replay: launch, the loop over events, the end. See replay.h for how it works.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../intercept/run.h"
#include "replay.h"

#define TICK_SIGNAL (SIGRTMAX - 4)
#define TICK_NS 100000000l
#define FILES_MAX 1000000u
#define RECENT_BYTES (4ull << 20) /* as in the recorder, which keeps such files at once */
#define TRACE_OPTIONS                                                                                                       \
    (PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACESECCOMP | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE |     \
     PTRACE_O_TRACEEXEC | PTRACE_O_TRACEEXIT | PTRACE_O_EXITKILL)

/* The first difference: remembered, and everything stops. */
void diverge(struct sentra_replay *replay, const struct actor *actor, enum sentra_divergence_kind kind, const char *format, ...)
{
    struct sentra_divergence *divergence = &replay->divergence;
    va_list list;

    if (replay->diverged)
        return;
    replay->diverged = 1;
    divergence->kind = kind;
    divergence->argument = -1;
    if (replay->event) {
        divergence->seq = replay->event->seq;
        divergence->task = replay->event->task;
        divergence->expected_nr = replay->event->nr;
    }
    if (actor) {
        divergence->tid = actor->tid;
        divergence->task = actor->inner_tid;
        divergence->actual_nr = (uint32_t)actor->call.nr;
    }
    va_start(list, format);
    vsnprintf(divergence->text, sizeof divergence->text, format, list);
    va_end(list);
}

/* ---- one event ---- */

static void apply_file(struct sentra_replay *replay, const struct sentra_event *event)
{
    const uint64_t *args = event_args_of(event);

    if (event->nr == 0 || event->nr > replay->files_count || event->nargs < 3)
        return;
    replay->files[event->nr - 1].dev = args[0];
    replay->files[event->nr - 1].ino = args[1];
    replay->files[event->nr - 1].size = args[2];
    replay->files[event->nr - 1].recent = event->nargs > 3 && args[3] >= replay->options.recent_since_ns && args[2] <= RECENT_BYTES;
}

/* exit_group ends every thread of the process: their EXIT events need no reason of their own. */
static void note_group_exit(struct sentra_replay *replay, const struct actor *actor, const struct sentra_event *event)
{
    int32_t tgid = actor->tgid;

    if (event->type != SENTRA_EVENT_SYSCALL || event->nr != SYS_exit_group)
        return;
    for (uint32_t index = 0; index < ACTOR_BUCKETS; index++)
        for (struct actor *at = replay->actors[index]; at; at = at->next)
            if (at->tgid == tgid)
                at->group_exits = 1;
}

static void apply(struct sentra_replay *replay, const struct sentra_event *event)
{
    /* a thread that executes a program is known by its process's number from then on */
    int32_t task = event->type == SENTRA_EVENT_EXEC && event->nargs ? (int32_t)event_args_of(event)[0] : event->task;
    struct actor *actor = actor_find(replay, task);

    switch (event->type) {
    case SENTRA_EVENT_FILE:
        apply_file(replay, event);
        return;
    case SENTRA_EVENT_TASK:
        apply_task(replay, event);
        return;
    case SENTRA_EVENT_EXIT:
        apply_exit(replay, event);
        return;
    case SENTRA_EVENT_STOP:
    case SENTRA_EVENT_NOTE:
    case SENTRA_EVENT_MEMORY:
        return;
    default:
        break;
    }
    if (event->type >= SENTRA_EVENT_ENDPOINT)
        return;
    if (!actor) {
        diverge(replay, NULL, SENTRA_DIVERGENCE_TASK, "task %d of the recording does not exist now", event->task);
        return;
    }
    if (event->type == SENTRA_EVENT_SYSCALL) {
        note_group_exit(replay, actor, event);
        apply_call(replay, actor, event);
    } else if (event->type == SENTRA_EVENT_DATA) {
        chunk_keep(actor, event);
    } else if (event->type == SENTRA_EVENT_EXEC) {
        apply_exec(replay, actor, event);
    } else if (event->type == SENTRA_EVENT_SIGNAL) {
        apply_signal(replay, actor, event);
    } else if (event->type == SENTRA_EVENT_TSC) {
        apply_tsc(replay, actor, event);
    } else if (event->type == SENTRA_EVENT_SCHED) {
        if (event->nr == SCHED_START)
            apply_start(replay, actor);
    }
}

/* ---- start and end ---- */

static void on_tick(int signo)
{
    (void)signo;
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
    if (sigaction(TICK_SIGNAL, &action, NULL) || pthread_sigmask(SIG_UNBLOCK, &unblock, NULL) || timer_create(CLOCK_MONOTONIC, &event, timer))
        return -1;
    return timer_settime(*timer, 0, &period, NULL);
}

static int start_agent(struct sentra_replay *replay, struct sentra_error *error)
{
    struct actor *actor;
    cpu_set_t set;
    int status;

    if (replay->options.cpu >= 0) {
        CPU_ZERO(&set);
        CPU_SET((size_t)replay->options.cpu, &set);
        if (sched_setaffinity(0, sizeof set, &set))
            return sentra_fail(error, errno, "pin the tracer to a CPU", "CPU %d", replay->options.cpu);
    }
    if (sentra_launch(&replay->options.launch, &replay->launched, error))
        return -1;
    replay->init_alive = 1;
    if (ptrace(PTRACE_SEIZE, replay->launched.agent_pid, 0, TRACE_OPTIONS))
        return sentra_fail(error, errno, "trace the program (ptrace)", "pid %d", replay->launched.agent_pid);
    actor = actor_add(replay, replay->launched.agent_pid, replay->launched.agent_inner_pid, replay->launched.agent_inner_pid);
    if (!actor)
        return sentra_fail(error, ENOMEM, "keep track of a task", NULL);
    actor->tgid = actor->tid;
    actor->descriptors = descriptors_new();
    replay->main_tid = actor->tid;
    if (sentra_launch_go(&replay->launched, error))
        return -1;
    if (!await_stop(replay, actor, &status) || classify_stop(actor->tid, status).kind != STOP_SECCOMP)
        return sentra_launch_failure(&replay->launched, error) > 0 ? -1 : sentra_fail(error, ECHILD, "start the program", NULL);
    {
        struct syscall_info info;

        if (tracee_call_info(actor->tid, &info, INFO_SECCOMP))
            return sentra_fail(error, ECHILD, "start the program", NULL);
        actor->call.nr = info.seccomp.nr;
        memcpy(actor->call.args, info.seccomp.args, sizeof actor->call.args);
        actor->call.ip = info.instruction_pointer;
        actor->call.sp = info.stack_pointer;
        actor->state = ACTOR_ENTRY;
    }
    return 0;
}

static void kill_all(struct sentra_replay *replay)
{
    int status;
    pid_t tid;

    if (!replay->init_alive)
        return;
    tracee_kill(replay->launched.init_pid, SIGKILL);
    for (uint32_t index = 0; index < ACTOR_BUCKETS; index++)
        for (struct actor *at = replay->actors[index]; at; at = at->next)
            if (at->state != ACTOR_DEAD)
                tracee_kill(at->tid, SIGKILL); /* each dies where it stands: no call that it was about to make is made */
    for (uint32_t index = 0; index < ACTOR_BUCKETS; index++)
        for (struct actor *at = replay->actors[index]; at; at = at->next)
            if (at->state != ACTOR_DEAD)
                ptrace(PTRACE_CONT, at->tid, 0, 0L); /* one that is stopped at its exit does not wake for a signal */
    while ((tid = waitpid(-1, &status, __WALL | __WNOTHREAD)) > 0 || errno == EINTR) {
        if (tid <= 0)
            continue;
        if (WIFSTOPPED(status))
            ptrace(PTRACE_CONT, tid, 0, 0L);
        if (tid == replay->main_tid && !WIFSTOPPED(status) && replay->stats.exit_status < 0)
            replay->stats.exit_status = status;
        if (tid == replay->launched.init_pid && !WIFSTOPPED(status))
            break;
    }
    replay->init_alive = 0;
}

static void play(struct sentra_replay *replay)
{
    const struct sentra_event *event;

    while (!replay->diverged && !atomic_load(&replay->stop_requested) && (event = feed_next(replay))) {
        if (replay->options.stop_at_seq && event->seq >= replay->options.stop_at_seq && !hold(replay, HELD_AT_SEQ))
            return;
        apply(replay, event);
        replay->stats.events++;
        replay->stats.seq = event->seq;
    }
    if (!replay->diverged && !atomic_load(&replay->stop_requested))
        end_program(replay);
    if (replay->diverged && replay->options.hold_on_divergence && !atomic_load(&replay->stop_requested))
        hold(replay, HELD_DIVERGED);
}

int sentra_replay_loop(struct sentra_replay *replay, struct sentra_divergence *divergence, struct sentra_error *error)
{
    uint64_t one = 1;
    timer_t timer;
    int result = start_ticks(&timer) ? sentra_fail(error, errno, "start the timer", NULL) : 0;

    if (!result) {
        result = start_agent(replay, error);
        if (!result)
            play(replay);
        timer_delete(timer);
        kill_all(replay);
        sentra_launch_close(&replay->launched);
    }
    pthread_mutex_lock(&replay->lock);
    replay->stats.finished = 1;
    pthread_cond_broadcast(&replay->changed);
    pthread_mutex_unlock(&replay->lock);
    *divergence = replay->divergence;
    if (write(replay->done_fd, &one, sizeof one) < 0)
        return -1;
    return result ? -1 : replay->diverged || replay->passed_count;
}

/* ---- the rest of the boundary ---- */

struct sentra_replay *sentra_replay_new(const struct sentra_replay_options *options, struct sentra_error *error)
{
    struct sentra_replay *replay = calloc(1, sizeof *replay);

    if (!replay) {
        sentra_fail(error, ENOMEM, "prepare the replay", NULL);
        return NULL;
    }
    replay->options = *options;
    replay->queue_end = &replay->queue;
    replay->stats.exit_status = -1;
    pthread_mutex_init(&replay->lock, NULL);
    pthread_cond_init(&replay->changed, NULL);
    replay->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return replay;
}

int sentra_replay_file(struct sentra_replay *replay, uint32_t file_id, uint64_t dev, uint64_t ino, uint64_t size, const char *path)
{
    if (!file_id || file_id > FILES_MAX || strlen(path) >= IMAGE_PATH_BYTES)
        return -1;
    if (file_id > replay->files_count) {
        struct replay_file *grown = realloc(replay->files, file_id * sizeof *grown);

        if (!grown)
            return -1;
        memset(grown + replay->files_count, 0, (file_id - replay->files_count) * sizeof *grown);
        replay->files = grown;
        replay->files_count = file_id;
    }
    replay->files[file_id - 1] = (struct replay_file){.dev = dev, .ino = ino, .size = size};
    memcpy(replay->files[file_id - 1].path, path, strlen(path) + 1);
    return 0;
}

int sentra_replay_passed(struct sentra_replay *replay, struct sentra_divergence *out, int32_t max)
{
    for (int32_t index = 0; index < max && index < (int32_t)replay->passed_count; index++)
        out[index] = replay->passed[index];
    return (int)replay->passed_count;
}

void sentra_replay_stop(struct sentra_replay *replay)
{
    pthread_mutex_lock(&replay->lock);
    atomic_store(&replay->stop_requested, 1);
    pthread_cond_broadcast(&replay->changed);
    pthread_mutex_unlock(&replay->lock);
}

void sentra_replay_stats(struct sentra_replay *replay, struct sentra_replay_stats *out)
{
    *out = replay->stats;
}

int sentra_replay_done_fd(struct sentra_replay *replay)
{
    return replay->done_fd;
}

void sentra_replay_free(struct sentra_replay *replay)
{
    if (!replay)
        return;
    for (uint32_t index = 0; index < ACTOR_BUCKETS; index++)
        while (replay->actors[index])
            actor_remove(replay, replay->actors[index]);
    while (replay->queue) {
        struct replay_chunk *next = replay->queue->next;

        free(replay->queue);
        replay->queue = next;
    }
    free(replay->current);
    free(replay->files);
    free(replay->picture);
    if (replay->done_fd >= 0)
        close(replay->done_fd);
    free(replay);
}
