/* task.c - the tasks of a run by thread id. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>

#include "run.h"

static struct task **bucket(struct sentra_run *run, int32_t tid)
{
    return &run->tasks[(uint32_t)tid % TASK_BUCKETS];
}

struct task *task_find(struct sentra_run *run, int32_t tid)
{
    struct task *task = *bucket(run, tid);

    while (task && task->tid != tid)
        task = task->next;
    return task;
}

static int32_t slot_take(struct sentra_run *run)
{
    for (uint32_t word = 0; word < SENTRA_IN_FLIGHT_SLOTS / 64; word++) {
        if (run->slot_used[word] != UINT64_MAX) {
            int bit = __builtin_ctzll(~run->slot_used[word]);

            run->slot_used[word] |= 1ull << bit;
            return (int32_t)(word * 64 + (uint32_t)bit);
        }
    }
    return -1; /* more tasks than slots: the others' calls are not seen if the supervisor is killed */
}

struct task *task_add(struct sentra_run *run, int32_t tid)
{
    struct task *task = calloc(1, sizeof *task);

    if (!task) {
        run_fail(run, ENOMEM, "keep track of a task");
        return NULL;
    }
    task->tid = tid;
    task->tgid = tid;
    task->inner_tid = tid;
    task->inner_tgid = tid;
    task->state = TASK_NEW;
    task->slot = slot_take(run);
    task->next = *bucket(run, tid);
    *bucket(run, tid) = task;
    run->live_tasks++;
    run->stats.live_tasks = (int32_t)run->live_tasks;
    return task;
}

static void unlink_task(struct sentra_run *run, struct task *task)
{
    struct task **link = bucket(run, task->tid);

    while (*link && *link != task)
        link = &(*link)->next;
    if (*link)
        *link = task->next;
}

void task_remove(struct sentra_run *run, struct task *task)
{
    unlink_task(run, task);
    ready_remove(run, task);
    output_done(run, task);
    if (run->holder == task)
        run->holder = NULL;
    if (run->probe.phase != PROBE_NONE && run->probe.tid == task->tid)
        probe_cancel(run);
    if (task->slot >= 0) {
        atomic_store_explicit(&run->in_flight[task->slot].task, 0, memory_order_release);
        run->slot_used[task->slot / 64] &= ~(1ull << (task->slot % 64));
    }
    scratch_release(run, task);
    socket_forget(run, task->tid);
    free(task->stash.data);
    free(task);
    run->live_tasks--;
    run->stats.live_tasks = (int32_t)run->live_tasks;
}

/* A thread that is not the leader and executes a program goes on under the leader's thread id. */
void task_rename(struct sentra_run *run, struct task *task, int32_t tid)
{
    unlink_task(run, task);
    socket_forget(run, task->tid);
    task->tid = tid;
    task->next = *bucket(run, tid);
    *bucket(run, tid) = task;
}

uint32_t task_group_size(struct sentra_run *run, int32_t tgid)
{
    uint32_t count = 0;

    for (uint32_t index = 0; index < TASK_BUCKETS; index++)
        for (const struct task *task = run->tasks[index]; task; task = task->next)
            count += task->tgid == tgid && task->state != TASK_EXITING;
    return count;
}

/* Fills the ids from /proc; -1 when the task is gone already. */
int task_read_ids(struct task *task)
{
    return tracee_ids(task->tid, &task->tgid, &task->inner_tid, &task->inner_tgid);
}
