/*
 * replay.h - the state of a replay: the recorded events in order, and the tasks that execute again.
 *
 * Theory of operation. The recorded program is started again with its recorded images. Every stretch of its user code runs directly
 * after the event it followed in the recording, one task at a time, until its next stop; the next event of the trace says what that stop must
 * be. A system call is compared with its event (number, arguments, the bytes it hands over) and answered from it: what the kernel wrote then is
 * written now, the result is the recorded one, and the kernel executes nothing, except for the calls that change the process itself
 * (mappings, clone, exec, signal masks, exit), which are forced to their recorded result. The first difference ends the replay
 * with a report; nothing is guessed.
 *
 * feed.c gives the events; actor.c knows the tasks; step.c runs a stretch of user code; call.c, mapping.c, image.c and signal.c apply
 * events; stdio.c knows which descriptors are the run's standard output; hold.c lets others
 * look at stopped tasks; replay.c is the loop.
 */
#ifndef SENTRA_REPLAY_H
#define SENTRA_REPLAY_H

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

#include "../intercept/tracee.h"
#include "../record/event.h"
#include "../sandbox/launch.h"
#include "../sentra.h"
#include "../syscalls.h"

enum actor_state {
    ACTOR_FRESH,      /* stopped before its first instruction, or where its turn ended */
    ACTOR_ENTRY,      /* at the entry of a call: `call` has it */
    ACTOR_COMPLETED,  /* its call is answered; a signal is delivered before it goes on */
    ACTOR_CLONING,    /* at the event of its clone: the call's own completion comes later */
    ACTOR_WAITING,    /* in vfork, until the child has executed or ended */
    ACTOR_TSC,        /* at a time stamp instruction */
    ACTOR_SIGNAL,     /* at a fault of its own */
    ACTOR_RUNNING,    /* let go for good: exit, or killed */
    ACTOR_EXITING,    /* at its exit event */
    ACTOR_DEAD
};

/* Bytes of a large buffer that came ahead of its call. */
struct chunk {
    struct chunk *next;
    uint64_t address, offset;
    uint32_t size;
    uint8_t kind, arg;
    unsigned char data[];
};

#define STDIO_MAX 1024u

/* Which descriptors of a process lead to the run's standard streams. Shared by threads. */
struct descriptors {
    uint32_t users;
    uint8_t stream[STDIO_MAX];  /* 0 none, 1 input, 2 output, 3 error */
    uint8_t cloexec[STDIO_MAX];
};

struct actor {
    struct actor *next;
    int32_t tid, tgid;             /* as the engine sees them */
    int32_t inner_tid, inner_tgid; /* as the trace names them */
    enum actor_state state;
    struct {
        uint64_t nr, args[6], ip, sp;
    } call;
    siginfo_t fault;
    struct descriptors *descriptors;
    struct chunk *chunks, **chunks_end;
    int exec_expected;             /* its execve is matched; the EXEC event carries it out */
    int vfork_done;                /* WAITING, and at the exit of its vfork already */
    int breakpoint_set;
    int shares_memory;             /* created with CLONE_VM and not executed anything since */
    int32_t parent_tid;
    int group_exits;               /* its process called exit_group */
    struct user_regs_struct clone_registers; /* the program's, while a clone3 is executed as clone; rip 0: none */
};

#define ACTOR_BUCKETS 512u
#define IMAGE_PATH_BYTES 96

/* What the caller is told by sentra_replay_wait_held. */
enum hold_reason { HELD_NOT = 0, HELD_AT_SEQ = 1, HELD_DIVERGED = 2 };

/* A recorded file and where its content is inside the replay's root. */
struct replay_file {
    uint64_t dev, ino, size;
    int recent;           /* changed shortly before the recording: its mappings must see what is written to it later */
    int in_object;        /* the shared object of its inode has this file's content, or what came of it */
    char path[IMAGE_PATH_BYTES];
};

struct replay_chunk {
    struct replay_chunk *next;
    uint64_t size;
    unsigned char data[];
};

struct sentra_replay {
    struct sentra_replay_options options;
    struct sentra_launched launched;
    int init_alive;
    int done_fd;

    pthread_mutex_t lock;          /* feed: between the thread that reads the trace and the engine */
    pthread_cond_t changed;
    struct replay_chunk *queue, **queue_end;
    uint32_t queued;
    int ended;                     /* no more events will come */
    struct replay_chunk *current;
    uint64_t position;
    const struct sentra_event *event; /* the one being applied: a copy in event_copy */
    uint64_t event_copy[SENTRA_RECORD_MAX / 8];

