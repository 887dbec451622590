/*
 * tracee.h - what every tracee program shares: saying what happened, and stating the events it expects.
 *
 * Rules for tracees: standard output is the same in every run (no pids, addresses, times, no order that the
 * scheduler chooses). When the environment has SENTRA_EXPECT=FILE, each EXPECT line is appended to FILE:
 *     TASK CALL RESULT               the calling task made this call and got this (a negative errno on failure)
 *     TASK + out|in ARG HEX          the bytes of the call before: argument ARG, written or read by the kernel
 * The lines of one task must be found in this order among the recorded events of that task.
 * The opening comment of a tracee may hold lines "tracee KEY: VALUE"; tests/tracees.py lists the keys.
 */
#ifndef TRACEE_H
#define TRACEE_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#define TRACEE_MAYBE_UNUSED __attribute__((unused))

/* One line on standard output by one write: nothing is buffered that a fork could print twice. */
__attribute__((format(printf, 1, 2))) TRACEE_MAYBE_UNUSED static void say(const char *format, ...)
{
    char line[2048];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(line, sizeof line - 1, format, arguments);
    va_end(arguments);
    line[length] = '\n';
    if (write(1, line, (size_t)length + 1) < 0)
        _exit(98);
}

/* Set-up that must work for the test to mean anything; exit status 99 says that it did not. */
#define MUST(expression)                                                                                     \
    ({                                                                                                       \
        long must_result = (long)(expression);                                                               \
        if (must_result == -1) {                                                                             \
            dprintf(2, "%s:%d: %s: %s\n", __FILE__, __LINE__, #expression, strerror(errno));                 \
            _exit(99);                                                                                       \
        }                                                                                                    \
        must_result;                                                                                         \
    })

#define CHECK(condition)                                                                                     \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            dprintf(2, "%s:%d: not so: %s (errno %s)\n", __FILE__, __LINE__, #condition, strerror(errno));   \
            _exit(97);                                                                                       \
        }                                                                                                    \
    } while (0)

TRACEE_MAYBE_UNUSED static void expect_line(const char *line, size_t length)
{
    const char *path = getenv("SENTRA_EXPECT");
    if (!path)
        return;
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (fd < 0 || write(fd, line, length) != (ssize_t)length)
        _exit(96);
    close(fd);
}

TRACEE_MAYBE_UNUSED static long expect(const char *call, long result)
{
    char line[160];
    int saved = errno;
    long value = result == -1 ? -saved : result;
    expect_line(line, (size_t)snprintf(line, sizeof line, "%ld %s %ld\n", syscall(SYS_gettid), call, value));
    errno = saved;
    return result;
}

TRACEE_MAYBE_UNUSED static void expect_bytes(const char *direction, int argument, const void *data, size_t size)
{
    static const char digits[] = "0123456789abcdef";
    char line[64 + 2 * 512];
    const unsigned char *bytes = data;
    int saved = errno;
    size_t length = (size_t)snprintf(line, 64, "%ld + %s %d ", syscall(SYS_gettid), direction, argument);
    for (size_t i = 0; i < size && i < 512; i++) {
        line[length++] = digits[bytes[i] >> 4];
        line[length++] = digits[bytes[i] & 15];
    }
    line[length++] = '\n';
    expect_line(line, length);
    errno = saved;
}

/* EXPECT(openat, open("x", O_RDONLY)): evaluate, and state that this call with this result must be in the trace. */
#define EXPECT(call, expression) expect(#call, (long)(expression))
#define EXPECT_OUT(argument, data, size) expect_bytes("out", argument, data, size)
#define EXPECT_IN(argument, data, size) expect_bytes("in", argument, data, size)

/* A short name for how a child ended: "exit 3", "signal 9", "stopped 19", "continued". */
TRACEE_MAYBE_UNUSED static const char *ending(int status)
{
    static char text[64];
    if (WIFEXITED(status))
        snprintf(text, sizeof text, "exit %d", WEXITSTATUS(status));
    else if (WIFSIGNALED(status))
        snprintf(text, sizeof text, "signal %d", WTERMSIG(status));
    else if (WIFSTOPPED(status))
        snprintf(text, sizeof text, "stopped %d", WSTOPSIG(status));
    else
        snprintf(text, sizeof text, "continued");
    return text;
}

/* "ok N" or the errno's name, for results that must be told on standard output. */
TRACEE_MAYBE_UNUSED static const char *outcome(long result)
{
    static char text[4][64];
    static int turn;
    char *here = text[turn++ & 3];
    if (result == -1)
        snprintf(here, 64, "%s", strerrorname_np(errno) ? strerrorname_np(errno) : "unknown errno");
    else
        snprintf(here, 64, "%ld", result);
    return here;
}

#endif
