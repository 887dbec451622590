/* sig_faults - synchronous signals with handlers: SEGV on an alternate stack, BUS, FPE, ILL, TRAP; siginfo and context. */
#include "tracee.h"
#include <setjmp.h>
#include <ucontext.h>

static sigjmp_buf back;
static siginfo_t last;
static volatile int on_alternate_stack;
static char alternate[65536];

static void handler(int signo, siginfo_t *info, void *context)
{
    (void)context;
    char here;
    last = *info;
    on_alternate_stack = &here >= alternate && &here < alternate + sizeof alternate;
    siglongjmp(back, signo);
}

/* Steps over a two-byte ud2 and goes on where it was: the handler changes the saved registers. */
static void skip(int signo, siginfo_t *info, void *context)
{
    (void)signo, (void)info;
    ((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP] += 2;
}

/* Grows the page that was touched, then returns: the instruction is done again. */
static void grow(int signo, siginfo_t *info, void *context)
{
    (void)signo, (void)context;
    MUST(mprotect((void *)((uintptr_t)info->si_addr & ~4095ul), 4096, PROT_READ | PROT_WRITE));
}

static void install(int signo, void (*function)(int, siginfo_t *, void *), int flags)
{
    struct sigaction action = {.sa_sigaction = function, .sa_flags = SA_SIGINFO | flags};
    MUST(sigaction(signo, &action, NULL));
}

__attribute__((noinline)) static int recurse(int depth)
{
    volatile char frame[1024];
    frame[0] = (char)depth;
    return recurse(depth + 1) + frame[0];
}

int main(void)
{
    stack_t stack = {.ss_sp = alternate, .ss_size = sizeof alternate};
    MUST(sigaltstack(&stack, NULL));
    int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP}, signo;
    for (int i = 0; i < 5; i++)
        install(signals[i], handler, SA_ONSTACK);
    volatile int zero = 0;
    if ((signo = sigsetjmp(back, 1)) == 0)
        *(volatile int *)0x1000 = 1;
    say("signal %d address %p code %s alternate stack %d", signo, last.si_addr,
        last.si_code == SEGV_MAPERR ? "MAPERR" : "other", on_alternate_stack);
    if ((signo = sigsetjmp(back, 1)) == 0)
        __asm__ volatile("cltd; idivl %0" : : "m"(zero), "a"(1) : "edx");
    say("signal %d code %s", signo, last.si_code == FPE_INTDIV ? "INTDIV" : "other");
    if ((signo = sigsetjmp(back, 1)) == 0)
        __asm__ volatile("ud2");
    say("signal %d code %d", signo, last.si_code);
    if ((signo = sigsetjmp(back, 1)) == 0)
        __asm__ volatile("int3");
    say("signal %d", signo);
    int fd = MUST(open("short", O_RDWR | O_CREAT | O_TRUNC, 0644));
    char *map = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
    CHECK(map != MAP_FAILED);
    if ((signo = sigsetjmp(back, 1)) == 0)
        say("never %d", *(volatile char *)map);
    say("signal %d code %s", signo, last.si_code == BUS_ADRERR ? "ADRERR" : "other");
    if ((signo = sigsetjmp(back, 1)) == 0)
        recurse(0);
    say("stack overflow: signal %d alternate stack %d", signo, on_alternate_stack);
    install(SIGILL, skip, 0);
    __asm__ volatile("ud2");
    say("stepped over it");
    char *page = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    install(SIGSEGV, grow, 0);
    page[5] = 'y';
    say("grown on demand %c", page[5]);
    return 0;
}
