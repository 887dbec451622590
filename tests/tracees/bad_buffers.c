/* bad_buffers - sizes and edges: too many vectors, sizes that overflow, buffers over the end of a page, PROT_NONE, paths
 * without an end; partial transfers up to the bad page.
 */
#include "tracee.h"
#include <limits.h>
#include <sys/socket.h>
#include <sys/uio.h>

int main(void)
{
    char *pages = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(pages != MAP_FAILED);
    MUST(mprotect(pages + 4096, 4096, PROT_NONE));
    char *edge = pages + 4096 - 8;
    int fd = MUST(open("edges", O_RDWR | O_CREAT | O_TRUNC, 0644)), pipes[2];
    MUST(pipe(pipes));
    MUST(write(fd, "0123456789abcdef", 16));
    say("pread over the edge %s", outcome(EXPECT(pread64, pread(fd, edge, 16, 0))));
    memcpy(edge, "01234567", 8);
    say("pipe write over the edge %s", outcome(EXPECT(write, write(pipes[1], edge, 16))));
    say("read into PROT_NONE %s", outcome(EXPECT(pread64, pread(fd, pages + 4096, 16, 0))));
    struct iovec *many = calloc(IOV_MAX + 1, sizeof *many);
    for (int i = 0; i <= IOV_MAX; i++)
        many[i] = (struct iovec){pages, 1};
    say("writev of too many %s", outcome(EXPECT(writev, writev(fd, many, IOV_MAX + 1))));
    say("writev of the most %s", outcome(EXPECT(writev, writev(fd, many, IOV_MAX))));
    say("writev of -1 %s", outcome(EXPECT(writev, writev(fd, many, -1))));
    say("readv of a billion %s", outcome(EXPECT(readv, syscall(SYS_readv, fd, many, 1 << 30))));
    many[0].iov_len = SIZE_MAX;
    say("vector of a negative size %s", outcome(EXPECT(writev, writev(fd, many, 2))));
    struct iovec partial[3] = {{edge, 8}, {pages + 4096, 8}, {pages, 8}};
    say("writev up to the bad page %s", outcome(EXPECT(writev, writev(pipes[1], partial, 3))));
    say("read with a size of -1 %s", outcome(EXPECT(pread64, syscall(SYS_pread64, fd, pages, -1L, 0))));
    struct mmsghdr messages[2] = {{{0}, 0}};
    int sockets[2];
    MUST(socketpair(AF_UNIX, SOCK_DGRAM, 0, sockets));
    struct iovec one = {"x", 1};
    messages[0].msg_hdr = (struct msghdr){.msg_iov = &one, .msg_iovlen = 1};
    messages[1].msg_hdr = (struct msghdr){.msg_iov = (void *)8, .msg_iovlen = 1};
    say("sendmmsg with a bad second %s", outcome(EXPECT(sendmmsg, sendmmsg(sockets[0], messages, 2, 0))));
    say("sendmsg with a huge count %s",
        outcome(EXPECT(sendmsg, sendmsg(sockets[0], &(struct msghdr){.msg_iov = &one, .msg_iovlen = 1ul << 40}, 0))));
    say("sendmsg with huge control %s",
        outcome(EXPECT(sendmsg, sendmsg(sockets[0], &(struct msghdr){.msg_control = pages, .msg_controllen = 1ul << 40}, 0))));
    memset(edge, '/', 8);
    say("path without an end %s", outcome(EXPECT(openat, syscall(SYS_openat, AT_FDCWD, edge, O_RDONLY, 0))));
    char *long_path = malloc(8192);
    memset(long_path, 'a', 8191);
    long_path[8191] = 0;
    say("path too long %s", outcome(EXPECT(openat, open(long_path, O_RDONLY))));
    say("empty path %s", outcome(EXPECT(openat, open("", O_RDONLY))));
    memset(long_path, '/', 4000);
    strcpy(long_path + 4000, "etc");
    say("path of 4,003 bytes %s", open(long_path, O_RDONLY) >= 0 ? "opened" : strerrorname_np(errno));
    char *arguments[] = {edge, NULL};
    say("exec with such an argument %s", outcome(EXPECT(execve, execve("/bin/true", arguments, NULL))));
    return 0;
}
