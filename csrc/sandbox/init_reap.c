/*
 * init_reap.c - pid 1's life after the agent was forked: reap, forward, end with the agent.
 *
 * It lives as long as the program, so it gives its inherited memory back: the fork of a Python supervisor would otherwise keep
 * tens of megabytes of old pages (and whatever secrets they hold) inside the sandbox. After that there is no C library, no
 * thread-local storage and no heap: only this file's code, inline system calls, and a small stack of its own. So the
 * functions below must not call any library function, and the compiler must not insert calls or canaries.
 *
 * Signals. All are blocked and taken by rt_sigtimedwait, hence neither Ctrl-C nor Ctrl-Z on the terminal (init is in
 * the same process group) ends or stops it. What the terminal or kill(-pgid) sends reaches the agent directly, so it is
 * dropped here; only what the supervisor queued for us (SI_QUEUE from outside the pid namespace) is passed on.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sandbox/child.h"

#ifndef __x86_64__
#error "only x86-64 is supported"
#endif

#ifndef __has_attribute
#define __has_attribute(x) 0
#endif
#if __has_attribute(no_stack_protector)
#define FREESTANDING __attribute__((noinline, no_stack_protector, no_sanitize("address", "undefined")))
#else
#define FREESTANDING __attribute__((noinline, no_sanitize("address", "undefined")))
#endif

/* Instrumented code needs its shadow memory: a sanitizer build keeps everything. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define INSTRUMENTED 1
#else
#define INSTRUMENTED 0
#endif

#define STACK_BYTES (16u * 1024u)
#define USER_SPACE_END 0x7ffffffff000ul
#define PAGE_MASK_4K (~4095ul)

/* The bounds of the shared object this file is linked into. */
extern const char __ehdr_start[] __attribute__((visibility("hidden")));
extern const char _end[] __attribute__((visibility("hidden")));
/* Where the C library (2.35 and later) registered restartable sequences; absent elsewhere. */
extern const ptrdiff_t __rseq_offset __attribute__((weak));
extern const unsigned int __rseq_size __attribute__((weak));

struct reaper {
    pid_t agent;
    pid_t supervisor;       /* getppid(): 0 when the supervisor is outside our pid namespace */
    int end_fd;
    int has_pid_namespace;
    int strip;              /* 1: nothing but the two regions below is needed any more */
    unsigned long keep[2][2]; /* [start, end) of our code and of the stack, ascending */
    unsigned long vdso;
};

static inline __attribute__((always_inline)) long call4(long nr, long a, long b, long c, long d)
{
    register long r10 __asm__("r10") = d;
    long result;

    __asm__ volatile("syscall" : "=a"(result) : "0"(nr), "D"(a), "S"(b), "d"(c), "r"(r10) : "rcx", "r11", "memory");
    return result;
}

static FREESTANDING void unmap(unsigned long from, unsigned long to)
{
    if (from < to)
        call4(SYS_munmap, (long)from, (long)(to - from), 0, 0);
}

/* Since 6.15 the vDSO may be sealed; a range that includes it is then refused whole. Its neighbours (vvar) are sealed too. */
static FREESTANDING void strip_memory(const struct reaper *r)
{
    const unsigned long last = r->keep[1][1];

    unmap(4096, r->keep[0][0]);
    unmap(r->keep[0][1], r->keep[1][0]);
    if (call4(SYS_munmap, (long)last, (long)(USER_SPACE_END - last), 0, 0) < 0 && r->vdso > last + 0x10000) {
        unmap(last, r->vdso - 0x10000);
        unmap(r->vdso + 0x10000, USER_SPACE_END);
    }
}

/* One round over our children's list; the kernel adds the orphans of those that died. */
static FREESTANDING void kill_children(void)
{
    char list[2048];
    const long fd = call4(SYS_open, (long)"/proc/thread-self/children", O_RDONLY, 0, 0);

    if (fd < 0)
        return;
    const long size = call4(SYS_read, fd, (long)list, sizeof list, 0);
    call4(SYS_close, fd, 0, 0, 0);
    long pid = 0;
    for (long i = 0; i < size; i++) {
        if (list[i] >= '0' && list[i] <= '9') {
            pid = pid * 10 + (list[i] - '0');
        } else if (pid) { /* a pid is followed by a space: one cut off by the buffer's end is left for the next round */
            call4(SYS_kill, pid, SIGKILL, 0, 0);
            pid = 0;
        }
    }
}

