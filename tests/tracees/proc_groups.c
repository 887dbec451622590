/* proc_groups - process groups and sessions: setpgid, setsid, kill of a group, waiting for a group. */
#include "tracee.h"

int main(void)
{
    int status;
    pid_t members[3];
    for (int i = 0; i < 3; i++) {
        members[i] = MUST(fork());
        if (members[i] == 0)
            for (;;)
                pause();
        EXPECT(setpgid, setpgid(members[i], members[0]));
    }
    say("one group: %d %d", getpgid(members[1]) == members[0], getpgid(members[2]) == members[0]);
    say("same session: %d", getsid(members[0]) == getsid(0));
    EXPECT(kill, kill(-members[0], SIGTERM));
    int ended = 0;
    while (waitpid(-members[0], &status, 0) > 0) {
        CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
        ended++;
    }
    say("ended by one kill: %d", ended);
    pid_t child = MUST(fork());
    if (child == 0) {
        pid_t session = setsid();
        say("a new session of its own: %d, leader %d", session == getpid(), getsid(0) == getpid());
        say("again: %s", outcome(setsid()));
        _exit(0);
    }
    MUST(waitpid(child, &status, 0));
    say("no such group: %s", outcome(EXPECT(kill, kill(-child, SIGTERM))));
    say("not allowed: %s", outcome(EXPECT(setpgid, setpgid(0, -5))));
    return 0;
}
