/* thr_yield - threads that pass a token with sched_yield, with poll of nothing and with sleeps of no length. */
#include "tracee.h"
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <time.h>

static volatile int token;

static void let_go(int how)
{
    if (how == 0)
        sched_yield();
    else if (how == 1)
        poll(NULL, 0, 0);
    else
        nanosleep(&(struct timespec){0, 1}, NULL);
}

static void *body(void *argument)
{
    int me = (int)(intptr_t)argument & 3, how = (int)(intptr_t)argument >> 2;
    for (int i = 0; i < 100; i++) {
        while (token % 4 != me)
            let_go(how);
        token++;
    }
    return NULL;
}

int main(void)
{
    pthread_t threads[4];
    for (int how = 0; how < 3; how++) {
        token = 0;
        for (long i = 0; i < 4; i++)
            CHECK(pthread_create(&threads[i], NULL, body, (void *)(i | how << 2)) == 0);
        for (int i = 0; i < 4; i++)
            pthread_join(threads[i], NULL);
        say("way %d: %d", how, token);
    }
    return 0;
}