/* Without a pid namespace nobody kills what the agent left behind but us. */
static FREESTANDING void end_descendants(void)
{
    long reaped;

    do {
        kill_children();
        reaped = call4(SYS_wait4, -1, 0, __WALL, 0);
    } while (reaped > 0 || reaped == -EINTR);
}

static FREESTANDING __attribute__((noreturn)) void end_with(const struct reaper *r, int status)
{
    call4(SYS_write, r->end_fd, (long)&status, sizeof status, 0);
    if (!r->has_pid_namespace)
        end_descendants();
    for (;;)
        call4(SYS_exit_group, WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), 0, 0, 0);
}

static FREESTANDING void reap_all(const struct reaper *r)
{
    int status = 0;
    long pid;

    while ((pid = call4(SYS_wait4, -1, (long)&status, WNOHANG | __WALL, 0)) > 0)
        if (pid == r->agent)
            end_with(r, status);
}

static FREESTANDING __attribute__((noreturn, used)) void reaper_main(const struct reaper *r)
{
    const uint64_t every_signal = ~0ull;

    if (r->strip)
        strip_memory(r);
    for (;;) {
        siginfo_t info;
        const long signo = call4(SYS_rt_sigtimedwait, (long)&every_signal, (long)&info, 0, sizeof every_signal);

        if (signo > 0 && signo != SIGCHLD && info.si_code == SI_QUEUE && info.si_pid == r->supervisor)
            call4(SYS_kill, r->agent, signo, 0, 0);
        else
            reap_all(r);
    }
}

/* The kernel writes into a registered area whenever it schedules us: it must know that the area goes away. */
static int forget_restartable_sequences(void)
{
    if (!&__rseq_size || !&__rseq_offset || __rseq_size == 0)
        return 1;
    const long area = (long)__builtin_thread_pointer() + (long)__rseq_offset;
    for (unsigned long size = 32; size <= 256; size += 32)
        if (call4(SYS_rseq, area, (long)size, 1 /* RSEQ_FLAG_UNREGISTER */, 0x53053053) == 0)
            return 1;
    return 0;
}

/* A hardware shadow stack would be unmapped under us. arch_prctl(ARCH_SHSTK_STATUS); EINVAL where there is none. */
static int has_shadow_stack(void)
{
    unsigned long features = 0;

    return call4(SYS_arch_prctl, 0x5005, (long)&features, 0, 0) == 0 && (features & 1);
}

static int can_strip(void)
{
    return !INSTRUMENTED && !has_shadow_stack() && forget_restartable_sequences();
}

_Noreturn void sentra_init_reap(pid_t agent, int end_fd, int has_pid_namespace)
{
    const unsigned long image[2] = {(unsigned long)__ehdr_start & PAGE_MASK_4K, ((unsigned long)_end + 4095) & PAGE_MASK_4K};
    char *stack = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (stack == MAP_FAILED)
        _exit(SENTRA_EXIT_SETUP);
    struct reaper *r = (struct reaper *)stack; /* at the low end; the stack grows down towards it */
    const unsigned long own[2] = {(unsigned long)stack, (unsigned long)stack + STACK_BYTES};
    const int image_first = image[0] < own[0];
    *r = (struct reaper){
        .agent = agent,
        .supervisor = has_pid_namespace ? 0 : (pid_t)call4(SYS_getppid, 0, 0, 0, 0),
        .end_fd = end_fd,
        .has_pid_namespace = has_pid_namespace,
        .strip = can_strip(),
        .vdso = getauxval(AT_SYSINFO_EHDR),
    };
    for (int i = 0; i < 2; i++) {
        r->keep[!image_first][i] = image[i];
        r->keep[image_first][i] = own[i];
    }
    /* Named registers, so that none of the inputs can be the frame pointer that is cleared. */
    __asm__ volatile("mov %%rax, %%rsp\n\txor %%ebp, %%ebp\n\tcall *%%rcx\n\tud2"
                     :
                     : "a"(stack + STACK_BYTES), "D"(r), "c"(reaper_main)
                     : "memory");
    __builtin_unreachable();
}
