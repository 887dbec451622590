/*
 * network.c - the set-up operations that build the sandbox's own network: netlink batches, and listeners that are handed out.
 *
 * What the batches say is decided in Python (sandbox/own_network.py, encoder: netlink.py); here they are sent as they are and
 * every acknowledgement is looked at. A batch that provides something a host may lack (IPv6, TPROXY) is passed over when
 * the kernel says that it has no such thing; any other refusal ends the launch. Runs in init before it gives its capabilities up.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/netlink.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sandbox/child.h"

enum { LISTENERS_MAX = 250 }; /* SCM_MAX_FD is 253 */

/* Line `index` (from 0) of text into out. */
static void line_of(const char *text, uint32_t index, char *out, size_t size)
{
    size_t used = 0;

    for (; text && *text && index; text++)
        index -= *text == '\n';
    for (; text && *text && *text != '\n' && used + 1 < size; text++)
        out[used++] = *text;
    out[used] = '\0';
}

/* How many messages of a batch want to be acknowledged; -1: it is not a whole number of messages. */
static int expected_answers(const char *batch, uint64_t bytes)
{
    int count = 0;

    while (bytes) {
        struct nlmsghdr header;

        if (bytes < sizeof header)
            return -1;
        memcpy(&header, batch, sizeof header);
        if (header.nlmsg_len < sizeof header || header.nlmsg_len % NLMSG_ALIGNTO || header.nlmsg_len > bytes)
            return -1;
        count += (header.nlmsg_flags & NLM_F_ACK) != 0;
        batch += header.nlmsg_len;
        bytes -= header.nlmsg_len;
    }
    return count;
}

/* The kernel has answered by the time the send returns. The first message refused goes to *refused (from 1). */
static int read_answers(int fd, int expected, uint32_t *refused)
{
    char buffer[4096] __attribute__((aligned(NLMSG_ALIGNTO)));
    int answers = 0, failed = 0;

    for (;;) {
        const ssize_t n = recv(fd, buffer, sizeof buffer, MSG_DONTWAIT);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            break;
        if (n < 0)
            return errno;
        size_t left = (size_t)n;
        for (const struct nlmsghdr *one = (const void *)buffer; NLMSG_OK(one, left); one = NLMSG_NEXT(one, left)) {
            const struct nlmsgerr *answer = NLMSG_DATA(one);

            if (one->nlmsg_type != NLMSG_ERROR || one->nlmsg_len < NLMSG_LENGTH(sizeof answer->error))
                continue;
            answers++;
            if (answer->error && (!failed || one->nlmsg_seq < *refused)) {
                failed = -answer->error;
                *refused = one->nlmsg_seq;
            }
        }
    }
    if (failed)
        return failed;
    return answers == expected ? 0 : EPROTO;
}

/* 0 or an errno, with the number of the message that was refused. */
static int send_batch(const struct sentra_setup_op *op, uint32_t *refused)
{
    const struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
    const int expected = expected_answers(op->data, op->data_bytes), on = 1;

    *refused = 0;
    if (expected < 0)
        return EINVAL;
    const int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, (int)op->value);
    if (fd < 0)
        return errno;
    setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof on); /* answers without a copy of the question; not needed */
    const ssize_t sent = sendto(fd, op->data, op->data_bytes, 0, (const struct sockaddr *)&kernel, sizeof kernel);
    int err = sent < 0 ? errno : (uint64_t)sent != op->data_bytes ? EIO : 0;
    if (!err)
        err = read_answers(fd, expected, refused);
    close(fd);
    return err;
}

/* What a kernel answers that was built or booted without IPv6 or TPROXY (EACCES: disable_ipv6; ENOENT: no such expression). */
static int means_absent(uint64_t provides, int err)
{
    if (err == EOPNOTSUPP || err == EAFNOSUPPORT || err == EPROTONOSUPPORT)
        return 1;
    if (provides == SENTRA_NETWORK_IPV6)
        return err == EACCES || err == ENODEV;
    return err == ENOENT;
}

int sentra_netlink_run(const struct sentra_setup_op *op, struct sentra_setup_state *state, struct sentra_error *error)
{
    uint32_t refused;
    char name[128];

    if (op->flags == SENTRA_NETWORK_TPROXY_V6 && !(state->have & SENTRA_NETWORK_TPROXY))
        return 0; /* one way for both families, so that a port has one kind of listener */
    const int err = send_batch(op, &refused);

    if (!err) {
        state->have |= (uint32_t)op->flags;
        if (op->flags & SENTRA_NETWORK_TPROXY)
            state->have &= ~(uint32_t)SENTRA_NETWORK_NO_TPROXY;
        return 0;
    }
    if (op->flags == SENTRA_NETWORK_TPROXY)
        state->tproxy_errno = err;
    if (op->flags && means_absent(op->flags, err))
        return 0;
    name[0] = '\0';
    if (refused)
        line_of(op->b, refused - 1, name, sizeof name);
    return sentra_child_error(error, err, op->a, name);
}

static int is_udp(uint8_t kind)
{
    return kind == SENTRA_LISTENER_UDP || kind == SENTRA_LISTENER_DNS_UDP;
}

static void close_all(const int *fds, int count)
{
    for (int i = 0; i < count; i++)
        close(fds[i]);
}

int sentra_listeners_run(const struct sentra_setup_op *op, const struct sentra_setup_state *state, struct sentra_error *error)
{
    struct {
        struct sentra_handout head;
        struct sentra_listener listeners[LISTENERS_MAX];
    } message = {.head = {.have = state->have, .tproxy_errno = state->tproxy_errno}};
    const struct sentra_listener *wanted = op->data;
    const int shared = (state->have & SENTRA_NETWORK_NO_TPROXY) != 0; /* wildcards beside addresses */
    int fds[LISTENERS_MAX] = {0}, made = 0;

    if (op->value > LISTENERS_MAX || op->data_bytes != op->value * sizeof *wanted)
        return sentra_child_error(error, EINVAL, op->a, "the list");
    for (uint64_t i = 0; i < op->value; i++) {
        if ((wanted[i].needs & state->have) != wanted[i].needs)
            continue;
        fds[made] = sentra_open_socket(is_udp(wanted[i].kind) ? SOCK_DGRAM : SOCK_STREAM, wanted[i].family, wanted[i].address,
                                       wanted[i].port, shared);
        if (fds[made] < 0) {
            char name[128];
            const int err = errno;

            line_of(op->b, (uint32_t)i, name, sizeof name);
            close_all(fds, made);
            return sentra_child_error(error, err, op->a, name);
        }
        message.listeners[made++] = wanted[i];
    }
    message.head.count = (uint32_t)made;
    int err = 0;
    if (state->network_fd >= 0 &&
        sentra_send_fds(state->network_fd, &message, sizeof message.head + (size_t)made * sizeof *wanted, fds, made) < 0)
        err = errno;
    close_all(fds, made);
    return err ? sentra_child_error(error, err, op->a, "send them") : 0;
}
