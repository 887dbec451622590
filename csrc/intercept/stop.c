/* stop.c - classify a wait status once, into a named kind. Pure. */
#include <sys/ptrace.h>
#include <sys/wait.h>

#include "run.h"

static enum stop_kind event_kind(int event, int signo)
{
    switch (event) {
    case PTRACE_EVENT_SECCOMP:
        return STOP_SECCOMP;
    case PTRACE_EVENT_FORK:
    case PTRACE_EVENT_VFORK:
    case PTRACE_EVENT_CLONE:
        return STOP_NEW_TASK;
    case PTRACE_EVENT_EXEC:
        return STOP_EXEC;
    case PTRACE_EVENT_EXIT:
        return STOP_EXIT;
    case PTRACE_EVENT_STOP:
        return signo == SIGTRAP ? STOP_TRAP : STOP_GROUP;
    default:
        return STOP_NONE;
    }
}

struct stop classify_stop(int32_t tid, int status)
{
    struct stop stop = {.kind = STOP_NONE, .tid = tid, .status = status};

    if (WIFEXITED(status) || WIFSIGNALED(status)) {
        stop.kind = STOP_DEAD;
    } else if (WIFSTOPPED(status)) {
        stop.signo = WSTOPSIG(status);
        stop.event = status >> 16;
        if (stop.event)
            stop.kind = event_kind(stop.event, stop.signo);
        else if (stop.signo == (SIGTRAP | 0x80))
            stop.kind = STOP_SYSCALL_EXIT; /* entries are seen as seccomp stops only */
        else
            stop.kind = STOP_SIGNAL;
    }
    return stop;
}
