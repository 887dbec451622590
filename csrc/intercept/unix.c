/*
 * unix.c - unix sockets of the host are refused unless policy names them.
 *
 * A pathname socket is reached through the file system, which the sandbox shares with the host: docker.sock, D-Bus, ssh-agent would be
 * ways out of its network. A connect or a datagram to one is let through when a task of the run has bound it, or when it lies at, or
 * below, a path that policy names. Abstract sockets belong to the network namespace, which is the run's own; sockets that were inherited
 * or came over another socket are what the user gave.
 *
 * What is compared is the file, not its name: device, inode and time of birth of what was bound, the real path of what is allowed. A
 * link, a rename or a chroot does not make another socket of it, and one that was moved below an allowed path is not allowed by that.
 *
 * Between our look and the kernel's, nothing may change:
 *   the address   the kernel reads a copy that the program cannot write (scratch.c). That holds for every call with an address on a unix
 *                 socket, whatever the address says now, and for every message header on a datagram socket. sendmmsg writes into its
 *                 headers: one message of it is sent as by sendmsg, which is an outcome that sendmmsg may have
 *   the path      one task is in user code at a time, and this one keeps its turn until the kernel has looked the path up: no task of
 *                 the run can put another link in its place. Programs outside could; they need no help from inside
 *   descriptors   the same
 * Where the copy cannot be made the call is refused.
 *
 * EACCES, because that is what connect(2) says of a socket file that one may not write to. ECONNREFUSED would mean that the server has
 * gone: clients then retry, or ask whether the server runs (docker, psycopg), or take the socket file for stale, delete it and start a
 * server of their own (tmux, gpg-agent), which would harm the host. nscd, nss-resolve, syslog and ssh go on without on either.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "call.h"
#include "capture.h"

#define NAME_BYTES sizeof(struct sockaddr_storage) /* the kernel takes no more of an address */
#define PATH_AT offsetof(struct sockaddr_un, sun_path)

_Static_assert(sizeof(struct msghdr) + NAME_BYTES <= SCRATCH_BYTES, "a header and its name are placed together");

/* ---- whose it is ---- */

struct socket_file {
    struct own_socket identity;
    int64_t changed_ns; /* of the inode: a rename or a link counts */
    uint32_t links;
};

static int64_t nanoseconds(const struct statx_timestamp *time)
{
    return time->tv_sec * 1000000000ll + time->tv_nsec;
}

/* 0; -1: the file is not a socket. */
static int identify(int own, struct socket_file *out)
{
    struct statx about;

    if (statx(own, "", AT_EMPTY_PATH, STATX_TYPE | STATX_INO | STATX_NLINK | STATX_CTIME | STATX_BTIME, &about) || !S_ISSOCK(about.stx_mode))
        return -1;
    out->identity = (struct own_socket){(uint64_t)about.stx_dev_major << 32 | about.stx_dev_minor, about.stx_ino,
                                        about.stx_mask & STATX_BTIME ? nanoseconds(&about.stx_btime) : 0};
    out->changed_ns = nanoseconds(&about.stx_ctime);
    out->links = about.stx_nlink;
    return 0;
}

static int is_own(const struct network_state *network, const struct own_socket *file)
{
    for (uint32_t index = network->own_count; index-- > 0;)
        if (!memcmp(&network->own[index], file, sizeof *file))
            return 1;
    return 0;
}

/*
 * A socket that is older than the run and came to its place since: the program may have moved it below a path that policy names. One with
 * several links is somewhere else, too.
 */
static int was_moved(const struct sentra_run *run, const struct socket_file *file)
{
    int64_t start = (int64_t)run->control->start_realtime_ns;

    return file->links > 1 || (file->identity.born_ns && file->identity.born_ns < start && file->changed_ns > start);
}

