/*
 * cpu.c - what this processor can do, as programs see it: the CPUID leaves that name features of user code, and XCR0.
 *
 * A replay executes the program's own instructions, so it needs the features that the recorded processor had. Only raw registers are
 * read here; their names are in sentra_sandbox/record/host.py. CPUID cannot fail; a leaf that does not exist reads as zeros.
 */
#include <cpuid.h>
#include <string.h>

#include "sentra.h"

#define CPUID_OSXSAVE (1u << 27) /* leaf 1 ecx: XGETBV may be executed */

static const uint32_t wanted[][2] = {{1, 0}, {7, 0}, {7, 1}, {0xd, 0}, {0xd, 1}, {0x80000001u, 0}};

_Static_assert(sizeof wanted / sizeof wanted[0] == SENTRA_CPU_LEAVES, "sentra.cdef.h says how many leaves there are");

static void read_leaf(struct sentra_cpu_leaf *leaf, uint32_t number, uint32_t subleaf)
{
    memset(leaf, 0, sizeof *leaf);
    leaf->leaf = number;
    leaf->subleaf = subleaf;
    if (__get_cpuid_max(number & 0x80000000u, NULL) >= number)
        __cpuid_count(number, subleaf, leaf->eax, leaf->ebx, leaf->ecx, leaf->edx);
}

static uint64_t read_xcr0(void)
{
    uint32_t low, high;

    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

/* Intel SDM volume 2, CPUID, leaf 1: the extended fields count only for some families. */
static void read_identity(struct sentra_cpu_features *out)
{
    uint32_t signature = out->leaves[0].eax, registers[4] = {0};

    out->family = signature >> 8 & 0xf;
    out->model = signature >> 4 & 0xf;
    out->stepping = signature & 0xf;
    if (out->family == 6 || out->family == 15)
        out->model |= (signature >> 16 & 0xf) << 4;
    if (out->family == 15)
        out->family += signature >> 20 & 0xff;
    __cpuid(0, registers[0], registers[1], registers[2], registers[3]);
    memcpy(out->vendor, &registers[1], 4);
    memcpy(out->vendor + 4, &registers[3], 4);
    memcpy(out->vendor + 8, &registers[2], 4);
}

void sentra_cpu_features(struct sentra_cpu_features *out)
{
    memset(out, 0, sizeof *out);
    for (uint32_t index = 0; index < SENTRA_CPU_LEAVES; index++)
        read_leaf(&out->leaves[index], wanted[index][0], wanted[index][1]);
    read_identity(out);
    if (out->leaves[0].ecx & CPUID_OSXSAVE)
        out->xcr0 = read_xcr0();
}
