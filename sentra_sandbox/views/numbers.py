"""The numbers of the few calls that the summary looks at.

The system call table has them all; loading it takes longer than summarising a small run. A test compares each line
with the table.
"""

from __future__ import annotations

OPEN, OPENAT, OPENAT2, CREAT = 2, 257, 437, 85
CHDIR, FCHDIR = 80, 81
SOCKET, CONNECT, SENDTO, SENDMSG, SENDMMSG, WRITE, WRITEV = 41, 42, 44, 46, 307, 1, 20
GETSOCKOPT = 55
RSEQ = 334

# (argument with the directory or None, argument with the path)
OPEN_CALLS: dict[int, tuple[int | None, int]] = {OPEN: (None, 0), OPENAT: (0, 1), OPENAT2: (0, 1), CREAT: (None, 0)}

# Calls that change what a path names: the (directory, path) arguments of all paths that they change.
CHANGING_CALLS: dict[int, tuple[tuple[int | None, int], ...]] = {
    76: ((None, 0),),  # truncate
    82: ((None, 0), (None, 1)),  # rename
    264: ((0, 1), (2, 3)),  # renameat
    316: ((0, 1), (2, 3)),  # renameat2
    83: ((None, 0),),  # mkdir
    258: ((0, 1),),  # mkdirat
    84: ((None, 0),),  # rmdir
    86: ((None, 1),),  # link
    265: ((2, 3),),  # linkat
    87: ((None, 0),),  # unlink
    263: ((0, 1),),  # unlinkat
    88: ((None, 1),),  # symlink
    266: ((1, 2),),  # symlinkat
    133: ((None, 0),),  # mknod
    259: ((0, 1),),  # mknodat
}
