/*
 * syscalls.h - the shape of the generated system call table (csrc/generated/syscall_rows.h).
 *
 * One row a call, made from sentra_sandbox/syscalls/syscalls.tbl by scripts/gen_syscall_table.py; the numbers are
 * proved against the system's headers at compile time. Recording, replay, the filter and the decoder read the same rows.
 * enum sentra_arg_kind (KIND_FD, ...) and enum sentra_nr (SENTRA_NR_openat, ...: all calls, also those that the system's
 * headers do not know yet) are generated too.
 */
#ifndef SENTRA_SYSCALLS_H
#define SENTRA_SYSCALLS_H

#include <stdint.h>

#include "generated/syscall_names.h"

enum sentra_treatment {
    SENTRA_TREAT_ALLOW = 1,     /* deterministic: runs without a stop, leaves no event */
    SENTRA_TREAT_RECORD = 2,    /* stop at entry and exit, event */
    SENTRA_TREAT_REFUSE = 3,    /* not executed; answered with refuse_errno; event */
    SENTRA_TREAT_SPECIAL = 4    /* stop; the engine has code of its own for it (clone, exec, exit, sched_setaffinity, ...) */
};

enum sentra_call_flags {
    SENTRA_CALL_BLOCKS = 1,     /* may wait: the task gives up its turn */
    SENTRA_CALL_NO_RETURN = 2,  /* exit, exit_group, rt_sigreturn: recorded at entry, there is no exit stop to wait for */
    SENTRA_CALL_EXECUTE = 4,    /* replay executes it too: it changes the process itself */
    SENTRA_CALL_COMMANDS = 8,   /* rows in the command table describe its memory by the value of one argument */
    SENTRA_CALL_FD_RESULT = 16, /* a result >= 0 is a new descriptor */
    SENTRA_CALL_OUT_ON_ERROR = 32 /* OUT memory may be written by a failing call too (nanosleep's rest, poll's timeout) */
};

enum sentra_memory {            /* what an argument points at */
    SENTRA_MEM_NONE = 0,        /* a scalar */
    SENTRA_MEM_STRING = 1,      /* NUL-terminated */
    SENTRA_MEM_STRINGS = 2,     /* NULL-terminated array of strings */
    SENTRA_MEM_BYTES = 3,       /* unit * size rule */
    SENTRA_MEM_IOVEC = 4,       /* struct iovec[size rule]; IN: all bytes, OUT: the first `result` bytes */
    SENTRA_MEM_MSGHDR = 5,      /* struct msghdr with name, iov, control */
    SENTRA_MEM_MMSGHDR = 6,     /* struct mmsghdr[size rule]; OUT: the first `result`. IN (sendmmsg): msg_len of these is written */
    SENTRA_MEM_FDSET = 7,       /* bit set of `size rule` bits, in whole 64-bit words */
    SENTRA_MEM_IFCONF = 8       /* struct ifconf INOUT, and ifc_len (after the call) bytes OUT at ifc_buf */
};

enum sentra_direction { SENTRA_DIR_IN = 1, SENTRA_DIR_OUT = 2, SENTRA_DIR_INOUT = 3 };

enum sentra_size {              /* count; the size is unit * count bytes (+ 8 with SENTRA_SIZE_PLUS8) */
    SENTRA_SIZE_ONE = 0,        /* 1 */
    SENTRA_SIZE_ARG = 1,        /* value of argument size_arg (for OUT after the call too: what could be written) */
    SENTRA_SIZE_RESULT = 2,     /* the call's result */
    SENTRA_SIZE_AT_ARG = 3,     /* uint32_t at argument size_arg: capacity at entry, length after: min of both */
    SENTRA_SIZE_AT_ARG64 = 4,   /* the same with uint64_t */
    SENTRA_SIZE_RESULT_CAPPED = 5, /* min(result, value of argument size_arg): results that report more than was written */
    SENTRA_SIZE_PAGES = 6,      /* (value of argument size_arg + 4095) / 4096 */
    SENTRA_SIZE_RULE = 15,      /* mask: the rule itself */
    SENTRA_SIZE_PLUS8 = 16      /* flag: an 8-byte header lies before the counted part (struct msgbuf, struct file_handle) */
};

struct sentra_arg_row {
    uint8_t memory;             /* enum sentra_memory */
    uint8_t direction;          /* enum sentra_direction, when memory != NONE */
    uint8_t size;               /* enum sentra_size: rule | SENTRA_SIZE_PLUS8 */
    uint8_t size_arg;
    uint16_t unit;              /* bytes */
    uint16_t kind;              /* enum sentra_arg_kind (generated): fd, dirfd, path, flags...; for the engine: see KIND_FD */
};

struct sentra_call_row {
    const char *name;           /* NULL: no such call */
    uint8_t nargs;
    uint8_t treatment;          /* enum sentra_treatment */
    uint8_t condition_arg;      /* RECORD only if ... ; 255 = always */
    uint8_t refuse_errno;
    uint32_t flags;             /* enum sentra_call_flags */
    uint32_t condition_mask;    /* ... any of these bits of that argument is set (else ALLOW) */
    struct sentra_arg_row args[6];
};

/* Commands of multiplexed calls (ioctl, fcntl, prctl, futex, arch_prctl, keyctl, semctl, ...), sorted by nr then command. */
struct sentra_command_row {
    uint32_t nr;
    uint32_t command;           /* value of the row's selector argument, masked by selector_mask */
    uint8_t selector_arg;
    uint8_t flags;              /* enum sentra_call_flags, added to the call's */
    uint8_t rows;               /* how many of `args` are used */
    uint8_t reserved;
    uint32_t selector_mask;
    struct { uint8_t arg; struct sentra_arg_row row; } args[3];
};

extern const struct sentra_call_row sentra_calls[];      /* index = number */
extern const uint32_t sentra_calls_count;
extern const struct sentra_command_row sentra_commands[];
extern const uint32_t sentra_commands_count;

const struct sentra_call_row *sentra_call(uint64_t nr);  /* NULL: unknown */
const struct sentra_command_row *sentra_command(uint32_t nr, const uint64_t *args); /* NULL: not in the table */

/*
 * The value of a scalar argument as the kernel looks at it: the upper half of the register does not count for an int
 * or a descriptor. Use it for counts and before comparing arguments; memory arguments are returned as they are.
 */
uint64_t sentra_arg_value(const struct sentra_arg_row *row, uint64_t raw);

#endif
