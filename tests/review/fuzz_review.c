/* Random needles and buffers through csrc/review, checked for bounds; the sanitizers see the rest. Arguments: rounds, seed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sentra.h"

static void check(int true_, const char *what)
{
    if (!true_) {
        fprintf(stderr, "%s\n", what);
        exit(1);
    }
}

static uint32_t below(uint32_t n)
{
    return (uint32_t)rand() % n;
}

static struct sentra_needles *some_needles(int mode)
{
    unsigned char data[9 * 64];
    uint32_t sizes[9], least[9], count = below(9), total = 0;
    struct sentra_error error;
    for (uint32_t i = 0; i < count; i++) {
        sizes[i] = below(64);
        least[i] = below(20);
        for (uint32_t j = 0; j < sizes[i]; j++)
            data[total++] = (unsigned char)"abcd%\\=x0A\n"[below(mode < 2 ? 4 : 11)];
    }
    struct sentra_needles *needles = sentra_needles_new(data, sizes, least, count, &error);
    check(needles != NULL, "no needles");
    return needles;
}

static unsigned char *some_bytes(int mode, uint64_t size)
{
    static const char parts[] = "ABCDabcd0123+/_-%\\=ux\r\nPB\x78\x9c\x1f\x8b\x08(\xb5";
    unsigned char *bytes = malloc(size ? size : 1); /* exactly as long as it is, for the sanitizer */
    for (uint64_t i = 0; i < size; i++)
        bytes[i] = (unsigned char)(mode == 0 ? "abcd"[below(4)] : mode == 1 ? rand() : parts[below(mode == 4 ? 12 : sizeof parts - 1)]);
    return bytes;
}

static uint64_t find_all(struct sentra_needles *needles, const unsigned char *bytes, uint64_t size)
{
    struct sentra_needle_hit hits[64];
    uint64_t done, found = 0;
    for (uint64_t at = 0; at < size; at += done) {
        int64_t count = sentra_needles_find(needles, bytes + at, size - at, hits, 64, &done);
        check(done > 0, "the search does not go on");
        for (int64_t i = 0; i < count; i++)
            check(hits[i].at + hits[i].bytes <= size - at, "a hit outside");
        found += (uint64_t)count;
    }
    return found;
}

static uint64_t decode_all(const unsigned char *bytes, uint64_t size)
{
    uint64_t decoded = 0, room = size + size / 64 + 16, most = size / 24 + 2;
    for (uint32_t coding = 0; coding < 8; coding++)
        for (uint32_t skip = 0; skip < 8; skip++) {
            unsigned char *out = malloc(room);
            struct sentra_coding_span *spans = malloc(most * sizeof *spans);
            uint64_t count;
            int64_t used = sentra_coding_decode(coding, skip, bytes, size, out, spans, most, &count);
            check(used >= 0 && (uint64_t)used <= room && count <= most, "more than there is room for");
            for (uint64_t i = 0; i < count; i++)
                check(spans[i].start + spans[i].start_bytes <= size && spans[i].at + spans[i].bytes <= (uint64_t)used, "a span outside");
            decoded += count;
            free(out);
            free(spans);
        }
    return decoded;
}

static uint64_t magics(const unsigned char *bytes, uint64_t size)
{
    uint64_t places[16], done, found = 0;
    for (uint64_t at = 0; at < size; at += done) {
        found += (uint64_t)sentra_coding_magics(bytes + at, size - at, places, 16, &done);
        check(done > 0, "the scan does not go on");
    }
    return found;
}

int main(int argc, char **argv)
{
    uint64_t hits = 0, spans = 0, places = 0, counts[256] = {0};
    check(argc == 3, "arguments: rounds, seed");
    srand((unsigned)atoi(argv[2]));
    for (int round = 0; round < atoi(argv[1]); round++) {
        int mode = (int)below(5);
        uint64_t size = below(3000);
        struct sentra_needles *needles = some_needles(mode);
        unsigned char *bytes = some_bytes(mode, size);
        hits += find_all(needles, bytes, size);
        spans += decode_all(bytes, size);
        places += magics(bytes, size);
        sentra_coding_histogram(bytes, size, counts);
        free(bytes);
        sentra_needles_free(needles);
    }
    printf("hits %llu spans %llu places %llu\n", (unsigned long long)hits, (unsigned long long)spans, (unsigned long long)places);
    return 0;
}
