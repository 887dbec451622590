/* thr_futex - the futex call itself: wake storms, requeue, wake-op, bit sets, time limits, values that changed. */
#include "tracee.h"
#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

static atomic_int word, other_word, asleep, woken;

static long futex(atomic_int *at, int operation, int value, const void *limit, atomic_int *at2, int value3)
{
    return syscall(SYS_futex, at, operation, value, limit, at2, value3);
}

static void *waiter(void *unused)
{
    (void)unused;
    atomic_fetch_add(&asleep, 1);
    while (atomic_load(&word) == 0)
        futex(&word, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);
    atomic_fetch_add(&woken, 1);
    return NULL;
}

static void storm(void)
{
    pthread_t threads[16];
    for (int round = 0; round < 10; round++) {
        atomic_store(&word, 0);
        atomic_store(&asleep, 0);
        for (int i = 0; i < 16; i++)
            CHECK(pthread_create(&threads[i], NULL, waiter, NULL) == 0);
        while (atomic_load(&asleep) < 16)
            syscall(SYS_sched_yield);
        atomic_store(&word, 1);
        futex(&word, FUTEX_WAKE_PRIVATE, 1000, NULL, NULL, 0);
        for (int i = 0; i < 16; i++)
            pthread_join(threads[i], NULL);
    }
    say("storm: woken %d", atomic_load(&woken));
}

static void *sleeps_once(void *unused)
{
    (void)unused;
    atomic_fetch_add(&asleep, 1);
    return (void *)futex(&word, FUTEX_WAIT, 0, NULL, NULL, 0);
}

/* Until the futex call is really waiting: a requeue or wake that finds it says so. */
static void requeue(void)
{
    pthread_t threads[3];
    int moved = 0, woke = 0;
    atomic_store(&word, 0);
    for (int i = 0; i < 3; i++)
        CHECK(pthread_create(&threads[i], NULL, sleeps_once, NULL) == 0);
    for (int i = 0; i < 5000 && moved < 3; i++) {
        moved += (int)futex(&word, FUTEX_CMP_REQUEUE, 0, (void *)10, &other_word, 0);
        usleep(200);
    }
    say("requeued %d, with another value %s", moved, outcome(futex(&word, FUTEX_CMP_REQUEUE, 0, (void *)1, &other_word, 5)));
    woke += (int)futex(&other_word, FUTEX_WAKE, 2, NULL, NULL, 0);
    woke += (int)futex(&other_word, FUTEX_WAKE_BITSET, 10, NULL, NULL, -1);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    say("woken there %d", woke);
}

int main(void)
{
    struct timespec soon = {0, 5000000}, moment;
    storm();
    requeue();
    atomic_store(&word, 3);
    say("changed value %s", outcome(EXPECT(futex, futex(&word, FUTEX_WAIT, 0, NULL, NULL, 0))));
    say("time limit %s", outcome(EXPECT(futex, futex(&word, FUTEX_WAIT, 3, &soon, NULL, 0))));
    clock_gettime(CLOCK_MONOTONIC, &moment);
    say("moment passed %s", outcome(EXPECT(futex, futex(&word, FUTEX_WAIT_BITSET, 3, &moment, NULL, 1))));
    say("empty bit set %s", outcome(EXPECT(futex, futex(&word, FUTEX_WAIT_BITSET, 3, NULL, NULL, 0))));
    say("wake-op %s", outcome(EXPECT(futex, futex(&word, FUTEX_WAKE_OP, 1, (void *)1, &other_word,
                                                 FUTEX_OP(FUTEX_OP_ADD, 5, FUTEX_OP_CMP_EQ, 0)))));
    say("it added %d", atomic_load(&other_word));
    say("bad address %s", outcome(EXPECT(futex, futex((void *)4096, FUTEX_WAIT, 0, NULL, NULL, 0))));
    say("misaligned %s", outcome(EXPECT(futex, futex((void *)((char *)&word + 1), FUTEX_WAKE, 1, NULL, NULL, 0))));
    return 0;
}
