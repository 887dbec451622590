/* bad_killgroup - a process kills its whole process group with it, three children and itself.
 * tracee session: own
 */
#include "tracee.h"

int main(void)
{
    MUST(setpgid(0, 0) == -1 && errno != EPERM ? -1 : 0);
    for (int i = 0; i < 3; i++)
        if (MUST(fork()) == 0)
            for (;;)
                pause();
    say("now");
    kill(0, SIGKILL);
    for (;;)
        pause();
}
