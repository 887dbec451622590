/* call.h - answering and changing a call at its entry: what call.c and special.c share. */
#ifndef SENTRA_CALL_H
#define SENTRA_CALL_H

#include <sys/ptrace.h>

#include "run.h"

static inline int set_register(const struct task *task, size_t offset, uint64_t value)
{
    return tracee_set_register(task->tid, offset, value);
}

/* The kernel does not execute the call; the program gets `result`. */
static inline void answer(struct task *task, int64_t result)
{
    task->call.answered = 2;
    task->call.answer = result;
}

/* The same for a call that is not allowed; it is recorded as refused. */
static inline void refuse(struct task *task, int error)
{
    task->call.answered = 1;
    task->call.answer = -error;
}

/* Changes an argument of the call that the kernel executes; the program gets its own registers back at exit. */
static inline void change_argument(struct task *task, int arg, uint64_t value)
{
    struct call *call = &task->call;

    if (!call->registers_changed && ptrace(PTRACE_GETREGS, task->tid, 0, &call->saved))
        return;
    call->registers_changed = 1;
    set_register(task, argument_registers[arg], value);
}

/* ---- special.c ---- */
void enter_special(struct sentra_run *run, struct task *task);

#endif
