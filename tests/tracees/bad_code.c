/* bad_code - a program that writes its own code: a function patched in place, code made at run time that makes calls. */
#include "tracee.h"

__attribute__((noinline, aligned(4096))) static int answer(void)
{
    return 1;
}

static const unsigned char write_call[] = {
    0xb8, 0x01, 0x00, 0x00, 0x00, /* mov eax, 1: write(edi, rsi, edx) as the caller set them */
    0x0f, 0x05,                   /* syscall */
    0xc3,                         /* ret */
};

int main(void)
{
    static const unsigned char returns_42[] = {0xb8, 42, 0, 0, 0, 0xc3};
    void *page = (void *)((uintptr_t)answer & ~4095ul);
    say("before %d", answer());
    MUST(mprotect(page, 8192, PROT_READ | PROT_WRITE | PROT_EXEC));
    memcpy((void *)(uintptr_t)answer, returns_42, sizeof returns_42);
    MUST(mprotect(page, 8192, PROT_READ | PROT_EXEC));
    int (*volatile again)(void) = answer;
    say("patched %d", again());
    unsigned char *code = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(code != MAP_FAILED);
    /* The call's two bytes on two pages. */
    unsigned char *start = code + 4096 - 6;
    memcpy(start, write_call, sizeof write_call);
    MUST(mprotect(code, 8192, PROT_READ | PROT_EXEC));
    long (*made)(int, const char *, long) = (void *)start;
    EXPECT(write, made(1, "written by made code\n", 21));
    EXPECT_IN(1, "written by made code\n", 21);
    MUST(munmap(code, 8192));
    return 0;
}
