/*
 * tsc_probe.c - does a trapped time stamp counter stay trapped? Without a C library, whose start-up reads the counter itself.
 * Exit status: bit 0 = trapped in a forked child, bit 1 = trapped after a second execve. The trap shows as death by SIGSEGV.
 */
#include <asm/unistd.h>

static long call(long nr, long a, long b, long c)
{
    long result;
    register long r10 __asm__("r10") = 0;
    __asm__ volatile("syscall" : "=a"(result) : "0"(nr), "D"(a), "S"(b), "d"(c), "r"(r10) : "rcx", "r11", "memory");
    return result;
}

static int read_dies(void)
{
    int status = 0;
    const long child = call(__NR_fork, 0, 0, 0);

    if (child == 0) {
        __asm__ volatile("rdtsc" ::: "eax", "edx");
        call(__NR_exit_group, 0, 0, 0);
    }
    call(__NR_wait4, child, (long)&status, 0);
    return (status & 127) == 11;
}

__attribute__((used)) void start(long *stack)
{
    const long argc = stack[0];
    char **argv = (char **)(stack + 1);

    if (argc > 1) /* the second execve: same question, answered by status */
        call(__NR_exit_group, read_dies(), 0, 0);
    int result = read_dies();
    int status = 0;
    const long child = call(__NR_fork, 0, 0, 0);
    if (child == 0) {
        char *again[] = {argv[0], (char *)"again", 0};
        call(__NR_execve, (long)argv[0], (long)again, (long)(argv + argc + 1));
        call(__NR_exit_group, 99, 0, 0);
    }
    call(__NR_wait4, child, (long)&status, 0);
    if (status == 0x100)
        result |= 2;
    call(__NR_exit_group, result, 0, 0);
}

__asm__(".globl _start\n_start:\n\tmov %rsp, %rdi\n\tand $-16, %rsp\n\tcall start\n");
