/* sig_sleep - signals while sleeping: nanosleep's rest, clock_nanosleep to a moment, a stop and continue that restart it. */
#include "tracee.h"
#include <time.h>

static volatile sig_atomic_t handled;

static void handler(int signo)
{
    (void)signo;
    handled++;
}

static pid_t later(int first, int second)
{
    pid_t parent = getpid(), child = MUST(fork());
    if (child == 0) {
        usleep(60000);
        kill(parent, first);
        if (second) {
            usleep(60000);
            kill(parent, second);
        }
        _exit(0);
    }
    return child;
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int main(void)
{
    struct sigaction action = {.sa_handler = handler};
    struct timespec five = {5, 0}, rest = {0, 0};
    MUST(sigaction(SIGUSR1, &action, NULL));
    pid_t child = later(SIGUSR1, 0);
    long r = EXPECT(clock_nanosleep, syscall(SYS_clock_nanosleep, CLOCK_REALTIME, 0, &five, &rest));
    EXPECT_OUT(3, &rest, sizeof rest);
    say("interrupted %s, between 1 and 5 seconds left %d", outcome(r), rest.tv_sec >= 1 && rest.tv_sec < 5);
    MUST(waitpid(child, NULL, 0));
    child = later(SIGUSR1, 0);
    r = EXPECT(nanosleep, syscall(SYS_nanosleep, &five, &rest));
    say("nanosleep %s", outcome(r));
    MUST(waitpid(child, NULL, 0));
    struct timespec moment;
    clock_gettime(CLOCK_MONOTONIC, &moment);
    moment.tv_sec += 5;
    child = later(SIGUSR1, 0);
    r = EXPECT(clock_nanosleep, syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, TIMER_ABSTIME, &moment, NULL));
    say("to a moment %s", outcome(r));
    MUST(waitpid(child, NULL, 0));
    /* Stopped and continued: no handler runs, the sleep goes on to its end (restart_syscall). */
    double start = now();
    child = later(SIGSTOP, SIGCONT);
    r = syscall(SYS_nanosleep, &(struct timespec){0, 300000000}, &rest);
    say("through a stop: %s, slept its time %d", outcome(r), now() - start >= 0.299);
    MUST(waitpid(child, NULL, 0));
    say("handled %d", handled);
    return 0;
}
