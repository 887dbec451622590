/* proc_exit_group - exit_group with 8 threads that compute, call, wait in the kernel and hold locks; 20 processes. */
#include "tracee.h"
#include <poll.h>
#include <pthread.h>

static pthread_barrier_t all_running;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void *body(void *argument)
{
    int kind = (int)(intptr_t)argument;
    pthread_barrier_wait(&all_running);
    for (volatile unsigned long i = 0;; i++)
        switch (kind % 4) {
        case 0:
            if (i % 4096 == 0) /* computes, and lets others run now and then */
                syscall(SYS_sched_yield);
            break;
        case 1: syscall(SYS_getppid); break;
        case 2: poll(NULL, 0, -1); break;
        default: pthread_mutex_lock(&lock); break;
        }
    return NULL;
}

static void process(int number)
{
    pthread_t threads[8];
    pthread_barrier_init(&all_running, NULL, 9);
    for (int i = 0; i < 8; i++)
        CHECK(pthread_create(&threads[i], NULL, body, (void *)(intptr_t)i) == 0);
    pthread_barrier_wait(&all_running);
    if (number % 2)
        usleep(500);
    syscall(SYS_exit_group, 100 + number);
}

int main(void)
{
    int status;
    for (int i = 0; i < 20; i++) {
        pid_t child = MUST(fork());
        if (child == 0)
            process(i);
        CHECK(waitpid(child, &status, 0) == child);
        say("process %d: %s", i, ending(status));
    }
    process(20);
    return 0;
}
