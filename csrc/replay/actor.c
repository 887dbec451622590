/* actor.c - the tasks of a replay, by the number the trace gives them, and the bytes that wait for their next call. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>

#include "replay.h"

static struct actor **bucket(struct sentra_replay *replay, int32_t inner_tid)
{
    return &replay->actors[(uint32_t)inner_tid % ACTOR_BUCKETS];
}

struct actor *actor_find(struct sentra_replay *replay, int32_t inner_tid)
{
    struct actor *actor = *bucket(replay, inner_tid);

    while (actor && actor->inner_tid != inner_tid)
        actor = actor->next;
    return actor;
}

struct actor *actor_by_tid(struct sentra_replay *replay, int32_t tid)
{
    for (uint32_t index = 0; index < ACTOR_BUCKETS; index++)
        for (struct actor *actor = replay->actors[index]; actor; actor = actor->next)
            if (actor->tid == tid)
                return actor;
    return NULL;
}

struct actor *actor_add(struct sentra_replay *replay, int32_t tid, int32_t inner_tid, int32_t inner_tgid)
{
    struct actor *actor = calloc(1, sizeof *actor);

    if (!actor)
        return NULL;
    actor->tid = tid;
    actor->inner_tid = inner_tid;
    actor->inner_tgid = inner_tgid;
    actor->chunks_end = &actor->chunks;
    actor->next = *bucket(replay, inner_tid);
    *bucket(replay, inner_tid) = actor;
    replay->live++;
    return actor;
}

static void unlink_actor(struct sentra_replay *replay, struct actor *actor)
{
    struct actor **link = bucket(replay, actor->inner_tid);

    while (*link && *link != actor)
        link = &(*link)->next;
    if (*link)
        *link = actor->next;
}

void actor_renumber(struct sentra_replay *replay, struct actor *actor, int32_t inner_tid)
{
    unlink_actor(replay, actor);
    actor->inner_tid = inner_tid;
    actor->next = *bucket(replay, inner_tid);
    *bucket(replay, inner_tid) = actor;
}

void actor_remove(struct sentra_replay *replay, struct actor *actor)
{
    unlink_actor(replay, actor);
    chunks_drop(actor);
    descriptors_drop(actor->descriptors);
    free(actor);
    replay->live--;
}

/* A DATA event: args = address, offset, segment kind. */
void chunk_keep(struct actor *actor, const struct sentra_event *event)
{
    const uint64_t *args = event_args_of(event);
    struct segment_walk walk = segments_of(event);
    const struct sentra_segment *segment = next_segment(&walk);
    struct chunk *chunk;

    if (!segment || event->nargs < 3)
        return;
    chunk = malloc(sizeof *chunk + segment->size);
    if (!chunk)
        return;
    *chunk = (struct chunk){.address = args[0], .offset = args[1], .size = segment->size, .kind = (uint8_t)args[2], .arg = (uint8_t)event->nr};
    memcpy(chunk->data, segment + 1, segment->size);
    *actor->chunks_end = chunk;
    actor->chunks_end = &chunk->next;
}

void chunks_drop(struct actor *actor)
{
    while (actor->chunks) {
        struct chunk *next = actor->chunks->next;

        free(actor->chunks);
        actor->chunks = next;
    }
    actor->chunks_end = &actor->chunks;
}
