/* mem_dirs - directories and metadata: getdents64, statx, stat, readlink, getcwd, statfs, xattrs, openat2. */
#include "tracee.h"
#include <linux/openat2.h>
#include <sys/vfs.h>
#include <sys/xattr.h>

struct entry {
    uint64_t ino;
    int64_t off;
    uint16_t size;
    uint8_t type;
    char name[];
};

static int count_entries(const char *path, size_t buffer_size)
{
    char buffer[4096];
    int fd = (int)EXPECT(openat, open(path, O_RDONLY | O_DIRECTORY)), names = 0;
    for (;;) {
        long n = EXPECT(getdents64, syscall(SYS_getdents64, fd, buffer, buffer_size));
        if (n <= 0)
            break;
        EXPECT_OUT(1, buffer, (size_t)n);
        for (long at = 0; at < n; at += ((struct entry *)(buffer + at))->size)
            names++;
    }
    EXPECT(close, close(fd));
    return names;
}

static void directories(void)
{
    char name[32];
    EXPECT(mkdir, mkdir("many", 0755));
    for (int i = 0; i < 60; i++) {
        snprintf(name, sizeof name, "many/file-%03d", i);
        MUST(close((int)MUST(open(name, O_CREAT | O_WRONLY, 0644))));
    }
    say("entries %d, by small buffers %d", count_entries("many", 4096), count_entries("many", 100));
    say("not a directory: %s", outcome(EXPECT(openat, open("many/file-000", O_DIRECTORY))));
}

static void metadata(void)
{
    struct statx sx = {0};
    struct stat st;
    struct statfs fs;
    char text[256];
    MUST(truncate("many/file-001", 12345));
    long n = EXPECT(statx, statx(AT_FDCWD, "many/file-001", 0, STATX_BASIC_STATS, &sx));
    EXPECT_OUT(4, &sx, sizeof sx);
    say("statx %ld size %llu mode %o", n, (unsigned long long)sx.stx_size, sx.stx_mode);
    n = EXPECT(newfstatat, fstatat(AT_FDCWD, "many/file-001", &st, 0));
    EXPECT_OUT(2, &st, sizeof st);
    say("newfstatat %ld size %ld", n, (long)st.st_size);
    n = EXPECT(lstat, syscall(SYS_lstat, "many", &st));
    say("lstat %ld directory %d", n, S_ISDIR(st.st_mode));
    say("symlink %s", outcome(EXPECT(symlink, symlink("many/file-001", "link"))));
    n = EXPECT(readlink, readlink("link", text, sizeof text));
    EXPECT_OUT(1, "many/file-001", 13);
    say("readlink %ld %.*s", n, (int)n, text);
    n = EXPECT(readlinkat, readlinkat(AT_FDCWD, "link", text, 4));
    say("short readlinkat %ld %.4s", n, text);
    EXPECT(statfs, statfs(".", &fs));
    n = EXPECT(getcwd, syscall(SYS_getcwd, text, sizeof text));
    EXPECT_OUT(0, text, (size_t)n);
    say("getcwd ends the same: %d", n == (long)strlen(text) + 1 && text[0] == '/');
    say("short getcwd %s", outcome(EXPECT(getcwd, syscall(SYS_getcwd, text, 2))));
    say("access %s", outcome(EXPECT(access, access("absent", R_OK))));
    say("faccessat2 %s", outcome(EXPECT(faccessat2, syscall(439, AT_FDCWD, "link", R_OK, AT_SYMLINK_NOFOLLOW))));
}

static void newer_opens(void)
{
    struct open_how how = {.flags = O_RDONLY, .resolve = RESOLVE_BENEATH};
    long fd = EXPECT(openat2, syscall(SYS_openat2, AT_FDCWD, "many/file-002", &how, sizeof how));
    EXPECT_IN(2, &how, sizeof how);
    say("openat2 %s", fd >= 0 ? "opened" : outcome(fd));
    say("openat2 outside %s", outcome(EXPECT(openat2, syscall(SYS_openat2, AT_FDCWD, "/etc/passwd", &how, sizeof how))));
}

static void attributes(void)
{
    char value[64];
    long set = setxattr("many", "user.note", "remember", 8, 0);
    if (set == -1) { /* not every file system has them; the calls are made all the same */
        EXPECT(getxattr, getxattr("many", "user.note", value, sizeof value));
        say("xattr done");
        return;
    }
    long n = EXPECT(getxattr, getxattr("many", "user.note", value, sizeof value));
    EXPECT_OUT(2, "remember", 8);
    CHECK(n == 8);
    n = EXPECT(listxattr, listxattr("many", value, sizeof value));
    EXPECT(removexattr, removexattr("many", "user.note"));
    say("xattr done");
}

int main(void)
{
    directories();
    metadata();
    newer_opens();
    attributes();
    return 0;
}
