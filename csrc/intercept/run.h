/*
 * run.h - the state of one recorded run and the parts of the engine that share it.
 *
 * The engine is one thread: it is the ptracer of every task of the run. Its loop (run.c) pulls a stop from the kernel, classifies
 * it once (stop.c), and acts: a system call is entered or completed (call.c, special.c) and its memory recorded (capture.h says by
 * which files), a signal is delivered or held (signal.c), a task appears, changes its image or ends (task.c, image.c). Who may run
 * user code is decided in schedule.c.
 *
 * Rules: every ptrace request may fail with ESRCH because the task was killed meanwhile; that is never an error, the task's end
 * will be reported by wait. Nothing here trusts memory of a tracee twice: what was decided on is a copy.
 */
#ifndef SENTRA_RUN_H
#define SENTRA_RUN_H

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/types.h>
#include <sys/user.h>

#include "../record/ring.h"
#include "../sandbox/launch.h"
#include "../sentra.h"
#include "../syscalls.h"
#include "network.h"
#include "tracee.h"

/* Where a task is between its stops. */
enum task_state {
    TASK_NEW,        /* known from its parent's event, its own first stop has not come */
    TASK_USER,       /* runs user code: it has the turn */
    TASK_CALL,       /* inside a system call, still has the turn */
    TASK_CALL_FREE,  /* inside a system call that may wait, gave the turn up */
    TASK_PARKED,     /* at the entry of a write to a standard stream that another task is inside of */
    TASK_READY,      /* stopped; waits for the turn; `pending` says what to do with it then */
    TASK_STOPPED,    /* group stop (SIGSTOP, SIGTSTP, ...) */
    TASK_EXITING     /* reported its exit event; only its death is to come */
};

/* What a READY task does when it gets the turn. */
enum task_pending {
    PENDING_START,     /* to user code; a SCHED event says that its turn begins here */
    PENDING_ENTER,     /* at a call's entry: the call begins */
    PENDING_COMPLETE   /* at a syscall-exit stop: record the call, then go on */
};

/* Bytes the program handed over, kept from the entry of a call until it is recorded. */
struct stash {
    unsigned char *data;   /* segments as they will stand in the record */
    uint32_t used, capacity;
    uint8_t segments;
};

struct call {
    uint64_t nr;
    uint64_t args[6];       /* as the program passed them */
    uint64_t ip, sp;
    uint64_t enter_ns;
    uint64_t capacity[6];   /* value-result lengths as they were at entry */
    const struct sentra_call_row *row;
    const struct sentra_command_row *command;
    int64_t answer;         /* the result when `answered` */
    uint8_t answered;       /* the kernel does not execute it: 1 refused, 2 answered by us */
    uint8_t foreign_abi;
    uint8_t interrupted;    /* a wait that a held signal interrupts as it begins: `answer` is its result */
    uint8_t registers_changed; /* arguments were changed: `saved` has the program's, put back at exit */
    uint8_t in_exec;        /* an execve that may succeed: the completed image is reported by an event */
    uint8_t watch;          /* enum network_watch: network_completed() looks at it */
    uint8_t keeps_turn;     /* a call that may wait, but keeps the turn until it does */
    uint8_t as_sendmsg;     /* a sendmmsg that is executed as sendmsg */
    struct user_regs_struct saved;
};

/* A signal held back in the middle of user code until the next boundary. */
struct held_signal {
    siginfo_t info;
    uint64_t since_ns;
};
#define HELD_SIGNALS_MAX 16

struct task {
    struct task *next;      /* in its hash bucket */
    struct task *ready_next;
    int32_t tid, tgid;      /* as the engine sees them */
    int32_t inner_tid, inner_tgid;
    enum task_state state;
    enum task_pending pending;
    struct call call;
    struct stash stash;
    struct {
        const struct sentra_call_row *row;
        uint64_t args[6];
    } interrupted;          /* what restart_syscall would go on with */
    int32_t slot;           /* in-flight slot, or -1 */
    uint64_t boundary_ip, boundary_sp; /* user state at the last syscall-exit stop it was resumed from */
    int64_t boundary_result;
    uint8_t queued;
    uint8_t tsc_denied;     /* the program asked for SIGSEGV at time stamp instructions */
    uint8_t segv_blocked;   /* the program has SIGSEGV blocked, as of its last mask call */
    uint8_t seen_first_stop;
    uint8_t at_boundary;    /* resumed from a syscall-exit stop and has not been seen elsewhere since */
    uint8_t stop_reported;  /* a STOP event for the current group stop is recorded */
    uint8_t restore_child;  /* first stop: registers were changed for the clone, `restore` has the right ones */
    uint8_t inject_place;   /* enum signal_place of the injected signal */
    uint8_t injecting;      /* signal number of ours that is on its way to be replaced by held[0] */
    struct user_regs_struct restore;
    struct held_signal held[HELD_SIGNALS_MAX];
    uint8_t held_count;
    uint8_t looks_at_clock; /* while a signal was held */
    struct scratch scratch; /* memory of the program that holds what the kernel is to see in the place of an argument */
};

