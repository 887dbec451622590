/*
 * sentra.cdef.h - THE boundary between Python and C.
 *
 * Plain declarations only: cffi's cdef() reads this file as it is and every C file includes it through
 * sentra.h. C knows nothing of Python. Every function returns 0 or -1 (or a pointer or NULL) and fills
 * struct sentra_error; none prints, none exits.
 */

/* ---- errors -------------------------------------------------------------------------------------- */

struct sentra_error {
    int32_t err;        /* errno of the failed step, or 0 */
    char step[64];      /* what was being done: "mount proc", "ptrace seize" */
    char detail[192];   /* on what: a path, a number; may be empty */
};

/* ---- record: the arena (shared memory file) ------------------------------------------------------- */

struct sentra_arena;    /* one mapped arena: control page, in-flight slots, rings */

/* Create the file (it must not exist, mode 0600), allocate all of its space, map and prefault it. ring_bytes: a power of two. */
struct sentra_arena *sentra_arena_create(const char *path, uint64_t ring_bytes, uint32_t rings, struct sentra_error *error);
/* Map an existing arena; every field is checked, a damaged file is an error. */
struct sentra_arena *sentra_arena_open(const char *path, struct sentra_error *error);
/* From now on a producer that waits for space gives up. Callable from any thread, the mapping stays. */
void sentra_arena_close(struct sentra_arena *arena);
/* Unmap. No producer and no consumer may be using it. */
void sentra_arena_free(struct sentra_arena *arena);
/* Readable when a producer asked for the sealer. */
int sentra_arena_eventfd(struct sentra_arena *arena);
/* In a process that writes into an arena which another one empties: wake that one through this eventfd of its arena. Takes fd over. */
void sentra_arena_use_eventfd(struct sentra_arena *arena, int32_t fd);
/* The sealer starts a round: empties the eventfd. Call before sentra_ring_peek. */
void sentra_arena_listen(struct sentra_arena *arena);
uint32_t sentra_arena_rings(struct sentra_arena *arena);
uint64_t sentra_arena_ring_bytes(struct sentra_arena *arena);
uint64_t sentra_arena_start_monotonic_ns(struct sentra_arena *arena);
uint64_t sentra_arena_start_realtime_ns(struct sentra_arena *arena);
/* What waits in a ring: `bytes` from `*data` on, contiguous. `position` = bytes ever consumed. */
int sentra_ring_peek(struct sentra_arena *arena, uint32_t index, const unsigned char **data, uint64_t *bytes, uint64_t *position);
/* Give `bytes` from the front back to the producer, and wake it if it waits for space. */
int sentra_ring_consume(struct sentra_arena *arena, uint32_t index, uint64_t bytes);
/* Append one whole record (header, arguments, segments; size and seq are filled in). Only for the producer of that
 * ring, one thread at a time. Returns its seq, 0 when the arena was closed or the record is malformed. */
uint64_t sentra_arena_append(struct sentra_arena *arena, uint32_t index, const void *record, uint32_t bytes);
/* Announce or clear (task 0) a call in flight in slot `slot`; for tests and the broker, the engine writes slots itself. */
int sentra_arena_set_in_flight(struct sentra_arena *arena, uint32_t slot, int32_t task, uint32_t nr, const uint64_t *args, uint64_t enter_ns);
/* Measure: `samples` times the mean of `batch` appends with `payload` bytes each, in picoseconds (batch 0: of the clock
 * alone). Consumes in between when `consume` is 1, else another thread must. */
int sentra_arena_bench(struct sentra_arena *arena, uint32_t index, uint32_t payload, uint32_t batch, uint32_t samples, int32_t consume, uint64_t *picoseconds, struct sentra_error *error);

/* ---- record: blocks ---------------------------------------------------------------------------------- */

/* Unread records of one ring, whole ones only. */
struct sentra_pack_source {
    const unsigned char *data;
    uint64_t bytes;
};

/* A segment that is large enough to be worth a blob; reference and hash are the caller's decision between the passes. */
struct sentra_big_segment {
    uint64_t seq;
    const unsigned char *data;
    uint32_t size;
    uint32_t reference;           /* 1: store the hash, not the bytes */
    unsigned char hash[32];
};

