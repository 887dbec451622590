/*
 * scratch.c - arguments that the program cannot change while the kernel reads them.
 *
 * The kernel reads a path or an address from the program's memory after we have looked at it. Another task of the program that waits in a
 * read(2) can have those bytes overwritten in between, by a timer or from the network. So the kernel is given a copy in a place that the
 * program cannot write: the last page of its [vdso], which every process has, which is mapped readable and executable only, and which a
 * tracer can write all the same. Nobody calls what is there: the vDSO is hidden at the start of each image (hide_vdso); where it is not
 * hidden, only the zeros behind its code are used. It is no stack: tasks with tiny stacks (goroutines) and red zones need no thought.
 *
 * A task that could make the page writable is in user code, which is why calls that are decided on by their argument keep the turn until
 * they wait; by then the kernel has its copy, and the bytes that were there are put back (else at the call's exit). So a slot is in use for
 * moments; there are a few because a task that is slow to start its call may hold one. They are the run's: tasks may share memory.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <unistd.h>

#include "run.h"

/* The end of the vDSO of the task, 0 when it is not there as the kernel made it. */
static uint64_t find_vdso(const struct task *task)
{
    char path[64], line[512];
    uint64_t found = 0;
    FILE *maps;

    snprintf(path, sizeof path, "/proc/%d/maps", task->tid);
    maps = fopen(path, "re");
    while (maps && !found && fgets(line, sizeof line, maps)) {
        unsigned long long from, to;
        char rights[8];

        if (strstr(line, "[vdso]") && sscanf(line, "%llx-%llx %7s", &from, &to, rights) == 3 && !strcmp(rights, "r-xp"))
            found = to;
    }
    if (maps)
        fclose(maps);
    return found;
}

static int write_words(const struct task *task, uint64_t address, const unsigned char *data, size_t bytes)
{
    for (size_t at = 0; at < bytes; at += 8) {
        uint64_t word;

        memcpy(&word, data + at, 8);
        if (ptrace(PTRACE_POKEDATA, task->tid, address + at, word))
            return -1;
    }
    return 0;
}

/* Whole words into memory that the task itself may not write: at once where the kernel lets /proc/PID/mem do that, else one by one. */
static int force(const struct task *task, uint64_t address, const unsigned char *data, size_t bytes)
{
    char path[64];
    ssize_t put = -1;
    int mem;

    snprintf(path, sizeof path, "/proc/%d/mem", task->tid);
    mem = open(path, O_WRONLY | O_CLOEXEC);
    if (mem >= 0) {
        put = pwrite(mem, data, bytes, (off_t)address);
        close(mem);
    }
    return put == (ssize_t)bytes ? 0 : write_words(task, address, data, bytes);
}

static int is_zero(const unsigned char *bytes, size_t count)
{
    return !bytes[0] && !memcmp(bytes, bytes + 1, count - 1);
}

/* A slot of the task's for one call. 0 and *address: where it lies; -1: there is no place. */
int scratch_take(struct sentra_run *run, struct task *task, uint64_t *address)
{
    struct scratch *scratch = &task->scratch;
    uint64_t end = scratch->slot ? 0 : find_vdso(task);
    uint8_t slot = 0;

    while (slot < SCRATCH_SLOTS && (run->network.scratch_used >> slot & 1))
        slot++;
    if (!end || slot == SCRATCH_SLOTS)
        return -1;
    scratch->address = end - (slot + 1u) * SCRATCH_BYTES;
    if (peek(task, scratch->address, scratch->before, SCRATCH_BYTES) != (int)SCRATCH_BYTES)
        return -1;
    if (!run->options.hide_vdso && !is_zero(scratch->before, SCRATCH_BYTES))
        return -1;
    scratch->slot = slot + 1;
    scratch->filled = 0;
    run->network.scratch_used |= (uint8_t)(1u << slot);
    *address = scratch->address;
    return 0;
}

/* What the kernel is to see there, SCRATCH_BYTES at most. 0 or -1 */
int scratch_fill(struct task *task, const void *data, size_t bytes)
{
    unsigned char words[SCRATCH_BYTES];
    struct scratch *scratch = &task->scratch;

    if (!scratch->slot || bytes > sizeof words)
        return -1;
    memcpy(words, scratch->before, sizeof words);
    memcpy(words, data, bytes);
    scratch->filled = (uint16_t)((bytes + 7) & ~(size_t)7);
    return force(task, scratch->address, words, scratch->filled);
}

/* The call is over: the bytes that were there. */
void scratch_restore(struct sentra_run *run, struct task *task)
{
    if (task->scratch.filled)
        force(task, task->scratch.address, task->scratch.before, task->scratch.filled);
    scratch_release(run, task);
}

void scratch_release(struct sentra_run *run, struct task *task)
{
    if (task->scratch.slot)
        run->network.scratch_used &= (uint8_t)~(1u << (task->scratch.slot - 1));
    task->scratch.slot = 0;
}
