/*
 * pack_scan.c - the first pass over ring records: is each well formed, which come next, which bytes deserve a blob.
 *
 * A ring may have been written by a process that does not wish us well, so a malformed record is reported, never
 * followed. Both passes merge by the same rule; the caller hands in private copies, so they see the same bytes.
 */
#include <errno.h>
#include <string.h>

#include "pack.h"

uint32_t sentra_check_record(const unsigned char *data, uint64_t bytes)
{
    struct sentra_event event;
    uint64_t at;

    if (bytes < sizeof event)
        return 0;
    memcpy(&event, data, sizeof event);
    if (event.size < sizeof event || event.size > SENTRA_RECORD_MAX || event.size % 8 || event.size > bytes || event.seq == 0 ||
        event.reserved2 || memcmp(event.reserved, "\0\0\0\0\0", sizeof event.reserved))
        return 0;
    at = sizeof event + 8ull * event.nargs;
    for (unsigned i = 0; i < event.nsegs; i++) {
        struct sentra_segment segment;

        if (at + sizeof segment > event.size)
            return 0;
        memcpy(&segment, data + at, sizeof segment);
        at += sizeof segment + sentra_pad8(segment.size);
    }
    return at == event.size ? event.size : 0;
}

int sentra_merge_next(struct sentra_merge *merge, const unsigned char **record, uint32_t *size)
{
    uint64_t lowest = 0;
    int chosen = -1;

    for (uint32_t i = 0; i < merge->count; i++) {
        const struct sentra_pack_source *source = &merge->sources[i];
        uint64_t left = source->bytes - merge->at[i], seq;
        uint32_t bytes;

        if (!left || (int32_t)i == merge->damaged)
            continue;
        bytes = sentra_check_record(source->data + merge->at[i], left);
        if (!bytes) {
            merge->damaged = merge->damaged < 0 ? (int32_t)i : merge->damaged;
            continue;
        }
        memcpy(&seq, source->data + merge->at[i] + offsetof(struct sentra_event, seq), sizeof seq);
        if (chosen < 0 || seq < lowest) {
            chosen = (int)i;
            lowest = seq;
            *record = source->data + merge->at[i];
            *size = bytes;
        }
    }
    return chosen;
}

/* Segments of at least `threshold` bytes of one record, appended to the list. -1: no room for all of them. */
static int list_bigs(const unsigned char *record, uint32_t threshold, struct sentra_big_segment *bigs, uint32_t max_bigs, uint32_t *count)
{
    struct sentra_event event;
    uint64_t at;
    uint32_t found = *count;

    memcpy(&event, record, sizeof event);
    at = sizeof event + 8ull * event.nargs;
    for (unsigned i = 0; i < event.nsegs; i++) {
        struct sentra_segment segment;

        memcpy(&segment, record + at, sizeof segment);
        if (segment.size >= threshold) {
            if (found == max_bigs)
                return -1;
            bigs[found] = (struct sentra_big_segment){ .seq = event.seq, .data = record + at + sizeof segment, .size = segment.size };
            found++;
        }
        at += sizeof segment + sentra_pad8(segment.size);
    }
    *count = found;
    return 0;
}

static void note_event(struct sentra_pack_scan *out, const unsigned char *record, uint32_t size)
{
    struct sentra_event event;

    memcpy(&event, record, sizeof event);
    if (!out->events) {
        out->first_seq = event.seq;
        out->first_time_ns = event.time_ns;
    }
    out->last_seq = event.seq;
    out->last_time_ns = event.time_ns;
    out->raw_bytes += size;
    out->events++;
}

int sentra_pack_scan(const struct sentra_pack_source *sources, uint32_t count, uint64_t next_seq, int32_t allow_gaps, uint64_t max_raw,
                     uint32_t threshold, struct sentra_big_segment *bigs, uint32_t max_bigs, struct sentra_pack_scan *out, struct sentra_error *error)
{
    struct sentra_merge merge = { .sources = sources, .count = count, .damaged = -1 };
    const unsigned char *record = NULL;
    uint32_t size = 0;
    int source;

    memset(out, 0, sizeof *out);
    if (count < 1 || count > 4 || max_bigs < 256 || !threshold)
        return sentra_fail(error, EINVAL, "scan records", "%u sources, room for %u large segments", count, max_bigs);
    while (out->events < SENTRA_BLOCK_EVENTS_MAX && (source = sentra_merge_next(&merge, &record, &size)) >= 0) {
        uint64_t seq;

        memcpy(&seq, record + offsetof(struct sentra_event, seq), sizeof seq);
        if (seq < next_seq) {           /* a number that was given out before: this source is not to be trusted */
            merge.damaged = source;
            break;
        }
        if (seq > next_seq && !allow_gaps) {
            out->gap = 1;
            break;
        }
        if ((out->events && out->raw_bytes + size > max_raw) || list_bigs(record, threshold, bigs, max_bigs, &out->bigs) < 0)
            break;
        out->gaps += seq > next_seq;
        note_event(out, record, size);
        merge.at[source] += size;
        next_seq = seq + 1;
    }
    memcpy(out->taken, merge.at, sizeof out->taken);
    out->damaged = merge.damaged;
    out->damaged_at = merge.damaged < 0 ? 0 : merge.at[merge.damaged];
    return 0;
}