struct sentra_pack_scan {
    uint64_t first_seq, last_seq;
    uint64_t first_time_ns, last_time_ns;
    uint64_t raw_bytes;           /* of the records taken */
    uint64_t taken[4];            /* bytes taken from each source */
    uint32_t events;
    uint32_t bigs;
    uint32_t gap;                 /* 1: stopped because the next sequence number is missing */
    uint32_t gaps;                /* sequence numbers skipped (only with allow_gaps) */
    int32_t damaged;              /* source whose next record is malformed, or -1; nothing of it is taken from there on */
    uint64_t damaged_at;          /* its offset in that source */
};

/* Merge the sources by seq from `next_seq` on and say what one block can take: at most about max_raw bytes. */
int sentra_pack_scan(const struct sentra_pack_source *sources, uint32_t count, uint64_t next_seq, int32_t allow_gaps, uint64_t max_raw,
                     uint32_t threshold, struct sentra_big_segment *bigs, uint32_t max_bigs, struct sentra_pack_scan *out, struct sentra_error *error);
/* Pack exactly what the scan of the same sources found. Returns the packed bytes, -1 on error. */
int64_t sentra_pack(const struct sentra_pack_source *sources, uint32_t count, const struct sentra_pack_scan *scan, uint32_t threshold,
                    const struct sentra_big_segment *bigs, unsigned char *out, uint64_t capacity, struct sentra_error *error);
/* The hashes a packed block refers to, in the order sentra_unpack wants their bytes: returns how many; *hashes points into the block. */
int64_t sentra_unpack_hashes(const unsigned char *packed, uint64_t bytes, const unsigned char **hashes, struct sentra_error *error);
/* The records again, byte for byte as they were in the ring, in order of seq. blobs[i] = bytes of hash i. */
int64_t sentra_unpack(const unsigned char *packed, uint64_t bytes, const struct sentra_pack_source *blobs, uint32_t blob_count,
                      unsigned char *out, uint64_t capacity, struct sentra_error *error);

/* ---- sandbox: launch -------------------------------------------------------------------------------- */

/* One step of building the sandbox, carried out in order by pid 1 inside the new namespaces. */
struct sentra_setup_op {
    int32_t kind;       /* enum sentra_setup_kind */
    uint64_t flags;     /* mount flags, mode, rlimit resource: per kind */
    uint64_t value;     /* per kind */
    const char *a;      /* per kind: source, path, name */
    const char *b;      /* per kind: target, content */
    const char *c;      /* per kind: file system type */
    const char *d;      /* per kind: mount data */
    const void *data;   /* per kind: messages, listeners */
    uint64_t data_bytes;
};

enum sentra_setup_kind {
    SENTRA_SETUP_MOUNT = 1,       /* mount(a, b, c, flags, d) */
    SENTRA_SETUP_WRITE_FILE = 2,  /* create file a (mode value) with content b */
    SENTRA_SETUP_MKDIR = 3,       /* mkdir(a, mode value), existing is fine */
    SENTRA_SETUP_HOSTNAME = 4,    /* sethostname(a) */
    SENTRA_SETUP_LOOPBACK_UP = 5, /* bring lo up in the new network namespace */
    SENTRA_SETUP_RLIMIT = 6,      /* setrlimit(flags, {value, value}) in the agent */
    SENTRA_SETUP_PIVOT_ROOT = 7,  /* make a the root, detach the old one */
    SENTRA_SETUP_UMOUNT = 8,      /* umount2(a, flags) */
    SENTRA_SETUP_NETLINK = 9,     /* send the batch `data` to netlink protocol `value`; a: the step, b: a name a line for each message;
                                     flags: what its success provides (enum sentra_network_flag), the lack of which is then no error */
    SENTRA_SETUP_LISTENERS = 10   /* open `value` sockets (data: struct sentra_listener[]) and send them over network_fd */
};

/* Parts of a sandbox's network that a host may lack. */
enum sentra_network_flag {
    SENTRA_NETWORK_IPV6 = 1,
    SENTRA_NETWORK_TPROXY = 2,    /* nf_tables takes IPv4 connections to the listeners */
    SENTRA_NETWORK_TPROXY_V6 = 4,
    SENTRA_NETWORK_NO_TPROXY = 8  /* it cannot: listeners are on the ports themselves */
};

enum sentra_listener_kind {
    SENTRA_LISTENER_TCP = 1,       /* transparent: accepts whatever TPROXY sends; getsockname of the accepted is what was meant */
    SENTRA_LISTENER_UDP = 2,       /* transparent: the address that was meant comes as ancillary data (IP_ORIGDSTADDR) */
    SENTRA_LISTENER_DNS_TCP = 3,
    SENTRA_LISTENER_DNS_UDP = 4,
    SENTRA_LISTENER_LOCAL_TCP = 5, /* a port of the host's loopback that is open to the program */
    SENTRA_SENDER_RAW = 6          /* from the socket maker only: sends whole IP packets, receives nothing */
};

