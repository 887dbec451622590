/* mem_queries - questions to the kernel: limits, usage, identity, names, random bytes; structures of every size. */
#include "tracee.h"
#include <sys/resource.h>
#include <sys/sysinfo.h>
#include <sys/time.h>
#include <sys/times.h>
#include <sys/utsname.h>

int main(void)
{
    struct rlimit limit = {0}, lower;
    struct rusage usage;
    struct sysinfo info;
    struct utsname name;
    struct tms ticks;
    struct itimerval timer;
    unsigned char random[32] = {0}, zero[32] = {0};
    gid_t groups[64];
    EXPECT(prlimit64, prlimit(0, RLIMIT_NOFILE, NULL, (void *)&limit));
    EXPECT_OUT(3, &limit, sizeof limit);
    lower = (struct rlimit){limit.rlim_max < 512 ? limit.rlim_max : 512, limit.rlim_max};
    EXPECT(prlimit64, prlimit(0, RLIMIT_NOFILE, (void *)&lower, NULL));
    EXPECT_IN(2, &lower, sizeof lower);
    say("descriptor limit %s", outcome(dup2(1, 600)));
    EXPECT(getrlimit, syscall(SYS_getrlimit, RLIMIT_STACK, &limit));
    EXPECT_OUT(1, &limit, sizeof limit);
    EXPECT(getrusage, getrusage(RUSAGE_SELF, &usage));
    EXPECT_OUT(1, &usage, sizeof usage);
    EXPECT(sysinfo, sysinfo(&info));
    EXPECT_OUT(0, &info, sizeof info);
    EXPECT(uname, uname(&name));
    EXPECT_OUT(0, &name, sizeof name);
    say("system %s %s", name.sysname, name.machine);
    EXPECT(times, times(&ticks));
    EXPECT(getitimer, getitimer(ITIMER_REAL, &timer));
    say("no timer is set %d", timer.it_value.tv_sec == 0 && timer.it_value.tv_usec == 0);
    long n = EXPECT(getrandom, syscall(SYS_getrandom, random, sizeof random, 0));
    EXPECT_OUT(0, random, sizeof random);
    say("getrandom %ld, not all zero %d", n, memcmp(random, zero, sizeof zero) != 0);
    n = EXPECT(getgroups, getgroups(64, groups));
    say("groups %s", n >= 0 ? "known" : outcome(n));
    int fd = MUST(open("/dev/urandom", O_RDONLY));
    EXPECT(read, read(fd, random, sizeof random));
    EXPECT_OUT(1, random, sizeof random);
    say("bad limit %s", outcome(EXPECT(prlimit64, prlimit(0, 999, NULL, (void *)&limit))));
    return 0;
}
