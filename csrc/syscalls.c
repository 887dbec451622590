/*
 * syscalls.c - the system call table as C data, and how to find a row.
 *
 * The data are generated (generated/syscall_rows.h, included here and nowhere else). Nothing here allocates or fails.
 */
#include <stddef.h>
#include <sys/syscall.h>

#include "syscalls.h"
#include "generated/syscall_rows.h"

const uint32_t sentra_calls_count = sizeof sentra_calls / sizeof sentra_calls[0];
const uint32_t sentra_commands_count = sizeof sentra_commands / sizeof sentra_commands[0];

const struct sentra_call_row *sentra_call(uint64_t nr)
{
    if (nr >= sentra_calls_count || !sentra_calls[nr].name)
        return NULL;
    return &sentra_calls[nr];
}

/* The first row of nr at or after which `command` would stand; rows are sorted by nr, then command. */
static uint32_t lower_bound(uint32_t nr, uint32_t command)
{
    uint32_t low = 0, high = sentra_commands_count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        const struct sentra_command_row *row = &sentra_commands[middle];

        if (row->nr < nr || (row->nr == nr && row->command < command))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

const struct sentra_command_row *sentra_command(uint32_t nr, const uint64_t *args)
{
    const struct sentra_command_row *row;
    uint32_t index = lower_bound(nr, 0);
    uint32_t command;

    if (index == sentra_commands_count || sentra_commands[index].nr != nr)
        return NULL;
    row = &sentra_commands[index];   /* all rows of one call share selector and mask */
    command = (uint32_t)args[row->selector_arg] & row->selector_mask;
    index = lower_bound(nr, command);
    if (index == sentra_commands_count)
        return NULL;
    row = &sentra_commands[index];
    return row->nr == nr && row->command == command ? row : NULL;
}

uint64_t sentra_arg_value(const struct sentra_arg_row *row, uint64_t raw)
{
    if (row->memory != SENTRA_MEM_NONE || row->kind >= sizeof kind_is_narrow || !kind_is_narrow[row->kind])
        return raw;
    return (uint32_t)raw;
}
