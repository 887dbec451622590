/* proc_exec - every way to exec: execve, execveat by descriptor, a memfd, scripts with an interpreter; every way it fails. */
#include "tracee.h"

static char *arguments[] = {"program", "-c", "echo \"shell said $WORD\"", NULL};
static char *environment[] = {"WORD=hello", NULL};

#define IN_CHILD(statement)                                                                                  \
    do {                                                                                                     \
        int status;                                                                                          \
        pid_t child = MUST(fork());                                                                          \
        if (child == 0) {                                                                                    \
            statement;                                                                                       \
            _exit(90);                                                                                       \
        }                                                                                                    \
        MUST(waitpid(child, &status, 0));                                                                    \
        say("%s: %s", #statement, ending(status));                                                           \
    } while (0)

static void write_file(const char *name, const char *text, mode_t mode)
{
    int fd = MUST(open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode));
    MUST(write(fd, text, strlen(text)));
    MUST(close(fd));
}

static int copy_to_memfd(const char *path)
{
    char buffer[65536];
    ssize_t n;
    int from = MUST(open(path, O_RDONLY)), to = MUST(memfd_create("copy", 0));
    while ((n = MUST(read(from, buffer, sizeof buffer))) > 0)
        MUST(write(to, buffer, (size_t)n));
    return to;
}

int main(void)
{
    write_file("script", "#!/bin/sh\necho script $0 $1\nexit 4\n", 0755);
    write_file("deep", "#!./script inner\n", 0755);
    write_file("locked", "#!/bin/sh\n", 0644);
    write_file("garbage", "\x01\x02\x03\x04", 0755);
    write_file("dangling", "#!/no/such/interpreter\n", 0755);
    IN_CHILD(execve("/bin/sh", arguments, environment));
    IN_CHILD(execve("./script", ((char *[]){"script", "argument", NULL}), environment));
    IN_CHILD(execve("./deep", ((char *[]){"deep", NULL}), environment));
    int sh = MUST(open("/bin/sh", O_PATH | O_CLOEXEC));
    IN_CHILD(execveat(sh, "", arguments, environment, AT_EMPTY_PATH));
    int copy = copy_to_memfd("/bin/sh");
    IN_CHILD(fexecve(copy, arguments, environment));
    /* Failures leave the program running. */
    say("absent %s", outcome(EXPECT(execve, execve("./absent", arguments, environment))));
    say("not executable %s", outcome(EXPECT(execve, execve("./locked", arguments, environment))));
    say("garbage %s", outcome(EXPECT(execve, execve("./garbage", arguments, environment))));
    say("no interpreter %s", outcome(EXPECT(execve, execve("./dangling", arguments, environment))));
    say("a directory %s", outcome(EXPECT(execve, execve("/", arguments, environment))));
    say("bad arguments %s", outcome(EXPECT(execve, execve("/bin/sh", (char **)16, environment))));
    IN_CHILD(execlp("true", "true", NULL));
    return 0;
}
