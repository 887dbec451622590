/* thr_pingpong - two threads hand a ball over: mutex and condition, semaphores, pipes. */
#include "tracee.h"
#include <pthread.h>
#include <semaphore.h>

#define ROUNDS 1000

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t turn = PTHREAD_COND_INITIALIZER;
static int ball, pipes[2][2];
static sem_t posts[2];

static void *by_condition(void *argument)
{
    int me = (int)(intptr_t)argument;
    for (int i = 0; i < ROUNDS; i++) {
        pthread_mutex_lock(&lock);
        while (ball % 2 != me)
            pthread_cond_wait(&turn, &lock);
        ball++;
        pthread_cond_signal(&turn);
        pthread_mutex_unlock(&lock);
    }
    return NULL;
}

static void *by_semaphore(void *argument)
{
    int me = (int)(intptr_t)argument;
    for (int i = 0; i < ROUNDS; i++) {
        sem_wait(&posts[me]);
        ball++;
        sem_post(&posts[1 - me]);
    }
    return NULL;
}

static void *by_pipe(void *argument)
{
    int me = (int)(intptr_t)argument;
    char c;
    for (int i = 0; i < ROUNDS; i++) {
        MUST(read(pipes[me][0], &c, 1));
        ball++;
        MUST(write(pipes[1 - me][1], &c, 1));
    }
    return NULL;
}

static void play(const char *how, void *(*body)(void *))
{
    pthread_t other;
    ball = 0;
    CHECK(pthread_create(&other, NULL, body, (void *)1) == 0);
    body((void *)0);
    pthread_join(other, NULL);
    say("%s %d", how, ball);
}

int main(void)
{
    play("condition", by_condition);
    sem_init(&posts[0], 0, 1);
    sem_init(&posts[1], 0, 0);
    play("semaphore", by_semaphore);
    MUST(pipe(pipes[0]));
    MUST(pipe(pipes[1]));
    MUST(write(pipes[0][1], "o", 1));
    play("pipe", by_pipe);
    return 0;
}
