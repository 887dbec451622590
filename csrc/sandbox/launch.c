/* launch.c - the supervisor's side of a launch: clone, maps, pids, go, and what the children report. See launch.h. */
#define _GNU_SOURCE
#include "sandbox/launch.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sandbox/child.h"

/* Both ends of everything, until the clone splits them. */
struct wires {
    int socket[2]; /* [0] supervisor's, [1] the children's */
    int status[2]; /* [0] read, [1] write */
    int end[2];
};

static void close_fd(int32_t *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static void close_wires(struct wires *wires)
{
    for (int i = 0; i < 2; i++) {
        close_fd(&wires->socket[i]);
        close_fd(&wires->status[i]);
        close_fd(&wires->end[i]);
    }
}

/* A caller whose 0, 1 or 2 is closed gets these numbers here; they are to become the program's. */
static int move_above_stdio(int *fd)
{
    if (*fd > 2)
        return 0;
    const int moved = fcntl(*fd, F_DUPFD_CLOEXEC, 3);
    if (moved < 0)
        return -1;
    close(*fd);
    *fd = moved;
    return 0;
}

static int open_wires(struct wires *wires, struct sentra_error *error)
{
    const int on = 1;

    *wires = (struct wires){{-1, -1}, {-1, -1}, {-1, -1}};
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, wires->socket) < 0)
        return sentra_fail(error, errno, "open the launch socket", NULL);
    if (setsockopt(wires->socket[0], SOL_SOCKET, SO_PASSCRED, &on, sizeof on) < 0)
        return sentra_fail(error, errno, "open the launch socket", "SO_PASSCRED");
    if (pipe2(wires->status, O_CLOEXEC) < 0 || pipe2(wires->end, O_CLOEXEC) < 0)
        return sentra_fail(error, errno, "open the launch pipes", NULL);
    for (int i = 0; i < 2; i++)
        if (move_above_stdio(&wires->socket[i]) < 0 || move_above_stdio(&wires->status[i]) < 0 ||
            move_above_stdio(&wires->end[i]) < 0)
            return sentra_fail(error, errno, "open the launch pipes", NULL);
    return 0;
}

/* All signals are blocked from before the clone: a handler of the supervisor must never run in the child. */
static pid_t clone_init(const struct sentra_launch_options *options, const struct wires *wires, struct sentra_error *error)
{
    const uint64_t every_signal = ~0ull;
    uint64_t mask;

    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &every_signal, &mask, sizeof mask);
    const pid_t pid = sentra_fork(options->namespaces);
    if (pid == 0) {
        struct sentra_channel channel = {wires->socket[1], wires->status[1], wires->end[1]};
        close(wires->socket[0]);
        close(wires->status[0]);
        close(wires->end[0]);
        sentra_init_run(options, &channel);
    }
    const int err = errno;
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &mask, NULL, sizeof mask);
    if (pid < 0) {
        char names[64];
        sentra_namespace_names(names, sizeof names, options->namespaces);
        return sentra_fail(error, err, names[0] ? "create namespaces" : "fork init", "%s", names);
    }
    return pid;
}

static int send_byte(int fd)
{
    ssize_t n;

    do
        n = send(fd, "g", 1, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    return n == 1 ? 0 : -1;
}

/* One hello with the pid the kernel vouches for. 1: got one; 0: the children are gone; -1: failed. */
static int read_hello(int fd, struct sentra_hello *hello, pid_t *sender)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(struct ucred))];
    } control;
    struct iovec part = {hello, sizeof *hello};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
    ssize_t n;

    do
        n = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    if (n <= 0)
        return (int)n;
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    if (n != sizeof *hello || !header || header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_CREDENTIALS) {
        errno = EPROTO;
        return -1;
    }
    struct ucred credentials;
    memcpy(&credentials, CMSG_DATA(header), sizeof credentials);
    *sender = credentials.pid;
    return 1;
}

/* Both hellos, in whichever order. Init says its own once it is out of the agent's reach. */
static int meet_children(struct sentra_launched *out, struct sentra_error *error)
{
    int init_ready = 0;

    while (!init_ready || out->agent_pid <= 0) {
        struct sentra_hello hello;
        pid_t sender = 0;
        const int got = read_hello(out->go_fd, &hello, &sender);

        if (got < 0)
            return sentra_fail(error, errno, "meet the sandbox's processes", NULL);
        if (got == 0)
            return 1;
        if (hello.from == SENTRA_HELLO_INIT) {
            init_ready = 1;
        } else {
            out->agent_pid = sender;
            out->agent_inner_pid = hello.inner_pid;
        }
        if (sender <= 0)
            return sentra_fail(error, ESRCH, "see the sandbox's processes", "they have no pid here");
    }
    return 0;
}

