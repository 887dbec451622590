/* sig_itimer - timers that signal: setitimer with SIGALRM while computing and while waiting, alarm, timer_create. */
#include "tracee.h"
#include <sys/time.h>
#include <time.h>

static volatile sig_atomic_t alarms, others;

static void on_alarm(int signo)
{
    if (signo == SIGALRM)
        alarms++;
    else
        others++;
}

int main(void)
{
    struct itimerval every = {{0, 5000}, {0, 5000}}, off = {{0, 0}, {0, 0}};
    struct sigaction action = {.sa_handler = on_alarm};
    MUST(sigaction(SIGALRM, &action, NULL));
    MUST(sigaction(SIGUSR1, &action, NULL));
    EXPECT(setitimer, setitimer(ITIMER_REAL, &every, NULL));
    EXPECT_IN(1, &every, sizeof every);
    while (alarms < 5) /* computes, with a call now and then */
        for (volatile int i = 0; i < 20000; i++)
            if (i % 5000 == 0)
                syscall(SYS_getppid);
    say("at least 5 while computing");
    int before = alarms;
    while (alarms < before + 5)
        pause();
    say("and 5 while waiting");
    EXPECT(setitimer, setitimer(ITIMER_REAL, &off, &every));
    EXPECT_OUT(2, &every, sizeof every);

    int seen = alarms;
    ualarm(20000, 0);
    while (alarms == seen)
        pause();
    say("one by ualarm");
    timer_t timer;
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
    struct itimerspec soon = {{0, 0}, {0, 10000000}};
    MUST(timer_create(CLOCK_MONOTONIC, &event, &timer));
    EXPECT(timer_settime, timer_settime(timer, 0, &soon, NULL));
    while (!others)
        usleep(2000);
    say("one by a POSIX timer; overrun %d", timer_getoverrun(timer));
    MUST(timer_delete(timer));
    return 0;
}
