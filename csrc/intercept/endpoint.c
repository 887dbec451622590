/*
 * endpoint.c - which task has which connection: ENDPOINT events.
 *
 * Outside, the broker sees connections by their addresses; which task of the run made one is known here. After a connect that succeeded or
 * goes on by itself, and after the first datagram of a socket to an address, the task's socket is asked for its addresses. A datagram
 * socket that is bound to no address has none (0.0.0.0) until it is connected; its port tells it apart.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "capture.h"

#define PIDFD_OF_THREAD O_EXCL /* Linux 6.9 */
#define PROTOCOL_MPTCP 262

/* ---- the socket ---- */

static int is_descriptor(const struct task *task, int32_t fd, int own)
{
    struct stat theirs, ours;
    char path[64];

    snprintf(path, sizeof path, "/proc/%d/fd/%d", task->tid, fd);
    return !stat(path, &theirs) && !fstat(own, &ours) && theirs.st_ino == ours.st_ino && theirs.st_dev == ours.st_dev;
}

/* The task that is looked at is mostly the one before: its pidfd is kept, until the task ends. */
void socket_forget(struct sentra_run *run, int32_t tid)
{
    if (!run->network.pidfd_of || (tid && run->network.pidfd_of != tid))
        return;
    close(run->network.pidfd);
    run->network.pidfd_of = 0;
}

static int open_pidfd(struct sentra_run *run, const struct task *task)
{
    struct network_state *network = &run->network;

    if (network->pidfd_of == task->tid)
        return 0;
    socket_forget(run, 0);
    network->pidfd = (int)syscall(SYS_pidfd_open, task->tid, PIDFD_OF_THREAD);
    network->pidfd_is_process = network->pidfd < 0;
    if (network->pidfd < 0)
        network->pidfd = (int)syscall(SYS_pidfd_open, task->tgid, 0);
    if (network->pidfd < 0)
        return -1;
    network->pidfd_of = task->tid;
    return 0;
}

/* A thread may have descriptors of its own. Where the kernel only lets us look at the process's, they are compared. */
int socket_take(struct sentra_run *run, const struct task *task, int32_t fd)
{
    int own;

    if (open_pidfd(run, task))
        return -1;
    own = (int)syscall(SYS_pidfd_getfd, run->network.pidfd, fd, 0);
    if (run->network.pidfd_is_process && own >= 0 && !is_descriptor(task, fd, own)) {
        close(own);
        own = -1;
        if (!run->network.unseen_noted)
            record_note(run, task, SENTRA_NOTE_UNSEEN, "a thread has descriptors of its own: which connections are its is not in the trace");
        run->network.unseen_noted = 1;
    }
    return own;
}

int socket_kind(int own, struct socket_kind *out)
{
    socklen_t size = sizeof out->domain;
    struct stat status;

    if (getsockopt(own, SOL_SOCKET, SO_DOMAIN, &out->domain, &size) || getsockopt(own, SOL_SOCKET, SO_TYPE, &out->type, &size) ||
        getsockopt(own, SOL_SOCKET, SO_PROTOCOL, &out->protocol, &size) || fstat(own, &status))
        return -1;
    out->ino = status.st_ino;
    return 0;
}

static const char *protocol_name(const struct socket_kind *kind)
{
    if (kind->type == SOCK_STREAM && (kind->protocol == IPPROTO_TCP || kind->protocol == PROTOCOL_MPTCP))
        return "tcp";
    return kind->type == SOCK_DGRAM && (kind->protocol == IPPROTO_UDP || kind->protocol == IPPROTO_UDPLITE) ? "udp" : NULL;
}

/* ---- addresses ---- */

struct place {
    uint8_t address[16]; /* IPv4 as ::ffff:a.b.c.d */
    uint16_t port;
};

static int read_place(const void *bytes, size_t size, struct place *out)
{
    struct sockaddr_in four;
    struct sockaddr_in6 six;

    memset(out, 0, sizeof *out);
    if (size >= sizeof four) {
        memcpy(&four, bytes, sizeof four);
        if (four.sin_family == AF_INET) {
            out->address[10] = out->address[11] = 0xff;
            memcpy(out->address + 12, &four.sin_addr, 4);
            out->port = ntohs(four.sin_port);
            return 0;
        }
    }
    if (size < 24) /* an address without a scope is one too */
        return -1;
    memset(&six, 0, sizeof six);
    memcpy(&six, bytes, size < sizeof six ? size : sizeof six);
    if (six.sin6_family != AF_INET6)
        return -1;
    memcpy(out->address, &six.sin6_addr, 16);
    out->port = ntohs(six.sin6_port);
    return 0;
}

static int is_four(const struct place *place)
{
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

    return !memcmp(place->address, mapped, sizeof mapped);
}

static void put_place(struct fields *fields, const char *name, const struct place *place)
{
    char text[INET6_ADDRSTRLEN] = "";

    if (is_four(place))
        inet_ntop(AF_INET, place->address + 12, text, sizeof text);
    else
        inet_ntop(AF_INET6, place->address, text, sizeof text);
    fields_address(fields, name, text, place->port);
}

