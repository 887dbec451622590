/* thr_compute - a thread that computes for a while next to ones that sleep, wait for a pipe and answer each other. */
#include "tracee.h"
#include <pthread.h>

static volatile int done;
static int wakeups, pipes[2];

static void *computes(void *unused)
{
    (void)unused;
    volatile uint64_t x = 88172645463325252ull;
    for (int i = 0; i < 60000000; i++) {
        uint64_t y = x;
        y ^= y << 13;
        y ^= y >> 7;
        y ^= y << 17;
        x = y;
    }
    done = 1;
    return (void *)(uintptr_t)x;
}

static void *sleeps(void *unused)
{
    (void)unused;
    do {
        usleep(5000);
        wakeups++;
    } while (!done);
    return NULL;
}

static void *reads(void *unused)
{
    (void)unused;
    char c;
    long n = 0;
    while (read(pipes[0], &c, 1) == 1)
        n++;
    return (void *)n;
}

int main(void)
{
    pthread_t threads[3];
    void *value, *bytes;
    MUST(pipe(pipes));
    CHECK(pthread_create(&threads[0], NULL, computes, NULL) == 0);
    CHECK(pthread_create(&threads[1], NULL, sleeps, NULL) == 0);
    CHECK(pthread_create(&threads[2], NULL, reads, NULL) == 0);
    for (int i = 0; i < 10; i++)
        MUST(write(pipes[1], "x", 1));
    pthread_join(threads[0], &value);
    pthread_join(threads[1], NULL);
    close(pipes[1]);
    pthread_join(threads[2], &bytes);
    say("computed %lx, the sleeper woke %d, the reader got %ld", (unsigned long)(uintptr_t)value, wakeups > 0, (long)bytes);
    return 0;
}
