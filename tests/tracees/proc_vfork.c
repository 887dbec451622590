/* proc_vfork - vfork with exec, with _exit, with a failing exec; posix_spawn with file actions; system(). */
#include "tracee.h"
#include <spawn.h>

extern char **environ;

static int vfork_exec(const char *path)
{
    int status;
    char *arguments[] = {"sh", "-c", "exit 7", NULL};
    pid_t child = vfork();
    if (child == 0) {
        execve(path, arguments, environ);
        _exit(errno == ENOENT ? 111 : 112);
    }
    MUST(child);
    CHECK(waitpid(child, &status, 0) == child);
    return status;
}

static void spawn(void)
{
    int pipes[2], status;
    char text[64];
    pid_t child;
    char *arguments[] = {"sh", "-c", "echo spawned; echo lost >&2", NULL};
    posix_spawn_file_actions_t actions;
    MUST(pipe2(pipes, O_CLOEXEC));
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, pipes[1], 1);
    posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
    CHECK(posix_spawn(&child, "/bin/sh", &actions, NULL, arguments, environ) == 0);
    close(pipes[1]);
    long n = EXPECT(read, read(pipes[0], text, sizeof text));
    EXPECT_OUT(1, "spawned\n", 8);
    MUST(waitpid(child, &status, 0));
    say("posix_spawn read %ld, %s", n, ending(status));
    say("posix_spawn of nothing: %s", strerrorname_np(posix_spawn(&child, "/no/such/program", NULL, NULL, arguments, environ)));
}

int main(void)
{
    volatile int shared = 1;
    int status;
    pid_t child = vfork();
    if (child == 0) {
        shared = 2; /* the same memory as the parent's */
        _exit(5);
    }
    MUST(waitpid(child, &status, 0));
    say("vfork shares memory: %d, %s", shared, ending(status));
    say("vfork + exec: %s", ending(vfork_exec("/bin/sh")));
    say("vfork + failing exec: %s", ending(vfork_exec("/no/such/sh")));
    spawn();
    say("system: %s", ending(system("exit 9")));
    return 0;
}
