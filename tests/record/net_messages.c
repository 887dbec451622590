/*
 * Datagrams to unix sockets by every call that can send one: ARGS = path of a socket of the host, path to bind one of our own.
 * Each line says what the call returned; what arrives at our own socket is counted.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static struct sockaddr_un host, own;

static void say(const char *what, long result)
{
    printf("%s: %s\n", what, result < 0 ? strerror(errno) : "sent");
}

static struct msghdr message(struct sockaddr_un *to, struct iovec *data)
{
    return (struct msghdr){.msg_name = to, .msg_namelen = sizeof *to, .msg_iov = data, .msg_iovlen = 1};
}

int main(int argc, char **argv)
{
    int sender = socket(AF_UNIX, SOCK_DGRAM, 0), receiver = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0), packets = socket(AF_UNIX, SOCK_SEQPACKET, 0);
    struct iovec data = {"x", 1};
    struct mmsghdr many[3];
    struct msghdr one;
    char byte;
    int count = 0;

    if (argc != 3)
        return 1;
    host.sun_family = own.sun_family = AF_UNIX;
    strcpy(host.sun_path, argv[1]);
    strcpy(own.sun_path, argv[2]);
    if (bind(receiver, (struct sockaddr *)&own, sizeof own))
        return 2;
    say("sendto host", sendto(sender, "x", 1, 0, (struct sockaddr *)&host, sizeof host));
    say("sendto own", sendto(sender, "x", 1, 0, (struct sockaddr *)&own, sizeof own));
    one = message(&host, &data);
    say("sendmsg host", sendmsg(sender, &one, 0));
    one = message(&own, &data);
    say("sendmsg own", sendmsg(sender, &one, 0));
    for (int index = 0; index < 3; index++)
        many[index] = (struct mmsghdr){.msg_hdr = message(&own, &data), .msg_len = 77};
    count = sendmmsg(sender, many, 3, 0);
    printf("sendmmsg own: %d, length %u\n", count, many[0].msg_len);
    count = 0;
    many[0].msg_hdr.msg_name = &host;
    say("sendmmsg host", sendmmsg(sender, many, 3, 0));
    say("connect dgram host", connect(sender, (struct sockaddr *)&host, sizeof host));
    say("connect seqpacket host", connect(packets, (struct sockaddr *)&host, sizeof host));
    say("connect dgram own", connect(sender, (struct sockaddr *)&own, sizeof own));
    say("send", send(sender, "x", 1, 0));
    one = message(NULL, &data);
    one.msg_name = NULL, one.msg_namelen = 0;
    say("sendmsg without a name", sendmsg(sender, &one, 0));
    say("bad pointer", sendto(sender, "x", 1, 0, (struct sockaddr *)8, sizeof own));
    say("long name", sendto(sender, "x", 1, 0, (struct sockaddr *)&own, 120));
    while (recv(receiver, &byte, 1, 0) == 1)
        count++;
    printf("%d arrived\n", count);
    return 0;
}
