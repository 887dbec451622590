/* mem_msg - sendmsg and recvmsg: names, several buffers, SCM_RIGHTS, SCM_CREDENTIALS, truncation, MSG_PEEK. */
#include "tracee.h"
#include <sys/socket.h>
#include <sys/uio.h>

static void send_descriptor(int sock, int fd)
{
    char control[CMSG_SPACE(sizeof(int))] = {0};
    struct iovec iov[2] = {{"take ", 5}, {"this", 4}};
    struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 2, .msg_control = control, .msg_controllen = sizeof control};
    struct cmsghdr *header = CMSG_FIRSTHDR(&msg);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(header), &fd, sizeof fd);
    say("sendmsg %s", outcome(EXPECT(sendmsg, sendmsg(sock, &msg, 0))));
}

static void receive_descriptor(int sock)
{
    char a[4], b[32], control[256];
    struct iovec iov[2] = {{a, sizeof a}, {b, sizeof b}};
    struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 2, .msg_control = control, .msg_controllen = sizeof control};
    long n = EXPECT(recvmsg, recvmsg(sock, &msg, MSG_CMSG_CLOEXEC));
    int seen = 0;
    for (struct cmsghdr *header = CMSG_FIRSTHDR(&msg); header; header = CMSG_NXTHDR(&msg, header)) {
        int fd;
        if (header->cmsg_type != SCM_RIGHTS)
            continue;
        memcpy(&fd, CMSG_DATA(header), sizeof fd);
        char text[64];
        ssize_t got = pread(fd, text, sizeof text, 0);
        say("received a descriptor with %zd bytes: %.*s", got, (int)got, text);
        close(fd);
        seen++;
    }
    say("recvmsg %ld '%.4s' '%.*s' descriptors %d flags %s", n, a, (int)(n - 4), b, seen,
        msg.msg_flags & MSG_CTRUNC ? "CTRUNC" : "-");
}

static void truncation(int from, int to)
{
    char a[4], rest[64];
    MUST(send(from, "longer than the buffer", 22, 0));
    struct iovec iov = {a, sizeof a};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    long n = EXPECT(recvmsg, recvmsg(to, &msg, MSG_PEEK | MSG_TRUNC));
    say("peek %ld '%.4s' %s", n, a, msg.msg_flags & MSG_TRUNC ? "TRUNC" : "-");
    n = EXPECT(recvfrom, recv(to, rest, sizeof rest, 0));
    EXPECT_OUT(1, "longer than the buffer", 22);
    say("recv %ld '%.*s'", n, (int)n, rest);
}

static void credentials(int from, int to)
{
    int one = 1;
    char text[8], control[CMSG_SPACE(sizeof(struct ucred))];
    struct ucred who = {0};
    MUST(setsockopt(to, SOL_SOCKET, SO_PASSCRED, &one, sizeof one));
    MUST(write(from, "me", 2));
    struct iovec iov = {text, sizeof text};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    EXPECT(recvmsg, recvmsg(to, &msg, 0));
    struct cmsghdr *header = CMSG_FIRSTHDR(&msg);
    CHECK(header && header->cmsg_type == SCM_CREDENTIALS);
    memcpy(&who, CMSG_DATA(header), sizeof who);
    say("credentials: pid is mine %d uid is mine %d", who.pid == getpid(), who.uid == getuid());
}

int main(void)
{
    int stream[2], packet[2];
    MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, stream));
    MUST(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, packet));
    int file = MUST(open("passed.txt", O_RDWR | O_CREAT | O_TRUNC, 0600));
    MUST(write(file, "through the socket", 18));
    send_descriptor(stream[0], file);
    receive_descriptor(stream[1]);
    truncation(packet[0], packet[1]);
    credentials(stream[0], stream[1]);
    close(stream[0]);
    char c;
    say("end of stream %s", outcome(EXPECT(recvfrom, recv(stream[1], &c, 1, 0))));
    return 0;
}
