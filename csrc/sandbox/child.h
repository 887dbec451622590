/*
 * child.h - what the processes inside the sandbox share between fork and exec (init.c, agent.c, setup_ops.c, ...).
 *
 * Rules here: async-signal-safe only. A step that fails is reported once over the status pipe and ends the process.
 */
#ifndef SENTRA_CHILD_H
#define SENTRA_CHILD_H

#include <sys/types.h>

#include "sentra.h"

/* Exit statuses of a process that could not go on, as docker, env and timeout use them. */
enum { SENTRA_EXIT_SETUP = 125, SENTRA_EXIT_CANNOT_EXECUTE = 126, SENTRA_EXIT_NOT_FOUND = 127 };

/* The children's ends of the descriptors between them and the supervisor; all >= 3 and close-on-exec. */
struct sentra_channel {
    int socket;
    int status;
    int end;
};

/* First message of init and agent; the kernel adds the sender's pid as the supervisor sees it. */
enum sentra_hello_from { SENTRA_HELLO_INIT = 1, SENTRA_HELLO_AGENT = 2 };

struct sentra_hello {
    int32_t from;
    int32_t inner_pid;
};

/* Join up to four strings (NULL = none) into out, cut to fit. */
void sentra_text(char *out, size_t size, const char *a, const char *b, const char *c, const char *d);
/* Decimal text of value in out (at least 24 bytes); returns out. */
const char *sentra_number_text(char *out, int64_t value);

/* Report a failed step to the supervisor and end this process. `where` may be NULL. */
_Noreturn void sentra_child_fail(const struct sentra_channel *channel, int err, const char *step, const char *where);
_Noreturn void sentra_child_fail_error(const struct sentra_channel *channel, const struct sentra_error *error, int exit_status);

/* Send hello; a supervisor that is gone ends the process. */
void sentra_child_hello(const struct sentra_channel *channel, enum sentra_hello_from from);
/* Wait for the supervisor's next byte; EOF (it is gone, or gave up) ends the process. */
void sentra_child_wait(const struct sentra_channel *channel);

/* fork() without the C library's atfork handlers and locks. */
pid_t sentra_fork(uint64_t clone_flags);

/* What the operations of one setup hand on to those after them. */
struct sentra_setup_state {
    int32_t network_fd;
    uint32_t have; /* enum sentra_network_flag */
    int32_t tproxy_errno;
};

/* Steps of the setup; they return 0, or -1 with *error filled without malloc or stdio. */
int sentra_setup_op_run(const struct sentra_setup_op *op, struct sentra_setup_state *state, struct sentra_error *error);
int sentra_netlink_run(const struct sentra_setup_op *op, struct sentra_setup_state *state, struct sentra_error *error);
int sentra_listeners_run(const struct sentra_setup_op *op, const struct sentra_setup_state *state, struct sentra_error *error);
int sentra_setup_op_in_agent(const struct sentra_setup_op *op, struct sentra_error *error);
int sentra_loopback_up(struct sentra_error *error);
int sentra_keep_capabilities(uint64_t keep, struct sentra_error *error);
int sentra_default_signals(uint64_t ignored, struct sentra_error *error);

/* Fill *error and return -1, async-signal-safe (sentra_fail is not: it formats). */
int sentra_child_error(struct sentra_error *error, int err, const char *step, const char *where);

/* The main functions of the two processes. */
_Noreturn void sentra_init_run(const struct sentra_launch_options *options, struct sentra_channel *channel);
_Noreturn void sentra_agent_run(const struct sentra_launch_options *options, const struct sentra_channel *channel);

/* Sockets (sockets.c). They return a descriptor, or -1 with errno. */
int sentra_open_socket(int type, uint8_t family, const uint8_t *address, uint32_t port, int shared);
int sentra_connect_socket(int fd, uint8_t family, const uint8_t *address, uint32_t port);
/* One message with descriptors; count 0: none. */
int sentra_send_fds(int socket, const void *bytes, size_t size, const int *fds, int count);

/* pid 1's life after the fork: reap, forward, end with the agent. */
_Noreturn void sentra_init_reap(pid_t agent, int end_fd, int has_pid_namespace);

/* Supervisor's side of the namespaces (namespaces.c). */
int sentra_write_id_maps(pid_t pid, const struct sentra_launch_options *options, struct sentra_error *error);
/* "user,mnt,pid" for a mask of CLONE_NEW* flags. */
void sentra_namespace_names(char *out, size_t size, uint64_t namespaces);

#endif
