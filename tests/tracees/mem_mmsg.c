/* mem_mmsg - sendmmsg and recvmmsg on a datagram pair: several messages by one call, fewer than asked, a time limit. */
#include "tracee.h"
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>

static int bound(struct sockaddr_in *address)
{
    socklen_t size = sizeof *address;
    int fd = (int)MUST(socket(AF_INET, SOCK_DGRAM, 0));
    *address = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    MUST(bind(fd, (struct sockaddr *)address, sizeof *address));
    MUST(getsockname(fd, (struct sockaddr *)address, &size));
    return fd;
}

int main(void)
{
    struct sockaddr_in addresses[2];
    int pair[2] = {bound(&addresses[0]), bound(&addresses[1])};
    char buffers[6][8];
    struct iovec in[6];
    struct mmsghdr received[6];
    MUST(connect(pair[0], (struct sockaddr *)&addresses[1], sizeof addresses[1]));
    struct iovec out[4] = {{"one", 3}, {"two", 3}, {"three", 5}, {"a long fourth", 13}};
    struct mmsghdr sent[4] = {{{0}, 0}};
    for (int i = 0; i < 4; i++) {
        sent[i].msg_hdr.msg_iov = &out[i];
        sent[i].msg_hdr.msg_iovlen = 1;
    }
    long n = EXPECT(sendmmsg, sendmmsg(pair[0], sent, 4, 0));
    say("sendmmsg %ld: %u %u %u %u", n, sent[0].msg_len, sent[1].msg_len, sent[2].msg_len, sent[3].msg_len);
    memset(received, 0, sizeof received);
    for (int i = 0; i < 6; i++) {
        in[i] = (struct iovec){buffers[i], sizeof buffers[i]};
        received[i].msg_hdr.msg_iov = &in[i];
        received[i].msg_hdr.msg_iovlen = 1;
    }
    n = EXPECT(recvmmsg, recvmmsg(pair[1], received, 6, MSG_DONTWAIT, NULL));
    say("recvmmsg %ld", n);
    for (int i = 0; i < n; i++)
        say("  %u '%.*s' %s", received[i].msg_len, (int)received[i].msg_len, buffers[i],
            received[i].msg_hdr.msg_flags & MSG_TRUNC ? "TRUNC" : "-");
    say("nothing left: %s", outcome(EXPECT(recvmmsg, recvmmsg(pair[1], received, 6, MSG_DONTWAIT, NULL))));
    MUST(send(pair[0], "last", 4, 0));
    struct timespec limit = {5, 0};
    n = EXPECT(recvmmsg, recvmmsg(pair[1], received, 1, MSG_WAITFORONE, &limit));
    say("recvmmsg with a limit %ld '%.4s', time left %d", n, buffers[0], limit.tv_sec > 0);
    return 0;
}
