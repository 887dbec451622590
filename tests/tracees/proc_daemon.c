/* proc_daemon - leaves a daemon behind: double fork, setsid, closed descriptors; it would live on for seconds.
 * The sandbox ends it with the run; tests look for its command line afterwards.
 * tracee leaves: sentra-left-behind
 */
#include "tracee.h"
#include <sys/prctl.h>

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "sentra-left-behind") == 0) {
        sleep(2);
        return 0;
    }
    int status, ready[2];
    char c;
    MUST(pipe(ready));
    pid_t child = MUST(fork());
    if (child == 0) {
        MUST(setsid());
        if (MUST(fork()) != 0)
            _exit(0);
        MUST(write(ready[1], "x", 1));
        int null = MUST(open("/dev/null", O_RDWR));
        for (int fd = 0; fd < 64; fd++)
            if (fd != null)
                close(fd);
        signal(SIGHUP, SIG_IGN);
        signal(SIGTERM, SIG_IGN);
        execl("/proc/self/exe", argv[0], "sentra-left-behind", NULL);
        _exit(1);
    }
    MUST(waitpid(child, &status, 0));
    CHECK(read(ready[0], &c, 1) == 1);
    say("daemon started: %s", ending(status));
    return 0;
}
