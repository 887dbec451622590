/* child.c - how the processes inside the sandbox talk to the supervisor: hello, wait, and the report of a failed step. */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sandbox/child.h"

void sentra_text(char *out, size_t size, const char *a, const char *b, const char *c, const char *d)
{
    const char *parts[] = {a, b, c, d};
    size_t used = 0;

    for (int i = 0; i < 4; i++)
        for (const char *p = parts[i]; p && *p && used + 1 < size; p++)
            out[used++] = *p;
    out[used] = '\0';
}

const char *sentra_number_text(char *out, int64_t value)
{
    char digits[24];
    int n = 0, used = 0;
    uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;

    do
        digits[n++] = (char)('0' + rest % 10);
    while (rest /= 10);
    if (value < 0)
        out[used++] = '-';
    while (n)
        out[used++] = digits[--n];
    out[used] = '\0';
    return out;
}

int sentra_child_error(struct sentra_error *error, int err, const char *step, const char *where)
{
    error->err = err;
    sentra_text(error->step, sizeof error->step, step, NULL, NULL, NULL);
    sentra_text(error->detail, sizeof error->detail, where, NULL, NULL, NULL);
    return -1;
}

_Noreturn void sentra_child_fail_error(const struct sentra_channel *channel, const struct sentra_error *error, int exit_status)
{
    /* One write below PIPE_BUF arrives whole. SIGPIPE is blocked or defaulted: either way this process ends. */
    ssize_t written = write(channel->status, error, sizeof *error);
    (void)written;
    _exit(exit_status);
}

_Noreturn void sentra_child_fail(const struct sentra_channel *channel, int err, const char *step, const char *where)
{
    struct sentra_error error;

    memset(&error, 0, sizeof error);
    sentra_child_error(&error, err, step, where);
    sentra_child_fail_error(channel, &error, SENTRA_EXIT_SETUP);
}

void sentra_child_hello(const struct sentra_channel *channel, enum sentra_hello_from from)
{
    struct sentra_hello hello = {.from = from, .inner_pid = (int32_t)syscall(SYS_getpid)};

    if (send(channel->socket, &hello, sizeof hello, MSG_NOSIGNAL) != sizeof hello)
        _exit(SENTRA_EXIT_SETUP);
}

void sentra_child_wait(const struct sentra_channel *channel)
{
    char byte;
    ssize_t n;

    do
        n = recv(channel->socket, &byte, 1, 0);
    while (n < 0 && errno == EINTR);
    if (n != 1)
        _exit(SENTRA_EXIT_SETUP);
}

pid_t sentra_fork(uint64_t clone_flags)
{
    return (pid_t)syscall(SYS_clone, clone_flags | SIGCHLD, NULL, NULL, NULL, NULL);
}