struct sentra_listener {
    uint8_t kind;                 /* enum sentra_listener_kind */
    uint8_t family;               /* AF_INET, AF_INET6 */
    uint8_t needs;                /* enum sentra_network_flag: left out where one of them is missing */
    uint8_t reserved;
    uint32_t port;
    uint8_t address[16];          /* network order; IPv4 in the first four bytes */
};

/* What arrives at the other end of network_fd, in one message with the sockets as SCM_RIGHTS; their listeners follow in the same order. */
struct sentra_handout {
    uint32_t have;                /* enum sentra_network_flag */
    int32_t tproxy_errno;         /* why TPROXY is missing, 0: it was not asked for */
    uint32_t count;
    uint32_t reserved;
};

struct sentra_launch_options {
    const char *path;             /* program to execute, already looked up */
    const char *const *argv;      /* NULL-terminated */
    const char *const *envp;      /* NULL-terminated */
    const char *cwd;              /* directory to start in, or NULL */
    int32_t stdio[3];             /* descriptors to become 0, 1, 2; -1 = inherit */
    uint64_t namespaces;          /* CLONE_NEW* to create */
    const char *uid_map;          /* written to /proc/PID/uid_map by the supervisor; NULL without user namespace */
    const char *gid_map;
    int32_t deny_setgroups;       /* write "deny" to /proc/PID/setgroups first */
    uint64_t keep_capabilities;   /* mask of capabilities the agent keeps; others leave all its sets */
    const struct sentra_setup_op *ops;
    int32_t ops_count;
    const void *filter;           /* struct sock_filter[], installed last, or NULL */
    int32_t filter_count;
    uint64_t sigmask;             /* signals blocked when the program starts: bit n-1 is signal n */
    uint64_t ignored_signals;     /* signals ignored when the program starts; all others have their default action */
    int32_t no_aslr;              /* 1: personality(ADDR_NO_RANDOMIZE) */
    int32_t trap_tsc;             /* 1: rdtsc raises SIGSEGV (prctl PR_SET_TSC), from just before the filter on */
    int32_t cpu;                  /* pin the agent to this CPU, or -1 */
    const int32_t *keep_fds;      /* descriptors from 3 up that the program inherits under their numbers; all others are closed */
    int32_t keep_fds_count;
    int32_t network_fd;           /* SOCK_SEQPACKET: where SENTRA_SETUP_LISTENERS sends its sockets, or -1: they are closed */
};

/*
 * Launch without tracing and wait for the end. 0: *wait_status is the program's wait status (as waitpid gives it).
 * -1: a step failed, *error names it; "execute" means that execve itself refused (ENOENT, EACCES, ENOEXEC, ...).
 * The sandbox dies with the calling thread. With trace points in the filter the traced calls fail with ENOSYS.
 */
int sentra_launch_untraced(const struct sentra_launch_options *options, int32_t *wait_status, struct sentra_error *error);

/* ---- sandbox: sockets inside a running sandbox's network ------------------------------------------------ */

/* One request to a socket maker; the answer is an int32_t errno, and with 0 the socket as SCM_RIGHTS. */
struct sentra_socket_request {
    uint8_t kind;                 /* SENTRA_LISTENER_TCP: listening at local; SENTRA_LISTENER_UDP: at local, connected to remote if that has a port;
                                     SENTRA_SENDER_RAW: no addresses */
    uint8_t family;
    uint8_t reserved[2];
    uint32_t local_port;
    uint32_t remote_port;
    uint8_t local[16];
    uint8_t remote[16];
};

/*
 * Fork a process that makes sockets in the network namespace of the socket inside_fd. Returns the SOCK_SEQPACKET descriptor that takes requests, -1:
 * *error. It ends when that descriptor is closed; the caller then reaps *pid.
 */
int sentra_socket_maker(int32_t inside_fd, int32_t *pid, struct sentra_error *error);

/* ---- intercept: one recorded run ------------------------------------------------------------------- */

struct sentra_run;

