/* bad_refused - what the sandbox refuses: io_uring, aio, userfaultfd, bpf, perf events, ptrace, namespaces, user dispatch.
 * Natively some of these work for root; the answer must only be an honest one.
 * tracee refused: io_uring_setup io_setup userfaultfd ptrace perf_event_open bpf
 */
#include "tracee.h"
#include <linux/io_uring.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>

/* In a child: done natively, some of these change the process. */
static void attempt(const char *what, long (*call)(void))
{
    int status;
    pid_t child = MUST(fork());
    if (child == 0) {
        errno = 0;
        long result = call();
        _exit(result == -1 && errno == 0 ? 1 : 0);
    }
    MUST(waitpid(child, &status, 0));
    say("%s: %s", what, ending(status));
}

static long uring(void)
{
    struct io_uring_params parameters = {0};
    return EXPECT(io_uring_setup, syscall(SYS_io_uring_setup, 8, &parameters));
}
static long aio(void)
{
    unsigned long context = 0;
    return EXPECT(io_setup, syscall(SYS_io_setup, 8, &context));
}
static long faults(void)
{
    return EXPECT(userfaultfd, syscall(SYS_userfaultfd, O_CLOEXEC));
}
static long programs(void)
{
    return EXPECT(bpf, syscall(SYS_bpf, 0, NULL, 0));
}
static long counters(void)
{
    return EXPECT(perf_event_open, syscall(SYS_perf_event_open, NULL, 0, -1, -1, 0));
}
static long tracing(void)
{
    return EXPECT(ptrace, ptrace(PTRACE_TRACEME, 0, 0, 0));
}
static long namespaces(void)
{
    return unshare(CLONE_NEWUSER | CLONE_NEWNS);
}
static long dispatch(void)
{
    return prctl(PR_SET_SYSCALL_USER_DISPATCH, PR_SYS_DISPATCH_OFF, 0, 0, 0);
}
static long mounting(void)
{
    return mkdir("mounted", 0755) == -1 ? -1 : syscall(SYS_mount, "none", "mounted", "no-such-type", 0, NULL);
}
static long modules(void)
{
    return syscall(SYS_init_module, NULL, 0, "");
}

int main(void)
{
    attempt("io_uring", uring);
    attempt("aio", aio);
    attempt("userfaultfd", faults);
    attempt("bpf", programs);
    attempt("perf events", counters);
    attempt("ptrace", tracing);
    attempt("namespaces", namespaces);
    attempt("user dispatch", dispatch);
    attempt("mount", mounting);
    attempt("kernel module", modules);
    return 0;
}
