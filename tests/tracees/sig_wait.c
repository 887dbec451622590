/* sig_wait - waiting for signals: sigsuspend, sigwaitinfo, sigtimedwait, pending sets, order of several at once. */
#include "tracee.h"
#include <time.h>

static char order[64];
static volatile sig_atomic_t count;

static void handler(int signo)
{
    order[count++] = (char)(signo == SIGUSR1 ? '1' : signo == SIGUSR2 ? '2' : 'R');
}

int main(void)
{
    struct sigaction action = {.sa_handler = handler};
    sigset_t set, before, pending;
    siginfo_t info;
    sigemptyset(&set);
    int each[] = {SIGUSR1, SIGUSR2, SIGRTMIN};
    for (int i = 0; i < 3; i++) {
        MUST(sigaction(each[i], &action, NULL));
        sigaddset(&set, each[i]);
    }
    EXPECT(rt_sigprocmask, sigprocmask(SIG_BLOCK, &set, &before));
    for (int i = 0; i < 3; i++)
        MUST(kill(getpid(), each[i]));
    MUST(kill(getpid(), SIGUSR1)); /* merged */
    MUST(kill(getpid(), SIGRTMIN)); /* queued */
    EXPECT(rt_sigpending, sigpending(&pending));
    EXPECT_OUT(0, &pending, 8);
    say("pending %d %d %d", sigismember(&pending, SIGUSR1), sigismember(&pending, SIGUSR2),
        sigismember(&pending, SIGRTMIN));
    long n = EXPECT(rt_sigtimedwait, sigwaitinfo(&set, &info));
    EXPECT_OUT(1, &info, 16);
    say("sigwaitinfo %s, from myself %d", n == SIGUSR1 ? "USR1" : "other", info.si_pid == getpid());
    sigset_t only;
    sigemptyset(&only);
    sigaddset(&only, SIGRTMIN);
    say("sigtimedwait %d", sigtimedwait(&only, &info, &(struct timespec){1, 0}) == SIGRTMIN);
    say("sigsuspend %s", outcome(EXPECT(rt_sigsuspend, sigsuspend(&before))));
    say("handled at least one: %d", count >= 1); /* whether all that are pending run before it returns is nobody's promise */
    sigset_t none;
    sigemptyset(&none);
    sigaddset(&none, SIGWINCH);
    say("nothing comes: %s", outcome(EXPECT(rt_sigtimedwait, sigtimedwait(&none, &info, &(struct timespec){0, 1000000}))));
    MUST(sigprocmask(SIG_SETMASK, &before, NULL));
    say("handled %d: %d%d", count, strchr(order, '2') != NULL, strchr(order, 'R') != NULL);
    pid_t parent = getpid(), child = MUST(fork());
    if (child == 0) {
        for (int i = 0; i < 100; i++) {
            usleep(2000);
            if (kill(parent, SIGUSR2) == -1)
                break;
        }
        _exit(0);
    }
    say("pause %s", outcome(EXPECT(pause, syscall(SYS_pause))));
    MUST(kill(child, SIGKILL));
    while (waitpid(child, NULL, 0) == -1 && errno == EINTR)
        ;
    return 0;
}
