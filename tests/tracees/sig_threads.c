/* sig_threads - signals to a process of many threads: exactly one that does not block it runs the handler; storms between threads. */
#include "tracee.h"
#include <pthread.h>
#include <stdatomic.h>

static atomic_int handled, stop;
static atomic_int handler_tid;

static void handler(int signo)
{
    (void)signo;
    atomic_store(&handler_tid, (int)syscall(SYS_gettid));
    atomic_fetch_add(&handled, 1);
}

static void *blocked(void *ready)
{
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, NULL);
    pthread_barrier_wait(ready);
    while (!atomic_load(&stop))
        usleep(1000);
    return NULL;
}

static void *open_thread(void *ready)
{
    pthread_barrier_wait(ready);
    int me = (int)syscall(SYS_gettid), mine = 1;
    for (int last = 0; !atomic_load(&stop); usleep(500))
        if (atomic_load(&handled) > last) {
            last = atomic_load(&handled);
            mine &= atomic_load(&handler_tid) == me;
        }
    return (void *)(intptr_t)mine;
}

int main(void)
{
    pthread_t threads[4], unblocked;
    pthread_barrier_t ready;
    sigset_t set;
    void *mine;
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
    MUST(sigaction(SIGUSR1, &action, NULL));
    pthread_barrier_init(&ready, NULL, 6);
    for (int i = 0; i < 4; i++)
        CHECK(pthread_create(&threads[i], NULL, blocked, &ready) == 0);
    CHECK(pthread_create(&unblocked, NULL, open_thread, &ready) == 0);
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    pthread_barrier_wait(&ready);
    for (int i = 1; i <= 30; i++) {
        MUST(kill(getpid(), SIGUSR1));
        while (atomic_load(&handled) < i)
            usleep(200);
    }
    atomic_store(&stop, 1);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    pthread_join(unblocked, &mine);
    say("handled %d, always by the thread that does not block it %d", atomic_load(&handled), (int)(intptr_t)mine);
    /* A thread that bombards the leader while it makes calls. */
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    pid_t child = MUST(fork());
    if (child == 0) {
        pid_t parent = getppid();
        for (int i = 0; i < 200; i++) {
            kill(parent, SIGUSR1);
            if (i % 10 == 0)
                usleep(300);
        }
        _exit(0);
    }
    int status, calls = 0;
    while (waitpid(child, &status, WNOHANG) == 0) {
        char text[16];
        int fd = MUST(open("/dev/zero", O_RDONLY));
        CHECK(read(fd, text, sizeof text) == sizeof text && text[7] == 0);
        MUST(close(fd));
        calls++;
    }
    say("survived the bombardment %d, some arrived %d", calls > 0, atomic_load(&handled) > 30);
    return 0;
}