static int wait_for(pid_t pid, int32_t *status, struct sentra_error *error)
{
    int value = 0;
    pid_t got;

    do
        got = waitpid(pid, &value, __WALL);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return sentra_fail(error, errno, "wait for init", "pid %d", (int)pid);
    *status = value;
    return 0;
}

/* The children are gone before they said hello: what they reported, or how init ended. */
static int explain_early_end(struct sentra_launched *launched, struct sentra_error *error)
{
    int32_t status = 0;

    if (sentra_launch_failure(launched, error) != 0)
        return -1;
    if (wait_for(launched->init_pid, &status, error) < 0)
        return -1;
    launched->init_pid = -1;
    return sentra_fail(error, 0, "set up the sandbox", "init ended with wait status 0x%x and no report", (unsigned)status);
}

static int abandon(struct sentra_launched *launched)
{
    int32_t status;

    if (launched->init_pid > 0) {
        kill(launched->init_pid, SIGKILL);
        wait_for(launched->init_pid, &status, NULL);
    }
    launched->init_pid = -1;
    sentra_launch_close(launched);
    return -1;
}

int sentra_launch(const struct sentra_launch_options *options, struct sentra_launched *out, struct sentra_error *error)
{
    struct wires wires;

    *out = (struct sentra_launched){.init_pid = -1, .agent_pid = -1, .go_fd = -1, .status_fd = -1, .end_fd = -1};
    if (open_wires(&wires, error) < 0) {
        close_wires(&wires);
        return -1;
    }
    out->init_pid = clone_init(options, &wires, error);
    close_fd(&wires.socket[1]);
    close_fd(&wires.status[1]);
    close_fd(&wires.end[1]);
    out->go_fd = wires.socket[0];
    out->status_fd = wires.status[0];
    out->end_fd = wires.end[0];
    if (out->init_pid < 0 || sentra_write_id_maps(out->init_pid, options, error) < 0)
        return abandon(out);
    if (send_byte(out->go_fd) < 0) {
        explain_early_end(out, error);
        return abandon(out);
    }
    const int met = meet_children(out, error);
    if (met > 0)
        explain_early_end(out, error);
    return met == 0 ? 0 : abandon(out);
}

int sentra_launch_go(struct sentra_launched *launched, struct sentra_error *error)
{
    if (send_byte(launched->go_fd) < 0)
        return sentra_fail(error, errno, "let the program go", "pid %d", (int)launched->agent_pid);
    return 0;
}

int sentra_launch_failure(struct sentra_launched *launched, struct sentra_error *error)
{
    struct sentra_error report;
    ssize_t n;

    do
        n = read(launched->status_fd, &report, sizeof report);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return sentra_fail(error, errno, "read the launch status", NULL);
    if (n == 0)
        return 0;
    if (n != sizeof report)
        return sentra_fail(error, EPROTO, "read the launch status", "%zd bytes", n);
    report.step[sizeof report.step - 1] = report.detail[sizeof report.detail - 1] = '\0';
    if (error)
        *error = report;
    return 1;
}

int sentra_launch_signal(const struct sentra_launched *launched, int32_t signo, struct sentra_error *error)
{
    const union sigval none = {0};

    if (sigqueue(launched->init_pid, signo, none) < 0)
        return sentra_fail(error, errno, "signal the program", "signal %d", (int)signo);
    return 0;
}

void sentra_launch_close(struct sentra_launched *launched)
{
    close_fd(&launched->go_fd);
    close_fd(&launched->status_fd);
    close_fd(&launched->end_fd);
}

int sentra_launch_untraced(const struct sentra_launch_options *options, int32_t *wait_status, struct sentra_error *error)
{
    struct sentra_launched launched;
    int32_t init_status = 0, agent_status = 0;
    ssize_t n;

    if (sentra_launch(options, &launched, error) < 0)
        return -1;
    if (sentra_launch_go(&launched, error) < 0)
        return abandon(&launched);
    const int failed = sentra_launch_failure(&launched, error);
    if (failed)
        return abandon(&launched);
    do
        n = read(launched.end_fd, &agent_status, sizeof agent_status);
    while (n < 0 && errno == EINTR);
    const int waited = wait_for(launched.init_pid, &init_status, error);
    sentra_launch_close(&launched);
    if (waited < 0)
        return -1;
    /* Nothing in the pipe: init itself was killed, and the program with it. */
    *wait_status = n == sizeof agent_status ? agent_status : init_status;
    return 0;
}
