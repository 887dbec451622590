/* time_sleep - sleeping and time limits: never shorter than asked; bad values; many short sleeps. */
#include "tracee.h"
#include <poll.h>
#include <time.h>

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int main(void)
{
    struct timespec request = {0, 30000000}, bad = {0, 1000000000};
    double start = now();
    EXPECT(nanosleep, syscall(SYS_nanosleep, &request, NULL));
    EXPECT_IN(0, &request, sizeof request);
    say("nanosleep long enough %d", now() - start >= 0.030);
    start = now();
    for (int i = 0; i < 50; i++)
        usleep(100);
    say("50 short ones %d", now() - start >= 0.005);
    start = now();
    poll(NULL, 0, 25);
    say("poll %d", now() - start >= 0.025);
    struct timespec moment;
    clock_gettime(CLOCK_MONOTONIC, &moment);
    say("a moment in the past %d", clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &moment, NULL));
    say("bad value %s", outcome(EXPECT(nanosleep, syscall(SYS_nanosleep, &bad, NULL))));
    return 0;
}
