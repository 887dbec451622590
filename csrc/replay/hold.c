/*
 * hold.c - a replay that is held: every task stays stopped where it is, and others may look.
 *
 * Only the engine's thread may ask the kernel about stopped tasks, so it takes a picture of all of them when it holds, and waits. Memory
 * and maps are read through /proc by whoever looks; nothing moves meanwhile. The rule: between the picture and `go` the engine makes no
 * ptrace call.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <time.h>

#include "../intercept/run.h"
#include "replay.h"

#define INTERRUPT_ROUNDS 10 /* ticks of the engine's timer: a second */

_Static_assert(sizeof(struct user_regs_struct) == sizeof(((struct sentra_replay_task *)0)->regs), "27 registers");

/* A task that never came to its next stop is stopped where it is. */
static void interrupt(struct actor *actor)
{
    int status;

    if (ptrace(PTRACE_INTERRUPT, actor->tid, 0, 0L))
        return;
    for (int round = 0; round < INTERRUPT_ROUNDS; round++) {
        pid_t got = waitpid(actor->tid, &status, __WALL);

        if (got < 0 && errno == EINTR)
            continue;
        if (got == actor->tid && WIFSTOPPED(status))
            actor->state = ACTOR_FRESH;
        else
            actor->state = ACTOR_DEAD;
        return;
    }
}

/* Before the first image is loaded the task's registers and memory are ours, nobody's business. */
static void picture_of(const struct actor *actor, int started, struct sentra_replay_task *out)
{
    struct user_regs_struct regs;

    memset(out, 0, sizeof *out);
    out->tid = actor->tid;
    out->tgid = actor->tgid;
    out->inner_tid = actor->inner_tid;
    out->inner_tgid = actor->inner_tgid;
    out->state = (int32_t)actor->state;
    out->nr = actor->call.nr;
    memcpy(out->args, actor->call.args, sizeof out->args);
    if (started && actor->state < ACTOR_DEAD && !ptrace(PTRACE_GETREGS, actor->tid, 0, &regs)) {
        memcpy(out->regs, &regs, sizeof regs);
        out->stopped = 1;
    }
}

static void take_picture(struct sentra_replay *replay)
{
    uint32_t count = 0;

    free(replay->picture);
    replay->picture_count = 0;
    replay->picture = calloc(replay->live + 1, sizeof *replay->picture);
    for (uint32_t index = 0; index < ACTOR_BUCKETS && replay->picture; index++)
        for (const struct actor *actor = replay->actors[index]; actor && count <= replay->live; actor = actor->next)
            picture_of(actor, replay->started, &replay->picture[count++]);
    replay->picture_count = count;
}

/* Everything stays as it is until the caller says how to go on. 1: go on; 0: stop. */
int hold(struct sentra_replay *replay, enum hold_reason reason)
{
    int stop;

    if (reason == HELD_DIVERGED) {
        struct actor *actor = actor_by_tid(replay, replay->divergence.tid);

        if (actor && actor->state == ACTOR_RUNNING)
            interrupt(actor);
    }
    pthread_mutex_lock(&replay->lock);
    take_picture(replay);
    replay->held = reason;
    replay->stats.stopped = 1;
    pthread_cond_broadcast(&replay->changed);
    while (replay->held && !atomic_load(&replay->stop_requested))
        pthread_cond_wait(&replay->changed, &replay->lock);
    replay->held = HELD_NOT;
    replay->stats.stopped = 0;
    stop = atomic_load(&replay->stop_requested);
    pthread_mutex_unlock(&replay->lock);
    return !stop;
}

/* ---- the caller's side ---- */

static struct timespec after(int64_t timeout_ms)
{
    struct timespec until;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += timeout_ms / 1000;
    until.tv_nsec += timeout_ms % 1000 * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    return until;
}

int sentra_replay_wait_held(struct sentra_replay *replay, int64_t timeout_ms)
{
    struct timespec until = after(timeout_ms);
    int result;

    pthread_mutex_lock(&replay->lock);
    while (!replay->held && !replay->stats.finished)
        if (pthread_cond_timedwait(&replay->changed, &replay->lock, &until))
            break;
    result = replay->held ? (int)replay->held : replay->stats.finished ? -1 : 0;
    pthread_mutex_unlock(&replay->lock);
    return result;
}

int sentra_replay_tasks(struct sentra_replay *replay, struct sentra_replay_task *out, int max)
{
    int count = -1;

    pthread_mutex_lock(&replay->lock);
    if (replay->held) {
        count = (int)replay->picture_count;
        if (count > 0 && max > 0)
            memcpy(out, replay->picture, (size_t)(count < max ? count : max) * sizeof *out);
    }
    pthread_mutex_unlock(&replay->lock);
    return count;
}

int32_t sentra_replay_diverging(struct sentra_replay *replay)
{
    int32_t tid;

    pthread_mutex_lock(&replay->lock);
    tid = replay->held == HELD_DIVERGED ? replay->divergence.tid : 0;
    pthread_mutex_unlock(&replay->lock);
    return tid;
}

int sentra_replay_continue(struct sentra_replay *replay, uint64_t seq)
{
    int held;

    pthread_mutex_lock(&replay->lock);
    held = replay->held == HELD_AT_SEQ;
    if (held) {
        replay->options.stop_at_seq = seq;
        replay->held = HELD_NOT;
        pthread_cond_broadcast(&replay->changed);
    }
    pthread_mutex_unlock(&replay->lock);
    return held ? 0 : -1;
}
