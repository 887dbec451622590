/*
 * rows.c - what the table's rows say of an argument of the call at hand.
 *
 * Answers only, from the rows, the call and the lengths that the program's memory holds. Nothing is captured here.
 */
#define _GNU_SOURCE
#include <sys/syscall.h>

#include "capture.h"

static const struct sentra_arg_row *command_row(const struct call *call, uint8_t arg)
{
    if (call->command)
        for (uint8_t index = 0; index < call->command->rows; index++)
            if (call->command->args[index].arg == arg)
                return &call->command->args[index].row;
    return NULL;
}

/* An ioctl that no row describes says its size and direction in its number, if it is a modern one. */
int unknown_ioctl(const struct call *call, struct sentra_arg_row *row)
{
    uint32_t command = (uint32_t)call->args[1];
    uint32_t direction = command >> 30, size = (command >> 16) & 0x3fff;

    if (call->nr != SYS_ioctl || call->command || !direction || !size)
        return 0;
    *row = (struct sentra_arg_row){.memory = SENTRA_MEM_BYTES,
                                   .size = SENTRA_SIZE_ONE,
                                   .unit = (uint16_t)size,
                                   .direction = (uint8_t)((direction & 1 ? SENTRA_DIR_IN : 0) | (direction & 2 ? SENTRA_DIR_OUT : 0))};
    return 1;
}

const struct sentra_arg_row *row_of(const struct call *call, uint8_t arg, struct sentra_arg_row *scratch)
{
    const struct sentra_arg_row *row = command_row(call, arg);

    if (row)
        return row;
    if (arg == 2 && unknown_ioctl(call, scratch))
        return scratch;
    return &call->row->args[arg];
}

/* A count as the kernel reads it: of a 32-bit argument the upper half does not count. */
uint64_t count_argument(const struct call *call, uint8_t arg)
{
    return sentra_arg_value(&call->row->args[arg], call->args[arg]);
}

uint64_t row_size(const struct sentra_arg_row *row, const struct call *call, const struct task *task, int64_t result, int after)
{
    uint64_t count = 1, now, plus = row->size & SENTRA_SIZE_PLUS8 ? 8 : 0;
    uint32_t now32;

    switch (row->size & SENTRA_SIZE_RULE) {
    case SENTRA_SIZE_ARG:
        count = count_argument(call, row->size_arg);
        break;
    case SENTRA_SIZE_PAGES:
        count = (count_argument(call, row->size_arg) + 4095) / 4096;
        break;
    case SENTRA_SIZE_RESULT:
        count = result > 0 ? (uint64_t)result : 0;
        break;
    case SENTRA_SIZE_RESULT_CAPPED:
        count = result > 0 ? (uint64_t)result : 0;
        if (count > count_argument(call, row->size_arg))
            count = count_argument(call, row->size_arg);
        break;
    case SENTRA_SIZE_AT_ARG:
        count = call->capacity[row->size_arg];
        if (after && peek(task, call->args[row->size_arg], &now32, 4) == 4 && now32 < count)
            count = now32;
        break;
    case SENTRA_SIZE_AT_ARG64:
        count = call->capacity[row->size_arg];
        if (after && peek(task, call->args[row->size_arg], &now, 8) == 8 && now < count)
            count = now;
        break;
    default:
        break;
    }
    if (row->memory == SENTRA_MEM_FDSET)
        return count > 1048576 ? 131072 : (count + 63) / 64 * 8;
    if (count > UINT32_MAX / (row->unit ? row->unit : 1))
        count = UINT32_MAX / (row->unit ? row->unit : 1);
    return plus + count * (row->unit ? row->unit : 1);
}

/* The program offers "up to n bytes" and the kernel takes what it can (see inputs.c). */
int consumes(const struct sentra_arg_row *row)
{
    return row->memory == SENTRA_MEM_BYTES && (row->size & SENTRA_SIZE_RULE) == SENTRA_SIZE_ARG && row->unit == 1 &&
           row->direction == SENTRA_DIR_IN;
}
