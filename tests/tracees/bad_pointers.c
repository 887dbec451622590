/* bad_pointers - every system call with pointers that lead nowhere. Must be survived; calls that could end, stop or
 * change the process itself are left out, and each call runs in a child of its own batch.
 * tracee timeout: 60
 */
#include "tracee.h"
#include <sys/resource.h>

static const int left_out[] = {
    SYS_exit, SYS_exit_group, SYS_rt_sigreturn, SYS_pause, SYS_fork, SYS_vfork, SYS_clone, SYS_clone3, SYS_kill, SYS_tkill,
    SYS_tgkill, SYS_rt_sigsuspend, SYS_rt_sigaction, SYS_rt_sigprocmask, SYS_munmap, SYS_mprotect, SYS_brk, SYS_mmap, SYS_mremap,
    SYS_madvise, SYS_reboot, SYS_shutdown, SYS_sync, SYS_syncfs, SYS_vhangup, SYS_ptrace, SYS_seccomp, SYS_prctl, SYS_arch_prctl,
    SYS_rt_sigtimedwait, SYS_restart_syscall, SYS_close, SYS_close_range, SYS_alarm, SYS_setitimer, SYS_select, SYS_poll,
    SYS_ppoll, SYS_pselect6, SYS_epoll_pwait2, SYS_futex, SYS_setsid, SYS_setpgid, SYS_personality, SYS_setrlimit,
    SYS_prlimit64, SYS_unshare, SYS_setns, SYS_wait4, SYS_waitid, SYS_dup2, SYS_dup3, SYS_iopl, SYS_ioperm, SYS_modify_ldt,
    SYS_set_robust_list, SYS_set_tid_address, SYS_rseq, SYS_sigaltstack, SYS_process_madvise, SYS_munlockall, SYS_mlockall,
    SYS_remap_file_pages, SYS_setuid, SYS_setgid, SYS_setreuid, SYS_setregid, SYS_setresuid, SYS_setresgid, SYS_setgroups,
    SYS_setfsuid, SYS_setfsgid, SYS_capset, SYS_sethostname, SYS_setdomainname, SYS_settimeofday, SYS_clock_settime,
    SYS_adjtimex, SYS_clock_adjtime, SYS_swapoff, SYS_acct, SYS_delete_module, SYS_kexec_load, SYS_syslog, SYS_umask,
    SYS_semtimedop, SYS_msgrcv, SYS_mq_timedreceive, SYS_landlock_restrict_self, 449 /* futex_waitv */, SYS_userfaultfd, 462 /* mseal */,
    SYS_sched_setscheduler, SYS_sched_setattr, SYS_sched_setaffinity, SYS_sched_setparam, SYS_setpriority, SYS_ioprio_set, SYS_nanosleep,
    SYS_clock_nanosleep, SYS_quotactl, SYS_perf_event_open, SYS_bpf, SYS_umount2, SYS_pivot_root, SYS_chroot, SYS_mount,
    SYS_epoll_wait, SYS_epoll_pwait, SYS_io_uring_setup, SYS_membarrier, SYS_fanotify_init, SYS_pkey_mprotect, SYS_shmat, SYS_vmsplice,
};

static int skipped(int nr)
{
    for (size_t i = 0; i < sizeof left_out / sizeof *left_out; i++)
        if (left_out[i] == nr)
            return 1;
    return nr >= 454 && nr <= 456; /* futex_wake, futex_wait, futex_requeue */
}

static void sweep(long pointer)
{
    int tried = 0, status;
    for (int nr = 0; nr <= 461; nr++) {
        if (nr > 334 && nr < 424)
            continue; /* a hole */
        if (skipped(nr))
            continue;
        pid_t child = MUST(fork());
        if (child == 0) {
            syscall(SYS_close_range, 3, ~0u, 0);
            MUST(setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0}));
            syscall(nr, pointer, pointer, pointer, pointer, pointer, pointer);
            syscall(nr, 2000, pointer, 8, pointer, 8, pointer); /* as descriptor, pointer, size */
            _exit(0);
        }
        MUST(waitpid(child, &status, 0));
        tried++;
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
            say("call %d with %lx: %s", nr, pointer, ending(status));
    }
    say("tried more than 200 calls: %d", tried > 200);
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    /* Calls that take a descriptor see these as numbers: none may be one that is open, or fchmod changes a real file. */
    sweep(2040);
    sweep((long)0xffffffff80000000ul); /* the kernel's half */
    sweep((long)0x8000000080000000ul); /* not canonical */
    int fd = MUST(open("file", O_RDWR | O_CREAT | O_TRUNC, 0644));
    MUST(write(fd, "0123456789", 10));
    MUST(lseek(fd, 0, SEEK_SET));
    say("read %s", outcome(EXPECT(read, read(fd, (void *)8, 4))));
    say("write %s", outcome(EXPECT(write, write(fd, (void *)8, 4))));
    say("openat %s", outcome(EXPECT(openat, syscall(SYS_openat, AT_FDCWD, 8, O_RDONLY, 0))));
    say("stat %s", outcome(EXPECT(newfstatat, syscall(SYS_newfstatat, AT_FDCWD, ".", 8, 0))));
    say("fstat %s", outcome(EXPECT(fstat, syscall(SYS_fstat, fd, 8))));
    say("readv %s", outcome(EXPECT(readv, syscall(SYS_readv, fd, 8, 3))));
    say("recvmsg %s", outcome(EXPECT(recvmsg, syscall(SYS_recvmsg, fd, 8, 0))));
    say("getdents64 %s", outcome(EXPECT(getdents64, syscall(SYS_getdents64, MUST(open(".", O_RDONLY)), 8, 4096))));
    say("pipe %s", outcome(EXPECT(pipe2, syscall(SYS_pipe2, 8, 0))));
    say("clock_gettime %s", outcome(EXPECT(clock_gettime, syscall(SYS_clock_gettime, 1, 8))));
    say("poll %s", outcome(EXPECT(poll, syscall(SYS_poll, 8, 2, 0))));
    say("wait4 %s", outcome(EXPECT(wait4, syscall(SYS_wait4, -1, 8, 0, 8))));
    return 0;
}
