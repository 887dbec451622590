/* proc_exec_thread - exec by a thread that is not the leader, while others compute, wait and call; twice in a row. */
#include "tracee.h"
#include <pthread.h>

static char **arguments;
static pthread_barrier_t all_running;

static void *busy(void *kind)
{
    pthread_barrier_wait(&all_running);
    for (volatile unsigned long i = 0;; i++)
        if (kind)
            syscall(SYS_getppid);
        else if (i % 1000 == 0)
            usleep(100);
}

static void *sleeper(void *unused)
{
    (void)unused;
    pthread_barrier_wait(&all_running);
    for (;;)
        pause();
}

static void *executor(void *unused)
{
    (void)unused;
    pthread_barrier_wait(&all_running);
    CHECK(syscall(SYS_gettid) != getpid());
    execv("/proc/self/exe", arguments);
    _exit(95);
}

int main(int argc, char **argv)
{
    int round = argc > 1 ? atoi(argv[1]) : 0;
    char next[16];
    pthread_t thread;
    char first[32];
    say("round %d: the leader's id is the process's %d", round, syscall(SYS_gettid) == getpid());
    /* The process id survives an exec; what it was before is told by the environment. */
    snprintf(first, sizeof first, "%d", (int)getpid());
    if (round == 0)
        setenv("FIRST_PID", first, 1);
    say("the process id is the same %d", strcmp(getenv("FIRST_PID"), first) == 0);
    if (round == 2)
        return 12;
    snprintf(next, sizeof next, "%d", round + 1);
    arguments = (char *[]){argv[0], next, NULL};
    pthread_barrier_init(&all_running, NULL, 6);
    CHECK(pthread_create(&thread, NULL, busy, NULL) == 0);
    CHECK(pthread_create(&thread, NULL, busy, "calls") == 0);
    CHECK(pthread_create(&thread, NULL, sleeper, NULL) == 0);
    CHECK(pthread_create(&thread, NULL, sleeper, NULL) == 0);
    CHECK(pthread_create(&thread, NULL, executor, NULL) == 0);
    pthread_barrier_wait(&all_running);
    for (;;)
        pause();
}
