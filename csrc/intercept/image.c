/*
 * image.c - a new program image after exec: hide the vDSO, record the initial stack, name the files.
 *
 * At the exec event the kernel has built the stack (arguments, environment, auxiliary vector) and nothing of the program has run.
 * Overwriting the type of the AT_SYSINFO_EHDR entry with AT_IGNORE makes glibc, musl and Go call the kernel for the time.
 */
#define _GNU_SOURCE
#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <unistd.h>

#include "run.h"

#define STACK_RECORDED_MAX (192u * 1024u)
#define IMAGES_MAX 4u

struct image_maps {
    uint64_t stack_end;
    uint64_t starts[IMAGES_MAX];
    char names[IMAGES_MAX][512];
    uint32_t count;
};

/* Finds the stack's end and the first mapping of each file (the program and its interpreter). */
static void read_maps(const struct task *task, struct image_maps *out)
{
    char path[64], line[5000], last[4096] = "";
    FILE *maps;

    memset(out, 0, sizeof *out);
    snprintf(path, sizeof path, "/proc/%d/maps", task->tid);
    maps = fopen(path, "re");
    if (!maps)
        return;
    while (fgets(line, sizeof line, maps)) {
        unsigned long long from, to;
        const char *name = strchr(line, '/');

        if (sscanf(line, "%llx-%llx", &from, &to) != 2)
            continue;
        if (strstr(line, "[stack]"))
            out->stack_end = to;
        if (!name || strcmp(name, last) == 0 || out->count == IMAGES_MAX)
            continue;
        snprintf(last, sizeof last, "%s", name);
        snprintf(out->names[out->count], sizeof out->names[0], "%.*s", (int)strcspn(name, "\n"), name);
        out->starts[out->count++] = from;
    }
    fclose(maps);
}

/* Steps over the zero-terminated words at `address`; returns the address after the zero, 0 when unreadable. */
static uint64_t skip_words(const struct task *task, uint64_t address)
{
    uint64_t words[512];

    for (int rounds = 0; rounds < 4096; rounds++) {
        int got = peek(task, address, words, sizeof words) / 8;

        if (got <= 0)
            return 0;
        for (int index = 0; index < got; index++)
            if (!words[index])
                return address + (uint64_t)(index + 1) * 8;
        address += (uint64_t)got * 8;
    }
    return 0;
}

static void hide_vdso(const struct task *task, uint64_t sp)
{
    uint64_t argc = 0, auxv, entry[2];

    if (peek(task, sp, &argc, 8) != 8)
        return;
    auxv = skip_words(task, sp + 8 + argc * 8 + 8);
    while (auxv && peek(task, auxv, entry, sizeof entry) == (int)sizeof entry && entry[0] != AT_NULL) {
        if (entry[0] == AT_SYSINFO_EHDR) {
            uint64_t ignore = AT_IGNORE;

            poke(task, auxv, &ignore, sizeof ignore);
        }
        auxv += sizeof entry;
    }
}

static void append_link(struct sentra_event *event, const struct task *task, const char *name, uint8_t arg)
{
    char path[64], target[4096];
    ssize_t length;

    snprintf(path, sizeof path, "/proc/%d/%s", task->tid, name);
    length = readlink(path, target, sizeof target);
    if (length < 0)
        length = 0;
    memcpy(event_segment(event, 0, (uint32_t)length, SENTRA_SEGMENT_INFO, arg, 0), target, (size_t)length);
}

static void append_stack(struct sentra_event *event, const struct task *task, uint64_t sp, uint64_t end)
{
    uint64_t size = end > sp ? end - sp : 0;
    uint16_t flags = 0;
    unsigned char *data;
    int got;

    if (size > STACK_RECORDED_MAX) {
        size = STACK_RECORDED_MAX;
        flags = SENTRA_SEGMENT_TRUNCATED;
    }
    data = (unsigned char *)event + event->size + sizeof(struct sentra_segment);
    got = peek(task, sp, data, size);
    event_segment(event, sp, got > 0 ? (uint32_t)got : 0, SENTRA_SEGMENT_INFO, 2, flags);
}

/* Arguments and environment above what one record holds go ahead in DATA events, as for any large buffer. */
static void spill_stack(struct sentra_run *run, const struct task *task, uint64_t sp, uint64_t end)
{
    for (uint64_t at = sp; at < end; at += SENTRA_SPILL_CHUNK) {
        uint32_t chunk = end - at < SENTRA_SPILL_CHUNK ? (uint32_t)(end - at) : SENTRA_SPILL_CHUNK;
        uint64_t args[3] = {sp, at - sp, SENTRA_SEGMENT_INFO};
        struct sentra_event *event = event_begin(run, (uint32_t)sizeof *event + 24 + 16 + chunk, SENTRA_EVENT_DATA, task);
        unsigned char *data;
        int got;

        if (!event)
            return;
        event->nr = 2;
        event_args(event, args, 3);
        data = (unsigned char *)event + event->size + sizeof(struct sentra_segment);
        got = peek(task, at, data, chunk);
        if (got <= 0)
            return;
        event_segment(event, at, (uint32_t)got, SENTRA_SEGMENT_INFO, 2, 0);
        event_commit(run, event);
    }
}

/* Until the EXEC event the task has the number it made the call under; from then on it has its process's. */
void image_loaded(struct sentra_run *run, struct task *task)
{
    int32_t old_inner_tid = task->inner_tid;
    struct user_regs_struct regs;
    struct image_maps maps;
    struct file_identity identity;
    uint32_t files[IMAGES_MAX];
    uint64_t args[2], size;
    struct sentra_event *event;
    char path[640];

    if (ptrace(PTRACE_GETREGS, task->tid, 0, &regs))
        return;
    if (run->options.hide_vdso)
        hide_vdso(task, regs.rsp);
    read_maps(task, &maps);
    for (uint32_t index = 0; index < maps.count; index++) {
        if (index == 0)
            snprintf(path, sizeof path, "/proc/%d/exe", task->tid);
        else
            snprintf(path, sizeof path, "/proc/%d/root%s", task->tid, maps.names[index]);
        files[index] = file_register(run, task, path, &identity);
    }
    size = maps.stack_end > regs.rsp ? maps.stack_end - regs.rsp : 0;
    if (size > STACK_RECORDED_MAX)
        spill_stack(run, task, regs.rsp, maps.stack_end);
    task->inner_tid = task->inner_tgid;
    event = event_begin(run, (uint32_t)sizeof *event + 16 + 2 * (16 + 4096) + 16 + STACK_RECORDED_MAX + IMAGES_MAX * 24, SENTRA_EVENT_EXEC, task);
    if (!event)
        return;
    args[0] = (uint64_t)old_inner_tid;
    args[1] = regs.rsp;
    event_args(event, args, 2);
    append_link(event, task, "exe", 0);
    append_link(event, task, "cwd", 1);
    if (size > STACK_RECORDED_MAX)
        memcpy(event_segment(event, regs.rsp, 8, SENTRA_SEGMENT_INFO, 2, SENTRA_SEGMENT_SPILLED), &size, 8);
    else
        append_stack(event, task, regs.rsp, maps.stack_end);
    for (uint32_t index = 0; index < maps.count; index++)
        if (files[index])
            memcpy(event_segment(event, maps.starts[index], 4, SENTRA_SEGMENT_FILE, (uint8_t)index, 0), &files[index], 4);
    event_commit(run, event);
}
