/* sig_stop - stopping and continuing a child: SIGSTOP, SIGTSTP, with threads, killed while stopped; what its parent is told. */
#include "tracee.h"
#include <pthread.h>

static void *caller(void *unused)
{
    (void)unused;
    for (;;)
        usleep(500);
}

static pid_t victim(int threads, int *counter)
{
    pid_t child = MUST(fork());
    if (child == 0) {
        pthread_t thread;
        for (int i = 0; i < threads; i++)
            CHECK(pthread_create(&thread, NULL, caller, NULL) == 0);
        for (;;) {
            __atomic_add_fetch(counter, 1, __ATOMIC_SEQ_CST);
            usleep(500);
        }
    }
    int start = __atomic_load_n(counter, __ATOMIC_SEQ_CST);
    while (__atomic_load_n(counter, __ATOMIC_SEQ_CST) < start + 5)
        usleep(500);
    return child;
}

static void stop_and_go(pid_t child, int signo, int *counter)
{
    int status;
    MUST(kill(child, signo));
    CHECK(waitpid(child, &status, WUNTRACED) == child);
    say("%s", ending(status));
    int stopped = __atomic_load_n(counter, __ATOMIC_SEQ_CST);
    usleep(20000);
    say("stands still %d", __atomic_load_n(counter, __ATOMIC_SEQ_CST) == stopped);
    say("told once %d", waitpid(child, &status, WUNTRACED | WNOHANG) == 0);
    MUST(kill(child, SIGCONT));
    CHECK(waitpid(child, &status, WCONTINUED) == child);
    say("%s", ending(status));
    while (__atomic_load_n(counter, __ATOMIC_SEQ_CST) < stopped + 5)
        usleep(500);
    say("goes on");
}

int main(void)
{
    int status, *counter = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(counter != MAP_FAILED);
    pid_t child = victim(0, counter);
    stop_and_go(child, SIGSTOP, counter);
    stop_and_go(child, SIGSTOP, counter);
    MUST(kill(child, SIGTERM));
    MUST(waitpid(child, &status, 0));
    say("%s", ending(status));
    child = victim(3, counter);
    stop_and_go(child, SIGSTOP, counter);
    MUST(kill(child, SIGSTOP));
    MUST(waitpid(child, &status, WUNTRACED));
    MUST(kill(child, SIGKILL));
    MUST(waitpid(child, &status, WUNTRACED));
    say("killed while stopped: %s", ending(status));
    /* A signal to a stopped process waits for the continue. */
    child = victim(0, counter);
    MUST(kill(child, SIGSTOP));
    MUST(waitpid(child, &status, WUNTRACED));
    MUST(kill(child, SIGUSR1));
    usleep(10000);
    say("nothing yet %d", waitpid(child, &status, WNOHANG | WUNTRACED) == 0);
    MUST(kill(child, SIGCONT));
    MUST(waitpid(child, &status, 0));
    say("%s", ending(status));
    return 0;
}
