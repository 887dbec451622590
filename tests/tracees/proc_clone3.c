/* proc_clone3 - clone3 and clone by hand: pidfd, parent and child tid words, no exit signal, shared files, __WALL. */
#include "tracee.h"
#include <linux/sched.h>
#include <sched.h>

static long clone3(struct clone_args *arguments)
{
    return syscall(SYS_clone3, arguments, sizeof *arguments);
}

static volatile int left_behind;

static int thread_body(void *argument)
{
    (void)argument;
    left_behind = 77;
    return 33;
}

/* A sandbox cannot look into clone3's structure from a filter; ENOSYS makes every libc fall back to clone. */
static int refused(long result)
{
    return result == -1 && errno == ENOSYS;
}

static int with_words(void)
{
    int pidfd = -1;
    pid_t parent_word = 0, child_word = 0;
    siginfo_t info = {0};
    struct clone_args arguments = {.flags = CLONE_PIDFD | CLONE_PARENT_SETTID | CLONE_CHILD_SETTID,
                                   .pidfd = (uint64_t)&pidfd,
                                   .parent_tid = (uint64_t)&parent_word,
                                   .child_tid = (uint64_t)&child_word,
                                   .exit_signal = SIGCHLD};
    long child = clone3(&arguments);
    if (child == 0)
        _exit(child_word == syscall(SYS_gettid) ? 3 : 4);
    EXPECT(clone3, child);
    if (refused(child))
        return 1;
    MUST(waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED));
    return parent_word == child && info.si_status == 3;
}

static int plain(void)
{
    int status;
    struct clone_args arguments = {.exit_signal = SIGCHLD};
    long child = clone3(&arguments);
    if (child == 0)
        _exit(5);
    EXPECT(clone3, child);
    if (refused(child))
        return 1;
    CHECK(waitpid((pid_t)child, &status, 0) == child);
    return WIFEXITED(status) && WEXITSTATUS(status) == 5;
}

/* No exit signal: only __WALL sees it; one table of descriptors for both. */
static void without_exit_signal(void)
{
    int status, shared = MUST(dup(1));
    pid_t parent_word = 0;
    long child = syscall(SYS_clone, CLONE_FILES | CLONE_PARENT_SETTID, NULL, &parent_word, NULL, 0);
    if (child == 0) {
        close(shared);
        _exit(6);
    }
    EXPECT(clone, child);
    say("the word is right %d", parent_word == child);
    say("without an exit signal wait does not see it: %s", outcome(waitpid((pid_t)child, &status, 0)));
    CHECK(waitpid((pid_t)child, &status, __WALL) == child);
    say("with __WALL: %s; its close was mine too: %s", ending(status), outcome(fcntl(shared, F_GETFD)));
}

int main(void)
{
    int status, pidfd = -1;
    static char stack[65536] __attribute__((aligned(16)));
    say("clone3 with every word works or is refused %d", with_words());
    say("plain clone3 works or is refused %d", plain());
    without_exit_signal();
    long child = EXPECT(clone, clone(thread_body, stack + sizeof stack, CLONE_VM | CLONE_FS | SIGCHLD, NULL));
    CHECK(waitpid((pid_t)child, &status, 0) == child);
    say("clone with shared memory: %s, wrote %d", ending(status), left_behind);
    child = EXPECT(clone, clone(thread_body, stack + sizeof stack, CLONE_PIDFD | SIGCHLD, NULL, &pidfd));
    CHECK(waitpid((pid_t)child, &status, 0) == child);
    say("clone with a pidfd: %s, open %d", ending(status), fcntl(pidfd, F_GETFD) >= 0);
    struct clone_args nonsense = {.flags = CLONE_THREAD};
    child = EXPECT(clone3, clone3(&nonsense));
    say("nonsense flags or refused %d", refused(child) || errno == EINVAL);
    return 0;
}