struct sentra_run_options {
    struct sentra_launch_options launch;
    struct sentra_arena *arena;
    int32_t cpu;                  /* CPU that tracer and tracees share, or -1 for no pinning */
    int32_t one_cpu;              /* 1: affinity calls are answered as if the machine had this one CPU */
    int32_t hide_vdso;            /* 1: AT_SYSINFO_EHDR hidden, time stamp counter trapped */
    int32_t serialise;            /* 1: one thread of the run in user code at a time */
    int32_t job_control;          /* 1: when the agent is stopped by the terminal, stop this process too */
    uint64_t max_capture;         /* bytes of one buffer kept at most, 0 = all of it */
    int32_t network;              /* 1: the sandbox has a network of its own: endpoints are recorded, unix sockets of the host refused */
    int32_t ask_ports;            /* 1: TCP ports are asked for (SENTRA_REQUEST_PORT) before a connect to them goes on */
    int32_t request_fd;           /* sentra_request goes out here, answers (one byte each) come in; a socket; 0 or -1: none */
    const char *const *unix_allow; /* paths of unix sockets, and of directories of them, that may be reached; NULL-terminated, or NULL */
    const char *trust_path;       /* the run's bundle of certificates as the program sees it, or NULL. Strings: kept until the run is freed */
    uint64_t trust_dev, trust_ino; /* the same file */
};

/* What the engine asks of the supervisor by request_fd. An answer is waited for, ten seconds at most; then nothing is asked any more. */
enum sentra_request_kind {
    SENTRA_REQUEST_TRUST = 1,     /* trust_path was opened for the first time: answered when it is complete */
    SENTRA_REQUEST_PORT = 2,      /* value = TCP port that a connect wants: answered when it is listened to */
    SENTRA_REQUEST_START = 3      /* the first internet socket was made; not answered */
};

/* What an answer's byte may say besides that it is one. */
enum sentra_answer { SENTRA_ANSWER_EVERY_PORT = 2 /* every port is listened to: no need to ask again */ };

struct sentra_request {
    uint32_t kind;                /* enum sentra_request_kind */
    uint32_t value;
};

struct sentra_run_stats {
    uint64_t events;
    uint64_t syscalls;
    uint64_t refused;
    uint64_t processes;
    uint64_t threads;
    uint64_t signals;
    uint64_t tsc_traps;
    uint64_t preemptions;
    uint64_t stops;
    int32_t live_tasks;
    int32_t main_pid;             /* the agent's pid in the caller's namespace, 0 when gone */
    int32_t exit_status;          /* wait status of the agent, -1 while it runs */
    int32_t finished;             /* 1 once the loop has returned */
    uint64_t inexact_seq;         /* event from which on the run may not replay identically, 0: exact */
    char inexact_reason[200];
};

/* A mapped or executed file whose content the trace must keep; fd is open for reading and is now the caller's. */
struct sentra_file {
    uint32_t file_id;
    int32_t fd;
    uint64_t dev, ino, size, mtime_ns;
    int32_t snapshot;             /* 1: fd is a copy of the file as it was when it was mapped */
    char path[256];               /* of the file, cut off if longer */
};

struct sentra_run *sentra_run_new(const struct sentra_run_options *options, struct sentra_error *error);
int sentra_run_loop(struct sentra_run *run, struct sentra_error *error);
int sentra_run_signal(struct sentra_run *run, int signo);
void sentra_run_stop(struct sentra_run *run);
void sentra_run_stats(struct sentra_run *run, struct sentra_run_stats *out);
int sentra_run_take_file(struct sentra_run *run, struct sentra_file *out);
int sentra_run_done_fd(struct sentra_run *run);
void sentra_run_free(struct sentra_run *run);

/* A descriptor that reads struct signalfd_siginfo of these signals (bit n-1 is signal n); the caller has them blocked. -1: errno in *error. */
int sentra_signal_fd(uint64_t signals, struct sentra_error *error);

/* ---- replay -------------------------------------------------------------------------------------------- */

struct sentra_replay;

struct sentra_replay_options {
    struct sentra_launch_options launch; /* path: the first image inside the replay's root; root, namespaces and filter as planned */
    int32_t cpu;                  /* CPU that tracer and tracees share, or -1 */
    int32_t output_fds[2];        /* where standard output and standard error go; -1: nowhere */
    uint64_t stop_at_seq;         /* hold before this event, 0: run to the end */
    uint64_t recent_since_ns;     /* files modified after this (CLOCK_REALTIME) may be mapped shared or written later in the run */
    uint64_t hang_ns;             /* a stretch of user code that takes longer than this is a divergence; 0: never */
    uint32_t keep_going;          /* so many differences in what calls hand over are noted and passed, where going on makes sense */
    int32_t hold_on_divergence;   /* 1: hold before everything is ended, until sentra_replay_stop */
};

