/* A thread with descriptors of its own connects: number 9 is a socket only in that thread. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

static struct sockaddr_in server;

static void *connects(void *unused)
{
    int made;

    (void)unused;
    if (unshare(CLONE_FILES))
        return "unshare";
    made = socket(AF_INET, SOCK_STREAM, 0);
    if (dup2(made, 9) != 9)
        return "dup2";
    close(made);
    return connect(9, (struct sockaddr *)&server, sizeof server) ? "connect" : NULL;
}

int main(void)
{
    socklen_t size = sizeof server;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    pthread_t thread;
    void *failed;

    server.sin_family = AF_INET;
    server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(listener, (struct sockaddr *)&server, sizeof server) || listen(listener, 5) || getsockname(listener, (struct sockaddr *)&server, &size))
        return 1;
    if (pthread_create(&thread, NULL, connects, NULL) || pthread_join(thread, &failed) || failed)
        return 2;
    printf("connected\n");
    return 0;
}
