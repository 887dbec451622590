/*
 * socket_maker.c - a small process that makes further sockets inside a running sandbox's network, for the broker.
 *
 * Why a process, and why this one. A socket belongs to the network namespace of its maker, and a transparent one wants
 * a capability in the user namespace that owns it. Pid 1 of the sandbox could serve such requests, but it gave up these capabilities, its
 * memory and its C library on purpose, and the program can see it. A process forked inside would be in the program's pid
 * namespace: listed in its /proc, a target for signals and ptrace. The broker itself cannot enter: for an ordinary user that means
 * entering the user namespace first, which a process with threads may not do and none can leave again. So the broker forks this process
 * before it has any secret. It enters the two namespaces and nothing else: to the pid namespace, mounts and unix sockets of the
 * program it stays a stranger, so the program has no name for it. It keeps two capabilities, one descriptor, and ends when
 * the broker closes the other end or dies. Entering needs no help from inside: the kernel tells the namespaces of any socket.
 *
 * Between fork and exec rules hold (the caller may have threads): system calls only.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/nsfs.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sandbox/child.h"

/* First message from the maker: how its start went. */
struct ready {
    int32_t err;
    char step[60];
};

static _Noreturn void not_ready(int control, int err, const char *step)
{
    struct ready ready = {.err = err};

    sentra_text(ready.step, sizeof ready.step, step, NULL, NULL, NULL);
    sentra_send_fds(control, &ready, sizeof ready, NULL, 0);
    _exit(1);
}

/* A namespace that is ours already cannot be entered (EINVAL), and need not be. */
static int is_own_user_namespace(int fd)
{
    struct stat theirs, own;

    return fstat(fd, &theirs) == 0 && stat("/proc/self/ns/user", &own) == 0 && theirs.st_ino == own.st_ino &&
           theirs.st_dev == own.st_dev;
}

static void enter_namespaces(int inside, int control)
{
    const int network = ioctl(inside, SIOCGSKNS);
    if (network < 0)
        not_ready(control, errno, "find the sandbox's network namespace");
    const int user = ioctl(network, NS_GET_USERNS);
    if (user < 0)
        not_ready(control, errno, "find the user namespace of the sandbox's network");
    if (!is_own_user_namespace(user) && setns(user, CLONE_NEWUSER) < 0)
        not_ready(control, errno, "enter the sandbox's user namespace");
    if (setns(network, CLONE_NEWNET) < 0)
        not_ready(control, errno, "enter the sandbox's network namespace");
}

static void give_up_the_rest(int control)
{
    const uint32_t kept = 1u << CAP_NET_BIND_SERVICE | 1u << CAP_NET_RAW; /* ports below 1024; IP_TRANSPARENT */
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct sets[2];

    memset(sets, 0, sizeof sets);
    sets[0].effective = sets[0].permitted = kept;
    if (syscall(SYS_capset, &header, sets) < 0)
        not_ready(control, errno, "drop capabilities");
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
        not_ready(control, errno, "make undumpable");
    if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0) /* after the credentials: their change clears it */
        not_ready(control, errno, "tie the socket maker to the broker's life");
}

static int make(const struct sentra_socket_request *request)
{
    const int type = request->kind == SENTRA_LISTENER_UDP ? SOCK_DGRAM : SOCK_STREAM;
    int fd;

    if (request->kind == SENTRA_SENDER_RAW && (request->family == AF_INET || request->family == AF_INET6))
        return socket(request->family, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_RAW);
    if (request->kind != SENTRA_LISTENER_UDP && request->kind != SENTRA_LISTENER_TCP) {
        errno = EINVAL;
        return -1;
    }
    fd = sentra_open_socket(type, request->family, request->local, request->local_port, 1);
    if (fd >= 0 && type == SOCK_DGRAM && request->remote_port &&
        sentra_connect_socket(fd, request->family, request->remote, request->remote_port) < 0) {
        const int err = errno;

        close(fd);
        errno = err;
        return -1;
    }
    return fd;
}

static _Noreturn void serve(int control)
{
    for (;;) {
        struct sentra_socket_request request;
        const ssize_t n = recv(control, &request, sizeof request, 0);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            _exit(0);
        const int fd = n == sizeof request ? make(&request) : (errno = EPROTO, -1);
        const int32_t err = fd < 0 ? errno : 0;
        if (sentra_send_fds(control, &err, sizeof err, &fd, fd >= 0) < 0)
            _exit(1);
        if (fd >= 0)
            close(fd);
    }
}

static _Noreturn void run(int inside, int control)
{
    const struct ready ready = {.err = 0};

    prctl(PR_SET_NAME, "sentra-sockets", 0, 0, 0);
    enter_namespaces(inside, control);
    give_up_the_rest(control);
    if (control > 0)
        syscall(SYS_close_range, 0u, (unsigned)control - 1, 0);
    syscall(SYS_close_range, (unsigned)control + 1, ~0u, 0);
    if (sentra_send_fds(control, &ready, sizeof ready, NULL, 0) < 0)
        _exit(1);
    serve(control);
}

/* Signals stay blocked in the child: those of a terminal are not meant for it. */
static pid_t fork_blocked(int inside, int control)
{
    const uint64_t every_signal = ~0ull;
    uint64_t mask;

    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &every_signal, &mask, sizeof mask);
    const pid_t pid = sentra_fork(0);
    if (pid == 0)
        run(inside, control);
    const int err = errno;
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &mask, NULL, sizeof mask);
    errno = err;
    return pid;
}

int sentra_socket_maker(int32_t inside_fd, int32_t *pid, struct sentra_error *error)
{
    struct ready ready;
    int ends[2];
    ssize_t n;

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
        return sentra_fail(error, errno, "start the socket maker", "socket pair");
    const pid_t child = fork_blocked(inside_fd, ends[1]);
    const int err = errno;
    close(ends[1]);
    if (child < 0) {
        close(ends[0]);
        return sentra_fail(error, err, "start the socket maker", "fork");
    }
    do
        n = recv(ends[0], &ready, sizeof ready, 0);
    while (n < 0 && errno == EINTR);
    if (n == sizeof ready && ready.err == 0) {
        *pid = (int32_t)child;
        return ends[0];
    }
    close(ends[0]);
    while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
        continue;
    ready.step[sizeof ready.step - 1] = '\0';
    if (n != sizeof ready)
        return sentra_fail(error, EPIPE, "start the socket maker", "it ended");
    return sentra_fail(error, ready.err, ready.step, NULL);
}
