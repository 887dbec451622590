/*
 * request.c - questions to the supervisor: what has to be in place outside before a call goes on, or comes back.
 *
 * The supervisor starts its network broker only when a program uses the network, so the first answer may take a moment; the whole run
 * waits for it. A supervisor that does not answer in time is asked nothing more: a late answer would be taken for the next question's.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <sys/socket.h>

#include "run.h"

#define ANSWER_NS 10000000000ull

static int send_request(struct sentra_run *run, uint32_t kind, uint32_t value)
{
    struct sentra_request request = {kind, value};

    if (run->options.request_fd <= 0 || run->network.silent)
        return -1;
    if (send(run->options.request_fd, &request, sizeof request, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)sizeof request)
        return 0;
    run->network.silent = 1;
    return -1;
}

/* The answer, 0 or more. -1: nobody answers, or the run is being ended. The ticks of the loop interrupt the wait. */
static int await_answer(struct sentra_run *run)
{
    uint64_t since = now_ns();
    unsigned char answer;

    while (!atomic_load(&run->stop_requested) && now_ns() - since < ANSWER_NS) {
        struct pollfd ready = {run->options.request_fd, POLLIN, 0};
        int got = poll(&ready, 1, 100);

        if (got < 0 && errno != EINTR)
            break;
        if (got > 0) {
            if (recv(run->options.request_fd, &answer, 1, MSG_DONTWAIT) == 1)
                return answer;
            break;
        }
    }
    run->network.silent = 1;
    return -1;
}

static int ask(struct sentra_run *run, const struct task *task, uint32_t kind, uint32_t value, const char *what)
{
    int answer;

    if (run->options.request_fd <= 0 || run->network.silent)
        return -1;
    answer = send_request(run, kind, value) ? -1 : await_answer(run);
    if (answer < 0 && !atomic_load(&run->stop_requested))
        record_note(run, task, SENTRA_NOTE_UNSEEN, "the network broker did not answer: %s", what);
    return answer;
}

/* The first internet socket: the broker may be started meanwhile. */
void request_start(struct sentra_run *run)
{
    if (!run->network.start_sent)
        send_request(run, SENTRA_REQUEST_START, 0);
    run->network.start_sent = 1;
}

/* The bundle of certificates is about to be read for the first time. */
void request_trust(struct sentra_run *run, const struct task *task)
{
    if (!run->network.trust_asked)
        ask(run, task, SENTRA_REQUEST_TRUST, 0, "certificates that it makes may not be trusted");
    run->network.trust_asked = 1;
}

void request_port(struct sentra_run *run, const struct task *task, uint16_t port)
{
    uint8_t *byte = &run->network.asked_ports[port / 8], bit = (uint8_t)(1u << port % 8);

    if (!(*byte & bit) && ask(run, task, SENTRA_REQUEST_PORT, port, "a port is not listened to") == SENTRA_ANSWER_EVERY_PORT)
        run->options.ask_ports = 0;
    *byte |= bit;
}
