/* time_tsc - the time stamp counter read directly: rdtsc and rdtscp, in threads, after fork, with values in every register. */
#include "tracee.h"
#include <pthread.h>
#include <x86intrin.h>

static int backwards(int rounds)
{
    unsigned aux;
    uint64_t last = 0;
    int wrong = 0;
    for (int i = 0; i < rounds; i++) {
        uint64_t now = i % 2 ? __rdtsc() : __rdtscp(&aux);
        wrong += now < last;
        last = now;
    }
    return wrong;
}

static void *thread_body(void *result)
{
    *(int *)result = backwards(200);
    return NULL;
}

int main(void)
{
    int in_thread = -1, status;
    pthread_t thread;
    say("backwards %d", backwards(1000));
    uint64_t a = __rdtsc();
    usleep(20000);
    say("goes on while asleep %d", __rdtsc() > a + 1000000);
    CHECK(pthread_create(&thread, NULL, thread_body, &in_thread) == 0);
    pthread_join(thread, NULL);
    say("in a thread %d", in_thread);
    pid_t child = MUST(fork());
    if (child == 0)
        _exit(backwards(200));
    MUST(waitpid(child, &status, 0));
    say("in a child: %s", ending(status));
    /* Upper halves are cleared, other registers and flags stay. */
    uint64_t rax = ~0ul, rdx = ~0ul, rbx = 0x1111, flags_kept = 0;
    __asm__ volatile("stc\n rdtsc\n setc %b2" : "+a"(rax), "+d"(rdx), "+r"(flags_kept), "+b"(rbx) : : "cc");
    say("halves %d %d, flags %d, rbx %lx", rax >> 32 == 0, rdx >> 32 == 0, (int)flags_kept, (unsigned long)rbx);
    return 0;
}
