/* proc_fork - a tree of forks; every way to wait: wait4 with usage, waitid with WNOWAIT, WNOHANG, ECHILD. */
#include "tracee.h"
#include <sys/resource.h>

static int tree(int depth)
{
    int sum = 1, status;
    if (depth == 0)
        return 1;
    for (int i = 0; i < 2; i++) {
        pid_t child = MUST(fork());
        if (child == 0)
            _exit(tree(depth - 1));
        CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status));
        sum += WEXITSTATUS(status);
    }
    return sum;
}

int main(void)
{
    int status, gate[2];
    struct rusage usage;
    siginfo_t info = {0};
    char c;
    say("tree of %d processes", tree(3));
    MUST(pipe(gate));
    pid_t child = MUST(fork());
    if (child == 0) {
        MUST(read(gate[0], &c, 1));
        _exit(42);
    }
    EXPECT(clone, child);
    say("not yet: %s", outcome(EXPECT(wait4, wait4(child, &status, WNOHANG, NULL))));
    MUST(write(gate[1], "x", 1));
    EXPECT(waitid, waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT));
    EXPECT_OUT(2, &info, sizeof info);
    say("waitid WNOWAIT: exited %d status %d", info.si_code == CLD_EXITED, info.si_status);
    long who = EXPECT(wait4, wait4(child, &status, 0, &usage));
    EXPECT_OUT(1, &status, sizeof status);
    EXPECT_OUT(3, &usage, sizeof usage);
    say("wait4: the same child %d, %s", who == child, ending(status));
    say("no more: %s", outcome(EXPECT(wait4, wait4(-1, &status, 0, NULL))));
    say("not mine: %s", outcome(EXPECT(waitid, waitid(P_PID, 1, &info, WEXITED))));
    /* Two children of which the second ends first. */
    pid_t first = MUST(fork());
    if (first == 0) {
        MUST(read(gate[0], &c, 1));
        _exit(1);
    }
    pid_t second = MUST(fork());
    if (second == 0)
        _exit(2);
    who = waitpid(-1, &status, 0);
    say("the second ends first: %d %s", who == second, ending(status));
    MUST(write(gate[1], "x", 1));
    who = waitpid(0, &status, 0);
    say("then the first: %d %s", who == first, ending(status));
    return 0;
}
