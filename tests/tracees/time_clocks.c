/* time_clocks - 20,000 readings of clocks through libc (the vDSO): never backwards, agreeing with the plain call. */
#include "tracee.h"
#include <sched.h>
#include <sys/time.h>
#include <time.h>

static int64_t nanoseconds(clockid_t clock)
{
    struct timespec t;
    CHECK(clock_gettime(clock, &t) == 0);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

int main(void)
{
    int64_t last = 0, backwards = 0;
    for (int i = 0; i < 20000; i++) {
        int64_t now = nanoseconds(CLOCK_MONOTONIC);
        backwards += now < last;
        last = now;
    }
    say("backwards %ld", (long)backwards);
    struct timespec raw;
    struct timeval tv;
    long r = EXPECT(clock_gettime, syscall(SYS_clock_gettime, CLOCK_REALTIME, &raw));
    EXPECT_OUT(1, &raw, sizeof raw);
    gettimeofday(&tv, NULL);
    say("real time agrees %d", r == 0 && tv.tv_sec - raw.tv_sec >= 0 && tv.tv_sec - raw.tv_sec < 30);
    say("time agrees %d", time(NULL) - raw.tv_sec >= 0 && time(NULL) - raw.tv_sec < 30);
    int64_t cpu = nanoseconds(CLOCK_PROCESS_CPUTIME_ID), thread = nanoseconds(CLOCK_THREAD_CPUTIME_ID);
    say("processor time %d, coarse %d, boot %d", cpu > 0 && thread > 0,
        nanoseconds(CLOCK_MONOTONIC_COARSE) <= nanoseconds(CLOCK_MONOTONIC), nanoseconds(CLOCK_BOOTTIME) > 0);
    clock_getres(CLOCK_MONOTONIC, &raw);
    say("resolution %ld", raw.tv_nsec);
    say("bad clock %s", outcome(clock_gettime(99, &raw)));
    unsigned cpu_number = 99999;
    say("getcpu %d", getcpu(&cpu_number, NULL) == 0 && cpu_number < 4096);
    return 0;
}