    struct actor *actors[ACTOR_BUCKETS];
    uint32_t live;
    struct replay_file *files;
    uint32_t files_count;

    struct sentra_replay_stats stats;
    struct sentra_divergence divergence;
    int diverged;
    struct sentra_divergence passed[64];  /* noted and passed: options.keep_going */
    uint32_t passed_count;
    _Atomic int stop_requested;
    int main_tid;
    struct actor *ending;          /* the program's process, held at its exit until the others' events are applied */
    int started;                   /* the first image is loaded */
    int broken_output;

    enum hold_reason held;         /* under `lock`, with the picture */
    struct sentra_replay_task *picture;
    uint32_t picture_count;
};

/* ---- feed.c ---- */
const struct sentra_event *feed_next(struct sentra_replay *replay);
const struct sentra_event *feed_peek(struct sentra_replay *replay);
const struct sentra_event *feed_peek_of(struct sentra_replay *replay, int32_t inner_tid);
const uint64_t *event_args_of(const struct sentra_event *event);

struct segment_walk {
    const unsigned char *at, *end;
    uint32_t left;
};
struct segment_walk segments_of(const struct sentra_event *event);
const struct sentra_segment *next_segment(struct segment_walk *walk);
const struct sentra_segment *find_segment(const struct sentra_event *event, uint8_t kind, uint8_t arg);

/* ---- actor.c ---- */
struct actor *actor_find(struct sentra_replay *replay, int32_t inner_tid);
struct actor *actor_by_tid(struct sentra_replay *replay, int32_t tid);
struct actor *actor_add(struct sentra_replay *replay, int32_t tid, int32_t inner_tid, int32_t inner_tgid);
void actor_renumber(struct sentra_replay *replay, struct actor *actor, int32_t inner_tid);
void actor_remove(struct sentra_replay *replay, struct actor *actor);
void chunk_keep(struct actor *actor, const struct sentra_event *event);
void chunks_drop(struct actor *actor);

/* ---- stdio.c ---- */
struct descriptors *descriptors_new(void);
struct descriptors *descriptors_share(struct descriptors *shared);
struct descriptors *descriptors_copy(const struct descriptors *other);
void descriptors_drop(struct descriptors *descriptors);
void descriptors_exec(struct actor *actor);
void descriptors_follow(struct sentra_replay *replay, struct actor *actor, const struct sentra_event *event);
int emit_output(struct sentra_replay *replay, const struct actor *actor, const struct sentra_event *event);

/* ---- step.c ---- */
void step_on(struct sentra_replay *replay, struct actor *actor, int signo);
int run_call(struct sentra_replay *replay, struct actor *actor, int64_t *result);
int inject_call(struct sentra_replay *replay, struct actor *actor, uint64_t nr, const uint64_t args[6], int64_t *result);
int await_stop(struct sentra_replay *replay, struct actor *actor, int *status);

/* ---- hold.c ---- */
int hold(struct sentra_replay *replay, enum hold_reason reason);

/* ---- applying events ---- */
void apply_call(struct sentra_replay *replay, struct actor *actor, const struct sentra_event *event);
void apply_task(struct sentra_replay *replay, const struct sentra_event *event);
void apply_exec(struct sentra_replay *replay, struct actor *actor, const struct sentra_event *event);
void apply_exit(struct sentra_replay *replay, const struct sentra_event *event);
void end_program(struct sentra_replay *replay);
void apply_signal(struct sentra_replay *replay, struct actor *actor, const struct sentra_event *event);
void apply_start(struct sentra_replay *replay, struct actor *actor);
void apply_tsc(struct sentra_replay *replay, struct actor *actor, const struct sentra_event *event);
int apply_mapping(struct sentra_replay *replay, struct actor *actor, const struct sentra_event *event);
void apply_shared_write(struct sentra_replay *replay, struct actor *actor, const struct sentra_event *event);
void answer_call(struct actor *actor, int64_t result);
int stops_for_signal(struct sentra_replay *replay, const struct actor *actor);

/* ---- replay.c ---- */
void diverge(struct sentra_replay *replay, const struct actor *actor, enum sentra_divergence_kind kind, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

#endif
