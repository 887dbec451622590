/*
 * filter.h - what the 16-bit data word of a SECCOMP_RET_TRACE stop asks the engine to do.
 *
 * The filter is made by sentra_sandbox/policy/filter.py, which defines the same values; tests/policy compares them.
 * Calls that need no stop return SECCOMP_RET_ALLOW. Everything else, refusals included, arrives as a
 * PTRACE_EVENT_SECCOMP stop (PTRACE_GETEVENTMSG gives the word), because an ERRNO answered by the kernel would leave no
 * event. The upper four bits say what, the lower twelve are an error number:
 *
 *   RECORD          let the call run, record it (also for calls that the engine has code of its own for)
 *   REFUSE | errno  do not run it: set orig_rax to -1, answer -errno (errno 0: answer 0), record it as refused
 *   KILL            record it as refused, then kill the whole process, as SECCOMP_RET_KILL_PROCESS would
 *   TRAP            do not run it, record it as refused, deliver SIGSYS with si_code SYS_SECCOMP
 */
#ifndef SENTRA_FILTER_H
#define SENTRA_FILTER_H

#define SENTRA_FILTER_RECORD 0x0000u
#define SENTRA_FILTER_REFUSE 0x1000u
#define SENTRA_FILTER_KILL 0x2000u
#define SENTRA_FILTER_TRAP 0x3000u

#define SENTRA_FILTER_WHAT 0xf000u  /* mask of the kinds above */
#define SENTRA_FILTER_ERRNO 0x0fffu /* mask of the error number */

#endif
