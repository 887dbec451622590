/* sig_restart - a signal during a waiting call: EINTR without SA_RESTART, continued with it; read, wait4, futex, poll, connect. */
#include "tracee.h"
#include <poll.h>
#include <semaphore.h>
#include <sys/socket.h>
#include <time.h>

static volatile sig_atomic_t handled;
static int write_end = -1;

static void handler(int signo)
{
    (void)signo;
    handled++;
    if (write_end >= 0 && write(write_end, "late", 4) != 4)
        _exit(94);
}

static void install(int flags)
{
    struct sigaction action = {.sa_handler = handler, .sa_flags = flags};
    MUST(sigaction(SIGUSR1, &action, NULL));
}

/* A child that sends SIGUSR1 to us once we sleep in a call. */
static pid_t sender(void)
{
    pid_t parent = getpid(), child = MUST(fork());
    if (child == 0) {
        char path[64], state[256];
        snprintf(path, sizeof path, "/proc/%d/stat", parent);
        for (int i = 0; i < 2000; i++) {
            int fd = open(path, O_RDONLY);
            ssize_t n = read(fd, state, sizeof state - 1);
            close(fd);
            state[n > 0 ? n : 0] = 0;
            char *end = strrchr(state, ')');
            if (i > 20 && end && (end[2] == 'S' || end[2] == 't'))
                break;
            usleep(1000);
        }
        kill(parent, SIGUSR1);
        _exit(0);
    }
    return child;
}

static void reap(pid_t child)
{
    while (waitpid(child, NULL, 0) == -1 && errno == EINTR)
        ;
}

int main(void)
{
    int pipes[2];
    char text[8];
    MUST(pipe(pipes));
    install(0);
    pid_t child = sender();
    say("read without SA_RESTART: %s", outcome(EXPECT(read, read(pipes[0], text, 8))));
    reap(child);
    install(SA_RESTART);
    write_end = pipes[1];
    child = sender();
    say("read with SA_RESTART: %s", outcome(EXPECT(read, read(pipes[0], text, 8))));
    EXPECT_OUT(1, "late", 4);
    reap(child);
    write_end = -1;
    child = sender();
    say("poll never restarts: %s", outcome(EXPECT(poll, poll(&(struct pollfd){pipes[0], POLLIN, 0}, 1, 5000))));
    reap(child);
    install(0);
    sem_t never;
    sem_init(&never, 0, 0);
    struct timespec limit;
    clock_gettime(CLOCK_REALTIME, &limit);
    limit.tv_sec += 5;
    child = sender();
    say("futex: %s", outcome(sem_timedwait(&never, &limit)));
    reap(child);
    int status;
    pid_t waited = MUST(fork());
    if (waited == 0)
        for (;;)
            pause();
    child = sender();
    say("wait4: %s", outcome(EXPECT(wait4, wait4(waited, &status, 0, NULL))));
    reap(child);
    MUST(kill(waited, SIGKILL));
    reap(waited);
    int sockets[2];
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets));
    child = sender();
    say("recv: %s", outcome(EXPECT(recvfrom, recv(sockets[0], text, 8, 0))));
    reap(child);
    say("handled %d", handled);
    return 0;
}
