/*
 * mappings.c - files that processes of the run have mapped, and writes that such a mapping shows.
 *
 * A mapping of a file shows what is written to the file later, except for pages that were changed privately. Where the trace keeps such
 * writes (shared mappings, contents.c) a replay makes them too. Others cost the grade: a write that hits a file which a live process still
 * has mapped is noted. Whether it has is looked up in /proc when it matters, so unmapping need not be followed.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "run.h"

static uint32_t slot_of(const struct sentra_run *run, uint64_t dev, uint64_t ino)
{
    uint64_t hash = (ino ^ dev << 32) * 0x9e3779b97f4a7c15ull;

    return (uint32_t)(hash >> 32) & (run->mapped_capacity - 1);
}

static int grow(struct sentra_run *run)
{
    uint32_t capacity = run->mapped_capacity ? run->mapped_capacity * 2 : 256;
    struct mapped_by *old = run->mapped, *table = calloc(capacity, sizeof *table);
    uint32_t count = run->mapped_capacity;

    if (!table)
        return -1;
    run->mapped = table;
    run->mapped_capacity = capacity;
    run->mapped_count = 0;
    for (uint32_t index = 0; index < count; index++)
        if (old[index].tgid)
            mapping_remember(run, old[index].dev, old[index].ino, old[index].tgid);
    free(old);
    return 0;
}

/* A process has mapped this file. */
void mapping_remember(struct sentra_run *run, uint64_t dev, uint64_t ino, int32_t tgid)
{
    uint32_t at;

    if (run->mapped_count * 2 >= run->mapped_capacity && grow(run))
        return;
    for (at = slot_of(run, dev, ino); run->mapped[at].tgid; at = (at + 1) & (run->mapped_capacity - 1))
        if (run->mapped[at].dev == dev && run->mapped[at].ino == ino && run->mapped[at].tgid == tgid)
            return;
    run->mapped[at] = (struct mapped_by){dev, ino, tgid};
    run->mapped_count++;
}

/* Does the process have the file mapped now? */
static int maps_now(int32_t tgid, uint64_t dev, uint64_t ino)
{
    char path[64], line[512];
    int found = 0;
    FILE *maps;

    snprintf(path, sizeof path, "/proc/%d/maps", tgid);
    maps = fopen(path, "re");
    while (maps && !found && fgets(line, sizeof line, maps)) {
        unsigned int major_number, minor_number;
        unsigned long long inode;

        found = sscanf(line, "%*s %*s %*s %x:%x %llu", &major_number, &minor_number, &inode) == 3 && inode == ino &&
                makedev(major_number, minor_number) == dev;
    }
    if (maps)
        fclose(maps);
    return found;
}

/* The file is mapped by some process of the run. */
int mapping_is_live(const struct sentra_run *run, uint64_t dev, uint64_t ino)
{
    if (!run->mapped_capacity)
        return 0;
    for (uint32_t at = slot_of(run, dev, ino); run->mapped[at].tgid; at = (at + 1) & (run->mapped_capacity - 1))
        if (run->mapped[at].dev == dev && run->mapped[at].ino == ino && maps_now(run->mapped[at].tgid, dev, ino))
            return 1;
    return 0;
}
