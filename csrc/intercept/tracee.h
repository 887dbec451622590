/* tracee.h - access to a stopped task: its memory, its registers, the call it is in. Shared by recording and replay. */
#ifndef SENTRA_TRACEE_H
#define SENTRA_TRACEE_H

#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/user.h>

/* linux/ptrace.h and sys/ptrace.h cannot both be included; this is struct ptrace_syscall_info of ptrace(2). */
struct syscall_info {
    uint8_t op;
    uint8_t pad[3];
    uint32_t arch;
    uint64_t instruction_pointer;
    uint64_t stack_pointer;
    union {
        struct {
            uint64_t nr;
            uint64_t args[6];
            uint32_t ret_data;
        } seccomp;
        struct {
            int64_t rval;
            uint8_t is_error;
        } exit;
    };
};
#define INFO_EXIT 2
#define INFO_SECCOMP 3

#define REGISTER(name) offsetof(struct user_regs_struct, name)
extern const size_t argument_registers[6];

/* Bytes read from `address`, fewer than asked when the range ends in unmapped memory, -1 when none could be read. */
int tracee_read(pid_t tid, uint64_t address, void *out, size_t bytes);
int tracee_write(pid_t tid, uint64_t address, const void *data, size_t bytes);       /* 0 or -1 */
int tracee_call_info(pid_t tid, struct syscall_info *info, uint8_t op);              /* 0, -1: gone, or not at such a stop */
int tracee_set_register(pid_t tid, size_t offset, uint64_t value);                   /* 0 or -1 */
int tracee_debug_register(pid_t tid, int number, uint64_t value);                    /* 0 or -1 */
int tracee_status(pid_t tid, char *text, size_t size);                               /* /proc/TID/status; 0 or -1 */
int tracee_ids(pid_t tid, int32_t *tgid, int32_t *inner_tid, int32_t *inner_tgid);   /* 0 or -1 */
int tracee_sleeps(pid_t tid);                                                        /* 1: waits in the kernel; 0 */
/* kill(2) for one process of the sandbox. Never a group, never everybody: a pid that is not one is refused. 0 or -1 */
int tracee_kill(pid_t pid, int signo);
int tracee_has_handler(pid_t tid, int signo);                                        /* 1, 0 */
int tracee_is_fault(const siginfo_t *info);   /* 1: raised by the instruction at which the task is */
void tracee_restore_arguments(pid_t tid, const struct user_regs_struct *before);
/* Hash of registers and all writable memory; 0 when there is too much of it to be worth it. */
uint64_t tracee_state_hash(pid_t tid, const struct user_regs_struct *regs);

#endif
