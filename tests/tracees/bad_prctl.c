/* bad_prctl - prctl against the recorder: PR_SET_TSC, PR_SET_DUMPABLE, names, parent death signal, no_new_privs. */
#include "tracee.h"
#include <sys/prctl.h>
#include <sys/resource.h>
#include <x86intrin.h>

static void faults_if_told(void)
{
    int status;
    pid_t child = MUST(fork());
    if (child == 0) {
        MUST(setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0}));
        MUST(prctl(PR_SET_TSC, PR_TSC_SIGSEGV));
        _exit(__rdtsc() != 0);
    }
    MUST(waitpid(child, &status, 0));
    say("with PR_TSC_SIGSEGV: %s", ending(status));
}

int main(void)
{
    char name[16];
    int mode = 0, signo = 0;
    MUST(prctl(PR_GET_TSC, &mode));
    say("time stamp counter enabled %d", mode == PR_TSC_ENABLE);
    say("set it so %s", outcome(EXPECT(prctl, prctl(PR_SET_TSC, PR_TSC_ENABLE))));
    say("rdtsc works %d", __rdtsc() != 0);
    faults_if_told();
    say("not dumpable %s", outcome(EXPECT(prctl, prctl(PR_SET_DUMPABLE, 0))));
    say("reads itself %d", EXPECT(prctl, prctl(PR_GET_DUMPABLE)) == 0);
    int fd = MUST(open("after", O_RDWR | O_CREAT | O_TRUNC, 0644)); /* still recorded */
    EXPECT(write, write(fd, "recorded all the same", 21));
    EXPECT_IN(1, "recorded all the same", 21);
    EXPECT(prctl, prctl(PR_SET_NAME, "renamed"));
    EXPECT(prctl, prctl(PR_GET_NAME, name));
    EXPECT_OUT(1, "renamed", 8);
    say("name %s", name);
    MUST(prctl(PR_SET_PDEATHSIG, SIGTERM));
    MUST(prctl(PR_GET_PDEATHSIG, &signo));
    say("parent death signal %d", signo);
    MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    say("no new privileges %d", prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
    say("nonsense %s", outcome(EXPECT(prctl, prctl(12345, 0, 0, 0, 0))));
    return 0;
}
