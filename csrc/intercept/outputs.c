/*
 * outputs.c - at a call's completion: the memory that the kernel wrote becomes items of the record.
 *
 * Where the kernel wrote is decided by what the stash kept at entry (vectors, message headers), not by what the program's memory says
 * now; only lengths that the kernel itself stores are read again. Large inputs that were not taken at entry (inputs.c) are added here
 * too, as far as they were consumed.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/sched.h>
#include <string.h>
#include <sys/socket.h>

#include "capture.h"

/* Data of a vector whose copy is in the stash: what the kernel wrote, or a large input as far as it was consumed. */
static void output_vector(struct task *task, uint64_t address, int64_t result, uint8_t kind, uint8_t arg)
{
    uint32_t size = 0;
    const unsigned char *copy = stashed(task, address, arg, &size);

    if (copy && result > 0)
        item_vector(address, (const struct iovec *)copy, size / (uint32_t)sizeof(struct iovec), (uint64_t)result, kind, arg);
}

static int vector_total_is_large(const struct task *task, uint64_t address, uint8_t arg)
{
    uint32_t size = 0;
    const struct iovec *entries = (const struct iovec *)stashed(task, address, arg, &size);
    uint64_t total = 0;

    for (uint32_t index = 0; entries && index < size / sizeof *entries; index++)
        total += entries[index].iov_len < TRANSFER_MAX ? entries[index].iov_len : TRANSFER_MAX;
    return total > SENTRA_SPILL_CHUNK;
}

static void output_message(struct task *task, uint64_t address, const struct msghdr *before, int64_t bytes, uint8_t arg, uint8_t direction)
{
    uint64_t vector = (uint64_t)(uintptr_t)before->msg_iov;
    struct msghdr after;

    if (direction == SENTRA_DIR_IN) {
        if (vector_total_is_large(task, vector, arg))
            output_vector(task, vector, bytes, SENTRA_SEGMENT_IN, arg);
        return;
    }
    if (peek(task, address, &after, sizeof after) != (int)sizeof after)
        return;
    if (before->msg_name && after.msg_namelen)
        item_add((uint64_t)(uintptr_t)before->msg_name, after.msg_namelen < before->msg_namelen ? after.msg_namelen : before->msg_namelen,
                 SENTRA_SEGMENT_OUT, arg);
    output_vector(task, vector, bytes, SENTRA_SEGMENT_OUT, arg);
    if (before->msg_control && after.msg_controllen && after.msg_controllen <= before->msg_controllen)
        item_add((uint64_t)(uintptr_t)before->msg_control, after.msg_controllen, SENTRA_SEGMENT_OUT, arg);
}

static void output_messages(struct task *task, uint64_t address, int64_t result, int many, uint8_t arg, uint8_t direction)
{
    uint32_t size = 0, stride = many ? sizeof(struct mmsghdr) : sizeof(struct msghdr);
    const unsigned char *copy = stashed(task, address, arg, &size);
    uint32_t count = size / stride;

    if (!copy || result < 0)
        return;
    if (many && count > (uint64_t)result)
        count = (uint32_t)result;
    if (count && (many || direction == SENTRA_DIR_OUT))
        item_add(address, (uint64_t)count * stride, SENTRA_SEGMENT_OUT, arg);
    for (uint32_t index = 0; index < count; index++) {
        uint64_t at = address + index * stride;
        struct msghdr before;
        uint32_t bytes = 0;

        memcpy(&before, copy + index * stride, sizeof before);
        if (many)
            peek(task, at + sizeof(struct msghdr), &bytes, 4);
        output_message(task, at, &before, many ? (int64_t)bytes : result, arg, direction);
    }
}

/* struct ifconf: a length and the address of that many bytes. */
static void output_ifconf(const struct task *task, uint64_t address, int64_t result, uint8_t arg)
{
    struct {
        int32_t length;
        uint64_t buffer;
    } now;

    if (result < 0 || peek(task, address, &now, sizeof now) != (int)sizeof now)
        return;
    item_add(address, sizeof now, SENTRA_SEGMENT_OUT, arg);
    if (now.buffer && now.length > 0)
        item_add(now.buffer, (uint32_t)now.length, SENTRA_SEGMENT_OUT, arg);
}

static int wrote_something(const struct call *call, int64_t result)
{
    return result >= 0 || (call->row->flags & SENTRA_CALL_OUT_ON_ERROR) || result == -EINTR || (result <= -512 && result >= -516);
}

static void capture_output(struct task *task, uint8_t arg, const struct sentra_arg_row *row, int64_t result)
{
    struct call *call = &task->call;
    uint64_t address = call->args[arg];
    uint64_t size;

    if (!address || row->memory == SENTRA_MEM_NONE || row->memory == SENTRA_MEM_STRING)
        return;
    if (row->memory == SENTRA_MEM_IFCONF) {
        output_ifconf(task, address, result, arg);
    } else if (row->memory == SENTRA_MEM_STRINGS) {
        if (result < 0 && arg == 1)
            stash_strings(task, address, arg);
    } else if (row->memory == SENTRA_MEM_IOVEC) {
        if (row->direction == SENTRA_DIR_OUT)
            output_vector(task, address, result, SENTRA_SEGMENT_OUT, arg);
        else if (vector_total_is_large(task, address, arg))
            output_vector(task, address, result, SENTRA_SEGMENT_IN, arg);
    } else if (row->memory == SENTRA_MEM_MSGHDR || row->memory == SENTRA_MEM_MMSGHDR) {
        output_messages(task, address, result, row->memory == SENTRA_MEM_MMSGHDR, arg, row->direction);
    } else if (row->direction & SENTRA_DIR_OUT) {
        size = wrote_something(call, result) ? row_size(row, call, task, result, 1) : 0;
        if (size)
            item_add(address, size, SENTRA_SEGMENT_OUT, arg);
    } else if (consumes(row) && result > 0 && (size = row_size(row, call, task, 0, 0)) > SENTRA_SPILL_CHUNK) {
        item_add(address, size < (uint64_t)result ? size : (uint64_t)result, SENTRA_SEGMENT_IN, arg);
    }
}

/* What clone3 writes besides: the child's descriptor and number, where its arguments say. */
static void output_clone3(const struct task *task, int64_t result)
{
    uint32_t size = 0;
    const unsigned char *copy = stashed(task, task->call.args[0], 0, &size);
    struct {
        uint64_t flags, pidfd, child_tid, parent_tid;
    } wanted;

    if (result <= 0 || !copy || size < sizeof wanted)
        return;
    memcpy(&wanted, copy, sizeof wanted);
    if (wanted.flags & CLONE_PIDFD)
        item_add(wanted.pidfd, 4, SENTRA_SEGMENT_OUT, 0);
    if (wanted.flags & CLONE_PARENT_SETTID)
        item_add(wanted.parent_tid, 4, SENTRA_SEGMENT_OUT, 0);
}

/* Nothing was written by a call that was not executed, is still in the kernel, or does not return. */
void capture_outputs(struct task *task, int64_t result, uint16_t flags)
{
    const struct call *call = &task->call;
    struct sentra_arg_row scratch;

    if (call->row && !(flags & (SENTRA_FLAG_REFUSED | SENTRA_FLAG_IN_FLIGHT)) && !(call->row->flags & SENTRA_CALL_NO_RETURN))
        for (uint8_t arg = 0; arg < call->row->nargs; arg++)
            capture_output(task, arg, row_of(call, arg, &scratch), result);
    if (call->nr == SENTRA_NR_clone3)
        output_clone3(task, result);
}
