/*
 * namespaces.c - the supervisor's part of the namespaces: id maps and their names for messages.
 *
 * The maps are written from outside, because only a process in the parent user namespace may map more than itself
 * (user_namespaces(7)). setgroups is denied before gid_map where an ordinary user maps a group: the kernel insists, since
 * dropping a group can be a way to gain access.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "sandbox/child.h"

static int write_proc_file(pid_t pid, const char *name, const char *text, struct sentra_error *error)
{
    char path[64], step[32];
    size_t size = strlen(text);

    snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, name);
    snprintf(step, sizeof step, "write %s", name);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return sentra_fail(error, errno, step, "%s", path);
    ssize_t written = write(fd, text, size); /* the kernel takes a map in one write only */
    int err = errno;
    close(fd);
    if (written < 0)
        return sentra_fail(error, err, step, "\"%s\" to %s", text, path);
    if ((size_t)written != size)
        return sentra_fail(error, EIO, step, "only %zd of %zu bytes went to %s", written, size, path);
    return 0;
}

int sentra_write_id_maps(pid_t pid, const struct sentra_launch_options *options, struct sentra_error *error)
{
    if (!(options->namespaces & CLONE_NEWUSER))
        return 0;
    if (options->deny_setgroups && write_proc_file(pid, "setgroups", "deny", error) < 0)
        return -1;
    if (options->gid_map && write_proc_file(pid, "gid_map", options->gid_map, error) < 0)
        return -1;
    if (options->uid_map && write_proc_file(pid, "uid_map", options->uid_map, error) < 0)
        return -1;
    return 0;
}

void sentra_namespace_names(char *out, size_t size, uint64_t namespaces)
{
    static const struct {
        uint64_t flag;
        const char *name;
    } names[] = {
        {CLONE_NEWUSER, "user"}, {CLONE_NEWNS, "mnt"},       {CLONE_NEWPID, "pid"}, {CLONE_NEWIPC, "ipc"},
        {CLONE_NEWUTS, "uts"},   {CLONE_NEWCGROUP, "cgroup"}, {CLONE_NEWNET, "net"},
    };

    out[0] = '\0';
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (!(namespaces & names[i].flag))
            continue;
        size_t used = strlen(out);
        snprintf(out + used, size - used, "%s%s", used ? "," : "", names[i].name);
    }
}
