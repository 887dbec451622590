/* mem_poll - poll, ppoll, select, pselect6, epoll_wait, epoll_pwait2: sets that the kernel writes. */
#include "tracee.h"
#include <poll.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <time.h>

static int ready[2], quiet[2];

static void with_poll(void)
{
    struct pollfd set[3] = {{ready[0], POLLIN, 0}, {quiet[0], POLLIN, 0}, {quiet[1], POLLOUT, 0}};
    struct timespec limit = {1, 0};
    long n = EXPECT(poll, poll(set, 3, 1000));
    EXPECT_OUT(0, set, sizeof set);
    say("poll %ld %x %x %x", n, set[0].revents, set[1].revents, set[2].revents);
    n = EXPECT(ppoll, ppoll(set, 2, &limit, NULL));
    say("ppoll %ld %x %x", n, set[0].revents, set[1].revents);
    n = EXPECT(poll, poll(&set[1], 1, 20));
    say("poll times out %ld %x", n, set[1].revents);
    say("poll bad fd %s %x", outcome(EXPECT(poll, poll(&(struct pollfd){999, POLLIN, 0}, 1, 0))), POLLNVAL);
}

static void with_select(void)
{
    fd_set in, out;
    struct timeval limit = {1, 0};
    FD_ZERO(&in);
    FD_ZERO(&out);
    FD_SET(ready[0], &in);
    FD_SET(quiet[0], &in);
    FD_SET(quiet[1], &out);
    /* glibc's select is pselect6 in disguise on some versions: make the call itself. */
    long n = EXPECT(select, syscall(SYS_select, quiet[1] + 1, &in, &out, NULL, &limit));
    EXPECT_OUT(1, &in, 8);
    say("select %ld: ready %d quiet %d writable %d", n, !!FD_ISSET(ready[0], &in), !!FD_ISSET(quiet[0], &in),
        !!FD_ISSET(quiet[1], &out));
    struct timespec nothing = {0, 1000000};
    FD_ZERO(&in);
    FD_SET(quiet[0], &in);
    n = EXPECT(pselect6, syscall(SYS_pselect6, quiet[0] + 1, &in, NULL, NULL, &nothing, NULL));
    say("pselect6 %ld: quiet %d", n, !!FD_ISSET(quiet[0], &in));
}

static void with_epoll(void)
{
    struct epoll_event events[4], wish = {.events = EPOLLIN, .data.u64 = 0x1122334455667788};
    int ep = (int)EXPECT(epoll_create1, epoll_create1(EPOLL_CLOEXEC));
    say("epoll_ctl %s", outcome(EXPECT(epoll_ctl, epoll_ctl(ep, EPOLL_CTL_ADD, ready[0], &wish))));
    EXPECT_IN(3, &wish, sizeof wish);
    wish.data.u64 = 7;
    MUST(epoll_ctl(ep, EPOLL_CTL_ADD, quiet[0], &wish));
    say("again %s", outcome(EXPECT(epoll_ctl, epoll_ctl(ep, EPOLL_CTL_ADD, quiet[0], &wish))));
    memset(events, 0, sizeof events);
    long n = EXPECT(epoll_wait, syscall(SYS_epoll_wait, ep, events, 4, 1000));
    EXPECT_OUT(1, events, sizeof events[0]);
    say("epoll_wait %ld events %x data %llx", n, events[0].events, (unsigned long long)events[0].data.u64);
    n = EXPECT(epoll_pwait, syscall(SYS_epoll_pwait, ep, events, 4, 0, NULL, 8));
    say("epoll_pwait %ld", n);
    struct timespec limit = {0, 1000000};
    MUST(epoll_ctl(ep, EPOLL_CTL_DEL, ready[0], NULL));
    n = EXPECT(epoll_pwait2, syscall(441, ep, events, 4, &limit, NULL, 8));
    say("epoll_pwait2 %ld", n);
}

int main(void)
{
    MUST(pipe(ready));
    MUST(pipe(quiet));
    MUST(write(ready[1], "x", 1));
    with_poll();
    with_select();
    with_epoll();
    return 0;
}
