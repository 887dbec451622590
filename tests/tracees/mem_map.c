/* mem_map - mappings: shared and private files, mremap, madvise, msync, mprotect, a shared map between processes. */
#include "tracee.h"

static int make_file(const char *name)
{
    char page[4096];
    int fd = MUST(open(name, O_RDWR | O_CREAT | O_TRUNC, 0644));
    for (int i = 0; i < 4; i++) {
        memset(page, 'a' + i, sizeof page);
        MUST(write(fd, page, sizeof page));
    }
    return fd;
}

static void file_maps(int fd)
{
    char *private = mmap(NULL, 16384, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0), text[4];
    char *shared = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 4096);
    CHECK(private != MAP_FAILED && shared != MAP_FAILED);
    private[0] = 'P';
    shared[0] = 'S';
    say("msync %s", outcome(EXPECT(msync, msync(shared, 8192, MS_SYNC))));
    EXPECT(pread64, pread(fd, text, 2, 0));
    EXPECT_OUT(1, "aa", 2);
    say("the file after a private write: %.2s", text);
    EXPECT(pread64, pread(fd, text, 2, 4096));
    EXPECT_OUT(1, "Sb", 2);
    say("the file after a shared write: %.2s; the private map sees %.2s", text, private + 4096);
    EXPECT(pwrite64, pwrite(fd, "W", 1, 8192));
    say("a write through a call is in the shared map: %c", shared[4096]);
    MUST(munmap(shared, 8192));
    say("DONTNEED %s", outcome(madvise(private, 4096, MADV_DONTNEED)));
    say("private page is the file's again: %c", private[0]);
    MUST(munmap(private, 16384));
}

static void remaps(void)
{
    char *map = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(map != MAP_FAILED);
    strcpy(map, "moves along");
    char *bigger = mremap(map, 8192, 1 << 20, MREMAP_MAYMOVE);
    CHECK(bigger != MAP_FAILED);
    say("mremap keeps '%s'", bigger);
    say("mprotect %s", outcome(mprotect(bigger, 4096, PROT_READ)));
    say("read into a read-only page %s", outcome(EXPECT(read, read(MUST(open("/dev/zero", O_RDONLY)), bigger, 16))));
    say("MADV_FREE %s", outcome(madvise(bigger + 8192, 8192, MADV_FREE)));
    unsigned char resident[256];
    say("mincore %s", outcome(mincore(bigger, 1 << 20, resident)));
    say("munmap %s", outcome(munmap(bigger, 1 << 20)));
    say("bad munmap %s", outcome(munmap((void *)1, 4096)));
}

static void between_processes(void)
{
    int status;
    char *map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(map != MAP_FAILED);
    pid_t child = MUST(fork());
    if (child == 0) {
        strcpy(map, "from the child");
        _exit(0);
    }
    MUST(waitpid(child, &status, 0));
    say("shared memory '%s', child %s", map, ending(status));
}

int main(void)
{
    int fd = make_file("mapped");
    file_maps(fd);
    remaps();
    between_processes();
    void *nothing = mmap(NULL, 0, PROT_READ, MAP_PRIVATE, fd, 0);
    say("empty map %s", outcome((long)nothing));
    return 0;
}
