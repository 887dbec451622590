# does: compiles a C program and runs it
# kind: benign
# needs: cc
printf '#include <stdio.h>\nint main(void) { puts("round"); return 0; }\n' > widget.c
cc -o widget widget.c
./widget
