/* bad_execbig - exec with 1.9 MB of arguments and environment, then with too much. */
#include "tracee.h"
#include <sys/resource.h>

int main(int argc, char **argv)
{
    size_t total = 0;
    if (argc > 10) {
        uint64_t sum = 0;
        for (int i = 0; i < argc; i++)
            for (char *c = argv[i]; *c; c++, total++)
                sum += (unsigned char)*c * (uint64_t)(i + 1);
        say("received %d arguments, %zu bytes, their sum is not nothing %lu", argc, total - strlen(argv[0]),
            (unsigned long)(sum % 1000000007ul > 0));
        return 5;
    }
    /* The limit is a quarter of the stack's: make both the same everywhere. */
    struct rlimit stack;
    MUST(getrlimit(RLIMIT_STACK, &stack));
    stack.rlim_cur = 8 << 20;
    MUST(setrlimit(RLIMIT_STACK, &stack));
    static char *arguments[64], *too_much[64];
    char *value = malloc(120001);
    memset(value, 'v', 120000);
    value[120000] = 0;
    for (int i = 0; i < 62; i++) {
        arguments[i] = i < 16 ? value : NULL;
        too_much[i] = value;
    }
    arguments[0] = too_much[0] = argv[0];
    say("too much %s", outcome(EXPECT(execve, execve("/proc/self/exe", too_much, NULL))));
    char *environment[] = {getenv("SENTRA_EXPECT") ? "STILL=1" : "NOT=1", NULL};
    execve("/proc/self/exe", arguments, environment);
    return 1;
}
