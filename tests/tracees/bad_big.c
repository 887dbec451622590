/* bad_big - big transfers: 100 MB by one write to a file and back, 20 MB through a pipe, each checked byte for byte.
 * tracee timeout: 90
 */
#include "tracee.h"

#define SIZE (100ul << 20)

int main(void)
{
    int status, pipes[2];
    unsigned char *data = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(data != MAP_FAILED);
    for (size_t i = 0; i < SIZE; i += 64)
        memcpy(data + i, &i, sizeof i);
    int fd = MUST(open("big", O_RDWR | O_CREAT | O_TRUNC, 0644));
    say("write %s", outcome(EXPECT(write, write(fd, data, SIZE))));
    memset(data, 0, SIZE);
    say("read %s", outcome(EXPECT(pread64, pread(fd, data, SIZE, 0))));
    for (size_t i = 0; i < SIZE; i += 64)
        CHECK(memcmp(data + i, &i, sizeof i) == 0);
    MUST(pipe(pipes));
    pid_t child = MUST(fork());
    if (child == 0) {
        close(pipes[0]);
        for (size_t sent = 0; sent < 20u << 20;)
            sent += (size_t)MUST(write(pipes[1], data + sent, (20u << 20) - sent));
        _exit(0);
    }
    close(pipes[1]);
    size_t total = 0;
    static unsigned char part[1 << 20];
    for (ssize_t n; (n = MUST(read(pipes[0], part, sizeof part))) > 0; total += (size_t)n)
        CHECK(memcmp(part, data + total, (size_t)n) == 0);
    MUST(waitpid(child, &status, 0));
    say("pipe %zu %s", total, ending(status));
    MUST(unlink("big"));
    return 0;
}
