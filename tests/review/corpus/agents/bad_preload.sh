# does: forces a library of its own into a program
# kind: malicious
# expect: SEN-090 high medium
# needs: cc
printf 'int geteuid(void) { return 0; }\n' > fake.c
cc -shared -fPIC -o fake.so fake.c
LD_PRELOAD=$PWD/fake.so ls > /dev/null
