/*
 * trust.c - bundles of certificates that libraries bring along show the run's own.
 *
 * The run's bundle (the system's certificates and the run's authority) lies over the system's files. Libraries with a bundle of their own
 * would not see it, and they may be installed while the run goes on: so when a program opens such a file for reading, the kernel is
 * given the path of the run's bundle. The record has the path that the program passed; a replay compares that one.
 *
 * Java reads no PEM: its cacerts show a store with the same certificates.
 *
 * The run's files get the authority when one is needed for the first time: whoever opens one, under any name, waits until the supervisor
 * says that they are complete.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "call.h"
#include "capture.h"

enum store { STORE_NONE, STORE_PEM, STORE_JAVA };

static const struct {
    const char *tail;
    enum store store;
} library_bundles[] = {
    {"certifi/cacert.pem", STORE_PEM},                  /* Python requests, httpx, pip (pip/_vendor/certifi) */
    {"botocore/cacert.pem", STORE_PEM},                 /* AWS */
    {"httplib2/cacerts.txt", STORE_PEM},                /* Google's older clients */
    {"grpc/_cython/_credentials/roots.pem", STORE_PEM}, /* gRPC */
    {"lib/security/cacerts", STORE_JAVA},               /* any JDK or JRE */
};
#define BUNDLES (sizeof library_bundles / sizeof library_bundles[0])

static const char *last_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

/* Whole components: "/x/certifi/cacert.pem" ends in "certifi/cacert.pem", "/x/mycertifi/cacert.pem" does not. */
static int ends_in(const char *path, const char *tail)
{
    size_t length = strlen(path), wanted = strlen(tail);

    return length >= wanted && !strcmp(path + length - wanted, tail) && (length == wanted || path[length - wanted - 1] == '/');
}

static const char *shown_path(const struct sentra_run *run, enum store store)
{
    return store == STORE_PEM ? run->options.trust_path : store == STORE_JAVA ? run->options.java_path : NULL;
}

/* What a library's file at this path is to show: STORE_NONE if it is none, or the run has nothing to show for it. */
static enum store library_store(const struct sentra_run *run, const char *path)
{
    for (size_t index = 0; index < BUNDLES; index++)
        if (ends_in(path, library_bundles[index].tail) && shown_path(run, library_bundles[index].store))
            return library_bundles[index].store;
    return STORE_NONE;
}

static int has_bundle_name(const char *path)
{
    for (size_t index = 0; index < BUNDLES; index++)
        if (!strcmp(last_name(path), last_name(library_bundles[index].tail)))
            return 1;
    return 0;
}

/* Files of certificates have such names, whatever the distribution; looking at one too many costs two microseconds. */
static int may_be_certificates(const char *name)
{
    size_t length = strlen(name);

    return (length > 4 && (!strcmp(name + length - 4, ".pem") || !strcmp(name + length - 4, ".crt") || !strcmp(name + length - 4, ".cer"))) ||
           strstr(name, "cert") || strstr(name, "bundle") || strstr(name, "roots");
}

static uint8_t path_argument(const struct call *call)
{
    return call->nr == SYS_open ? 0 : 1;
}

/* The path as the program passed it. 0 or -1 */
static int path_of(const struct task *task, char path[4097])
{
    uint8_t arg = path_argument(&task->call);
    uint32_t size = 0;
    const unsigned char *text = stashed(task, task->call.args[arg], arg, &size);

    if (!text || !size || size > 4096)
        return -1;
    memcpy(path, text, size);
    path[size] = 0;
    return 0;
}

/* The flags of the open; *resolve gets what openat2 says about the way to the file. 0 or -1 */
static int flags_of(const struct task *task, uint64_t *flags, uint64_t *resolve)
{
    const struct call *call = &task->call;
    const unsigned char *how;
    uint32_t size = 0;

    *resolve = 0;
    if (call->nr != SENTRA_NR_openat2) {
        *flags = (uint32_t)call->args[call->nr == SYS_open ? 1 : 2];
        return 0;
    }
    how = stashed(task, call->args[2], 2, &size);
    if (!how || size < 24)
        return -1;
    memcpy(flags, how, 8);
    memcpy(resolve, how + 16, 8);
    return 0;
}

