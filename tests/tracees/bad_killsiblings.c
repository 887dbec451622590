/* bad_killsiblings - 40 processes that fork, exec, call and thread while SIGKILL hits them at random moments. */
#include "tracee.h"
#include <pthread.h>

static void *calls(void *unused)
{
    (void)unused;
    for (;;)
        syscall(SYS_getppid);
}

static void victim(int kind)
{
    pthread_t thread;
    char *arguments[] = {"true", NULL};
    for (;;)
        switch (kind % 5) {
        case 0: close(open("/dev/null", O_RDONLY)); break;
        case 1:
            if (fork() == 0)
                _exit(0);
            wait(NULL);
            break;
        case 2:
            if (vfork() == 0) {
                execv("/bin/true", arguments);
                _exit(1);
            }
            wait(NULL);
            break;
        case 3:
            for (int i = 0; i < 3; i++)
                pthread_create(&thread, NULL, calls, NULL);
            for (;;)
                pause();
        default: usleep(100); break;
        }
}

int main(void)
{
    unsigned seed = 12345;
    int status, killed = 0;
    for (int i = 0; i < 40; i++) {
        pid_t child = MUST(fork());
        if (child == 0)
            victim(i);
        seed = seed * 1103515245 + 12345;
        usleep((seed >> 16) % 6000);
        MUST(kill(child, SIGKILL));
        CHECK(waitpid(child, &status, 0) == child);
        killed += WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
    }
    say("killed %d", killed);
    return 0;
}
