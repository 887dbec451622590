/* bad_mask - every signal blocked or ignored, then rdtsc, faults the kernel forces, and a crash that cannot be blocked. */
#include "tracee.h"
#include <sys/resource.h>
#include <x86intrin.h>

int main(void)
{
    sigset_t all, now;
    int status;
    MUST(setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0}));
    sigfillset(&all);
    MUST(sigprocmask(SIG_SETMASK, &all, NULL));
    uint64_t a = __rdtsc(), b = __rdtsc();
    say("blocked: rdtsc goes on %d", b > a);
    MUST(sigprocmask(SIG_SETMASK, NULL, &now));
    say("still blocked %d %d", sigismember(&now, SIGSEGV), sigismember(&now, SIGTERM));
    signal(SIGSEGV, SIG_IGN);
    b = __rdtsc();
    say("ignored: rdtsc goes on %d", b > a);
    pid_t child = MUST(fork());
    if (child == 0) {
        *(volatile int *)0 = 1;
        _exit(0);
    }
    MUST(waitpid(child, &status, 0));
    say("a real fault ends it all the same: %s", ending(status));
    return 0;
}
