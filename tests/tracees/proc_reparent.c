/* proc_reparent - orphans: they get a new parent, as zombies too; a subreaper of the program's own. */
#include "tracee.h"
#include <sys/prctl.h>

static int report[2];

static void grandchild(pid_t parent)
{
    char c = 'n';
    for (int i = 0; i < 500 && getppid() == parent; i++)
        usleep(2000);
    if (getppid() != parent)
        c = 'y';
    MUST(write(report[1], &c, 1));
    _exit(0);
}

static char orphan(void)
{
    int status;
    char c;
    pid_t child = MUST(fork());
    if (child == 0) {
        pid_t me = getpid();
        if (MUST(fork()) == 0)
            grandchild(me);
        _exit(0);
    }
    CHECK(waitpid(child, &status, 0) == child);
    MUST(read(report[0], &c, 1));
    return c;
}

int main(int argc, char **argv)
{
    int status, found = 0;
    (void)argv;
    MUST(pipe(report));
    say("an orphan gets another parent: %c", orphan());
    say("not me: %s", outcome(waitpid(-1, &status, WNOHANG)));
    MUST(prctl(PR_SET_CHILD_SUBREAPER, 1));
    say("with a subreaper: %c", orphan());
    while (waitpid(-1, &status, 0) > 0)
        found++;
    say("it came to me: %d", found);
    MUST(prctl(PR_SET_CHILD_SUBREAPER, 0));
    /* A zombie whose parent ends without waiting: init must reap it. */
    pid_t child = MUST(fork());
    if (child == 0) {
        pid_t zombie = MUST(fork());
        if (zombie == 0)
            _exit(0);
        siginfo_t info;
        MUST(waitid(P_PID, (id_t)zombie, &info, WEXITED | WNOWAIT));
        MUST(write(report[1], &zombie, sizeof zombie));
        _exit(0);
    }
    pid_t zombie;
    CHECK(read(report[0], &zombie, sizeof zombie) == sizeof zombie);
    MUST(waitpid(child, &status, 0));
    if (argc > 1) { /* not every machine's init does its duty; the sandbox's must */
        for (int i = 0; i < 500 && kill(zombie, 0) == 0; i++)
            usleep(2000);
        say("the zombie is reaped: %s", outcome(kill(zombie, 0)));
    }
    return 0;
}
