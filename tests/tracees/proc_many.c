/* proc_many - 1,000 short-lived children: one after another, and in bursts of 50.
 * tracee timeout: 60
 */
#include "tracee.h"

int main(void)
{
    int status, sum = 0;
    for (int i = 0; i < 500; i++) {
        pid_t child = MUST(fork());
        if (child == 0)
            _exit(i % 7);
        CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status));
        sum += WEXITSTATUS(status);
    }
    say("one after another: %d", sum);
    for (int burst = 0; burst < 10; burst++) {
        for (int i = 0; i < 50; i++)
            if (MUST(fork()) == 0)
                _exit(i % 5);
        for (int i = 0; i < 50; i++) {
            CHECK(wait(&status) > 0 && WIFEXITED(status));
            sum += WEXITSTATUS(status);
        }
    }
    say("and in bursts: %d", sum);
    say("none left: %s", outcome(wait(NULL)));
    return 0;
}
