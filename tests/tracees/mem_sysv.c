/* mem_sysv - System V and POSIX messages: shared memory, semaphores, message queues.
 * tracee grade: any
 */
#include "tracee.h"
#include <mqueue.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>

static void shared_memory(void)
{
    int id = (int)EXPECT(shmget, shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0600)), status;
    char *map = shmat(id, NULL, 0);
    CHECK(map != (void *)-1);
    pid_t child = MUST(fork());
    if (child == 0) {
        strcpy(map, "by shm");
        _exit(shmdt(map) == 0 ? 0 : 1);
    }
    MUST(waitpid(child, &status, 0));
    struct shmid_ds info;
    EXPECT(shmctl, shmctl(id, IPC_STAT, &info));
    say("shm '%s' size %zu attached %ld", map, info.shm_segsz, (long)info.shm_nattch);
    EXPECT(shmctl, shmctl(id, IPC_RMID, NULL));
}

static void semaphores(void)
{
    int id = (int)EXPECT(semget, semget(IPC_PRIVATE, 2, IPC_CREAT | 0600));
    struct sembuf up[2] = {{0, 2, 0}, {1, 1, 0}}, down = {0, -5, IPC_NOWAIT};
    unsigned short values[2] = {9, 9};
    EXPECT(semtimedop, semop(id, up, 2));
    EXPECT_IN(1, up, sizeof up);
    say("semop would wait %s", outcome(EXPECT(semtimedop, semop(id, &down, 1))));
    EXPECT(semctl, semctl(id, 0, GETALL, values));
    say("semaphores %d %d", values[0], values[1]);
    EXPECT(semctl, semctl(id, 0, IPC_RMID));
}

static void messages(void)
{
    struct {
        long type;
        char text[32];
    } message = {3, "queued"}, got = {0, ""};
    int id = (int)EXPECT(msgget, msgget(IPC_PRIVATE, IPC_CREAT | 0600));
    EXPECT(msgsnd, msgsnd(id, &message, 7, 0));
    long n = EXPECT(msgrcv, msgrcv(id, &got, sizeof got.text, 0, 0));
    EXPECT_OUT(1, &message, 15);
    say("msgrcv %ld type %ld '%s'", n, got.type, got.text);
    say("nothing %s", outcome(EXPECT(msgrcv, msgrcv(id, &got, sizeof got.text, 0, IPC_NOWAIT))));
    EXPECT(msgctl, msgctl(id, IPC_RMID, NULL));
}

static void posix_queue(void)
{
    char text[64];
    unsigned priority = 0;
    struct mq_attr size = {.mq_maxmsg = 4, .mq_msgsize = 64};
    char name[64];
    snprintf(name, sizeof name, "/sentra-tracee-%d", (int)getpid());
    mqd_t queue = mq_open(name, O_RDWR | O_CREAT, 0600, &size);
    if (queue == (mqd_t)-1) {
        say("mq done");
        return;
    }
    EXPECT(mq_timedsend, mq_send(queue, "posted", 6, 5));
    EXPECT_IN(1, "posted", 6);
    long n = EXPECT(mq_timedreceive, mq_receive(queue, text, sizeof text, &priority));
    EXPECT_OUT(1, "posted", 6);
    CHECK(n == 6 && priority == 5);
    mq_unlink(name);
    say("mq done");
}

int main(void)
{
    shared_memory();
    semaphores();
    messages();
    posix_queue();
    return 0;
}