enum sentra_divergence_kind {
    SENTRA_DIVERGENCE_NONE = 0,
    SENTRA_DIVERGENCE_CALL = 1,      /* another system call than recorded */
    SENTRA_DIVERGENCE_ARGUMENT = 2,  /* an argument differs */
    SENTRA_DIVERGENCE_BYTES = 3,     /* the bytes handed over differ */
    SENTRA_DIVERGENCE_RESULT = 4,    /* a call that replay executes had another result */
    SENTRA_DIVERGENCE_STOP = 5,      /* another kind of stop: a signal, an exit, a time stamp instead of a call, or the reverse */
    SENTRA_DIVERGENCE_TASK = 6,      /* a task that does not exist, or is in another state */
    SENTRA_DIVERGENCE_END = 7,       /* the trace ends, the program does not; or the reverse */
    SENTRA_DIVERGENCE_HANG = 8,      /* no stop for longer than allowed */
    SENTRA_DIVERGENCE_TRACE = 9,     /* the trace contradicts itself, or lacks something */
    SENTRA_DIVERGENCE_UNSUPPORTED = 10
};

struct sentra_divergence {
    int32_t kind;                 /* enum sentra_divergence_kind */
    int32_t task;                 /* as the trace names it */
    uint64_t seq;                 /* of the event that was expected */
    uint32_t expected_nr, actual_nr;
    int32_t argument;             /* that differs, or -1 */
    uint64_t expected, actual;    /* its values */
    uint64_t offset;              /* of the first differing byte */
    int32_t tid;                  /* the stopped task in the caller's namespace: inspect it before the replay is freed */
    char text[400];
};

struct sentra_replay_stats {
    uint64_t events;
    uint64_t seq;                 /* of the last event applied */
    int32_t exit_status;          /* wait status of the program, -1 while it runs */
    int32_t finished;
    int32_t stopped;              /* 1: held: tasks stay stopped until sentra_replay_continue or sentra_replay_stop */
};

struct sentra_replay *sentra_replay_new(const struct sentra_replay_options *options, struct sentra_error *error);
/* Name a recorded file's content: where it is inside the replay's root. Before the loop is started. */
int sentra_replay_file(struct sentra_replay *replay, uint32_t file_id, uint64_t dev, uint64_t ino, uint64_t size, const char *path);
/* Hand over ring records (whole ones, copied). Blocks while enough is waiting. -1: the replay has ended. */
int sentra_replay_feed(struct sentra_replay *replay, const void *records, uint64_t bytes);
void sentra_replay_feed_end(struct sentra_replay *replay);
/* The engine: replays until the trace ends, a divergence, or stop. 0: identical to the end; 1: *divergence is filled; -1: *error. */
int sentra_replay_loop(struct sentra_replay *replay, struct sentra_divergence *divergence, struct sentra_error *error);
/* The differences that were passed (keep_going): at most `max` of them to `out`. Returns how many there are. After the loop. */
int sentra_replay_passed(struct sentra_replay *replay, struct sentra_divergence *out, int32_t max);
void sentra_replay_stop(struct sentra_replay *replay);
void sentra_replay_stats(struct sentra_replay *replay, struct sentra_replay_stats *out);
int sentra_replay_done_fd(struct sentra_replay *replay);

/* A task of a held replay. */
struct sentra_replay_task {
    int32_t tid, tgid;            /* in the caller's namespace */
    int32_t inner_tid, inner_tgid; /* as the trace names them */
    int32_t state;                /* 0 before its next instruction, 1 at the entry of a call, 2 call answered, 3 in clone, 4 in vfork,
                                     5 at a time stamp, 6 at a fault, 7 let go, 8 at its exit, 9 dead */
    int32_t stopped;              /* 1: regs are its registers; 0: it is ending, or has not executed its first image */
    uint64_t nr, args[6];         /* of the call it is at, or was at last */
    uint64_t regs[27];            /* struct user_regs_struct */
};

