/* proc_kill - signals between processes and threads: kill, tgkill, pidfd, queued values, who sent it. */
#include "tracee.h"
#include <pthread.h>

static pid_t start(void (*body)(int), int gate)
{
    pid_t child = MUST(fork());
    if (child == 0) {
        body(gate);
        _exit(0);
    }
    return child;
}

static void sleeps(int gate)
{
    MUST(write(gate, "r", 1));
    for (;;)
        pause();
}

static volatile sig_atomic_t got, value, from_parent;

static void handler(int signo, siginfo_t *info, void *context)
{
    (void)context;
    got = signo;
    value = info->si_value.sival_int;
    from_parent = info->si_pid == getppid();
}

static void handles(int gate)
{
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
    sigset_t all, before;
    MUST(sigaction(SIGRTMIN + 3, &action, NULL));
    sigfillset(&all);
    MUST(sigprocmask(SIG_BLOCK, &all, &before));
    MUST(write(gate, "r", 1));
    sigsuspend(&before);
    _exit(got == SIGRTMIN + 3 && value == 1234 && from_parent ? 50 : 51);
}

static void *blocked_thread(void *tid)
{
    sigset_t set;
    int signo;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    *(volatile pid_t *)tid = (pid_t)syscall(SYS_gettid);
    CHECK(sigwait(&set, &signo) == 0);
    return (void *)(intptr_t)signo;
}

int main(void)
{
    int gate[2], status;
    char c;
    MUST(pipe(gate));
    int endings[] = {SIGTERM, SIGKILL, SIGUSR1, SIGHUP, SIGRTMIN};
    for (unsigned i = 0; i < 5; i++) {
        pid_t child = start(sleeps, gate[1]);
        MUST(read(gate[0], &c, 1));
        EXPECT(kill, kill(child, endings[i]));
        MUST(waitpid(child, &status, 0));
        say("child %u: %s", i, ending(status));
    }
    pid_t child = start(handles, gate[1]);
    MUST(read(gate[0], &c, 1));
    union sigval with = {.sival_int = 1234};
    EXPECT(rt_sigqueueinfo, sigqueue(child, SIGRTMIN + 3, with));
    MUST(waitpid(child, &status, 0));
    say("queued value: %s", ending(status));
    say("gone: %s", outcome(EXPECT(kill, kill(child, 0))));

    sigset_t set;
    volatile pid_t tid = 0;
    pthread_t thread;
    void *result;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    MUST(sigprocmask(SIG_BLOCK, &set, NULL));
    CHECK(pthread_create(&thread, NULL, blocked_thread, (void *)&tid) == 0);
    while (!tid)
        usleep(1000);
    EXPECT(tgkill, syscall(SYS_tgkill, getpid(), tid, SIGUSR2));
    CHECK(pthread_join(thread, &result) == 0);
    say("thread got %d", (int)(intptr_t)result);
    say("no such thread: %s", outcome(EXPECT(tgkill, syscall(SYS_tgkill, getpid(), 1, SIGUSR2))));
    say("bad signal: %s", outcome(EXPECT(kill, kill(getpid(), 200))));
    return 0;
}
