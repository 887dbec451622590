/* mem_sockets - sockets on unix paths and loopback: addresses in and out, options, stream, datagram, both IP versions. */
#include "tracee.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/un.h>

static void exchange(const char *what, int server, struct sockaddr *address, socklen_t size)
{
    char text[64];
    struct sockaddr_storage peer;
    socklen_t peer_size = sizeof peer;
    int client = (int)EXPECT(socket, socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    long r = EXPECT(connect, connect(client, address, size));
    EXPECT_IN(1, address, size);
    say("%s connect %s", what, outcome(r));
    int session = (int)EXPECT(accept4, accept4(server, (struct sockaddr *)&peer, &peer_size, SOCK_CLOEXEC));
    EXPECT_OUT(1, &peer, peer_size);
    EXPECT(write, write(client, "question", 8));
    r = EXPECT(read, read(session, text, sizeof text));
    EXPECT_OUT(1, "question", 8);
    EXPECT(sendto, send(session, "the answer", 10, MSG_NOSIGNAL));
    EXPECT_IN(1, "the answer", 10);
    EXPECT(shutdown, shutdown(session, SHUT_WR));
    r = EXPECT(recvfrom, recv(client, text, sizeof text, MSG_WAITALL));
    EXPECT_OUT(1, "the answer", 10);
    say("%s received %ld '%.*s', then %s", what, r, (int)r, text, outcome(EXPECT(read, read(client, text, 1))));
    peer_size = sizeof peer;
    EXPECT(getpeername, getpeername(client, (struct sockaddr *)&peer, &peer_size));
    EXPECT_OUT(1, &peer, peer_size);
    say("%s peer is the server %d", what, peer.ss_family == address->sa_family);
    close(client);
    close(session);
}

static void unix_stream(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "sock"};
    int server = MUST(socket(AF_UNIX, SOCK_STREAM, 0));
    EXPECT(bind, bind(server, (struct sockaddr *)&address, sizeof address));
    EXPECT(listen, listen(server, 5));
    exchange("unix", server, (struct sockaddr *)&address, sizeof address);
    say("unix bind again %s", outcome(EXPECT(bind, bind(MUST(socket(AF_UNIX, SOCK_STREAM, 0)), (struct sockaddr *)&address,
                                                        sizeof address))));
    close(server);
}

static void inet_stream(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int one = 1, value = 0, server = MUST(socket(AF_INET, SOCK_STREAM, 0));
    EXPECT(setsockopt, setsockopt(server, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one));
    EXPECT_IN(3, &one, sizeof one);
    MUST(bind(server, (struct sockaddr *)&address, size));
    EXPECT(getsockname, getsockname(server, (struct sockaddr *)&address, &size));
    EXPECT_OUT(1, &address, size);
    MUST(listen(server, 5));
    exchange("inet", server, (struct sockaddr *)&address, sizeof address);
    size = sizeof value;
    EXPECT(getsockopt, getsockopt(server, SOL_SOCKET, SO_TYPE, &value, &size));
    EXPECT_OUT(3, &value, sizeof value);
    say("inet option %d", value == SOCK_STREAM);
    close(server);
    int nobody = MUST(socket(AF_INET, SOCK_STREAM, 0));
    say("inet refused %s", outcome(EXPECT(connect, connect(nobody, (struct sockaddr *)&address, sizeof address))));
}

static void inet6_datagram(void)
{
    struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_addr = in6addr_loopback}, from;
    socklen_t size = sizeof address;
    char text[16];
    int server = MUST(socket(AF_INET6, SOCK_DGRAM, 0)), client = MUST(socket(AF_INET6, SOCK_DGRAM, 0));
    if (bind(server, (struct sockaddr *)&address, size) == -1) { /* a host without IPv6 */
        say("inet6 done");
        return;
    }
    MUST(getsockname(server, (struct sockaddr *)&address, &size));
    EXPECT(sendto, sendto(client, "datagram", 8, 0, (struct sockaddr *)&address, size));
    EXPECT_IN(4, &address, size);
    size = sizeof from;
    long n = EXPECT(recvfrom, recvfrom(server, text, sizeof text, 0, (struct sockaddr *)&from, &size));
    EXPECT_OUT(4, &from, size);
    CHECK(n == 8);
    say("inet6 done");
}

int main(void)
{
    unix_stream();
    inet_stream();
    inet6_datagram();
    say("bad family %s", outcome(EXPECT(socket, socket(200, SOCK_STREAM, 0))));
    return 0;
}
