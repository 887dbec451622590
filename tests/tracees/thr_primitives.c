/* thr_primitives - barriers, read-write locks, once, thread-local data, robust and priority mutexes, a dead owner. */
#include "tracee.h"
#include <pthread.h>
#include <stdatomic.h>

#define THREADS 6

static pthread_barrier_t barrier;
static pthread_rwlock_t rwlock = PTHREAD_RWLOCK_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key;
static atomic_int onces, destroyed, serial;
static int shared_value, torn;
static _Thread_local int local_value;

static void first(void)
{
    atomic_fetch_add(&onces, 1);
}

static void destructor(void *value)
{
    atomic_fetch_add(&destroyed, (int)(intptr_t)value);
}

static void *body(void *argument)
{
    int me = (int)(intptr_t)argument;
    pthread_once(&once, first);
    pthread_setspecific(key, (void *)1);
    for (int round = 0; round < 20; round++) {
        if (pthread_barrier_wait(&barrier) == PTHREAD_BARRIER_SERIAL_THREAD)
            atomic_fetch_add(&serial, 1);
        if (round % THREADS == me) {
            pthread_rwlock_wrlock(&rwlock);
            int copy = shared_value;
            usleep(100);
            shared_value = copy + 1;
            pthread_rwlock_unlock(&rwlock);
        } else {
            pthread_rwlock_rdlock(&rwlock);
            int copy = shared_value;
            torn += copy != *(volatile int *)&shared_value;
            pthread_rwlock_unlock(&rwlock);
        }
        local_value++;
    }
    return (void *)(intptr_t)local_value;
}

static pthread_mutex_t *robust;

static void *dies_with_it(void *unused)
{
    (void)unused;
    pthread_mutex_lock(robust);
    return NULL;
}

static void dead_owners(void)
{
    pthread_mutexattr_t attributes;
    pthread_t thread;
    int status;
    robust = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    CHECK(pthread_mutex_init(robust, &attributes) == 0);
    CHECK(pthread_create(&thread, NULL, dies_with_it, NULL) == 0);
    pthread_join(thread, NULL);
    say("dead thread: %s", strerrorname_np(pthread_mutex_lock(robust)));
    say("made consistent %d", pthread_mutex_consistent(robust) == 0 && pthread_mutex_unlock(robust) == 0);
    pid_t child = MUST(fork());
    if (child == 0) {
        pthread_mutex_lock(robust);
        kill(getpid(), SIGKILL);
    }
    MUST(waitpid(child, &status, 0));
    say("dead process: %s", strerrorname_np(pthread_mutex_lock(robust)));
}

/* Priority inheritance is refused by the sandbox, and glibc passes that on: both answers are right. */
static void priority(void)
{
    pthread_mutexattr_t attributes;
    pthread_mutex_t mutex;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setprotocol(&attributes, PTHREAD_PRIO_INHERIT);
    int made = pthread_mutex_init(&mutex, &attributes);
    int locked = made == 0 ? pthread_mutex_lock(&mutex) : made;
    say("priority mutex works or says no %d", locked == 0 || locked == ENOTSUP || locked == ENOSYS);
}

int main(void)
{
    pthread_t threads[THREADS];
    int sum = 0;
    pthread_key_create(&key, destructor);
    pthread_barrier_init(&barrier, NULL, THREADS);
    for (long i = 0; i < THREADS; i++)
        CHECK(pthread_create(&threads[i], NULL, body, (void *)i) == 0);
    for (int i = 0; i < THREADS; i++) {
        void *result;
        pthread_join(threads[i], &result);
        sum += (int)(intptr_t)result;
    }
    say("once %d, destroyed %d, serial %d, written %d, torn %d, local %d", atomic_load(&onces), atomic_load(&destroyed),
        atomic_load(&serial), shared_value, torn, sum);
    dead_owners();
    priority();
    return 0;
}
