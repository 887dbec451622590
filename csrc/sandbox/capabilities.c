/*
 * capabilities.c - giving up capabilities for good: the agent keeps the mask it is given and can never get more.
 *
 * The bounding set goes first (that needs CAP_SETPCAP, which the last step gives up). Where it cannot be lowered because
 * an ordinary user without a user namespace never had CAP_SETPCAP, no_new_privs has the same effect: no program
 * can gain capabilities by being executed. The agent sets it in every case.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sandbox/child.h"

#define CAPABILITIES_MAX 64

struct capability_sets {
    struct __user_cap_data_struct word[2];
};

static int read_sets(struct capability_sets *sets, struct sentra_error *error)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};

    if (syscall(SYS_capget, &header, sets->word) < 0)
        return sentra_child_error(error, errno, "read capabilities", NULL);
    return 0;
}

static int has_setpcap(const struct capability_sets *sets)
{
    return (sets->word[0].effective >> CAP_SETPCAP) & 1;
}

static int lower_bounding_set(uint64_t keep, struct sentra_error *error)
{
    for (int cap = 0; cap < CAPABILITIES_MAX; cap++) {
        char number[24];

        if (keep >> cap & 1)
            continue;
        if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) == 0)
            continue;
        if (errno == EINVAL) /* the kernel knows no capability of this number, nor any above */
            return 0;
        return sentra_child_error(error, errno, "lower the capability bounding set", sentra_number_text(number, cap));
    }
    return 0;
}

/* An ordinary user's capabilities survive execve only as ambient ones; uid 0 gets permitted and bounding set anyway. */
static int raise_ambient(uint64_t keep, struct sentra_error *error)
{
    for (int cap = 0; cap < CAPABILITIES_MAX; cap++) {
        char number[24];

        if ((keep >> cap & 1) && prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0) < 0)
            return sentra_child_error(error, errno, "keep capability", sentra_number_text(number, cap));
    }
    return 0;
}

int sentra_keep_capabilities(uint64_t keep, struct sentra_error *error)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct capability_sets sets;
    const int by_ambient = keep && syscall(SYS_geteuid) != 0;

    memset(&sets, 0, sizeof sets);
    if (read_sets(&sets, error) < 0)
        return -1;
    if (has_setpcap(&sets)) {
        if (lower_bounding_set(keep, error) < 0)
            return -1;
        /* With nothing to keep, uid 0 is an ordinary number: no capabilities by being root, no way to make them ambient. */
        const unsigned long no_root = SECBIT_NOROOT | SECBIT_NOROOT_LOCKED;
        const unsigned long no_ambient = SECBIT_NO_CAP_AMBIENT_RAISE | SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED;
        if (!keep && prctl(PR_SET_SECUREBITS, no_root | no_ambient, 0, 0, 0) < 0)
            return sentra_child_error(error, errno, "set securebits", NULL);
    }
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
        return sentra_child_error(error, errno, "clear ambient capabilities", NULL);
    for (int i = 0; i < 2; i++) {
        const uint32_t half = (uint32_t)(keep >> (32 * i)) & sets.word[i].permitted;
        sets.word[i].effective = sets.word[i].permitted = half;
        sets.word[i].inheritable = by_ambient ? half : 0;
    }
    if (syscall(SYS_capset, &header, sets.word) < 0)
        return sentra_child_error(error, errno, "drop capabilities", NULL);
    return by_ambient ? raise_ambient(keep & (sets.word[0].permitted | (uint64_t)sets.word[1].permitted << 32), error) : 0;
}
