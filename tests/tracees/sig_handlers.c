/* sig_handlers - handlers in handlers: masks, SA_NODEFER, SA_RESETHAND, a longjmp out of one, vector registers kept. */
#include "tracee.h"
#include <setjmp.h>

static volatile int depth, deepest, raised;
static char trail[256];

static void note(const char *what)
{
    strncat(trail, what, sizeof trail - strlen(trail) - 1);
}

static void nested(int signo)
{
    depth++;
    if (depth > deepest)
        deepest = depth;
    note(signo == SIGUSR1 ? "(1" : "(2");
    if (raised++ < 3)
        raise(signo == SIGUSR1 ? SIGUSR2 : SIGUSR1);
    note(")");
    depth--;
}

static void clobbers(int signo)
{
    (void)signo;
    __asm__ volatile("pxor %%xmm5, %%xmm5; pxor %%xmm6, %%xmm6" ::: "xmm5", "xmm6");
}

static sigjmp_buf out;

static void leaves(int signo)
{
    siglongjmp(out, signo);
}

int main(void)
{
    struct sigaction action = {.sa_handler = nested};
    MUST(sigaction(SIGUSR1, &action, NULL));
    MUST(sigaction(SIGUSR2, &action, NULL));
    raise(SIGUSR1);
    say("masked while handled: %s deepest %d", trail, deepest);
    trail[0] = 0;
    deepest = raised = 0;
    action.sa_flags = SA_NODEFER;
    MUST(sigaction(SIGUSR1, &action, NULL));
    MUST(sigaction(SIGUSR2, &action, NULL));
    raise(SIGUSR1);
    say("not deferred: %s deepest %d", trail, deepest);
    action.sa_handler = clobbers;
    action.sa_flags = SA_RESETHAND;
    MUST(sigaction(SIGUSR1, &action, NULL));
    uint64_t before = 0x0123456789abcdef, after = 0;
    __asm__ volatile("movq %2, %%xmm5\n mov %3, %%rdi\n mov %4, %%rsi\n mov $62, %%eax\n syscall\n movq %%xmm5, %0"
                     : "=r"(after)
                     : "0"(0ul), "r"(before), "r"((long)getpid()), "r"((long)SIGUSR1)
                     : "rax", "rcx", "r11", "rdi", "rsi", "xmm5", "xmm6", "memory");
    say("vector register kept %d", before == after);
    struct sigaction now;
    MUST(sigaction(SIGUSR1, NULL, &now));
    say("reset after one %d", now.sa_handler == SIG_DFL);
    action = (struct sigaction){.sa_handler = leaves};
    MUST(sigaction(SIGUSR2, &action, NULL));
    int rounds = 0;
    for (int i = 0; i < 20; i++)
        if (sigsetjmp(out, 1) == 0)
            raise(SIGUSR2);
        else
            rounds++;
    say("left by longjmp %d", rounds);
    action.sa_handler = SIG_IGN;
    MUST(sigaction(SIGUSR2, &action, NULL));
    say("ignored %d", raise(SIGUSR2));
    say("KILL cannot be handled: %s", outcome(sigaction(SIGKILL, &action, NULL)));
    return 0;
}
