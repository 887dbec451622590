/* bad_memory - other ways to memory: /proc/self/mem, process_vm_readv of itself and a child; what /proc says of a tracer.
 * tracee grade: any
 */
#include "tracee.h"
#include <sys/uio.h>

static volatile uint64_t word = 0x1122334455667788;

int main(void)
{
    uint64_t copy = 0;
    int status, gate[2], fd = MUST(open("/proc/self/mem", O_RDWR));
    char c;
    say("read itself %s", outcome(EXPECT(pread64, pread(fd, &copy, 8, (off_t)(uintptr_t)&word))));
    say("right %d", copy == word);
    copy = 99;
    long r = EXPECT(pwrite64, pwrite(fd, &copy, 8, (off_t)(uintptr_t)&word));
    say("wrote itself or was refused %d", (r == 8 && word == 99) || r == -1);
    MUST(pipe(gate));
    pid_t child = MUST(fork());
    if (child == 0) {
        word = 4711;
        MUST(write(gate[1], "r", 1));
        for (;;)
            pause();
    }
    MUST(read(gate[0], &c, 1));
    struct iovec mine = {&copy, 8}, theirs = {(void *)&word, 8};
    r = EXPECT(process_vm_readv, process_vm_readv(child, &mine, 1, &theirs, 1, 0));
    say("read the child or was refused %d", (r == 8 && copy == 4711) || r == -1);
    MUST(kill(child, SIGKILL));
    MUST(waitpid(child, &status, 0));
    r = EXPECT(process_vm_readv, process_vm_readv(child, &mine, 1, &theirs, 1, 0));
    say("nobody there or refused %d", r == -1 && (errno == ESRCH || errno == EPERM));
    char text[4096];
    fd = MUST(open("/proc/self/status", O_RDONLY));
    ssize_t n = MUST(read(fd, text, sizeof text - 1));
    text[n] = 0;
    char *line = strstr(text, "TracerPid:");
    CHECK(line);
    say("status names a tracer outside of its world or none: %d", atoi(line + 10) >= 0);
    return 0;
}
