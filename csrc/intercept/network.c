/*
 * network.c - the calls that matter to a sandbox with a network of its own, at entry and at completion; and the events they leave.
 *
 * What a call is about is decided by the socket, not by what the program says of it: for a call with an address the socket itself is
 * looked at (pidfd_getfd: 3 us beside a stop of 15). Calls without one, and every other call, cost a comparison of the number.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "call.h"
#include "capture.h"

/* ---- the run's ---- */

/* A path with its links resolved, or those of its directory when it does not exist yet. */
static char *resolved(const char *path)
{
    char *whole = realpath(path, NULL), *copy, *slash, *directory;
    size_t room;

    if (whole)
        return whole;
    copy = strdup(path);
    slash = copy ? strrchr(copy, '/') : NULL;
    if (!slash || slash == copy)
        return copy;
    *slash = 0;
    directory = realpath(copy, NULL);
    *slash = '/';
    if (!directory)
        return copy;
    room = strlen(directory) + strlen(slash) + 1;
    whole = malloc(room);
    if (whole)
        snprintf(whole, room, "%s%s", directory, slash);
    free(directory);
    free(copy);
    return whole;
}

void network_init(struct sentra_run *run)
{
    const char *const *paths = run->options.unix_allow;
    uint32_t count = 0;

    while (paths && paths[count])
        count++;
    run->network.allowed = calloc(count + 1, sizeof *run->network.allowed);
    for (uint32_t index = 0; run->network.allowed && index < count; index++) {
        char *path = resolved(paths[index]);

        if (path)
            run->network.allowed[run->network.allowed_count++] = path;
    }
}

void network_free(struct sentra_run *run)
{
    for (uint32_t index = 0; index < run->network.allowed_count; index++)
        free(run->network.allowed[index]);
    free(run->network.allowed);
    free(run->network.own);
    socket_forget(run, 0);
}

/* ---- entry ---- */

static void look_at_socket(struct sentra_run *run, struct task *task)
{
    struct socket_kind kind;
    int own = socket_take(run, task, (int32_t)task->call.args[0]);
    int known = own >= 0 && !socket_kind(own, &kind);

    if (own >= 0)
        close(own);
    if (own >= 0 && !known)
        return; /* no socket: ENOTSOCK */
    if (!known) { /* a closed descriptor, or one that this kernel does not let us look at: as if it were what is dangerous */
        unix_enter(run, task, SOCK_DGRAM);
        return;
    }
    if (kind.domain == AF_UNIX)
        unix_enter(run, task, kind.type);
    else if (kind.domain == AF_INET || kind.domain == AF_INET6)
        endpoint_enter(run, task, &kind);
}

static void enter_bind(struct task *task)
{
    const unsigned char *address;
    uint32_t size = 0;

    address = stashed(task, task->call.args[1], 1, &size);
    if (address && size > 2 && address[0] == AF_UNIX && !address[1])
        task->call.watch = WATCH_BIND;
}

/*
 * Some families are in no network namespace: AF_VSOCK reaches the host of a virtual machine, Bluetooth, InfiniBand and QIPCRTR reach devices,
 * from whatever namespace they are made in. A sandbox with a namespace of its own has only families that stay in it, under every profile
 * (AF_ALG is no network). EAFNOSUPPORT is what a kernel without the family says.
 */
void enter_socket(const struct sentra_run *run, struct task *task)
{
    if (task->call.answered || !(run->options.launch.namespaces & CLONE_NEWNET))
        return;
    switch ((int)task->call.args[0]) {
    case AF_UNSPEC: /* refused by the kernel */
    case AF_UNIX:
    case AF_INET:
    case AF_INET6:
    case AF_NETLINK:
    case AF_PACKET:
    case AF_ALG:
        return;
    default:
        refuse(task, EAFNOSUPPORT);
    }
}