static void remember(struct network_state *network, const struct own_socket *file)
{
    if (network->own_count == network->own_capacity) {
        uint32_t capacity = network->own_capacity ? network->own_capacity * 2 : 16;
        struct own_socket *grown = realloc(network->own, capacity * sizeof *grown);

        if (!grown)
            return; /* the run cannot reach this one socket of its own */
        network->own = grown;
        network->own_capacity = capacity;
    }
    network->own[network->own_count++] = *file;
}

static int is_allowed(const struct network_state *network, const char *path)
{
    for (uint32_t index = 0; index < network->allowed_count; index++) {
        size_t length = strlen(network->allowed[index]);

        if (!strncmp(path, network->allowed[index], length) && (!path[length] || path[length] == '/' || (length == 1 && path[0] == '/')))
            return 1;
    }
    return 0;
}

/* ---- deciding ---- */

static void refuse_socket(struct sentra_run *run, struct task *task, const char *path, const char *reason)
{
    refuse(task, EACCES);
    task->call.watch = WATCH_REFUSED;
    run->network.refused_reason = reason;
    snprintf(run->network.refused, sizeof run->network.refused, "%.*s", (int)sizeof run->network.refused - 1, path);
}

/* The path in an address, as the kernel understands it. 0: it is none. */
static int path_in(const unsigned char *name, size_t size, char path[sizeof(struct sockaddr_un)])
{
    sa_family_t family;

    if (size <= PATH_AT || size > sizeof(struct sockaddr_un))
        return 0;
    memcpy(&family, name, sizeof family);
    if (family != AF_UNIX || !name[PATH_AT])
        return 0;
    memcpy(path, name + PATH_AT, size - PATH_AT);
    path[size - PATH_AT] = 0;
    return 1;
}

/* Why the program may not reach this socket; NULL: it may. */
static const char *objection(const struct sentra_run *run, const struct socket_file *file, const char *path)
{
    if (is_own(&run->network, &file->identity))
        return NULL;
    if (!is_allowed(&run->network, path))
        return "it belongs to a program outside of the sandbox";
    return was_moved(run, file) ? "it belongs to a program outside of the sandbox and was moved, linked or changed since the run began" : NULL;
}

static void decide_address(struct sentra_run *run, struct task *task, const unsigned char *name, size_t size)
{
    char path[sizeof(struct sockaddr_un)], real[sizeof run->network.refused] = "";
    const char *reason;
    struct socket_file file;
    int own;

    if (!path_in(name, size, path))
        return;
    own = walk_open(task, AT_FDCWD, path);
    if (own < 0) {
        answer(task, own); /* mostly ENOENT; also what we cannot look at must not be reached */
        return;
    }
    walk_name(own, real, sizeof real);
    if (!identify(own, &file) && (reason = objection(run, &file, real)))
        refuse_socket(run, task, real, reason);
    close(own);
}

/* ---- what the kernel reads ---- */

struct held {
    struct msghdr header;
    unsigned char name[NAME_BYTES];
};

/* Where the kernel's copy will lie; 0: nowhere, the call is refused. */
static uint64_t place(struct sentra_run *run, struct task *task)
{
    uint64_t address = 0;

    if (scratch_take(run, task, &address))
        refuse_socket(run, task, "", "its address cannot be held still while the kernel reads it");
    return address;
}

static void hold_still(struct sentra_run *run, struct task *task, const void *data, size_t size)
{
    if (scratch_fill(task, data, size))
        refuse_socket(run, task, "", "its address cannot be held still while the kernel reads it");
    task->call.keeps_turn = 1;
}

/* connect, sendto: the address is an argument. */
static void enter_plain(struct sentra_run *run, struct task *task, uint8_t arg)
{
    struct call *call = &task->call;
    uint64_t size = (uint32_t)call->args[arg + 1], address = 0;
    const unsigned char *name;
    uint32_t got = 0;

    if (!size || size > NAME_BYTES) /* refused by the kernel, which has the size in a register */
        return;
    name = stashed(task, call->args[arg], arg, &got);
    if (!name || got < size) {
        answer(task, -EFAULT);
        return;
    }
    decide_address(run, task, name, size);
    if (call->answered || !(address = place(run, task)))
        return;
    hold_still(run, task, name, size);
    change_argument(task, arg, address);
}