/* Which of the run's own files this is. */
static enum store own_store(const struct sentra_run *run, const struct stat *status)
{
    const struct sentra_run_options *options = &run->options;

    if (options->trust_ino && status->st_ino == options->trust_ino && status->st_dev == options->trust_dev)
        return STORE_PEM;
    if (options->java_ino && status->st_ino == options->java_ino && status->st_dev == options->java_dev)
        return STORE_JAVA;
    return STORE_NONE;
}

static void record_trust(struct sentra_run *run, const struct task *task, const char *path, enum store store, const char *error)
{
    struct fields fields = {.used = 0};

    fields_text(&fields, "path", path);
    fields_text(&fields, "shown", error ? "" : shown_path(run, store));
    if (error)
        fields_text(&fields, "error", error);
    network_event(run, task, SENTRA_EVENT_TRUST, &fields);
}

/* Whether the program finds the run's file at its path: below another root it may not. */
static int store_is_there(const struct sentra_run *run, const struct task *task, enum store store)
{
    int own = walk_open(task, AT_FDCWD, shown_path(run, store));
    struct stat status;
    int found;

    if (own < 0)
        return 0;
    found = !fstat(own, &status) && own_store(run, &status) == store;
    close(own);
    return found;
}

/* What the library's file that the path leads to is to show; STORE_NONE for our own files and all others. */
static enum store leads_to(const struct sentra_run *run, const struct task *task, const char *path)
{
    int32_t dirfd = task->call.nr == SYS_open ? AT_FDCWD : (int32_t)task->call.args[0];
    int own = walk_open(task, dirfd, path);
    enum store found = STORE_NONE;
    struct stat status;
    char real[4097];

    if (own < 0)
        return STORE_NONE;
    if (!fstat(own, &status) && S_ISREG(status.st_mode) && own_store(run, &status) == STORE_NONE) {
        found = library_store(run, path);
        if (found == STORE_NONE && !walk_name(own, real, sizeof real))
            found = library_store(run, real);
    }
    close(own);
    return found;
}

/* Gives the kernel the path of the run's file. NULL, or why not. */
static const char *show_store(struct sentra_run *run, struct task *task, enum store store, uint64_t resolve)
{
    const char *path = shown_path(run, store);
    uint64_t address = 0;

    if (resolve)
        return "the file is opened with limits on the way to it (openat2)";
    if (!store_is_there(run, task, store))
        return "the run's bundle is not to be seen by this program (chroot)";
    if (scratch_take(run, task, &address) || scratch_fill(task, path, strlen(path) + 1))
        return "there is no memory to place its path in";
    change_argument(task, path_argument(&task->call), address);
    task->call.keeps_turn = 1; /* it does not wait, and gives the memory back before another task wants it */
    return NULL;
}

void trust_enter(struct sentra_run *run, struct task *task)
{
    uint64_t flags, resolve;
    const char *failed;
    enum store store;
    char path[4097];

    if (path_of(task, path) || !may_be_certificates(last_name(path)) || flags_of(task, &flags, &resolve))
        return;
    if ((flags & (O_ACCMODE | O_CREAT | O_TRUNC | O_PATH | O_DIRECTORY)) != O_RDONLY)
        return;
    task->call.watch = WATCH_OPEN;
    store = has_bundle_name(path) ? leads_to(run, task, path) : STORE_NONE;
    if (store == STORE_NONE)
        return;
    failed = show_store(run, task, store, resolve);
    if (failed)
        record_trust(run, task, path, store, failed);
}

/* An open is completed: if it opened one of the run's files, the program reads on when that is complete. */
void trust_completed(struct sentra_run *run, struct task *task, int64_t result)
{
    struct stat status;
    char name[64], path[4097];
    enum store store;

    if (result < 0)
        return;
    snprintf(name, sizeof name, "/proc/%d/fd/%d", task->tid, (int32_t)result);
    store = stat(name, &status) ? STORE_NONE : own_store(run, &status);
    if (store == STORE_NONE || path_of(task, path))
        return;
    record_trust(run, task, path, store, NULL);
    request_trust(run, task);
}
