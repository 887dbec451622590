/* tracee.c - see tracee.h. Every function may fail because the task was killed meanwhile. */
#define _GNU_SOURCE
#include "tracee.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <unistd.h>

#define GET_SYSCALL_INFO 0x420e
#define HASH_BYTES_MAX (256ull << 20)

const size_t argument_registers[6] = {REGISTER(rdi), REGISTER(rsi), REGISTER(rdx), REGISTER(r10), REGISTER(r8), REGISTER(r9)};

int tracee_read(pid_t tid, uint64_t address, void *out, size_t bytes)
{
    struct iovec local = {out, bytes};
    struct iovec remote = {(void *)(uintptr_t)address, bytes}; /* NOLINT: an address in the tracee */
    ssize_t got;

    if (!bytes)
        return 0;
    got = process_vm_readv(tid, &local, 1, &remote, 1, 0);
    return got > 0 ? (int)got : -1;
}

int tracee_write(pid_t tid, uint64_t address, const void *data, size_t bytes)
{
    struct iovec local = {(void *)(uintptr_t)data, bytes};
    struct iovec remote = {(void *)(uintptr_t)address, bytes};

    return process_vm_writev(tid, &local, 1, &remote, 1, 0) == (ssize_t)bytes ? 0 : -1;
}

int tracee_call_info(pid_t tid, struct syscall_info *info, uint8_t op)
{
    long got = ptrace((enum __ptrace_request)GET_SYSCALL_INFO, tid, sizeof *info, info);

    return got > 0 && info->op == op ? 0 : -1;
}

int tracee_set_register(pid_t tid, size_t offset, uint64_t value)
{
    return ptrace(PTRACE_POKEUSER, tid, offset, value) ? -1 : 0;
}

int tracee_debug_register(pid_t tid, int number, uint64_t value)
{
    return tracee_set_register(tid, offsetof(struct user, u_debugreg) + (size_t)number * 8, value);
}

int tracee_status(pid_t tid, char *text, size_t size)
{
    char path[64];
    int fd;
    ssize_t got;

    snprintf(path, sizeof path, "/proc/%d/status", tid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    got = read(fd, text, size - 1);
    close(fd);
    if (got <= 0)
        return -1;
    text[got] = 0;
    return 0;
}

int tracee_sleeps(pid_t tid)
{
    char text[4096];
    const char *line;

    if (tracee_status(tid, text, sizeof text))
        return 0;
    line = strstr(text, "\nState:\t");
    return line && (line[8] == 'S' || line[8] == 'D');
}

/* The last number of a line like "NSpid:\t4711\t12": the id in the innermost namespace. */
static int last_number(const char *text, const char *key, int32_t *out)
{
    const char *line = strstr(text, key);
    char *end;

    if (!line)
        return -1;
    line += strlen(key);
    while (*line == '\t' || *line == ' ') {
        *out = (int32_t)strtol(line, &end, 10);
        line = end;
    }
    return 0;
}

int tracee_ids(pid_t tid, int32_t *tgid, int32_t *inner_tid, int32_t *inner_tgid)
{
    char text[4096];
    const char *line;

    if (tracee_status(tid, text, sizeof text))
        return -1;
    line = strstr(text, "\nTgid:\t");
    if (!line)
        return -1;
    *tgid = (int32_t)strtol(line + 7, NULL, 10);
    return last_number(text, "\nNSpid:", inner_tid) || last_number(text, "\nNStgid:", inner_tgid) ? -1 : 0;
}

int tracee_kill(pid_t pid, int signo)
{
    return pid > 1 ? kill(pid, signo) : -1;
}

int tracee_has_handler(pid_t tid, int signo)
{
    char text[4096];
    const char *line;

    if (tracee_status(tid, text, sizeof text))
        return 0;
    line = strstr(text, "\nSigCgt:");
    return line ? (int)(strtoull(line + 8, NULL, 16) >> (signo - 1) & 1) : 0;
}

int tracee_is_fault(const siginfo_t *info)
{
    switch (info->si_signo) {
    case SIGSEGV:
    case SIGBUS:
    case SIGFPE:
    case SIGILL:
    case SIGTRAP:
    case SIGSYS:
        return info->si_code > 0;
    default:
        return 0;
    }
}

/* Gives a new task the arguments that its parent's call had before they were changed; its stack and result stay its own. */
void tracee_restore_arguments(pid_t tid, const struct user_regs_struct *before)
{
    struct user_regs_struct regs;

    if (ptrace(PTRACE_GETREGS, tid, 0, &regs))
        return;
    regs.rdi = before->rdi;
    regs.rsi = before->rsi;
    regs.rdx = before->rdx;
    regs.r10 = before->r10;
    regs.r8 = before->r8;
    regs.r9 = before->r9;
    ptrace(PTRACE_SETREGS, tid, 0, &regs);
}

/* ---- the complete state ---- */

static uint64_t mix(uint64_t hash, const uint64_t *words, size_t count)
{
    for (size_t index = 0; index < count; index++)
        hash = (hash ^ words[index]) * 0x9e3779b97f4a7c15ull ^ (hash >> 29);
    return hash;
}

static uint64_t hash_memory(pid_t tid, uint64_t hash)
{
    static _Thread_local uint64_t page[32768]; /* 256 KiB */
    char path[64], line[512];
    uint64_t total = 0;
    FILE *maps;

    snprintf(path, sizeof path, "/proc/%d/maps", tid);
    maps = fopen(path, "re");
    if (!maps)
        return 0;
    while (fgets(line, sizeof line, maps)) {
        unsigned long long from, to;
        char rights[8];

        if (sscanf(line, "%llx-%llx %7s", &from, &to, rights) != 3 || rights[1] != 'w')
            continue;
        for (uint64_t at = from; at < to && total <= HASH_BYTES_MAX;) {
            uint64_t want = to - at < sizeof page ? to - at : sizeof page;
            int got = tracee_read(tid, at, page, want);

            if (got <= 0)
                break;
            hash = mix(hash, page, (size_t)got / 8);
            at += (uint64_t)got;
            total += (uint64_t)got;
        }
    }
    fclose(maps);
    return total > HASH_BYTES_MAX ? 0 : hash | 1;
}

uint64_t tracee_state_hash(pid_t tid, const struct user_regs_struct *regs)
{
    struct user_regs_struct clean = *regs;

    clean.eflags &= ~0x10000ul; /* the resume flag is the debugger's, not the program's */
    clean.orig_rax = 0;
    return hash_memory(tid, mix(1, (const uint64_t *)&clean, sizeof clean / 8));
}
