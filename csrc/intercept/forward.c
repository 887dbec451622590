/* forward.c - signals sent to the supervisor, as a descriptor that its main thread can wait for together with everything else. */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <sys/signalfd.h>

#include "sentra.h"

int sentra_signal_fd(uint64_t signals, struct sentra_error *error)
{
    sigset_t set;
    int fd;

    sigemptyset(&set);
    for (int signo = 1; signo <= 64; signo++)
        if (signals >> (signo - 1) & 1)
            sigaddset(&set, signo);
    fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return fd >= 0 ? fd : sentra_fail(error, errno, "watch for signals", NULL);
}
