/*
 * inputs.c - at a call's entry: the bytes that the program hands over go to the task's stash.
 *
 * A large input of a call that consumes "up to n bytes" is left to the completion (outputs.c), and only what was consumed is read
 * then: a writer that offers 100 MB to a pipe again and again would otherwise cost 100 MB each time.
 */
#define _GNU_SOURCE
#include <string.h>
#include <sys/socket.h>

#include "capture.h"

#define MESSAGES_MAX 32u
#define MESSAGE_STRIDE_MAX 64u
#define NAME_MAX_BYTES 4096u
#define CONTROL_MAX_BYTES 65536u

_Static_assert(sizeof(struct mmsghdr) <= MESSAGE_STRIDE_MAX, "headers are copied into an array of this stride");

/* The vector itself is always kept; its data only when it is the program's and small (see the top of this file). */
static void stash_vector(struct sentra_run *run, struct task *task, uint64_t address, uint64_t count, uint8_t arg, int data_too)
{
    uint32_t size = 0;
    const unsigned char *copy;
    struct item *item;

    if (!count || count > VECTOR_MAX)
        return;
    stash_plain(run, task, address, count * sizeof(struct iovec), arg);
    copy = stashed(task, address, arg, &size);
    if (!copy || !data_too)
        return;
    item = item_vector(address, (const struct iovec *)copy, size / (uint32_t)sizeof(struct iovec), UINT64_MAX, SENTRA_SEGMENT_IN, arg);
    if (item && item->size <= SENTRA_SPILL_CHUNK)
        stash_item(run, task, item);
}

static void stash_message(struct sentra_run *run, struct task *task, const struct msghdr *header, uint8_t arg, uint8_t direction)
{
    if (header->msg_iov && header->msg_iovlen)
        stash_vector(run, task, (uint64_t)(uintptr_t)header->msg_iov, header->msg_iovlen, arg, direction == SENTRA_DIR_IN);
    if (direction != SENTRA_DIR_IN)
        return;
    if (header->msg_name && header->msg_namelen && header->msg_namelen <= NAME_MAX_BYTES)
        stash_plain(run, task, (uint64_t)(uintptr_t)header->msg_name, header->msg_namelen, arg);
    if (header->msg_control && header->msg_controllen && header->msg_controllen <= CONTROL_MAX_BYTES)
        stash_plain(run, task, (uint64_t)(uintptr_t)header->msg_control, header->msg_controllen, arg);
}

static void stash_messages(struct sentra_run *run, struct task *task, uint64_t address, uint64_t count, uint32_t stride, uint8_t arg,
                           uint8_t direction)
{
    unsigned char headers[MESSAGES_MAX * MESSAGE_STRIDE_MAX];
    uint32_t size = 0;
    const unsigned char *copy;

    if (!count || count > MESSAGES_MAX)
        return;
    stash_plain(run, task, address, count * stride, arg);
    copy = stashed(task, address, arg, &size);
    if (!copy)
        return;
    memcpy(headers, copy, size); /* the stash may move while it grows */
    for (uint32_t index = 0; index + 1 <= size / stride; index++) {
        struct msghdr header;

        memcpy(&header, headers + index * stride, sizeof header);
        stash_message(run, task, &header, arg, direction);
    }
}

/* Value-result lengths are overwritten by the call: what they said at entry bounds what it can write. */
static void remember_capacity(struct task *task, const struct sentra_arg_row *row)
{
    struct call *call = &task->call;
    uint32_t small = 0;

    if ((row->size & SENTRA_SIZE_RULE) == SENTRA_SIZE_AT_ARG) {
        peek(task, call->args[row->size_arg], &small, 4);
        call->capacity[row->size_arg] = small;
    } else if ((row->size & SENTRA_SIZE_RULE) == SENTRA_SIZE_AT_ARG64) {
        call->capacity[row->size_arg] = 0;
        peek(task, call->args[row->size_arg], &call->capacity[row->size_arg], 8);
    }
}

static void capture_input(struct sentra_run *run, struct task *task, uint8_t arg, const struct sentra_arg_row *row)
{
    struct call *call = &task->call;
    uint64_t address = call->args[arg];
    uint64_t size;

    if (!address || row->memory == SENTRA_MEM_NONE)
        return;
    remember_capacity(task, row);
    if (row->memory == SENTRA_MEM_IOVEC) {
        stash_vector(run, task, address, count_argument(call, row->size_arg), arg, row->direction == SENTRA_DIR_IN);
        return;
    }
    if (row->memory == SENTRA_MEM_MSGHDR || row->memory == SENTRA_MEM_MMSGHDR) {
        int many = row->memory == SENTRA_MEM_MMSGHDR;

        stash_messages(run, task, address, many ? count_argument(call, row->size_arg) : 1,
                       many ? sizeof(struct mmsghdr) : sizeof(struct msghdr), arg, row->direction);
        return;
    }
    if (!(row->direction & SENTRA_DIR_IN))
        return;
    if (row->memory == SENTRA_MEM_STRING) {
        stash_string(task, address, arg, 4096);
        return;
    }
    if (row->memory == SENTRA_MEM_STRINGS)
        return; /* argv and envp: in the image when the exec succeeds, read at completion when it fails */
    size = row_size(row, call, task, 0, 0);
    if (!size || (consumes(row) && size > SENTRA_SPILL_CHUNK))
        return;
    stash_plain(run, task, address, size, arg);
}

void capture_inputs(struct sentra_run *run, struct task *task)
{
    struct call *call = &task->call;
    struct sentra_arg_row scratch;

    stash_reset(task);
    items_reset();
    if (!call->row)
        return;
    for (uint8_t arg = 0; arg < call->row->nargs; arg++)
        capture_input(run, task, arg, row_of(call, arg, &scratch));
}