/* sendmsg, sendmmsg on a datagram socket: the header, and the name that it leads to. */
static void enter_message(struct sentra_run *run, struct task *task)
{
    struct call *call = &task->call;
    const unsigned char *copy;
    struct held held;
    uint64_t address = 0;
    uint32_t got = 0, size;

    memset(&held, 0, sizeof held);
    copy = stashed(task, call->args[1], 1, &got);
    if (!copy || got < sizeof held.header) {
        answer(task, -EFAULT);
        return;
    }
    memcpy(&held.header, copy, sizeof held.header);
    size = held.header.msg_name ? held.header.msg_namelen : 0;
    if (size > NAME_BYTES)
        size = (int32_t)size < 0 ? 0 : NAME_BYTES;
    copy = size ? stashed(task, (uint64_t)(uintptr_t)held.header.msg_name, 1, &got) : NULL;
    if (size && (!copy || got < size)) {
        answer(task, -EFAULT);
        return;
    }
    if (size) {
        memcpy(held.name, copy, size);
        decide_address(run, task, held.name, held.header.msg_namelen);
    }
    if (call->answered || !(address = place(run, task)))
        return;
    if (held.header.msg_name)
        held.header.msg_name = (void *)(uintptr_t)(address + offsetof(struct held, name)); /* NOLINT */
    hold_still(run, task, &held, sizeof held);
    change_argument(task, 1, address);
    if (call->nr == SYS_sendmmsg) {
        change_argument(task, 2, call->args[3]);
        set_register(task, REGISTER(orig_rax), SYS_sendmsg);
        call->as_sendmsg = 1;
    }
}

/* A call on a unix socket that may carry an address. */
void unix_enter(struct sentra_run *run, struct task *task, int type)
{
    const struct call *call = &task->call;

    if (call->nr == SYS_connect)
        enter_plain(run, task, 1);
    else if (call->nr == SYS_sendto)
        enter_plain(run, task, 4);
    else if (type == SOCK_DGRAM && (call->nr == SYS_sendmsg || (uint32_t)call->args[2])) /* others take no address from a message */
        enter_message(run, task);
}

/* ---- completion ---- */

/* A task of the run has bound a unix socket: its file is the run's. The name is the kernel's, not what memory says now. */
void unix_bound(struct sentra_run *run, const struct task *task)
{
    struct sockaddr_storage address;
    socklen_t size = sizeof address;
    char path[sizeof(struct sockaddr_un)];
    struct socket_file file;
    int own = socket_take(run, task, (int32_t)task->call.args[0]), bound;

    if (own < 0)
        return;
    if (!getsockname(own, (struct sockaddr *)&address, &size) && path_in((const unsigned char *)&address, size, path)) {
        bound = walk_open(task, AT_FDCWD, path);
        if (bound >= 0 && !identify(bound, &file) && !is_own(&run->network, &file.identity))
            remember(&run->network, &file.identity);
        if (bound >= 0)
            close(bound);
    }
    close(own);
}

/* The refused call is recorded: why. */
void unix_refused(struct sentra_run *run, const struct task *task)
{
    struct fields fields = {.used = 0};
    char remedy[sizeof run->network.refused + 32];

    fields_text(&fields, "path", run->network.refused);
    fields_text(&fields, "reason", run->network.refused_reason);
    snprintf(remedy, sizeof remedy, "--allow-net unix:%s", run->network.refused);
    fields_text(&fields, "remedy", run->network.refused[0] ? remedy : "");
    network_event(run, task, SENTRA_EVENT_UNIX_REFUSED, &fields);
}
