/*
 * agent.c - the program's process, from its fork to execve: a recipe, step by step, each step reported when it fails.
 *
 * The order matters. Capabilities go first, so that everything after happens with the rights the program will have (a working
 * directory or a program it may not enter is refused as it would be natively). Descriptors become close-on-exec late,
 * the signal mask is restored just before execve (a signal that waited then ends the process as it would have
 * natively), and the filter is last: of our own calls it sees execve alone, or write and exit_group if that fails.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sandbox/child.h"

/* What rt_sigaction takes; the C library's wrapper refuses the two signals it uses itself. */
struct kernel_sigaction {
    void (*handler)(int);
    unsigned long flags;
    void (*restorer)(void);
    uint64_t mask;
};

int sentra_default_signals(uint64_t ignored, struct sentra_error *error)
{
    for (int signo = 1; signo <= 64; signo++) {
        char number[24];
        struct kernel_sigaction action = {.handler = (ignored >> (signo - 1) & 1) ? SIG_IGN : SIG_DFL};

        if (signo == SIGKILL || signo == SIGSTOP)
            continue;
        if (syscall(SYS_rt_sigaction, signo, &action, NULL, sizeof action.mask) < 0)
            return sentra_child_error(error, errno, "reset signal", sentra_number_text(number, signo));
    }
    return 0;
}

static int apply_limits(const struct sentra_launch_options *options, struct sentra_error *error)
{
    for (int32_t i = 0; i < options->ops_count; i++)
        if (sentra_setup_op_in_agent(&options->ops[i], error) < 0)
            return -1;
    return 0;
}

/* Copies first: a source may be 0, 1 or 2 itself (2>&1, swapped descriptors). */
static int place_stdio(const int32_t *stdio, struct sentra_error *error)
{
    int copies[3];
    char number[24];

    for (int i = 0; i < 3; i++) {
        copies[i] = stdio[i] < 0 ? -1 : fcntl(stdio[i], F_DUPFD_CLOEXEC, 3);
        if (stdio[i] >= 0 && copies[i] < 0)
            return sentra_child_error(error, errno, "pass on a descriptor", sentra_number_text(number, stdio[i]));
    }
    for (int i = 0; i < 3; i++)
        if (copies[i] >= 0 && dup2(copies[i], i) < 0)
            return sentra_child_error(error, errno, "pass on a descriptor", sentra_number_text(number, stdio[i]));
    return 0;
}

/* Everything from 3 up is closed by execve, except what the program inherits. Linux 5.11. */
static int close_others_on_exec(const struct sentra_launch_options *options, struct sentra_error *error)
{
    char number[24];

    if (syscall(SYS_close_range, 3u, ~0u, CLOSE_RANGE_CLOEXEC) < 0)
        return sentra_child_error(error, errno, "close descriptors", "close_range");
    for (int32_t i = 0; i < options->keep_fds_count; i++)
        if (options->keep_fds[i] > 2 && fcntl(options->keep_fds[i], F_SETFD, 0) < 0)
            return sentra_child_error(error, errno, "pass on a descriptor", sentra_number_text(number, options->keep_fds[i]));
    return 0;
}

static int fix_execution(const struct sentra_launch_options *options, struct sentra_error *error)
{
    char number[24];

    if (options->no_aslr) {
        const int now = personality(0xffffffff);
        if (now < 0 || personality((unsigned long)now | ADDR_NO_RANDOMIZE) < 0)
            return sentra_child_error(error, errno, "turn address randomisation off", NULL);
    }
    if (options->cpu >= 0) {
        unsigned long mask[128]; /* 8,192 CPUs, the most that Linux supports */

        memset(mask, 0, sizeof mask);
        if ((size_t)options->cpu >= sizeof mask * 8)
            return sentra_child_error(error, EINVAL, "pin to a CPU", sentra_number_text(number, options->cpu));
        mask[options->cpu / 64] = 1ul << (options->cpu % 64);
        if (syscall(SYS_sched_setaffinity, 0, sizeof mask, mask) < 0)
            return sentra_child_error(error, errno, "pin to a CPU", sentra_number_text(number, options->cpu));
    }
    return 0;
}

/*
 * Before Linux 5.16 a filter also switched speculation off, which slows every program down; since then it does not by
 * default. SPEC_ALLOW asks for the newer behaviour everywhere.
 */
static int install_filter(const struct sentra_launch_options *options, struct sentra_error *error)
{
    struct sock_fprog program = {.len = (unsigned short)options->filter_count, .filter = (struct sock_filter *)options->filter};

    if (!options->filter)
        return 0;
    if (options->filter_count <= 0 || options->filter_count > BPF_MAXINSNS)
        return sentra_child_error(error, EINVAL, "install the seccomp filter", "1 to 4096 instructions");
    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW, &program) < 0)
        return sentra_child_error(error, errno, "install the seccomp filter", NULL);
    return 0;
}

static int prepare(const struct sentra_launch_options *options, struct sentra_error *error)
{
    if (sentra_default_signals(options->ignored_signals, error) < 0)
        return -1;
    if (apply_limits(options, error) < 0)
        return -1;
    if (sentra_keep_capabilities(options->keep_capabilities, error) < 0)
        return -1;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return sentra_child_error(error, errno, "set no_new_privs", NULL);
    if (place_stdio(options->stdio, error) < 0)
        return -1;
    if (options->cwd && chdir(options->cwd) < 0)
        return sentra_child_error(error, errno, "enter the working directory", options->cwd);
    if (fix_execution(options, error) < 0)
        return -1;
    if (close_others_on_exec(options, error) < 0)
        return -1;
    if (syscall(SYS_rt_sigprocmask, SIG_SETMASK, &options->sigmask, NULL, sizeof options->sigmask) < 0)
        return sentra_child_error(error, errno, "restore the signal mask", NULL);
    if (options->trap_tsc && prctl(PR_SET_TSC, PR_TSC_SIGSEGV, 0, 0, 0) < 0)
        return sentra_child_error(error, errno, "trap the time stamp counter", NULL);
    return install_filter(options, error);
}

_Noreturn void sentra_agent_run(const struct sentra_launch_options *options, const struct sentra_channel *channel)
{
    struct sentra_error error;

    memset(&error, 0, sizeof error);
    sentra_child_hello(channel, SENTRA_HELLO_AGENT);
    sentra_child_wait(channel);
    if (prepare(options, &error) < 0)
        sentra_child_fail_error(channel, &error, SENTRA_EXIT_SETUP);
    execve(options->path, (char *const *)options->argv, (char *const *)options->envp);
    const int err = errno;
    sentra_child_error(&error, err, "execute", options->path);
    sentra_child_fail_error(channel, &error, err == ENOENT ? SENTRA_EXIT_NOT_FOUND : SENTRA_EXIT_CANNOT_EXECUTE);
}
