/*
 * event.h - the records that make up a run: what one event looks like in a ring.
 *
 * A record is a 64-byte header, `nargs` 64-bit arguments, then `nsegs` segments (a 16-byte header and its
 * bytes, padded to 8). All integers are little-endian, everything is 8-byte aligned. The same layout is
 * used by the ptrace tier and, later, by the recorder inside the program. Blocks on disk hold the same
 * fields in packed form (pack.h); docs/TRACE_FORMAT.md describes both.
 */
#ifndef SENTRA_EVENT_H
#define SENTRA_EVENT_H

#include <stdint.h>

enum sentra_event_type {
    SENTRA_EVENT_SYSCALL = 1,   /* nr, args as at entry, result as the program sees it; segments = memory read and written;
                                   INFO 7 what a shared mapping shows, INFO 8 what was moved between descriptors (both spilled) */
    SENTRA_EVENT_SIGNAL = 2,    /* nr = signal delivered; args: ip, 1 if a handler runs / 0 default; INFO segment arg 0 = siginfo */
    SENTRA_EVENT_TASK = 3,      /* new task; task = its tid; args: parent tid, tgid, clone flags (0 for fork, CLONE_VFORK..) */
    SENTRA_EVENT_EXEC = 4,      /* new image; args: old tid, sp; INFO 0 path, 1 cwd, 2 initial stack (addr = sp), FILE segments */
    SENTRA_EVENT_EXIT = 5,      /* task gone; args: wait status, 1 if it was the last of its process */
    SENTRA_EVENT_TSC = 6,       /* rdtsc (nr 0) or rdtscp (nr 1); result = counter; args: ip, aux */
    SENTRA_EVENT_FILE = 7,      /* nr = file_id; args: dev, ino, size, mtime_ns; INFO 0 path. Its blob is in the run's file table */
    SENTRA_EVENT_DATA = 8,      /* part of a large buffer of this task's next SYSCALL event; nr = arg; args: addr, offset, segment kind */
    SENTRA_EVENT_SCHED = 9,     /* nr = reason: 1 a proven spin, 2 any point: the turn ended here; 3 a turn begins. args: reason, ip, state hash, hits */
    SENTRA_EVENT_NOTE = 10,     /* nr = enum sentra_note; INFO 0 = text. Grade and completeness */
    SENTRA_EVENT_MEMORY = 11,   /* bytes the kernel wrote on its own (clear_child_tid, robust list): OUT segment */
    SENTRA_EVENT_STOP = 12,     /* group stop (nr = signal) or continue (nr = SIGCONT) */
    /* 64 and up: the network's. Their layout is in trace/network_events.py; a replay skips them. The engine writes these: */
    SENTRA_EVENT_ENDPOINT = 64,     /* a socket of the program got a peer */
    SENTRA_EVENT_UNIX_REFUSED = 65, /* a unix socket of the host was refused */
    SENTRA_EVENT_TRUST = 66         /* a certificate bundle was opened and ours shown */
};

enum sentra_event_flags {
    SENTRA_FLAG_REFUSED = 1,      /* the call was not executed; result is the errno it was answered with */
    SENTRA_FLAG_ANSWERED = 2,     /* the call was not executed; the supervisor answered it */
    SENTRA_FLAG_IN_FLIGHT = 4,    /* the task died inside the call: no result */
    SENTRA_FLAG_RESTARTED = 8,    /* result is one of the kernel's restart codes: a signal interrupted the call */
    SENTRA_FLAG_FOREIGN_ABI = 16, /* entered as 32-bit or x32: nr belongs to that table */
    SENTRA_FLAG_BLOCKED = 32      /* the task gave up its turn during the call */
};

enum sentra_note {
    SENTRA_NOTE_INEXACT = 1,      /* from here on the run may not replay identically: reason */
    SENTRA_NOTE_UNSEEN = 2,       /* something was not captured: what */
    SENTRA_NOTE_LIMIT = 3         /* a limit ended something: which */
};

enum sentra_segment_kind {
    SENTRA_SEGMENT_IN = 1,        /* bytes the program handed to the kernel */
    SENTRA_SEGMENT_OUT = 2,       /* bytes the kernel wrote into the program */
    SENTRA_SEGMENT_INFO = 3,      /* bytes the supervisor adds; `arg` numbers them per event type */
    SENTRA_SEGMENT_FILE = 4       /* data = uint32_t file_id: the file behind this mapping or image */
};

enum sentra_segment_flags {
    SENTRA_SEGMENT_STRING = 1,    /* NUL-terminated in the program; the NUL is not stored */
    SENTRA_SEGMENT_SPILLED = 2,   /* data = uint64_t total size; the bytes are in DATA events before this one */
    SENTRA_SEGMENT_TRUNCATED = 4, /* longer in the program than what is kept here */
    SENTRA_SEGMENT_UNREADABLE = 8 /* the address could not be read; no data */
};

struct sentra_event {
    uint32_t size;          /* whole record in bytes, a multiple of 8, header included */
    uint16_t type;          /* enum sentra_event_type */
    uint16_t flags;         /* enum sentra_event_flags */
    uint64_t seq;           /* one order for the whole run, from 1, given at commit */
    uint64_t time_ns;       /* CLOCK_MONOTONIC at completion, minus the run's start */
    uint64_t duration_ns;   /* from entry to completion, 0 if it is a moment */
    int32_t task;           /* thread id inside the sandbox's pid namespace */
    uint32_t nr;            /* system call, signal, ...: per type */
    int64_t result;
    uint8_t nargs;
    uint8_t nsegs;
    uint8_t reserved[6];    /* zero */
    uint64_t reserved2;     /* zero */
};
_Static_assert(sizeof(struct sentra_event) == 64, "the header is one cache line");

struct sentra_segment {
    uint64_t addr;          /* address in the program, 0 for INFO and FILE */
    uint32_t size;          /* bytes that follow, before padding */
    uint8_t kind;           /* enum sentra_segment_kind */
    uint8_t arg;            /* argument it belongs to; 6 = result; for iovecs the argument of the vector */
    uint16_t flags;         /* enum sentra_segment_flags */
};
_Static_assert(sizeof(struct sentra_segment) == 16, "two words");

/* A record never exceeds this; larger buffers travel in DATA events. */
#define SENTRA_RECORD_MAX (256u * 1024u)
#define SENTRA_SPILL_CHUNK (64u * 1024u)

#endif
