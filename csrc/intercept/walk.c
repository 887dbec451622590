/*
 * walk.c - what a path means to the program: walked step by step from its own root and directory.
 *
 * The task may live in another mount namespace and below another root than we do. openat2(RESOLVE_IN_ROOT) cannot start in a directory
 * below the root, and follows none of /proc's links; so links are followed here, as the kernel would: absolute ones from the task's root,
 * ".." never above it, /proc/self as the task, the links of /proc/PID that are no text (fd, root, cwd, exe) to what they lead to.
 *
 * Nothing is opened for reading: O_PATH alone. A step that we cannot make is an error, and the caller says no.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "run.h"

#define PATH_BYTES 4096u
#define LINKS_MAX 40

struct walk {
    const struct task *task;
    int root, at;
    int links;
    char rest[2 * PATH_BYTES];
};

static int same_place(int one, int other)
{
    struct statx first, second;

    if (statx(one, "", AT_EMPTY_PATH, STATX_INO | STATX_MNT_ID, &first) || statx(other, "", AT_EMPTY_PATH, STATX_INO | STATX_MNT_ID, &second))
        return 0;
    return first.stx_ino == second.stx_ino && first.stx_dev_major == second.stx_dev_major && first.stx_dev_minor == second.stx_dev_minor &&
           first.stx_mnt_id == second.stx_mnt_id;
}

static int is_proc(int fd)
{
    struct statfs about;

    return !fstatfs(fd, &about) && about.f_type == PROC_SUPER_MAGIC;
}

static void step_to(struct walk *walk, int next)
{
    close(walk->at);
    walk->at = next;
}

/* The text of a link takes the place of its name. */
static int splice_link(struct walk *walk, const char *text)
{
    char rest[2 * PATH_BYTES];
    int length = snprintf(rest, sizeof rest, "%s/%s", text, walk->rest);
    int root;

    if (length < 0 || length >= (int)sizeof rest || length >= (int)(PATH_BYTES + strlen(walk->rest) + 1))
        return -ENAMETOOLONG;
    if (!walk->rest[0])
        rest[length - 1] = 0; /* nothing follows: "x/" would ask for a directory */
    memcpy(walk->rest, rest, (size_t)length + 1);
    if (text[0] != '/')
        return 0;
    root = fcntl(walk->root, F_DUPFD_CLOEXEC, 0);
    if (root < 0)
        return -errno;
    step_to(walk, root);
    return 0;
}

static int follow(struct walk *walk, int link, const char *name)
{
    char text[PATH_BYTES];
    ssize_t length = readlinkat(link, "", text, sizeof text - 1);
    int next;

    if (++walk->links > LINKS_MAX)
        return -ELOOP;
    if (length <= 0)
        return length ? -errno : -ENOENT;
    text[length] = 0;
    if (!is_proc(link) || (text[0] != '/' && !strstr(text, ":[")))
        return splice_link(walk, text);
    next = openat(walk->at, name, O_PATH | O_CLOEXEC);
    if (next < 0)
        return -errno;
    step_to(walk, next);
    return 0;
}

/* In /proc "self" is whoever looks: it has to be the task. */
static int follow_self(struct walk *walk, int thread)
{
    char text[64];

    if (++walk->links > LINKS_MAX)
        return -ELOOP;
    snprintf(text, sizeof text, thread ? "%d/task/%d" : "%d", walk->task->inner_tgid, walk->task->inner_tid);
    return splice_link(walk, text);
}

static int step(struct walk *walk, const char *name)
{
    struct stat status;
    int next, failed;

    if (!strcmp(name, ".") || (!strcmp(name, "..") && same_place(walk->at, walk->root)))
        return 0;
    if ((!strcmp(name, "self") || !strcmp(name, "thread-self")) && is_proc(walk->at))
        return follow_self(walk, name[0] == 't');
    next = openat(walk->at, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (next < 0)
        return -errno;
    if (!fstat(next, &status) && !S_ISLNK(status.st_mode)) {
        step_to(walk, next);
        return 0;
    }
    failed = follow(walk, next, name);
    close(next);
    return failed;
}

/* The next name of the rest, which gets shorter by it. 1: a name; 0: the end. */
static int next_name(struct walk *walk, char name[256])
{
    const char *from = walk->rest + strspn(walk->rest, "/");
    size_t length = strcspn(from, "/");

    if (!length)
        return 0;
    if (length > 255)
        return -ENAMETOOLONG;
    memcpy(name, from, length);
    name[length] = 0;
    memmove(walk->rest, from + length, strlen(from + length) + 1);
    return 1;
}

static int open_start(const struct task *task, int32_t dirfd)
{
    char path[64];

    if (dirfd == AT_FDCWD)
        snprintf(path, sizeof path, "/proc/%d/cwd", task->tid);
    else
        snprintf(path, sizeof path, "/proc/%d/fd/%d", task->tid, dirfd);
    return open(path, O_PATH | O_CLOEXEC);
}

int walk_open(const struct task *task, int32_t dirfd, const char *path)
{
    struct walk walk = {.task = task};
    char name[256], root[64];
    int got = 0;

    if (!path[0])
        return -ENOENT;
    if (strlen(path) >= PATH_BYTES)
        return -ENAMETOOLONG;
    memcpy(walk.rest, path, strlen(path) + 1);
    snprintf(root, sizeof root, "/proc/%d/root", task->tid);
    walk.root = open(root, O_PATH | O_CLOEXEC);
    if (walk.root < 0)
        return -errno;
    walk.at = path[0] == '/' ? fcntl(walk.root, F_DUPFD_CLOEXEC, 0) : open_start(task, dirfd);
    if (walk.at < 0) {
        got = -errno;
        close(walk.root);
        return got;
    }
    while ((got = next_name(&walk, name)) > 0)
        if ((got = step(&walk, name)) < 0)
            break;
    close(walk.root);
    if (!got)
        return walk.at;
    close(walk.at);
    return got;
}

int walk_name(int own, char *out, size_t size)
{
    char path[64];
    ssize_t length;

    snprintf(path, sizeof path, "/proc/self/fd/%d", own);
    length = readlink(path, out, size - 1);
    if (length < 0)
        return -1;
    out[length] = 0;
    return 0;
}
