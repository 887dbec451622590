/*
 * launch.h - starting a program inside its sandbox.
 *
 * Theory of operation. Three processes take part:
 *
 *   supervisor   the calling thread; later the ptracer. Clones init into the new namespaces, writes its id maps, learns
 *                the pids, lets the agent go.
 *   init         pid 1 of the sandbox. Carries out the setup operations in order, forks the agent, then only reaps
 *                orphans. Ends with the agent's status when the agent ends: the kernel then kills whatever is left
 *                in the pid namespace. Dies by SIGKILL with the supervisor's thread.
 *   agent        the program's process. Waits until it is let go (so that it can be seized first), gives up what it
 *                must not keep (capabilities, descriptors, the right to gain privileges), and executes the program.
 *
 * They share one socket pair (hello from init and agent with kernel-checked pids; release and go from the supervisor) and
 * one close-on-exec status pipe on which the step that failed travels back as a struct sentra_error. Init and
 * agent stay in the caller's session and process group, so terminals, pipelines and job control work as without us.
 *
 * Everything in init and agent runs between fork and exec of a possibly multi-threaded process: system calls only, no
 * malloc, no stdio, no locks.
 */
#ifndef SENTRA_LAUNCH_H
#define SENTRA_LAUNCH_H

#include "sentra.h"

struct sentra_launched {
    int32_t init_pid;        /* pid 1 of the sandbox, as seen by the caller; the caller's child: the caller reaps it */
    int32_t agent_pid;       /* the program's process, as seen by the caller; init's child */
    int32_t agent_inner_pid; /* the same process as seen inside */
    int32_t go_fd;           /* the supervisor's end of the socket pair; see sentra_launch_go */
    int32_t status_fd;       /* readable: one struct sentra_error when a step failed; EOF once execve succeeded */
    int32_t end_fd;          /* readable: the agent's wait status (int32_t) once init reaped it; EOF alone: init was killed */
};

/*
 * Build the sandbox up to the point where the agent waits for sentra_launch_go. The calling thread is the parent of the
 * sandbox: when it ends, the sandbox is killed. -1: nothing is left behind, *error names the step.
 */
int sentra_launch(const struct sentra_launch_options *options, struct sentra_launched *out, struct sentra_error *error);

/* Let the agent go on to execve; does not wait for it. Between here and execve it calls only what is in agent.c. */
int sentra_launch_go(struct sentra_launched *launched, struct sentra_error *error);

/*
 * Wait until the agent has executed the program or failed to. 1: a step failed, *error names it (the agent is ending
 * with status 125, 126 or 127); 0: no failure was reported (execve succeeded, or the agent was killed); -1: reading failed.
 */
int sentra_launch_failure(struct sentra_launched *launched, struct sentra_error *error);

/*
 * Deliver a signal to the agent by way of init, which knows whether it still lives: no pid can be hit by mistake.
 * (A plain kill() of init is not forwarded: a signal to the whole process group reaches the agent by itself.)
 */
int sentra_launch_signal(const struct sentra_launched *launched, int32_t signo, struct sentra_error *error);

/* Close the descriptors. An agent that was not let go yet ends by this, and init with it; reap init_pid. */
void sentra_launch_close(struct sentra_launched *launched);

#endif
