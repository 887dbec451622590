/* sig_die - the program itself ends by a signal; the argument says which way.
 * tracee runs: term | abort | segv | kill | pipe | fpe | exit 77 | thread-segv | bad-stack | rtmin
 */
#include "tracee.h"
#include <pthread.h>
#include <sys/resource.h>

static void *crash(void *unused)
{
    (void)unused;
    *(volatile int *)8 = 1;
    return NULL;
}

int main(int argc, char **argv)
{
    const char *way = argc > 1 ? argv[1] : "";
    MUST(setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0}));
    say("going by %s", way);
    if (!strcmp(way, "term"))
        raise(SIGTERM);
    else if (!strcmp(way, "abort"))
        abort();
    else if (!strcmp(way, "segv"))
        *(volatile int *)0 = 1;
    else if (!strcmp(way, "kill"))
        kill(getpid(), SIGKILL);
    else if (!strcmp(way, "rtmin"))
        kill(0 + getpid(), SIGRTMIN);
    else if (!strcmp(way, "fpe"))
        __asm__ volatile("xor %%ecx, %%ecx; mov $1, %%eax; cltd; idiv %%ecx" ::: "eax", "ecx", "edx");
    else if (!strcmp(way, "bad-stack"))
        __asm__ volatile("mov $16, %%rsp; push %%rax" ::: "memory");
    else if (!strcmp(way, "pipe")) {
        int pipes[2];
        MUST(pipe(pipes));
        close(pipes[0]);
        MUST(write(pipes[1], "x", 1));
    } else if (!strcmp(way, "thread-segv")) {
        pthread_t thread;
        CHECK(pthread_create(&thread, NULL, crash, NULL) == 0);
        pthread_join(thread, NULL);
    } else if (!strcmp(way, "exit"))
        return argc > 2 ? atoi(argv[2]) : 0;
    say("still here");
    return 93;
}
