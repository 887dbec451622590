/* sig_chld_storm - 200 children end while SIGCHLD's handler reaps them; ignored SIGCHLD leaves no zombies. */
#include "tracee.h"

static volatile sig_atomic_t reaped, sum;

static void on_child(int signo)
{
    (void)signo;
    int saved = errno, status;
    while (waitpid(-1, &status, WNOHANG) > 0) {
        reaped++;
        sum += WEXITSTATUS(status);
    }
    errno = saved;
}

int main(void)
{
    struct sigaction action = {.sa_handler = on_child, .sa_flags = SA_RESTART | SA_NOCLDSTOP};
    MUST(sigaction(SIGCHLD, &action, NULL));
    for (int i = 0; i < 200; i++) {
        if (MUST(fork()) == 0)
            _exit(i % 3);
        if (i % 40 == 0)
            usleep(1000);
    }
    sigset_t set, before;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    MUST(sigprocmask(SIG_BLOCK, &set, &before));
    while (reaped < 200)
        sigsuspend(&before);
    MUST(sigprocmask(SIG_SETMASK, &before, NULL));
    say("reaped %d sum %d", reaped, sum);
    MUST(signal(SIGCHLD, SIG_IGN) == SIG_ERR ? -1 : 0);
    for (int i = 0; i < 20; i++)
        if (MUST(fork()) == 0)
            _exit(1);
    say("ignored: %s", outcome(wait(NULL))); /* waits for all to end, then ECHILD */
    return 0;
}
