/* thr_spin - threads that wait in user space without any call, while (!flag): the setter must get its turn; 10 times.
 * tracee grade: any
 * tracee timeout: 60
 */
#include "tracee.h"
#include <pthread.h>

static volatile int flag, answer;

static void *setter(void *unused)
{
    (void)unused;
    usleep(2000);
    flag = 1;
    while (!answer)
        ;
    return NULL;
}

int main(void)
{
    pthread_t thread;
    for (int round = 0; round < 10; round++) {
        flag = answer = 0;
        CHECK(pthread_create(&thread, NULL, setter, NULL) == 0);
        while (!flag)
            ;
        usleep(2000);
        answer = 1;
        pthread_join(thread, NULL);
    }
    say("10 spins ended");
    return 0;
}