/* The address of message `index` of the call, as the program passed it. 0 or -1 */
static int remote_of(const struct task *task, uint32_t index, struct place *out)
{
    const struct call *call = &task->call;
    const unsigned char *bytes = NULL;
    struct msghdr header;
    uint32_t size = 0;

    if (call->nr == SYS_connect || call->nr == SYS_sendto) {
        uint8_t arg = call->nr == SYS_connect ? 1 : 4;

        bytes = stashed(task, call->args[arg], arg, &size);
        return bytes && size <= sizeof(struct sockaddr_storage) ? read_place(bytes, size, out) : -1;
    }
    bytes = stashed(task, call->args[1], 1, &size);
    if (!bytes || size < index * sizeof(struct mmsghdr) + sizeof header)
        return -1;
    memcpy(&header, bytes + index * sizeof(struct mmsghdr), sizeof header);
    bytes = header.msg_name ? stashed(task, (uint64_t)(uintptr_t)header.msg_name, 1, &size) : NULL;
    return bytes ? read_place(bytes, size, out) : -1;
}

/* ---- known ones ---- */

static uint64_t key_of(uint64_t ino, uint16_t local_port, const struct place *remote)
{
    uint64_t words[2], hash = ino * 0x9e3779b97f4a7c15ull ^ (uint64_t)local_port << 16 ^ remote->port;

    memcpy(words, remote->address, sizeof words);
    hash = (hash ^ hash >> 29 ^ words[0]) * 0xff51afd7ed558ccdull;
    hash = (hash ^ hash >> 31 ^ words[1]) * 0x9e3779b97f4a7c15ull;
    return hash | 1;
}

static uint64_t *known_slot(struct sentra_run *run, uint64_t key)
{
    return &run->network.known[key >> 32 & (ENDPOINTS_KNOWN - 1)];
}

/* ---- entry and completion ---- */

static int port_is_outside(const struct place *place)
{
    static const uint8_t loopback[16] = {[15] = 1};

    return is_four(place) ? place->address[12] != 127 : memcmp(place->address, loopback, 16) != 0;
}

void endpoint_enter(struct sentra_run *run, struct task *task, const struct socket_kind *kind)
{
    struct call *call = &task->call;
    const char *protocol = protocol_name(kind);
    struct place remote;

    if (!protocol || (call->nr != SYS_sendmmsg && remote_of(task, 0, &remote)))
        return;
    if (kind->type == SOCK_STREAM && run->options.ask_ports && call->nr != SYS_sendmmsg && port_is_outside(&remote))
        request_port(run, task, remote.port);
    if (kind->type == SOCK_DGRAM && call->nr != SYS_connect && call->nr != SYS_sendmmsg) {
        uint64_t key = key_of(kind->ino, 0, &remote);

        if (*known_slot(run, key) == key)
            return;
    }
    call->watch = WATCH_PEER;
}

static void record_endpoint(struct sentra_run *run, const struct task *task, const char *protocol, const struct place *local,
                            const struct place *remote)
{
    struct fields fields = {.used = 0};

    fields_number(&fields, "fd", (int32_t)task->call.args[0]);
    fields_text(&fields, "protocol", protocol);
    put_place(&fields, "local", local);
    put_place(&fields, "remote", remote);
    network_event(run, task, SENTRA_EVENT_ENDPOINT, &fields);
}

static void one_endpoint(struct sentra_run *run, const struct task *task, int own, const struct socket_kind *kind, struct place *remote)
{
    struct sockaddr_storage address;
    socklen_t size = sizeof address;
    struct place local, peer;
    uint64_t key;

    if (getsockname(own, (struct sockaddr *)&address, &size) || read_place(&address, size, &local))
        return;
    if (is_four(remote) && !is_four(&local)) { /* :: of a socket that speaks both */
        memset(local.address + 10, 0xff, 2);
        memset(local.address + 12, 0, 4);
    }
    size = sizeof address;
    if (kind->type == SOCK_STREAM && !getpeername(own, (struct sockaddr *)&address, &size) && !read_place(&address, size, &peer))
        *remote = peer; /* what the kernel connected to, not what the program may have changed since */
    key = key_of(kind->ino, kind->type == SOCK_STREAM ? local.port : 0, remote);
    if (*known_slot(run, key) == key && task->call.nr != SYS_connect)
        return;
    if (*known_slot(run, key) == key && kind->type == SOCK_STREAM)
        return; /* connect called again, to ask how the first went */
    *known_slot(run, key) = key;
    record_endpoint(run, task, protocol_name(kind), &local, remote);
}

void endpoint_completed(struct sentra_run *run, struct task *task, int64_t result)
{
    uint32_t messages = task->call.nr == SYS_sendmmsg && result > 0 ? (uint32_t)result : 1;
    struct socket_kind kind;
    struct place remote;
    int own;

    if (result < 0 && result != -EINPROGRESS && result != -EINTR)
        return;
    own = socket_take(run, task, (int32_t)task->call.args[0]);
    if (own < 0)
        return;
    if (!socket_kind(own, &kind) && protocol_name(&kind))
        for (uint32_t index = 0; index < messages; index++)
            if (!remote_of(task, index, &remote))
                one_endpoint(run, task, own, &kind, &remote);
    close(own);
}
