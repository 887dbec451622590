/*
 * sockets.c - makes the sockets that stand in for the whole world inside the sandbox's network, and hands them to others.
 *
 * They are transparent: they may have any address as their own. Used by init (network.c) and by the socket maker; system calls only.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/in6.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sandbox/child.h"

#ifndef IPV6_TRANSPARENT
#define IPV6_TRANSPARENT 75
#endif
#ifndef IPV6_RECVORIGDSTADDR
#define IPV6_RECVORIGDSTADDR 74
#endif

enum { BACKLOG = 4096 }; /* as many as net.core.somaxconn lets through by default */

static socklen_t make_address(struct sockaddr_storage *out, uint8_t family, const uint8_t *address, uint32_t port)
{
    memset(out, 0, sizeof *out);
    if (family == AF_INET) {
        struct sockaddr_in *in = (struct sockaddr_in *)out;

        in->sin_family = AF_INET;
        in->sin_port = htons((uint16_t)port);
        memcpy(&in->sin_addr, address, 4);
        return sizeof *in;
    }
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)out;

    in6->sin6_family = AF_INET6;
    in6->sin6_port = htons((uint16_t)port);
    memcpy(&in6->sin6_addr, address, 16);
    return sizeof *in6;
}

static int set(int fd, int level, int option)
{
    const int on = 1;

    return setsockopt(fd, level, option, &on, sizeof on);
}

static int prepare(int fd, int type, uint8_t family, int shared)
{
    if (family == AF_INET) {
        if (set(fd, IPPROTO_IP, IP_TRANSPARENT) < 0)
            return -1;
        if (type == SOCK_DGRAM && set(fd, IPPROTO_IP, IP_RECVORIGDSTADDR) < 0)
            return -1;
    } else {
        if (set(fd, IPPROTO_IPV6, IPV6_V6ONLY) < 0 || set(fd, IPPROTO_IPV6, IPV6_TRANSPARENT) < 0)
            return -1;
        if (type == SOCK_DGRAM && set(fd, IPPROTO_IPV6, IPV6_RECVORIGDSTADDR) < 0)
            return -1;
    }
    /* An accepted connection occupies its port (of 1.2.3.4:8080): a server of the program can have it only if both say so. */
    if (type == SOCK_STREAM && set(fd, SOL_SOCKET, SO_REUSEADDR) < 0)
        return -1;
    /* Several UDP sockets of ours have one address with different peers; TCP ones a wildcard beside an address. */
    if (shared && set(fd, SOL_SOCKET, type == SOCK_DGRAM ? SO_REUSEADDR : SO_REUSEPORT) < 0)
        return -1;
    return 0;
}

int sentra_open_socket(int type, uint8_t family, const uint8_t *address, uint32_t port, int shared)
{
    struct sockaddr_storage name;

    if ((family != AF_INET && family != AF_INET6) || port > 65535) {
        errno = EINVAL;
        return -1;
    }
    const int fd = socket(family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    const socklen_t size = make_address(&name, family, address, port);
    if (prepare(fd, type, family, shared) < 0 || bind(fd, (const struct sockaddr *)&name, size) < 0 ||
        (type == SOCK_STREAM && listen(fd, BACKLOG) < 0)) {
        const int err = errno;

        close(fd);
        errno = err;
        return -1;
    }
    return fd;
}

int sentra_connect_socket(int fd, uint8_t family, const uint8_t *address, uint32_t port)
{
    struct sockaddr_storage name;
    const socklen_t size = make_address(&name, family, address, port);

    return connect(fd, (const struct sockaddr *)&name, size);
}

int sentra_send_fds(int socket, const void *bytes, size_t size, const int *fds, int count)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(253 * sizeof(int))];
    } control;
    struct iovec part = {(void *)bytes, size};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    ssize_t sent;

    if (count > 253) {
        errno = EINVAL;
        return -1;
    }
    if (count) {
        memset(&control, 0, sizeof control);
        message.msg_control = control.bytes;
        message.msg_controllen = CMSG_SPACE((size_t)count * sizeof(int));
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN((size_t)count * sizeof(int));
        memcpy(CMSG_DATA(header), fds, (size_t)count * sizeof(int));
    }
    do
        sent = sendmsg(socket, &message, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    return sent < 0 ? -1 : 0;
}
