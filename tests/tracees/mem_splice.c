/* mem_splice - bytes moved inside the kernel: splice, tee, vmsplice, sendfile, copy_file_range. */
#include "tracee.h"
#include <sys/sendfile.h>
#include <sys/uio.h>

int main(void)
{
    int a[2], b[2];
    char text[64];
    loff_t from = 2, to = 0;
    off_t at = 4;
    MUST(pipe(a));
    MUST(pipe(b));
    int source = MUST(open("source", O_RDWR | O_CREAT | O_TRUNC, 0644));
    int target = MUST(open("target", O_RDWR | O_CREAT | O_TRUNC, 0644));
    MUST(write(source, "0123456789abcdef", 16));
    say("splice %s", outcome(EXPECT(splice, splice(source, &from, a[1], NULL, 8, 0))));
    EXPECT_OUT(1, &from, sizeof from);
    say("tee %s", outcome(EXPECT(tee, tee(a[0], b[1], 64, 0))));
    say("splice out %s", outcome(EXPECT(splice, splice(a[0], NULL, target, &to, 64, 0))));
    say("read the tee's copy %s", outcome(EXPECT(read, read(b[0], text, sizeof text))));
    EXPECT_OUT(1, "23456789", 8);
    say("offsets %ld %ld", (long)from, (long)to);
    struct iovec parts[2] = {{"page ", 5}, {"gift", 4}};
    say("vmsplice %s", outcome(EXPECT(vmsplice, vmsplice(a[1], parts, 2, 0))));
    long n = EXPECT(read, read(a[0], text, sizeof text));
    EXPECT_OUT(1, "page gift", 9);
    say("read %ld '%.*s'", n, (int)n, text);
    say("sendfile %s at %ld", outcome(EXPECT(sendfile, sendfile(a[1], source, &at, 6))), (long)at);
    EXPECT_OUT(2, &at, sizeof at);
    n = EXPECT(read, read(a[0], text, sizeof text));
    say("read %ld '%.*s'", n, (int)n, text);
    from = 10;
    to = 20;
    say("copy_file_range %s", outcome(EXPECT(copy_file_range, copy_file_range(source, &from, target, &to, 6, 0))));
    n = EXPECT(pread64, pread(target, text, sizeof text, 0));
    say("target %ld '%.8s' ... '%.6s'", n, text, text + 20);
    return 0;
}