#define TASK_BUCKETS 1024u

struct file_identity {
    uint64_t dev, ino, size, mtime_ns;
};

struct known_file {
    struct file_identity identity;
    uint32_t file_id;
};

struct mapped_by {
    uint64_t dev, ino;
    int32_t tgid;           /* 0: free */
};

struct shared_file {
    uint64_t dev, ino;
};

/* Proving that a thread spins (DESIGN: the complete state recurs) takes several stops; this is where we are. */
enum probe_phase { PROBE_NONE, PROBE_INTERRUPT, PROBE_STEP, PROBE_HIT };

struct probe {
    enum probe_phase phase;
    int32_t tid;
    uint64_t ip;
    uint64_t hash;
    uint64_t started_ns;
    uint32_t hits, equal;
    uint8_t force;          /* stop proving: take the turn away at this interrupt */
};

struct sentra_run {
    struct sentra_run_options options;
    struct sentra_launched launched;
    int init_alive;          /* pid 1 of the sandbox has not been reaped */
    int32_t main_tgid;
    struct sentra_arena_control *control;
    struct sentra_in_flight *in_flight;
    struct sentra_writer writer;
    uint64_t ring_wake_at;   /* wake the sealer when this much is waiting */
    uint64_t start_ns;
    int done_fd;

    struct task *tasks[TASK_BUCKETS];
    uint32_t live_tasks;
    struct task *holder;     /* has the turn, or NULL */
    struct task *ready_head, *ready_tail;
    struct task *output_writer; /* inside a write to a standard stream, without the turn */
    uint64_t turn_since_ns;  /* when the holder got the turn */
    uint32_t turn_calls;     /* calls it completed in it */
    uint64_t user_since_ns;  /* when the holder last went to user code */
    uint64_t probe_after_ns; /* do not probe the current stretch of user code before this */
    struct probe probe;
    uint64_t slot_used[SENTRA_IN_FLIGHT_SLOTS / 64];

    struct known_file *files;
    uint32_t files_count, files_capacity; /* open addressing, capacity a power of two */
    struct sentra_file *queue;            /* handed to the sealer */
    uint32_t queue_count, queue_capacity;
    pthread_mutex_t *queue_lock;

    struct sock_filter *filter;
    uint32_t filter_count;

    struct shared_file shared[64];        /* files mapped shared and writable by the run */
    uint32_t shared_count;
    struct mapped_by *mapped;             /* open addressing, capacity a power of two */
    uint32_t mapped_count, mapped_capacity;
    uint8_t moved_noted, mapped_noted;

    struct network_state network;

    uint8_t inexact;         /* the grade was lost: forced switches need no more proof */
    uint8_t failed;          /* recording is impossible: everything is being killed */
    struct sentra_error failure;
    uint8_t unknown_noted[64];

    struct sentra_run_stats stats; /* written by the engine; read by others without a lock, word by word */
    _Atomic int stop_requested;
};

/* ---- stop.c: what wait returned, named once ---- */

enum stop_kind {
    STOP_NONE,          /* nothing to do (a wait status of a process that is not ours to handle) */
    STOP_SECCOMP,       /* a recorded call at its entry */
    STOP_SYSCALL_EXIT,
    STOP_SIGNAL,        /* signal-delivery stop */
    STOP_GROUP,         /* group stop */
    STOP_TRAP,          /* PTRACE_EVENT_STOP with SIGTRAP: a new task's first stop, our interrupt, or SIGCONT's wake-up */
    STOP_NEW_TASK,      /* fork, vfork or clone event */
    STOP_EXEC,
    STOP_EXIT,          /* about to die */
    STOP_DEAD           /* dead and reaped */
};

struct stop {
    enum stop_kind kind;
    int32_t tid;
    int status;
    int signo;
    int event;
};

struct stop classify_stop(int32_t tid, int status);

/* ---- task.c ---- */
struct task *task_find(struct sentra_run *run, int32_t tid);
struct task *task_add(struct sentra_run *run, int32_t tid);
void task_remove(struct sentra_run *run, struct task *task);
void task_rename(struct sentra_run *run, struct task *task, int32_t tid);
uint32_t task_group_size(struct sentra_run *run, int32_t tgid);
int task_read_ids(struct task *task);

static inline int peek(const struct task *task, uint64_t address, void *out, size_t bytes)
{
    return tracee_read(task->tid, address, out, bytes);
}

static inline int poke(const struct task *task, uint64_t address, const void *data, size_t bytes)
{
    return tracee_write(task->tid, address, data, bytes);
}

