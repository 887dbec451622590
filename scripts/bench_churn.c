/* bench_churn - file churn for scripts/bench: N files, each created, written, read, looked at, renamed and removed: 17 calls a file. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    int files = argc > 1 ? atoi(argv[1]) : 3000;
    char name[64], other[64], text[512];
    struct stat st;
    memset(text, 'x', sizeof text);
    for (int i = 0; i < files; i++) {
        snprintf(name, sizeof name, "file-%d", i % 50);
        snprintf(other, sizeof other, "moved-%d", i % 50);
        int fd = open(name, O_RDWR | O_CREAT | O_EXCL, 0644), bad = fd < 0;
        bad |= write(fd, text, sizeof text) < 0;
        bad |= write(fd, text, 100) < 0;
        bad |= fstat(fd, &st) < 0;
        bad |= close(fd) < 0;
        bad |= stat(name, &st) < 0;
        fd = open(name, O_RDONLY);
        bad |= fstat(fd, &st) < 0;
        bad |= read(fd, text, sizeof text) < 0;
        bad |= lseek(fd, 0, SEEK_END) < 0;
        bad |= read(fd, text, sizeof text) != 0;
        bad |= close(fd) < 0;
        bad |= access(name, R_OK) < 0;
        bad |= rename(name, other) < 0;
        bad |= chmod(other, 0600) < 0;
        bad |= stat(other, &st) < 0;
        bad |= unlink(other) < 0;
        if (bad)
            return 1;
    }
    return 0;
}
