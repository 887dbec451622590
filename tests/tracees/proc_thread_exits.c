/* proc_thread_exits - threads that end in every way: joined, detached, cancelled, by exit(2) of the thread; the leader first. */
#include "tracee.h"
#include <pthread.h>
#include <stdatomic.h>

static atomic_int ended;

static void *quick(void *argument)
{
    atomic_fetch_add(&ended, 1);
    return argument;
}

static void *waits(void *argument)
{
    (void)argument;
    for (;;)
        pause();
}

static void *last(void *argument)
{
    pthread_t leader = *(pthread_t *)argument;
    /* The leader has ended and is a zombie in the thread group until this thread goes too. */
    CHECK(pthread_join(leader, NULL) == 0);
    say("the leader has ended before me");
    exit(23);
}

int main(void)
{
    pthread_t threads[8], thread;
    static pthread_t self;
    for (int round = 0; round < 25; round++) {
        for (long i = 0; i < 8; i++)
            CHECK(pthread_create(&threads[i], NULL, quick, (void *)i) == 0);
        for (long i = 0; i < 8; i++) {
            void *result;
            CHECK(pthread_join(threads[7 - i], &result) == 0 && (long)result == 7 - i);
        }
    }
    say("joined %d", atomic_load(&ended));
    pthread_attr_t detached;
    pthread_attr_init(&detached);
    pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
    for (int i = 0; i < 50; i++)
        CHECK(pthread_create(&thread, &detached, quick, NULL) == 0);
    while (atomic_load(&ended) < 250)
        usleep(1000);
    say("detached %d", atomic_load(&ended) - 200);
    for (int i = 0; i < 8; i++)
        CHECK(pthread_create(&threads[i], NULL, waits, NULL) == 0);
    for (int i = 0; i < 8; i++) {
        void *result;
        CHECK(pthread_cancel(threads[i]) == 0 && pthread_join(threads[i], &result) == 0);
        CHECK(result == PTHREAD_CANCELED);
    }
    say("cancelled 8");
    self = pthread_self();
    CHECK(pthread_create(&thread, NULL, last, &self) == 0);
    pthread_exit(NULL);
}