/* ---- schedule.c ---- */
void turn_take(struct sentra_run *run, struct task *task);
void turn_release(struct sentra_run *run, struct task *task);
void ready_push(struct sentra_run *run, struct task *task, enum task_pending pending);
void ready_remove(struct sentra_run *run, struct task *task);
struct task *ready_pop(struct sentra_run *run);
void resume_user(struct sentra_run *run, struct task *task, int signo);
void resume_call(struct sentra_run *run, struct task *task);
int turn_is_over(const struct sentra_run *run);
void watch_holder(struct sentra_run *run);
int probe_stop(struct sentra_run *run, struct task *task, const struct stop *stop);
void probe_cancel(struct sentra_run *run);

/* ---- output.c ---- */
enum output_way { OUTPUT_OTHER, OUTPUT_KEEP, OUTPUT_FREE, OUTPUT_WAIT };
int standard_stream(const struct sentra_run *run, const struct task *task, int32_t fd);
enum output_way output_entry(struct sentra_run *run, struct task *task);
void output_done(struct sentra_run *run, const struct task *task);

/* ---- call.c ---- */
void call_enter(struct sentra_run *run, struct task *task);
void call_complete(struct sentra_run *run, struct task *task);
void call_without_turn(struct sentra_run *run, struct task *task);

/* ---- filter.c ---- */
uint32_t filter_decide(const struct sentra_run *run, uint32_t arch, uint64_t nr, const uint64_t args[6], uint64_t ip);

/* ---- inputs.c, capture.c, stash.c (capture.h has what they share) ---- */
void capture_inputs(struct sentra_run *run, struct task *task);
void record_call(struct sentra_run *run, struct task *task, int64_t result, uint16_t flags);
void stash_reset(struct task *task);

/* ---- record.c: building events ---- */
uint64_t now_ns(void);
struct sentra_event *event_begin(struct sentra_run *run, uint32_t bytes, uint16_t type, const struct task *task);
uint64_t event_commit(struct sentra_run *run, struct sentra_event *event);
unsigned char *event_segment(struct sentra_event *event, uint64_t addr, uint32_t size, uint8_t kind, uint8_t arg, uint16_t flags);
void event_args(struct sentra_event *event, const uint64_t *args, uint8_t count);
void record_simple(struct sentra_run *run, const struct task *task, uint16_t type, uint32_t nr, int64_t result,
                   const uint64_t *args, uint8_t nargs);
void record_note(struct sentra_run *run, const struct task *task, enum sentra_note note, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
void run_fail(struct sentra_run *run, int err, const char *step);

/* ---- signal.c ---- */
/* where a signal was delivered: args[1] of SIGNAL */
enum signal_place {
    PLACE_BOUNDARY = 0,  /* on the way out of the task's last recorded call */
    PLACE_BEFORE = 1,    /* before its next recorded call, which then runs (again) */
    PLACE_FAULT = 2,     /* at the faulting instruction */
    PLACE_SPIN = 3,      /* at a recurring state of a spinning thread */
    PLACE_ANYWHERE = 4   /* in the middle of user code: kills, stops or is ignored there, or cost the grade */
};

void signal_stop(struct sentra_run *run, struct task *task, int signo);
void signal_read_mask(struct task *task);
int signal_hold_overdue(const struct task *task, uint64_t now);
void signal_inject_held(struct sentra_run *run, struct task *task, enum signal_place place);
void signal_record(struct sentra_run *run, struct task *task, const siginfo_t *info, uint64_t ip, uint32_t place);

/* args[0] of SCHED: a turn ended by force (at a proven spin, or anywhere), or began without another event to say so */
enum sched_reason { SCHED_SPIN = 1, SCHED_FORCED = 2, SCHED_START = 3 };

/* INFO segments of SYSCALL events (contents.c) */
enum contents_kind {
    CONTENTS_MAPPED = 7, /* what a shared mapping shows */
    CONTENTS_MOVED = 8   /* what sendfile, copy_file_range or splice moved */
};

/* ---- image.c, files.c, contents.c, mappings.c ---- */
void image_loaded(struct sentra_run *run, struct task *task);
uint32_t file_register(struct sentra_run *run, const struct task *task, const char *proc_path, struct file_identity *identity);
uint64_t capture_contents(struct sentra_run *run, struct task *task, int64_t result, uint8_t *arg);
uint32_t written_shared_file(struct sentra_run *run, const struct task *task, int64_t result);
int shared_file(const struct sentra_run *run, uint64_t dev, uint64_t ino);
void mapping_remember(struct sentra_run *run, uint64_t dev, uint64_t ino, int32_t tgid);
int mapping_is_live(const struct sentra_run *run, uint64_t dev, uint64_t ino);
int files_init(struct sentra_run *run);
void files_free(struct sentra_run *run);

#endif
