/* bad_seccomp - the program's own seccomp filter: errno, trap and kill as it asked; calls it refuses are still recorded. */
#include "tracee.h"
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>

static volatile int trapped;

static void on_sigsys(int signo, siginfo_t *info, void *context)
{
    (void)signo, (void)context;
    trapped = info->si_syscall;
}

int main(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mkdir, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EXDEV),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_rmdir, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_link, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof code / sizeof *code, code};
    struct sigaction action = {.sa_sigaction = on_sigsys, .sa_flags = SA_SIGINFO};
    int status;
    MUST(sigaction(SIGSYS, &action, NULL));
    MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    say("filter %s", outcome(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program)));
    say("mkdir %s", outcome(mkdir("not-made", 0755)));
    say("really not made %s", outcome(access("not-made", F_OK)));
    rmdir("not-there");
    say("trapped %d", trapped == SYS_rmdir);
    pid_t child = MUST(fork());
    if (child == 0) {
        int r = link("a", "b");
        _exit(r == -1 ? 1 : 0);
    }
    MUST(waitpid(child, &status, 0));
    say("link: %s", ending(status));
    say("others go on %s", outcome(EXPECT(access, access("absent", F_OK))));
    return 0;
}
