/* bad_abi - calls by the 32-bit entry (int 0x80), with x32's bit, and with numbers that do not exist.
 * Where they are refused nothing happens; natively the 32-bit one may work: both are said the same way.
 */
#include "tracee.h"

static long int80(long nr, long a, long b, long c)
{
    long result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(nr), "b"(a), "c"(b), "d"(c) : "memory", "r8", "r9", "r10", "r11");
    return result;
}

static long raw(long nr)
{
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "a"(nr) : "rcx", "r11", "memory");
    return result;
}

int main(void)
{
    long r = int80(20 /* getpid there, writev here */, 0, 0, 0);
    say("int 0x80 getpid works or is refused %d", r == getpid() || r == -ENOSYS || r == -EPERM);
    /* The text lies below 4 GB only by chance: mkdir of a bad address must never make anything. */
    r = int80(39 /* mkdir there, getpid here */, 8, 0755, 0);
    say("int 0x80 mkdir %d", r == -EFAULT || r == -ENOSYS || r == -EPERM);
    r = raw(0x40000000 | 39);
    say("x32 %s", r < 0 ? strerrorname_np((int)-r) : "worked");
    say("number 5000: %s", strerrorname_np((int)-raw(5000)));
    say("number -1: %s", strerrorname_np((int)-raw(-1)));
    say("number 400: %s", strerrorname_np((int)-raw(400)));
    say("upper half ignored: %d", raw(0x100000000l | SYS_getpid) == getpid() || raw(0x100000000l | SYS_getpid) == -ENOSYS);
    say("still here");
    return 0;
}
