/* mem_fdkinds - descriptors that are not files: eventfd, timerfd, signalfd, inotify, memfd, pidfd. */
#include "tracee.h"
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>

static void events(void)
{
    uint64_t value = 5;
    int fd = (int)EXPECT(eventfd2, eventfd(3, EFD_NONBLOCK));
    EXPECT(write, write(fd, &value, 8));
    EXPECT_IN(1, &value, 8);
    EXPECT(read, read(fd, &value, 8));
    EXPECT_OUT(1, &value, 8);
    say("eventfd %llu, then %s", (unsigned long long)value, outcome(EXPECT(read, read(fd, &value, 8))));
}

static void timers(void)
{
    uint64_t expirations = 0;
    struct itimerspec when = {{0, 0}, {0, 20000000}}, old;
    int fd = (int)EXPECT(timerfd_create, timerfd_create(CLOCK_MONOTONIC, 0));
    EXPECT(timerfd_settime, timerfd_settime(fd, 0, &when, NULL));
    EXPECT_IN(2, &when, sizeof when);
    EXPECT(timerfd_gettime, timerfd_gettime(fd, &old));
    EXPECT_OUT(1, &old, sizeof old);
    EXPECT(read, read(fd, &expirations, 8));
    say("timerfd %llu", (unsigned long long)expirations);
}

static void signals(void)
{
    sigset_t set;
    struct signalfd_siginfo info;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    MUST(sigprocmask(SIG_BLOCK, &set, NULL));
    int fd = (int)EXPECT(signalfd4, signalfd(-1, &set, SFD_CLOEXEC));
    MUST(kill(getpid(), SIGUSR1));
    long n = EXPECT(read, read(fd, &info, sizeof info));
    EXPECT_OUT(1, &info, sizeof info);
    say("signalfd %ld signal %u from myself %d", n, info.ssi_signo, (pid_t)info.ssi_pid == getpid());
}

static void watches(void)
{
    char buffer[512] __attribute__((aligned(8)));
    int fd = (int)EXPECT(inotify_init1, inotify_init1(IN_NONBLOCK));
    MUST(mkdir("watched", 0755));
    EXPECT(inotify_add_watch, inotify_add_watch(fd, "watched", IN_CREATE | IN_DELETE));
    MUST(close((int)MUST(open("watched/new", O_CREAT | O_WRONLY, 0644))));
    MUST(unlink("watched/new"));
    long n = EXPECT(read, read(fd, buffer, sizeof buffer));
    EXPECT_OUT(1, buffer, (size_t)n);
    for (long at = 0; at < n;) {
        struct inotify_event *event = (struct inotify_event *)(buffer + at);
        say("inotify %s %s", event->mask & IN_CREATE ? "create" : "delete", event->name);
        at += (long)sizeof *event + event->len;
    }
}

static void memory_file(void)
{
    char text[16];
    int fd = (int)EXPECT(memfd_create, memfd_create("anonymous", MFD_ALLOW_SEALING));
    EXPECT_IN(0, "anonymous", 9);
    EXPECT(ftruncate, ftruncate(fd, 8192));
    char *map = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(map != MAP_FAILED);
    strcpy(map + 4096, "in the map");
    EXPECT(pread64, pread(fd, text, 10, 4096));
    EXPECT_OUT(1, "in the map", 10);
    say("memfd %.10s", text);
    MUST(munmap(map, 8192));
    say("seal %s", outcome(EXPECT(fcntl, fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE))));
    say("write to a sealed file %s", outcome(EXPECT(write, write(fd, "x", 1))));
}

static void process_descriptor(void)
{
    siginfo_t info = {0};
    pid_t child = MUST(fork());
    if (child == 0)
        for (;;)
            pause();
    int fd = (int)EXPECT(pidfd_open, syscall(SYS_pidfd_open, child, 0));
    EXPECT(pidfd_send_signal, syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0));
    long n = EXPECT(waitid, waitid(P_PIDFD, (id_t)fd, &info, WEXITED));
    say("pidfd %ld code %s status %d", n, info.si_code == CLD_KILLED ? "killed" : "other", info.si_status);
}

int main(void)
{
    events();
    timers();
    signals();
    watches();
    memory_file();
    process_descriptor();
    return 0;
}
