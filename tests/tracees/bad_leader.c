/* bad_leader - races around the thread leader: it ends while a thread execs, forks or is killed; exec races between threads. */
#include "tracee.h"
#include <pthread.h>

static void *execs_true(void *unused)
{
    (void)unused;
    char *arguments[] = {"sh", "-c", "exit 21", NULL};
    execv("/bin/sh", arguments);
    _exit(92);
}

static void *forks(void *unused)
{
    (void)unused;
    int status;
    pid_t child = MUST(fork());
    if (child == 0)
        _exit(13);
    MUST(waitpid(child, &status, 0));
    _exit(WEXITSTATUS(status));
}

static void *waits(void *unused)
{
    (void)unused;
    for (;;)
        pause();
}

static void scenario(int kind)
{
    pthread_t thread;
    if (kind == 0) { /* the leader ends, a thread execs */
        pthread_create(&thread, NULL, execs_true, NULL);
        syscall(SYS_exit, 0);
    } else if (kind == 1) { /* all exec at once: one wins */
        for (int i = 0; i < 4; i++)
            pthread_create(&thread, NULL, execs_true, NULL);
        execs_true(NULL);
    } else if (kind == 2) { /* the leader ends, a thread forks */
        pthread_create(&thread, NULL, forks, NULL);
        pthread_exit(NULL);
    } else { /* the leader ends, the rest is killed from outside */
        pthread_create(&thread, NULL, waits, NULL);
        pthread_create(&thread, NULL, waits, NULL);
        syscall(SYS_exit, 0);
    }
}

int main(void)
{
    int status;
    for (int round = 0; round < 20; round++) {
        pid_t child = MUST(fork());
        if (child == 0) {
            scenario(round % 4);
            _exit(91);
        }
        if (round % 4 == 3) {
            usleep(2000);
            MUST(kill(child, SIGKILL));
        }
        CHECK(waitpid(child, &status, 0) == child);
        say("scenario %d: %s", round % 4, ending(status));
    }
    return 0;
}
