/*
 * feed.c - the recorded events, one after the other, with a look at the next.
 *
 * Another thread reads and unpacks the trace and hands over runs of whole records. They were validated when they were unpacked; sizes
 * are checked again here, since everything after trusts them.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>

#include "replay.h"

#define QUEUE_MAX 4u

int sentra_replay_feed(struct sentra_replay *replay, const void *records, uint64_t bytes)
{
    struct replay_chunk *chunk = malloc(sizeof *chunk + bytes);
    int ended;

    if (!chunk)
        return -1;
    chunk->next = NULL;
    chunk->size = bytes;
    memcpy(chunk->data, records, bytes);
    pthread_mutex_lock(&replay->lock);
    while (replay->queued >= QUEUE_MAX && !replay->stats.finished && replay->held != HELD_DIVERGED && !atomic_load(&replay->stop_requested))
        pthread_cond_wait(&replay->changed, &replay->lock);
    ended = replay->stats.finished || replay->held == HELD_DIVERGED || atomic_load(&replay->stop_requested);
    if (!ended) {
        *replay->queue_end = chunk;
        replay->queue_end = &chunk->next;
        replay->queued++;
        pthread_cond_broadcast(&replay->changed);
    }
    pthread_mutex_unlock(&replay->lock);
    if (ended)
        free(chunk);
    return ended ? -1 : 0;
}

void sentra_replay_feed_end(struct sentra_replay *replay)
{
    pthread_mutex_lock(&replay->lock);
    replay->ended = 1;
    pthread_cond_broadcast(&replay->changed);
    pthread_mutex_unlock(&replay->lock);
}

/* The next run of records, waiting for it; NULL at the end of the trace. */
static struct replay_chunk *take_chunk(struct sentra_replay *replay)
{
    struct replay_chunk *chunk;

    pthread_mutex_lock(&replay->lock);
    while (!replay->queue && !replay->ended && !atomic_load(&replay->stop_requested))
        pthread_cond_wait(&replay->changed, &replay->lock);
    chunk = replay->queue;
    if (chunk) {
        replay->queue = chunk->next;
        if (!replay->queue)
            replay->queue_end = &replay->queue;
        replay->queued--;
        pthread_cond_broadcast(&replay->changed);
    }
    pthread_mutex_unlock(&replay->lock);
    return chunk;
}

static const struct sentra_event *event_at(const struct replay_chunk *chunk, uint64_t position)
{
    const struct sentra_event *event = (const struct sentra_event *)(chunk->data + position);
    uint64_t left = chunk->size - position;

    if (left < sizeof *event || event->size < sizeof *event || event->size % 8 || event->size > left || event->size > SENTRA_RECORD_MAX ||
        sizeof *event + event->nargs * 8u > event->size)
        return NULL;
    return event;
}

/* Notes are for people; the network's events come from another ring and stand anywhere. Neither says anything about what is to be done. */
static int is_beside(const struct sentra_event *event)
{
    return event->type == SENTRA_EVENT_NOTE || event->type >= SENTRA_EVENT_ENDPOINT;
}

/* The event after the current one, without making it the current one; NULL at the end. Those beside the run are skipped. */
const struct sentra_event *feed_peek(struct sentra_replay *replay)
{
    for (;;) {
        const struct sentra_event *event;

        if (!replay->current || replay->position >= replay->current->size) {
            free(replay->current);
            replay->position = 0;
            replay->current = take_chunk(replay);
            if (!replay->current)
                return NULL;
        }
        event = event_at(replay->current, replay->position);
        if (!event || !is_beside(event))
            return event;
        replay->position += event->size;
    }
}

/* More of the trace behind what is there. 0, or -1 at its end. */
static int join_chunk(struct sentra_replay *replay)
{
    struct replay_chunk *next = take_chunk(replay), *joined;
    uint64_t left = replay->current->size - replay->position;

    if (!next)
        return -1;
    joined = malloc(sizeof *joined + left + next->size);
    if (joined) {
        joined->size = left + next->size;
        memcpy(joined->data, replay->current->data + replay->position, left);
        memcpy(joined->data + left, next->data, next->size);
        free(replay->current);
        replay->current = joined;
        replay->position = 0;
    }
    free(next);
    return joined ? 0 : -1;
}

/* Events that come about without a turn: they may stand between a call of the task that has it and the signal that the call returned to. */
static int needs_no_turn(const struct sentra_event *event)
{
    return event->type == SENTRA_EVENT_EXIT || event->type == SENTRA_EVENT_STOP || is_beside(event) ||
           event->type == SENTRA_EVENT_FILE || (event->type == SENTRA_EVENT_SYSCALL && (event->flags & SENTRA_FLAG_IN_FLIGHT));
}

/* The next event of this task if it is in the turn that the task has now, else NULL. */
const struct sentra_event *feed_peek_of(struct sentra_replay *replay, int32_t inner_tid)
{
    const struct sentra_event *event = feed_peek(replay);
    uint64_t ahead;

    if (!event || event->task == inner_tid)
        return event;
    for (ahead = 0; needs_no_turn(event);) {
        ahead += event->size;
        while (replay->position + ahead >= replay->current->size)
            if (join_chunk(replay))
                return NULL;
        event = event_at(replay->current, replay->position + ahead);
        if (!event)
            return NULL;
        if (event->task == inner_tid && !is_beside(event))
            return event;
    }
    return NULL;
}

/* Makes the next event the current one. It is a copy that stays valid until the next call of this function. */
const struct sentra_event *feed_next(struct sentra_replay *replay)
{
    const struct sentra_event *event = feed_peek(replay);

    if (!event)
        return NULL;
    replay->position += event->size;
    memcpy(replay->event_copy, event, event->size < SENTRA_RECORD_MAX ? event->size : SENTRA_RECORD_MAX);
    replay->event = (const struct sentra_event *)replay->event_copy;
    return replay->event;
}

const uint64_t *event_args_of(const struct sentra_event *event)
{
    return (const uint64_t *)(event + 1);
}

struct segment_walk segments_of(const struct sentra_event *event)
{
    const unsigned char *start = (const unsigned char *)event;

    return (struct segment_walk){start + sizeof *event + event->nargs * 8u, start + event->size, event->nsegs};
}

const struct sentra_segment *next_segment(struct segment_walk *walk)
{
    const struct sentra_segment *segment = (const struct sentra_segment *)walk->at;
    uint64_t padded;

    if (!walk->left || walk->at + sizeof *segment > walk->end)
        return NULL;
    padded = ((uint64_t)segment->size + 7) & ~7ull;
    if (padded > (uint64_t)(walk->end - walk->at) - sizeof *segment)
        return NULL;
    walk->at += sizeof *segment + padded;
    walk->left--;
    return segment;
}

const struct sentra_segment *find_segment(const struct sentra_event *event, uint8_t kind, uint8_t arg)
{
    struct segment_walk walk = segments_of(event);
    const struct sentra_segment *segment;

    while ((segment = next_segment(&walk)))
        if (segment->kind == kind && segment->arg == arg)
            return segment;
    return NULL;
}
