/*
 * launch_probe.c - drives the launcher the way a tracer does, and prints what it saw for test_launch_traced.py.
 * Usage: launch_probe MODE PROGRAM [ARG...], with the id maps in UID_MAP and GID_MAP.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sandbox/launch.h"

extern char **environ;

static void image_of(int pid, char *out, size_t size)
{
    char path[64];

    snprintf(path, sizeof path, "/proc/%d/exe", pid);
    ssize_t n = readlink(path, out, size - 1);
    out[n < 0 ? 0 : n] = '\0';
}

static int reap(int pid)
{
    int status = 0;
    while (waitpid(pid, &status, __WALL) < 0 && errno == EINTR)
        ;
    return status;
}

/* Seize before go; then run the agent through its execve and its end, as a tracer sees them. */
static int traced(struct sentra_launched *launched, struct sentra_error *error)
{
    char own[256], image[256];
    int status;

    image_of(getpid(), own, sizeof own);
    image_of(launched->agent_pid, image, sizeof image);
    printf("before go: %s\n", strcmp(own, image) ? "another image" : "our image");
    if (ptrace(PTRACE_SEIZE, launched->agent_pid, NULL, PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL) < 0) {
        printf("seize: %s\n", strerror(errno));
        return 1;
    }
    if (sentra_launch_go(launched, error) < 0)
        return 1;
    for (;;) {
        const pid_t pid = waitpid(-1, &status, __WALL);
        if (pid < 0)
            break;
        if (pid == launched->init_pid) {
            printf("init ended: 0x%x\n", (unsigned)status);
            break;
        }
        if (WIFSTOPPED(status) && status >> 8 == (SIGTRAP | PTRACE_EVENT_EXEC << 8)) {
            image_of(pid, image, sizeof image);
            printf("executed, failure %d\n", sentra_launch_failure(launched, error));
            ptrace(PTRACE_CONT, pid, NULL, NULL);
        } else if (WIFSTOPPED(status)) {
            const int event = status >> 16;
            ptrace(event == PTRACE_EVENT_STOP ? PTRACE_LISTEN : PTRACE_CONT, pid, NULL, event ? 0L : (long)WSTOPSIG(status));
        } else {
            printf("agent ended: 0x%x\n", (unsigned)status);
        }
    }
    int32_t told = 0;
    const ssize_t n = read(launched->end_fd, &told, sizeof told);
    printf("told: %zd 0x%x\n", n, (unsigned)told);
    return 0;
}

int main(int argc, char **argv)
{
    struct sentra_error error = {0};
    struct sentra_launched launched;
    const struct sentra_setup_op ops[] = {
        {.kind = SENTRA_SETUP_MOUNT, .flags = 1 << 18 | 16384, .a = "none", .b = "/"},
        {.kind = SENTRA_SETUP_MOUNT, .flags = 2 | 4 | 8, .a = "proc", .b = "/proc", .c = "proc"},
    };
    struct sentra_launch_options options = {
        .path = argv[2],
        .argv = (const char *const *)argv + 2,
        .envp = (const char *const *)environ,
        .stdio = {-1, -1, -1},
        .namespaces = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID,
        .uid_map = getenv("UID_MAP"),
        .gid_map = getenv("GID_MAP"),
        .deny_setgroups = geteuid() != 0,
        .ops = ops,
        .ops_count = 2,
        .trap_tsc = !strcmp(argv[1], "tsc"),
        .cpu = -1,
        .network_fd = -1,
    };

    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc < 3 || sentra_launch(&options, &launched, &error) < 0) {
        printf("launch: %s (%s): %s\n", error.step, error.detail, strerror(error.err));
        return 1;
    }
    printf("inner pid: %d\n", launched.agent_inner_pid);
    if (!strcmp(argv[1], "traced")) {
        if (traced(&launched, &error))
            return 1;
    } else if (!strcmp(argv[1], "abandon")) {
        sentra_launch_close(&launched);
        printf("init ended: 0x%x\n", (unsigned)reap(launched.init_pid));
    } else if (!strcmp(argv[1], "signal")) { /* USR1 goes to the agent by way of init; a plain kill of init does not */
        sentra_launch_go(&launched, &error);
        sentra_launch_failure(&launched, &error);
        struct pollfd ready = {.fd = STDIN_FILENO, .events = POLLIN}; /* the test says when the program listens */
        poll(&ready, 1, 5000);
        kill(launched.init_pid, SIGUSR2);
        kill(launched.init_pid, SIGTSTP);
        sentra_launch_signal(&launched, SIGUSR1, &error);
        printf("init ended: 0x%x\n", (unsigned)reap(launched.init_pid));
    } else if (!strcmp(argv[1], "tsc")) {
        sentra_launch_go(&launched, &error);
        printf("failure %d\n", sentra_launch_failure(&launched, &error));
        printf("init ended: 0x%x\n", (unsigned)reap(launched.init_pid));
    } else if (!strcmp(argv[1], "killed")) { /* init killed: end_fd ends without a status */
        int32_t told;
        sentra_launch_go(&launched, &error);
        sentra_launch_failure(&launched, &error);
        kill(launched.init_pid, SIGKILL);
        printf("init ended: 0x%x\n", (unsigned)reap(launched.init_pid));
        printf("told: %zd\n", read(launched.end_fd, &told, sizeof told));
        printf("agent: %s\n", kill(launched.agent_pid, 0) < 0 && errno == ESRCH ? "gone" : "there");
    }
    sentra_launch_close(&launched);
    return 0;
}
