/*
 * fuzz_record.c - ring, scan, pack and unpack under sanitizers, with records and packed bytes that nobody meant well.
 *
 * usage: fuzz_record SECONDS SEED. Built and run by test_sanitizers.py; prints how much it did, exits 1 on a wrong result.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "record/pack.h"
#include "record/ring.h"

#define RING (512u * 1024u)

static uint64_t state;

static uint64_t rnd(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

static uint32_t below(uint32_t n)
{
    return (uint32_t)(rnd() >> 11) % n;
}

static int never(void *context)
{
    (void)context;
    return -1;
}

static struct sentra_arena_control control;
static unsigned char *ring_data; /* twice the capacity; a record that wraps is copied by hand below */

/* One record with random arguments and segments, appended for real. Returns 0 when the ring is full. */
static int append(struct sentra_writer *writer)
{
    static unsigned char payload[SENTRA_RECORD_MAX];
    struct sentra_event event = { .type = (uint16_t)below(70), .flags = (uint16_t)below(4), .time_ns = rnd() >> below(64), .duration_ns = rnd() >> below(64),
                                  .task = (int32_t)below(5) - 1, .nr = below(6), .result = (int64_t)(rnd() >> below(64)) - 10 };
    uint32_t at = 0;

    event.nargs = (uint8_t)(below(20) ? below(7) : below(256));
    event.nsegs = (uint8_t)(below(20) ? below(4) : below(256));
    for (unsigned i = 0; i < event.nargs; i++, at += 8) {
        uint64_t value = below(3) ? below(4) * 4096 : rnd();

        memcpy(payload + at, &value, 8);
    }
    for (unsigned i = 0; i < event.nsegs; i++) {
        uint32_t size = below(8) ? below(64) : below(2000);
        struct sentra_segment segment = { .addr = below(2) ? below(4) * 4096 : rnd(), .size = size, .kind = (uint8_t)below(5), .arg = (uint8_t)below(8),
                                          .flags = (uint16_t)below(3) };

        memcpy(payload + at, &segment, sizeof segment);
        at += sizeof segment;
        for (uint32_t j = 0; j < size; j++)
            payload[at + j] = (unsigned char)(below(4) ? 'a' + j % 20 : rnd());
        memset(payload + at + size, 0, sentra_pad8(size) - size);
        at += (uint32_t)sentra_pad8(size);
    }
    if (RING - (writer->ring->tail & (RING - 1)) < at + sizeof event)
        return 0; /* this ring is not mapped twice */
    return sentra_append(writer, &event, payload, at) != 0;
}

static struct sentra_big_segment bigs[4096];

static void decide(uint32_t count, struct sentra_pack_source *blobs, uint32_t *nblobs)
{
    *nblobs = 0;
    for (uint32_t i = 0; i < count; i++) {
        bigs[i].reference = below(2);
        memset(bigs[i].hash, 0, 32);
        memcpy(bigs[i].hash, &i, 4);
        bigs[i].hash[8] = 1;
        if (bigs[i].reference)
            blobs[(*nblobs)++] = (struct sentra_pack_source){ bigs[i].data, bigs[i].size };
    }
}

static uint64_t packs, unpacks, accepted;

/* Unpack damaged copies; an exact-size heap copy lets the sanitizer see one byte too many. */
static void damage(const unsigned char *packed, int64_t bytes, const struct sentra_pack_source *blobs, uint32_t nblobs, unsigned char *out, uint64_t room)
{
    for (int round = 0; round < 30; round++) {
        int64_t length = below(5) ? bytes : below((uint32_t)bytes) + 1;
        unsigned char *copy = malloc((size_t)length);
        const unsigned char *hashes;

        memcpy(copy, packed, (size_t)length);
        for (uint32_t i = below(4); i < 4; i++) {
            uint32_t place = below(3) ? below(length < 600 ? (uint32_t)length : 600) : below((uint32_t)length);

            copy[place] = (unsigned char)(below(2) ? copy[place] ^ 1u << below(8) : rnd());
        }
        sentra_unpack_hashes(copy, (uint64_t)length, &hashes, NULL);
        accepted += sentra_unpack(copy, (uint64_t)length, blobs, nblobs, out, room, NULL) >= 0;
        unpacks++;
        free(copy);
    }
}

static int round_trip(unsigned char *raw, uint64_t bytes, int garbled)
{
    struct sentra_pack_source source = { raw, bytes }, *blobs = calloc(4096, sizeof *blobs);
    struct sentra_pack_scan scan;
    uint32_t nblobs;
    uint64_t room = 4 * bytes + 8192;
    unsigned char *packed = malloc(room), *out = malloc(room);
    int64_t length, again;
    int wrong = 0;

    if (sentra_pack_scan(&source, 1, 1, garbled, 400 * 1024, 512, bigs, 4096, &scan, NULL) == 0 && scan.events) {
        decide(scan.bigs, blobs, &nblobs);
        length = sentra_pack(&source, 1, &scan, 512, bigs, packed, room, NULL);
        again = length < 0 ? -1 : sentra_unpack(packed, (uint64_t)length, blobs, nblobs, out, room, NULL);
        wrong = length < 0 || again != (int64_t)scan.raw_bytes || (!garbled && memcmp(out, raw, scan.raw_bytes));
        packs++;
        if (!wrong)
            damage(packed, length, blobs, nblobs, out, room);
    } else {
        wrong = !garbled;
    }
    free(blobs);
    free(packed);
    free(out);
    return wrong;
}

static int one_round(void)
{
    struct sentra_writer writer = { &control, &control.ring[0], ring_data, never, NULL };
    uint64_t bytes;
    unsigned char *raw;
    int wrong;

    memset(&control, 0, sizeof control);
    control.ring[0].capacity = RING;
    for (uint32_t i = 0, wanted = 1 + below(400); i < wanted && append(&writer); i++)
        ;
    bytes = control.ring[0].tail;
    if (!bytes)
        return 0;
    raw = malloc(bytes);
    memcpy(raw, ring_data, bytes);
    wrong = round_trip(raw, bytes, 0);
    for (int round = 0; round < 5 && !wrong; round++) {
        for (uint32_t i = below(3); i < 3; i++)
            raw[below(2) ? below((uint32_t)bytes) : below(bytes < 300 ? (uint32_t)bytes : 300)] = (unsigned char)rnd();
        wrong = round_trip(raw, below(3) ? bytes : below((uint32_t)bytes) + 1, 1);
    }
    free(raw);
    return wrong;
}

int main(int argc, char **argv)
{
    time_t end = time(NULL) + (argc > 1 ? atoi(argv[1]) : 2);

    state = argc > 2 ? strtoull(argv[2], NULL, 10) | 1 : 88172645463325252ull;
    ring_data = malloc(RING);
    while (time(NULL) < end) {
        uint64_t before = state;

        if (one_round()) {
            printf("wrong result, state %llu\n", (unsigned long long)before);
            return 1;
        }
    }
    free(ring_data);
    printf("packs %llu damaged %llu accepted %llu\n", (unsigned long long)packs, (unsigned long long)unpacks, (unsigned long long)accepted);
    return 0;
}
