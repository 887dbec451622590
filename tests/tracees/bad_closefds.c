/* bad_closefds - closes every descriptor it can think of, then goes on: nothing of the recorder's may be among them. */
#include "tracee.h"

int main(void)
{
    int extra = 0, report = MUST(open("report", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
    for (int fd = 3; fd < 1024; fd++)
        if (fd != report && fcntl(fd, F_GETFD) != -1)
            extra++;
    say("descriptors beyond 0, 1, 2: %d", extra);
    int out = MUST(fcntl(1, F_DUPFD, 1000));
    for (int fd = 0; fd < 1024; fd++)
        if (fd != out)
            EXPECT(close, close(fd));
    syscall(SYS_close_range, 1024, ~0u, 0);
    dprintf(out, "closed them all\n");
    MUST(dup2(out, 1));
    say("the lowest is %d", open("report", O_RDONLY));
    say("close of nothing %s", outcome(close(777)));
    say("close_range backwards %s", outcome(EXPECT(close_range, syscall(SYS_close_range, 9, 3, 0))));
    return 31;
}