void enter_network(struct sentra_run *run, struct task *task)
{
    struct call *call = &task->call;

    if (call->answered)
        return;
    switch (call->nr) {
    case SYS_open:
    case SYS_openat:
    case SENTRA_NR_openat2:
        if (run->options.trust_path)
            trust_enter(run, task);
        return;
    default:
        break;
    }
    if (!run->options.network)
        return;
    switch (call->nr) {
    case SYS_socket:
        if ((int)call->args[0] == AF_INET || (int)call->args[0] == AF_INET6)
            request_start(run);
        break;
    case SYS_bind:
        enter_bind(task);
        break;
    case SYS_connect:
    case SYS_sendmsg:
    case SYS_sendmmsg:
        look_at_socket(run, task);
        break;
    case SYS_sendto:
        if (call->args[4])
            look_at_socket(run, task);
        break;
    default:
        break;
    }
}

/* ---- completion ---- */

/* A sendmmsg that was executed as sendmsg: what the program finds is what sendmmsg would have left after one message. */
int64_t network_sent_one(struct task *task, int64_t result)
{
    uint32_t sent = (uint32_t)result;

    if (result < 0)
        return result;
    poke(task, task->call.args[1] + offsetof(struct mmsghdr, msg_len), &sent, sizeof sent);
    return 1;
}

/* The call's event is written; the task has the turn. */
void network_completed(struct sentra_run *run, struct task *task, int64_t result)
{
    switch (task->call.watch) {
    case WATCH_PEER:
        endpoint_completed(run, task, result);
        break;
    case WATCH_BIND:
        if (!result)
            unix_bound(run, task);
        break;
    case WATCH_REFUSED:
        unix_refused(run, task);
        break;
    case WATCH_OPEN:
        trust_completed(run, task, result);
        break;
    default:
        break;
    }
}

/* ---- events ---- */

static void put(struct fields *fields, const char *text, size_t length)
{
    if (fields->broken || fields->used + length >= sizeof fields->text) {
        fields->broken = 1;
        return;
    }
    memcpy(fields->text + fields->used, text, length);
    fields->used += (uint32_t)length;
}

/* Bytes that are no UTF-8 go as they are: the reader takes them for what they stand for in a file name. */
static void put_text(struct fields *fields, const char *text)
{
    char escape[8];

    put(fields, "\"", 1);
    for (; *text; text++) {
        if ((unsigned char)*text >= 0x20 && *text != '"' && *text != '\\')
            put(fields, text, 1);
        else
            put(fields, escape, (size_t)snprintf(escape, sizeof escape, "\\u%04x", (unsigned char)*text));
    }
    put(fields, "\"", 1);
}

static void put_name(struct fields *fields, const char *name)
{
    put(fields, fields->used ? "," : "{", 1);
    put_text(fields, name);
    put(fields, ":", 1);
}

void fields_text(struct fields *fields, const char *name, const char *value)
{
    put_name(fields, name);
    put_text(fields, value);
}

void fields_number(struct fields *fields, const char *name, int64_t value)
{
    char text[24];

    put_name(fields, name);
    put(fields, text, (size_t)snprintf(text, sizeof text, "%lld", (long long)value));
}

void fields_address(struct fields *fields, const char *name, const char *address, uint16_t port)
{
    char text[16];

    put_name(fields, name);
    put(fields, "[", 1);
    put_text(fields, address);
    put(fields, text, (size_t)snprintf(text, sizeof text, ",%u]", port));
}

/* The layout is that of sentra_sandbox/trace/network_events.py. */
void network_event(struct sentra_run *run, const struct task *task, uint16_t type, struct fields *fields)
{
    const uint64_t args[5] = {0};
    struct sentra_event *event;

    put(fields, "}", 1);
    event = event_begin(run, (uint32_t)sizeof *event + sizeof args + 24 + fields->used, type, task);
    if (!event)
        return;
    event_args(event, args, 5);
    if (!fields->broken)
        memcpy(event_segment(event, 0, fields->used, SENTRA_SEGMENT_INFO, 0, 0), fields->text, fields->used);
    event_commit(run, event);
}
