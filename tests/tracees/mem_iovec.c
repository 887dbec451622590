/* mem_iovec - scattered buffers: readv, writev, preadv, pwritev, preadv2, pwritev2. */
#include "tracee.h"
#include <sys/uio.h>

int main(void)
{
    char a[5], b[1], c[32];
    int fd = MUST(open("iovec.dat", O_RDWR | O_CREAT | O_TRUNC, 0644));
    struct iovec out[3] = {{"hello", 5}, {"", 0}, {" scattered world", 16}};
    long n = EXPECT(writev, writev(fd, out, 3));
    EXPECT_IN(1, "hello scattered world", 21);
    say("writev %ld", n);

    MUST(lseek(fd, 0, SEEK_SET));
    struct iovec in[3] = {{a, sizeof a}, {b, sizeof b}, {c, sizeof c}};
    n = EXPECT(readv, readv(fd, in, 3));
    EXPECT_OUT(1, "hello scattered world", 21);
    say("readv %ld %.5s|%.1s|%.15s", n, a, b, c);

    n = EXPECT(pwritev, pwritev(fd, (struct iovec[]){{"AB", 2}, {"CD", 2}}, 2, 3));
    EXPECT_IN(1, "ABCD", 4);
    n = EXPECT(preadv, preadv(fd, in, 2, 2));
    EXPECT_OUT(1, "lABCDc", 6);
    say("preadv %ld %.5s%.1s", n, a, b);

    n = EXPECT(pwritev2, pwritev2(fd, (struct iovec[]){{"tail", 4}}, 1, 0, RWF_APPEND));
    EXPECT_IN(1, "tail", 4);
    n = EXPECT(preadv2, preadv2(fd, (struct iovec[]){{c, 8}, {c + 8, 8}}, 2, 17, 0));
    EXPECT_OUT(1, "orldtail", 8);
    say("preadv2 %ld %.8s", n, c);
    n = EXPECT(preadv2, preadv2(fd, in, 3, -1, 0));
    say("preadv2 at the file's position: %ld", n);

    /* End of file in the middle of a vector, and a vector that is all empty. */
    MUST(lseek(fd, 23, SEEK_SET));
    n = EXPECT(readv, readv(fd, in, 3));
    EXPECT_OUT(1, "il", 2);
    say("short readv %ld", n);
    say("empty writev %ld", EXPECT(writev, writev(fd, (struct iovec[]){{NULL, 0}}, 1)));
    return 0;
}
