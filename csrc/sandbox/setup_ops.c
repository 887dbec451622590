/*
 * setup_ops.c - carries out one operation of the setup plan. The plan is made in Python (sandbox/plan.py), printable and
 * without a kernel; here each operation is a system call or two and knows how to name itself when it fails.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sandbox/child.h"

static int fail_at(struct sentra_error *error, int err, const char *step, const char *a, const char *b)
{
    error->err = err;
    sentra_text(error->step, sizeof error->step, step, NULL, NULL, NULL);
    sentra_text(error->detail, sizeof error->detail, a, a && b ? " on " : NULL, b, NULL);
    return -1;
}

static int mount_one(const struct sentra_setup_op *op, struct sentra_error *error)
{
    char step[64];

    if (mount(op->a, op->b, op->c, (unsigned long)op->flags, op->d) == 0)
        return 0;
    const int err = errno;
    if (op->flags & MS_REMOUNT)
        return fail_at(error, err, "remount", NULL, op->b);
    if (op->flags & (MS_PRIVATE | MS_SLAVE | MS_SHARED | MS_UNBINDABLE))
        return fail_at(error, err, "set mount propagation", NULL, op->b);
    if (op->flags & MS_BIND)
        return fail_at(error, err, "bind", op->a, op->b);
    sentra_text(step, sizeof step, "mount ", op->c, NULL, NULL);
    return fail_at(error, err, step, NULL, op->b);
}

static int write_file(const struct sentra_setup_op *op, struct sentra_error *error)
{
    const char *text = op->b ? op->b : "";
    size_t left = strlen(text);
    int fd = open(op->a, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, (mode_t)op->value);

    if (fd < 0)
        return fail_at(error, errno, "write file", op->a, NULL);
    while (left) {
        ssize_t n = write(fd, text, left);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            const int err = n < 0 ? errno : EIO;
            close(fd);
            return fail_at(error, err, "write file", op->a, NULL);
        }
        text += n;
        left -= (size_t)n;
    }
    close(fd);
    return 0;
}

/* The old root is stacked on the new one and detached, so no directory for it is needed (pivot_root(2), NOTES). */
static int pivot_root_to(const char *root, struct sentra_error *error)
{
    if (chdir(root) < 0)
        return fail_at(error, errno, "enter the new root", root, NULL);
    if (syscall(SYS_pivot_root, ".", ".") < 0)
        return fail_at(error, errno, "pivot_root", root, NULL);
    if (umount2(".", MNT_DETACH) < 0)
        return fail_at(error, errno, "detach the old root", root, NULL);
    if (chdir("/") < 0)
        return fail_at(error, errno, "enter the new root", "/", NULL);
    return 0;
}

int sentra_loopback_up(struct sentra_error *error)
{
    struct ifreq request = {.ifr_name = "lo"};
    /* Any socket carries interface requests; a unix one exists even where IPv4 is compiled out. */
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return fail_at(error, errno, "bring the loopback interface up", "socket", NULL);
    int failed = ioctl(fd, SIOCGIFFLAGS, &request) < 0;
    if (!failed) {
        request.ifr_flags |= IFF_UP;
        failed = ioctl(fd, SIOCSIFFLAGS, &request) < 0;
    }
    const int err = errno;
    close(fd);
    return failed ? fail_at(error, err, "bring the loopback interface up", "lo", NULL) : 0;
}

int sentra_setup_op_run(const struct sentra_setup_op *op, struct sentra_setup_state *state, struct sentra_error *error)
{
    char number[24];

    switch (op->kind) {
    case SENTRA_SETUP_MOUNT:
        return mount_one(op, error);
    case SENTRA_SETUP_WRITE_FILE:
        return write_file(op, error);
    case SENTRA_SETUP_MKDIR:
        if (mkdir(op->a, (mode_t)op->value) == 0 || errno == EEXIST)
            return 0;
        return fail_at(error, errno, "make directory", op->a, NULL);
    case SENTRA_SETUP_HOSTNAME:
        if (sethostname(op->a, strlen(op->a)) == 0)
            return 0;
        return fail_at(error, errno, "set the host name", op->a, NULL);
    case SENTRA_SETUP_LOOPBACK_UP:
        return sentra_loopback_up(error);
    case SENTRA_SETUP_RLIMIT:
        return 0; /* in the agent: init must not be bound by the program's limits */
    case SENTRA_SETUP_PIVOT_ROOT:
        return pivot_root_to(op->a, error);
    case SENTRA_SETUP_UMOUNT:
        if (umount2(op->a, (int)op->flags) == 0)
            return 0;
        return fail_at(error, errno, "unmount", op->a, NULL);
    case SENTRA_SETUP_NETLINK:
        return sentra_netlink_run(op, state, error);
    case SENTRA_SETUP_LISTENERS:
        return sentra_listeners_run(op, state, error);
    default:
        return fail_at(error, EINVAL, "carry out an unknown setup operation", sentra_number_text(number, op->kind), NULL);
    }
}

int sentra_setup_op_in_agent(const struct sentra_setup_op *op, struct sentra_error *error)
{
    char number[24];

    if (op->kind != SENTRA_SETUP_RLIMIT)
        return 0;
    const struct rlimit64 limit = {.rlim_cur = op->value, .rlim_max = op->value};
    if (syscall(SYS_prlimit64, 0, (int)op->flags, &limit, NULL) == 0)
        return 0;
    return fail_at(error, errno, "set resource limit", sentra_number_text(number, (int64_t)op->flags), NULL);
}
