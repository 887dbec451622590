/*
 * init.c - pid 1 of the sandbox, from its clone to the fork of the agent: carries out the setup plan in order.
 *
 * All signals are blocked since before the clone. Descriptors of the user are the agent's business: init closes every one of
 * them right after the fork, so that pipes end when the program closes them.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <linux/capability.h>
#include <unistd.h>

#include "sandbox/child.h"

static void run_setup(const struct sentra_launch_options *options, const struct sentra_channel *channel)
{
    struct sentra_setup_state state = {.network_fd = options->network_fd, .have = SENTRA_NETWORK_NO_TPROXY};
    struct sentra_error error;
    const mode_t mask = umask(0); /* modes in the plan are meant as they are written */

    memset(&error, 0, sizeof error);
    for (int32_t i = 0; i < options->ops_count; i++)
        if (sentra_setup_op_run(&options->ops[i], &state, &error) < 0)
            sentra_child_fail_error(channel, &error, SENTRA_EXIT_SETUP);
    umask(mask);
}

/*
 * Out of the agent's reach: not dumpable (no ptrace, no /proc/1/mem, for which the check is made against the user namespace of
 * our memory: the supervisor's), no capability but the one to signal an agent that changed its uid. The agent waits
 * for the supervisor, which waits for our hello: no code of the user runs before this is done.
 */
static void harden(const struct sentra_channel *channel)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct sets[2];

    memset(sets, 0, sizeof sets);
    if (syscall(SYS_capget, &header, sets) < 0)
        sentra_child_fail(channel, errno, "read capabilities", "init");
    sets[0].effective = sets[0].permitted = sets[0].permitted & (1u << CAP_KILL);
    sets[1].effective = sets[1].permitted = 0;
    sets[0].inheritable = sets[1].inheritable = 0;
    if (syscall(SYS_capset, &header, sets) < 0)
        sentra_child_fail(channel, errno, "drop capabilities", "init");
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        sentra_child_fail(channel, errno, "set no_new_privs", "init");
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
        sentra_child_fail(channel, errno, "make undumpable", "init");
}

/* Only the end pipe stays open (its number is at least 3). */
static void close_all_but(const struct sentra_channel *channel)
{
    const unsigned int end = (unsigned int)channel->end;

    if (syscall(SYS_close_range, 0u, end - 1, 0) < 0 || syscall(SYS_close_range, end + 1, ~0u, 0) < 0)
        _exit(SENTRA_EXIT_SETUP);
}

_Noreturn void sentra_init_run(const struct sentra_launch_options *options, struct sentra_channel *channel)
{
    const int has_pid_namespace = (options->namespaces & CLONE_NEWPID) != 0;
    struct sentra_error error;

    memset(&error, 0, sizeof error);
    if (sentra_default_signals(0, &error) < 0)
        sentra_child_fail_error(channel, &error, SENTRA_EXIT_SETUP);
    prctl(PR_SET_NAME, "sentra-init", 0, 0, 0);
    if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
        sentra_child_fail(channel, errno, "tie init to the supervisor's life", NULL);
    /* A supervisor that died before that leaves EOF here (getppid() is 0 in a pid namespace in any case). */
    sentra_child_wait(channel);
    run_setup(options, channel);
    /* Without a pid namespace orphans come to us only by asking. */
    if (!has_pid_namespace && prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0)
        sentra_child_fail(channel, errno, "become the reaper", NULL);

    const pid_t agent = sentra_fork(0);
    if (agent < 0)
        sentra_child_fail(channel, errno, "fork the program's process", NULL);
    if (agent == 0)
        sentra_agent_run(options, channel);
    harden(channel);
    sentra_child_hello(channel, SENTRA_HELLO_INIT);
    close_all_but(channel);
    if (chdir("/") < 0)
        _exit(SENTRA_EXIT_SETUP);
    sentra_init_reap(agent, channel->end, has_pid_namespace);
}