/* 1: held before stop_at_seq; 2: held at a divergence; 0: neither within this time; -1: the replay is over. */
int sentra_replay_wait_held(struct sentra_replay *replay, int64_t timeout_ms);
/* Fills up to `max` tasks and returns how many there are, -1 when the replay is not held. */
int sentra_replay_tasks(struct sentra_replay *replay, struct sentra_replay_task *out, int max);
/* The task that differs, while held at a divergence: its tid, or 0. */
int32_t sentra_replay_diverging(struct sentra_replay *replay);
/* Goes on from stop_at_seq, to hold before `seq` (0: to the end). -1: it is not held there. */
int sentra_replay_continue(struct sentra_replay *replay, uint64_t seq);
void sentra_replay_free(struct sentra_replay *replay);

/* ---- record: the processor -------------------------------------------------------------------------------- */

struct sentra_cpu_leaf {
    uint32_t leaf, subleaf;
    uint32_t eax, ebx, ecx, edx;
};

enum { SENTRA_CPU_LEAVES = 6 };

/* CPUID: 1, 7.0, 7.1, 0xd.0, 0xd.1, 0x80000001, in this order; zeros where there is no such leaf. */
struct sentra_cpu_features {
    char vendor[16];              /* "GenuineIntel" */
    uint32_t family, model, stepping;
    uint64_t xcr0;                /* register state that the kernel switches, 0 without XSAVE */
    struct sentra_cpu_leaf leaves[6];
};

void sentra_cpu_features(struct sentra_cpu_features *out);

/* ---- review: many needles in large buffers ------------------------------------------------------------------ */

struct sentra_needles;

/* A piece of a needle that stands in the searched bytes, as long as it goes in both directions. */
struct sentra_needle_hit {
    uint64_t at;                  /* in the searched bytes */
    uint32_t needle;
    uint32_t needle_at;           /* where in the needle the piece begins */
    uint32_t bytes;
    uint32_t reserved;
};

/* `count` needles one after the other in `data`. A piece is reported from least[i] bytes on (at least 8); every piece of 11 bytes is
 * seen, and a needle of 8 bytes or more when it stands there whole. NULL: no memory. */
struct sentra_needles *sentra_needles_new(const unsigned char *data, const uint32_t *sizes, const uint32_t *least, uint32_t count,
                                          struct sentra_error *error);
uint64_t sentra_needles_grams(const struct sentra_needles *needles);
/* Returns how many hits there are in out, at most `max`; *done: bytes that were looked at (fewer than `bytes` when out was full). */
int64_t sentra_needles_find(struct sentra_needles *needles, const unsigned char *data, uint64_t bytes, struct sentra_needle_hit *out,
                            uint64_t max, uint64_t *done);
void sentra_needles_free(struct sentra_needles *needles);

/* ---- review: taking codings off -------------------------------------------------------------------------------- */

enum sentra_coding {
    SENTRA_CODING_BASE64 = 1,     /* both alphabets, line breaks inside */
    SENTRA_CODING_BASE32 = 2,     /* both cases */
    SENTRA_CODING_HEX = 3,
    SENTRA_CODING_PERCENT = 4,
    SENTRA_CODING_BACKSLASH = 5,  /* of JSON, C, Python */
    SENTRA_CODING_QUOTED_PRINTABLE = 6
};

/* Which bytes of the input a stretch of the output was made of. */
struct sentra_coding_span {
    uint64_t start, start_bytes;
    uint64_t at, bytes;
};

/* Decode every run of the coding (the first three), or what stands around escapes (the others). Runs are apart by four zeros in out,
 * which needs `bytes` + `bytes` / 64 + 16 bytes. skip: characters to leave out at the beginning of each run (other alignments), then only runs of up to
 * 64 KiB are taken. Returns the bytes put out; *span_count spans, at most max_spans: then it stops. */
int64_t sentra_coding_decode(uint32_t coding, uint32_t skip, const unsigned char *data, uint64_t bytes, unsigned char *out,
                             struct sentra_coding_span *spans, uint64_t max_spans, uint64_t *span_count);

enum sentra_magic {
    SENTRA_MAGIC_GZIP = 1,
    SENTRA_MAGIC_ZLIB = 2,
    SENTRA_MAGIC_ZSTD = 3,
    SENTRA_MAGIC_ZIP = 4,
    SENTRA_MAGIC_BZIP2 = 5,
    SENTRA_MAGIC_XZ = 6
};

/* Places where compressed data may begin: offset << 8 | enum sentra_magic, in order. Returns how many; *done as above. */
int64_t sentra_coding_magics(const unsigned char *data, uint64_t bytes, uint64_t *out, uint64_t max, uint64_t *done);
/* How often each byte occurs, added to counts[256]. */
void sentra_coding_histogram(const unsigned char *data, uint64_t bytes, uint64_t *counts);
