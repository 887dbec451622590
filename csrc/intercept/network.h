/*
 * network.h - what the engine does for a sandbox with a network of its own (and for its bundle of certificates).
 *
 *   network.c   the calls that matter, at entry and at completion
 *   endpoint.c  which task has which connection: ENDPOINT events
 *   unix.c      unix sockets of the host are refused unless policy names them
 *   trust.c     bundles of certificates that libraries bring along show the run's own
 *   walk.c      what a path means to the program
 *   scratch.c   arguments that the program cannot change while the kernel reads them
 *   request.c   questions to the supervisor
 */
#ifndef SENTRA_NETWORK_H
#define SENTRA_NETWORK_H

#include <stdint.h>
#include <sys/types.h>

struct sentra_run;
struct task;

/* What is to be looked at when the call has completed. */
enum network_watch {
    WATCH_NOTHING,
    WATCH_PEER,    /* connect or a datagram with an address */
    WATCH_BIND,    /* of a unix socket */
    WATCH_REFUSED, /* a unix socket was refused: the event comes after the call's */
    WATCH_OPEN     /* a file that may be a bundle of certificates */
};

#define SCRATCH_BYTES 512u
#define SCRATCH_SLOTS 8u

struct scratch {
    uint8_t slot;    /* 1..SCRATCH_SLOTS, 0: none */
    uint16_t filled; /* bytes written, to be put back */
    uint64_t address;
    unsigned char before[SCRATCH_BYTES];
};

/* A socket file that a task of the run has bound. Inode numbers are used again: with the time of its birth it is another file. */
struct own_socket {
    uint64_t dev, ino;
    int64_t born_ns;
};

#define ENDPOINTS_KNOWN 4096u
#define REFUSED_BYTES 256u

struct network_state {
    struct own_socket *own;
    uint32_t own_count, own_capacity;
    char **allowed;                     /* unix_allow, links resolved */
    uint32_t allowed_count;
    uint64_t known[ENDPOINTS_KNOWN];    /* hashes of (socket, peer) whose event was written; an older one gives way to a newer */
    uint8_t asked_ports[65536 / 8];
    uint8_t scratch_used;               /* bit n: slot n + 1 */
    uint8_t start_sent, trust_asked;
    uint8_t silent;                     /* the supervisor did not answer: nothing is asked any more */
    uint8_t unseen_noted;
    uint8_t pidfd_is_process;           /* not the thread's: Linux before 6.9 */
    int32_t pidfd_of;                   /* tid that pidfd stands for, 0: none */
    int pidfd;
    const char *refused_reason;         /* of the call that is being refused */
    char refused[REFUSED_BYTES * 16];
};

/* ---- network.c ---- */
void network_init(struct sentra_run *run);
void network_free(struct sentra_run *run);
void enter_socket(const struct sentra_run *run, struct task *task);
void enter_network(struct sentra_run *run, struct task *task);
void network_completed(struct sentra_run *run, struct task *task, int64_t result);
int64_t network_sent_one(struct task *task, int64_t result);

/* JSON fields of an event. Text that does not fit makes it invalid: the event is then written without fields. */
struct fields {
    char text[12288];
    uint32_t used;
    uint8_t broken;
};

void fields_text(struct fields *fields, const char *name, const char *value);
void fields_number(struct fields *fields, const char *name, int64_t value);
void fields_address(struct fields *fields, const char *name, const char *address, uint16_t port);
void network_event(struct sentra_run *run, const struct task *task, uint16_t type, struct fields *fields);

/* ---- endpoint.c ---- */
struct socket_kind {
    int domain, type, protocol;
    uint64_t ino;
};

int socket_take(struct sentra_run *run, const struct task *task, int32_t fd); /* the task's socket as a descriptor of ours, or -1 */
void socket_forget(struct sentra_run *run, int32_t tid); /* 0: whichever it is */
int socket_kind(int own, struct socket_kind *out); /* 0, or -1: not a socket */
void endpoint_enter(struct sentra_run *run, struct task *task, const struct socket_kind *kind);
void endpoint_completed(struct sentra_run *run, struct task *task, int64_t result);

/* ---- unix.c ---- */
void unix_enter(struct sentra_run *run, struct task *task, int type);
void unix_bound(struct sentra_run *run, const struct task *task);
void unix_refused(struct sentra_run *run, const struct task *task);

/* ---- trust.c ---- */
void trust_enter(struct sentra_run *run, struct task *task);
void trust_completed(struct sentra_run *run, struct task *task, int64_t result);

/* ---- walk.c ---- */
/* Opens (O_PATH) what a path names for the task, links followed; -errno. `dirfd`: a descriptor of the task, or AT_FDCWD. */
int walk_open(const struct task *task, int32_t dirfd, const char *path);
int walk_name(int own, char *out, size_t size); /* the full path of an open file; 0 or -1 */

/* ---- scratch.c ---- */
int scratch_take(struct sentra_run *run, struct task *task, uint64_t *address);
int scratch_fill(struct task *task, const void *data, size_t bytes);
void scratch_restore(struct sentra_run *run, struct task *task);
void scratch_release(struct sentra_run *run, struct task *task);

/* ---- request.c ---- */
void request_start(struct sentra_run *run);
void request_trust(struct sentra_run *run, const struct task *task);
void request_port(struct sentra_run *run, const struct task *task, uint16_t port);

#endif
