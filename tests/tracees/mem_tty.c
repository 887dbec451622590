/* mem_tty - terminal ioctls on a pseudo terminal of its own: settings, window size, bytes waiting, line editing. */
#include "tracee.h"
#include <poll.h>
#include <sys/ioctl.h>
#include <termios.h>

int main(void)
{
    int number = -1, lock = 0, waiting = 0;
    struct termios settings;
    struct winsize size = {24, 80, 0, 0};
    char path[64], text[64];
    int master = (int)EXPECT(openat, open("/dev/ptmx", O_RDWR | O_NOCTTY));
    if (master < 0) {
        say("no pseudo terminals: %s", outcome(-1));
        return 1;
    }
    EXPECT(ioctl, ioctl(master, TIOCGPTN, &number));
    EXPECT_OUT(2, &number, sizeof number);
    EXPECT(ioctl, ioctl(master, TIOCSPTLCK, &lock));
    snprintf(path, sizeof path, "/dev/pts/%d", number);
    int slave = MUST(open(path, O_RDWR | O_NOCTTY));
    EXPECT(ioctl, ioctl(slave, TCGETS, &settings));
    EXPECT_OUT(2, &settings, 36); /* the kernel's struct is 36 bytes, glibc's is longer */
    say("canonical %d echo %d", !!(settings.c_lflag & ICANON), !!(settings.c_lflag & ECHO));
    say("set size %s", outcome(EXPECT(ioctl, ioctl(master, TIOCSWINSZ, &size))));
    EXPECT_IN(2, &size, sizeof size);
    memset(&size, 0, sizeof size);
    EXPECT(ioctl, ioctl(slave, TIOCGWINSZ, &size));
    EXPECT_OUT(2, &size, sizeof size);
    say("size %d x %d", size.ws_row, size.ws_col);
    EXPECT(write, write(master, "typed\n", 6));
    MUST(poll(&(struct pollfd){slave, POLLIN, 0}, 1, 5000)); /* the terminal's own work is done later */
    EXPECT(ioctl, ioctl(slave, FIONREAD, &waiting));
    EXPECT_OUT(2, &waiting, sizeof waiting);
    long n = EXPECT(read, read(slave, text, sizeof text));
    EXPECT_OUT(1, "typed\n", 6);
    say("waiting %d read %ld", waiting, n);
    n = EXPECT(read, read(master, text, sizeof text));
    EXPECT_OUT(1, "typed\r\n", 7);
    say("echo %ld", n);
    settings.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    EXPECT(ioctl, ioctl(slave, TCSETS, &settings));
    EXPECT_IN(2, &settings, 36);
    MUST(write(master, "x", 1));
    say("raw read %s", outcome(EXPECT(read, read(slave, text, sizeof text))));
    say("not a terminal %s", outcome(EXPECT(ioctl, ioctl(MUST(open("/dev/null", O_RDWR)), TCGETS, &settings))));
    close(slave);
    say("hung up %s", outcome(EXPECT(read, read(master, text, sizeof text))));
    return 0;
}
