/* mem_locks - fcntl: record locks between processes, OFD locks, descriptor flags; flock. */
#include "tracee.h"
#include <sys/file.h>

static void child_asks(int fd)
{
    struct flock ask = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 10};
    say("child cannot lock: %s", outcome(EXPECT(fcntl, fcntl(fd, F_SETLK, &ask))));
    EXPECT(fcntl, fcntl(fd, F_GETLK, &ask));
    say("child sees %s by its parent %d at %ld length %ld", ask.l_type == F_WRLCK ? "a write lock" : "another",
        ask.l_pid == getppid(), (long)ask.l_start, (long)ask.l_len);
    _exit(0);
}

int main(void)
{
    int fd = MUST(open("locked", O_RDWR | O_CREAT, 0644)), status;
    struct flock mine = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 5, .l_len = 3};
    say("lock %s", outcome(EXPECT(fcntl, fcntl(fd, F_SETLK, &mine))));
    EXPECT_IN(2, &mine, sizeof mine);
    pid_t child = MUST(fork());
    if (child == 0)
        child_asks(fd);
    MUST(waitpid(child, &status, 0));
    say("child %s", ending(status));
    mine.l_type = F_UNLCK;
    say("unlock %s", outcome(EXPECT(fcntl, fcntl(fd, F_SETLK, &mine))));
    int other = MUST(open("locked", O_RDWR));
    struct flock ofd = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    say("OFD lock %s", outcome(EXPECT(fcntl, fcntl(fd, F_OFD_SETLK, &ofd))));
    say("OFD conflict %s", outcome(EXPECT(fcntl, fcntl(other, F_OFD_SETLK, &ofd))));
    say("flock %s", outcome(EXPECT(flock, flock(fd, LOCK_EX))));
    say("flock conflict %s", outcome(EXPECT(flock, flock(other, LOCK_EX | LOCK_NB))));
    long copy = EXPECT(fcntl, fcntl(fd, F_DUPFD_CLOEXEC, 100));
    say("dup %ld close-on-exec %ld", copy, EXPECT(fcntl, fcntl((int)copy, F_GETFD)));
    say("flags %s", EXPECT(fcntl, fcntl(fd, F_GETFL)) & O_RDWR ? "O_RDWR" : "other");
    int pipes[2];
    MUST(pipe2(pipes, O_NONBLOCK));
    say("pipe size %s", outcome(EXPECT(fcntl, fcntl(pipes[0], F_SETPIPE_SZ, 8192))));
    say("dup3 %s", outcome(EXPECT(dup3, dup3(fd, 101, O_CLOEXEC))));
    say("dup2 %s", outcome(EXPECT(dup2, dup2(fd, 102))));
    say("bad fd %s", outcome(EXPECT(fcntl, fcntl(555, F_GETFD))));
    return 0;
}
