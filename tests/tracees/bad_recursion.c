/* bad_recursion - deep recursion on a big stack, then off its end; a crash inside of a system call's buffer. */
#include "tracee.h"
#include <sys/resource.h>

__attribute__((noinline)) static long dive(long depth)
{
    volatile char frame[256];
    frame[0] = (char)depth;
    return depth == 0 ? 0 : dive(depth - 1) + (frame[0] == (char)depth);
}

__attribute__((noinline)) static long endless(long depth)
{
    volatile char frame[4000];
    frame[0] = 1;
    return endless(depth + 1) + frame[0];
}

int main(void)
{
    int status;
    MUST(setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0}));
    say("depth %ld", dive(20000));
    pid_t child = MUST(fork());
    if (child == 0)
        _exit((int)endless(0));
    MUST(waitpid(child, &status, 0));
    say("off the end: %s", ending(status));
    return 0;
}
