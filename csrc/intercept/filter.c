/*
 * filter.c - the decision of our own seccomp program, evaluated again by the supervisor.
 *
 * The kernel tells the tracer the data of the most recently installed filter that said TRACE. A program may install filters of its own
 * and so replace our "refuse" by its own value; therefore the kernel's data is not used: the run's own program is interpreted here on the
 * same input.
 */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>

#include "run.h"

static uint32_t load(const struct seccomp_data *data, uint32_t offset)
{
    if (offset % 4 || offset + 4 > sizeof *data)
        return 0;
    return ((const uint32_t *)data)[offset / 4];
}

static int jump_taken(uint16_t code, uint32_t accumulator, uint32_t operand)
{
    switch (BPF_OP(code)) {
    case BPF_JEQ:
        return accumulator == operand;
    case BPF_JGT:
        return accumulator > operand;
    case BPF_JGE:
        return accumulator >= operand;
    default:
        return (accumulator & operand) != 0;
    }
}

/* The program's return value for this call: action and data. KILL_PROCESS when the program is not one that we could have made. */
uint32_t filter_decide(const struct sentra_run *run, uint32_t arch, uint64_t nr, const uint64_t args[6], uint64_t ip)
{
    struct seccomp_data data = {.nr = (int)nr, .arch = arch, .instruction_pointer = ip,
                                .args = {args[0], args[1], args[2], args[3], args[4], args[5]}};
    uint32_t accumulator = 0;

    for (uint32_t at = 0; at < run->filter_count; at++) {
        const struct sock_filter *step = &run->filter[at];

        switch (BPF_CLASS(step->code)) {
        case BPF_LD:
            accumulator = step->code == (BPF_LD | BPF_W | BPF_ABS) ? load(&data, step->k) : step->k;
            break;
        case BPF_ALU:
            if (BPF_OP(step->code) != BPF_AND)
                return SECCOMP_RET_KILL_PROCESS;
            accumulator &= step->k;
            break;
        case BPF_JMP:
            if (BPF_OP(step->code) == BPF_JA)
                at += step->k;
            else
                at += jump_taken(step->code, accumulator, step->k) ? step->jt : step->jf;
            break;
        case BPF_RET:
            return step->k;
        default:
            return SECCOMP_RET_KILL_PROCESS;
        }
    }
    return SECCOMP_RET_KILL_PROCESS;
}
