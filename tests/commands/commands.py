"""Real commands that must behave the same recorded as native: what a person or an agent types in a working day.

Each is a bash script run in a fresh work directory; ``setup`` runs before it, never recorded. The two runs are
compared by standard output, standard error, exit status and the tree of files left behind. What a program itself
makes different from run to run (times, random keys, process ids) is declared: ``normalise`` replaces matches of a
pattern before comparing, ``unordered`` sorts lines, ``tree`` says how far the files are compared.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from running import fresh

HERE = Path(__file__).resolve().parent
PYTHON = sys.executable
SECONDS = (r"\d+\.\d+ ?s\b", "N s")
EVERYWHERE = ((r"line (\d+): +\d+ ", r"line \1: PID "),)  # how bash tells of a killed child


@dataclass(frozen=True, slots=True)
class Command:
    """One row. ``needs`` are programs looked up on PATH; ``optional`` ones are skipped even where everything must work.

    ``tree``: ``content`` (names, modes, sizes, bytes), ``names`` (names, types), ``none``. ``ignore`` are patterns of
    paths left out.
    """

    name: str
    script: str
    setup: str = ""
    needs: tuple[str, ...] = ()
    stdin: bytes = b""
    normalise: tuple[tuple[str, str], ...] = ()
    unordered: bool = False
    tree: str = "content"
    ignore: tuple[str, ...] = ()
    timeout: float = 60.0
    optional: bool = False


def prepare(command: Command, work: Path, env: dict[str, str]) -> Path:
    """The work directory as the command finds it."""
    fresh(Path(env["HOME"]))
    fresh(work)
    if command.setup:
        subprocess.run(["bash", "-euc", command.setup], cwd=work, env=env, check=True, timeout=60)
    return work


PROJECT = f"cp -r {HERE}/c_project/. . && find . -exec touch -d @1700000000 {{}} +"
FILES = r"""
mkdir -p tree/a/b tree/c
for i in $(seq 1 20); do seq 1 $i > tree/a/file$i; done
printf 'alpha beta\ngamma delta\nalpha omega\n' > tree/words
printf '\000\001binary\377' > tree/c/bin
ln -s ../words tree/c/link; ln tree/words tree/hard
chmod 640 tree/a/file3
find tree -exec touch -h -d @1700000000 {} +
"""
GIT = "export GIT_AUTHOR_DATE='2024-01-02T03:04:05Z' GIT_COMMITTER_DATE='2024-01-02T03:04:05Z'; git config --global user.name T; git config --global user.email t@example.org; git config --global init.defaultBranch main;"

COMMANDS = [
    # ---- files ----
    Command("ls", "ls -la tree tree/a; ls -1R tree; ls absent", setup=FILES, normalise=((r"(?m)^(d.* )\w{3} +\d+ +\d\d:\d\d \.\.$", r"\1 .."),)),
    Command("cat", "cat tree/words tree/a/file3; head -c 5 tree/c/bin | od -c; tail -n 2 tree/a/file9; wc tree/a/*", setup=FILES),
    Command("cp", "cp -r tree copy && diff -r tree copy && cp -a tree/words kept && mv copy moved && rm -r moved/a && ls moved", setup=FILES),
    Command("find", r"find tree -type f -size -2 -printf '%p %s %m\n' | sort; find tree -name 'file1*' -exec wc -l {} + | tail -1; find tree -newermt 2030-01-01", setup=FILES),
    Command("grep", "grep -rn alpha tree | sort; grep -c . tree/a/*; grep -q absent tree/words", setup=FILES),
    Command("sed", "sed -i 's/alpha/ALPHA/; 2d' tree/words && sed -n '$p' tree/words && sed -E 's/(.)/<\\1>/g' tree/a/file3", setup=FILES),
    Command("awk", "awk '{n += $1; c[FILENAME]++} END {print n, length(c)}' tree/a/*; awk 'BEGIN {while ((\"echo a b c\" | getline line) > 0) print line; system(\"exit 3\")}'", setup=FILES),
    Command("sort", "seq 1 60000 | shuf --random-source=<(yes) | sort -n -S 200K --parallel=2 -T . | md5sum; printf 'b\\na\\nb\\n' | sort -u; printf '1 x\\n2 y\\n' > p; printf '1 z\\n' | join p -"),
    Command("xargs", "seq 1 24 | xargs -P4 -n3 sh -c 'echo $#: $*' sh; seq 3 | xargs -I{} sh -c 'exit {}'", unordered=True),
    Command("tar", "tar czf all.tgz tree && tar tzf all.tgz | sort && mkdir out && tar xzf all.tgz -C out && diff -r tree out/tree && tar cf - tree | (cd out && tar xf -)", setup=FILES, ignore=("all.tgz",)),
    Command("gzip", "seq 1 50000 > n && gzip -k n && gzip -t n.gz && zcat n.gz | cmp - n && gzip -l n.gz | tail -1 && rm n && gunzip n.gz && wc -c n", ignore=("n.gz",)),
    Command("dd", "dd if=/dev/zero of=z bs=64k count=32 status=none && truncate -s 5M sparse && dd if=z of=sparse bs=1k seek=100 count=10 conv=notrunc status=none && sha256sum z sparse && stat -c '%n %s %a' z sparse"),
    Command("fifo", "mkfifo pipe; (seq 1 1000 > pipe) & wc -l < pipe; wait; seq 1 5 | tee one two | tac; cat one two", ignore=()),
    Command("permissions", "umask 027; touch a; mkdir d; chmod 4755 a; stat -c '%n %a' a d; ln -s a b; readlink -f b | xargs basename; id -u; id -g; whoami; [ -w / ] && echo writable-root || echo no"),
    Command("patch", "diff -u tree/a/file4 tree/a/file5 > p; sed -i 's#tree/a/file[45]#tree/a/file4#' p; patch -p0 < p && cmp tree/a/file4 tree/a/file5", setup=FILES, needs=("patch",), normalise=((r"\d{4}-\d\d-\d\d [\d:.]+ [+-]\d{4}", "TIME"),), ignore=("p",)),
    # ---- git ----
    Command("git", GIT + "git init -q r && cd r && echo one > a && git add a && git commit -qm first && echo two >> a && git status --short && git diff && git commit -qam second && git log --stat --format='%h %s'", needs=("git",), ignore=("r/.git/index", "r/.git/logs/*")),
    Command("git-branches", GIT + "git init -q r && cd r && seq 9 > a && git add . && git commit -qm base && git checkout -qb side && echo side > b && git add b && git commit -qm side && git checkout -q main && sed -i 3d a && git commit -qam main && git merge -q -m merge side && git log --oneline --graph && cd .. && git clone -q r c && git -C c gc -q && git -C c fsck && git -C c stash list && git -C c blame a | cut -c1-8 | sort -u", needs=("git",), tree="names", ignore=("*/.git/*",)),
    # ---- building ----
    Command("make", "make -j4 -s && ./sum 1 2 3 4 && make -s check && make -s clean && ls", setup=PROJECT, needs=("make", "cc"), unordered=True, timeout=90),
    Command("gcc", "echo 'int main(int c,char**v){return c;}' > m.c && gcc -O2 -o m m.c && ./m a b; echo $?; echo 'broken' > b.c; gcc b.c; echo 'int f(void){return 1;}' > f.c; gcc -c f.c && ar rc libf.a f.o && nm libf.a", needs=("gcc", "ar"), normalise=((r"/tmp/cc\w+", "/tmp/cc"),), tree="names"),
    # ---- bash ----
    Command("job-control", "set -m; sleep 0.1 & sleep 0.2 & jobs | wc -l; fg %1 >/dev/null; wait; sleep 30 & kill -STOP $!; until jobs -s | grep -q Stopped; do sleep 0.02; done; echo stopped; bg >/dev/null; jobs -r | wc -l; kill $!; wait $! 2>/dev/null; echo $?; bash -c 'exit 4' & wait $!; echo $?"),
    Command("pipefail", "set -o pipefail; false | true; echo $?; yes | head -3; echo $? ${PIPESTATUS[@]}; seq 100000 | grep -m1 5; (exit 3) | (exit 4) | cat; echo ${PIPESTATUS[@]}"),
    Command("here-documents", "cat <<A; cat <<'B'; cat <<<\"three $((1+2))\"\none $HOME_NOT_SET $(echo sub)\nA\ntwo $literal `no`\nB\nwhile read -r a b; do echo \"$b-$a\"; done <<< $'1 2\\n3 4'; diff <(seq 3) <(seq 4); (cd /; pwd); x=$( (echo nested; exit 7) ); echo $? $x"),
    Command("traps", "trap 'echo got INT' INT; trap 'echo bye $?' EXIT; kill -INT $$; (trap 'echo inner; exit 9' TERM; kill -TERM $BASHPID; sleep 1); echo $?; coproc cat; echo to >&${COPROC[1]}; read -r -t 5 l <&${COPROC[0]}; echo $l; read -t 0.1 n; echo $?", stdin=b""),
    Command("timeout", "timeout 1 sleep 5; echo $?; timeout -s KILL 0.2 sleep 5; echo $?; timeout 5 true; echo $?"),
    Command("environment", "env | sort; printenv HOME; env -i A=b env; FOO=bar bash -c 'echo $FOO $SHLVL'", normalise=((r"(?m)^(GODEBUG|OPENSSL_ia32cap|SSL_CERT_FILE|NODE_EXTRA_CA_CERTS|DENO_CERT|GRPC_DEFAULT_SSL_ROOTS_FILE_PATH)=.*\n", ""), (r"(?m)^_=.*\n", ""))),
    Command("date", "TZ=Europe/Berlin date -d @1700000000; date -u -d @0 +%F; date +%s | wc -c; TZ=Asia/Tokyo date +%Z"),
    Command("limits", "ulimit -n 200; ulimit -n; (ulimit -f 1; head -c 100000 /dev/zero > big); echo $?; nice -n 5 nice; nohup echo out; setsid -w echo session; flock lock -c 'echo locked'", tree="names"),
    Command("crash", "ulimit -c 0; bash -c 'kill -SEGV $$'; echo $?; bash -c 'kill -9 $$'; echo $?; bash -c 'kill -ABRT $$'; echo $?; exec " + PYTHON + " -S -c 'import ctypes; ctypes.string_at(0)'"),
    Command("killed", "kill -9 $$"),
    Command("large-input", "cat | sha256sum", stdin=b"0123456789abcde\n" * (20 << 16)),
    Command("large-output", "seq 1 400000"),
    Command("closed-streams", "cat <&-; echo $?; (echo lost >&-); echo $?; exec 1>&-; echo nowhere 2>/dev/null; echo $? >&2"),
    Command("background", "sleep 60 & disown; (setsid sleep 3 >/dev/null 2>&1 &); echo left; kill %1 2>/dev/null; kill $!; echo done", tree="none", normalise=((r"\d{3,}", "PID"),)),
    # ---- Python ----
    Command("python-threads", f"{PYTHON} {HERE}/py_workload.py threads", needs=()),
    Command("python-asyncio", f"{PYTHON} {HERE}/py_workload.py asyncio"),
    Command("python-processes", f"{PYTHON} {HERE}/py_workload.py processes"),
    Command("python-sqlite", f"{PYTHON} {HERE}/py_workload.py sqlite", tree="names"),
    Command("python-tls", f"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost -keyout key.pem -out cert.pem 2>/dev/null && {PYTHON} {HERE}/py_workload.py tls", needs=("openssl",), tree="names"),
    Command("python-http", f"{PYTHON} {HERE}/py_workload.py http"),
    Command("python-tempfile", f"{PYTHON} {HERE}/py_workload.py tempfile"),
    Command("python-traceback", f"{PYTHON} -c 'def f(): raise ValueError(\"no\")\nf()'; {PYTHON} -X faulthandler -S -c 'import os; os.abort()' 2>&1 | head -3; {PYTHON} -c 'import sys; sys.exit(\"said why\")'", normalise=((r"0x[0-9a-f]+", "0xN"),)),
    Command("pytest", f"{PYTHON} -m pytest -q -p no:cacheprovider", setup=f"cp -r {HERE}/py_project/. .", normalise=(SECONDS,), tree="none"),
    Command("pip-install", f"{PYTHON} -m venv v && v/bin/pip install -q --no-index --no-compile --disable-pip-version-check ./tiny_wheel-1.0-py3-none-any.whl && v/bin/tiny-wheel && v/bin/pip list --disable-pip-version-check | grep tiny", setup=f"{PYTHON} {HERE}/make_wheel.py .", tree="none", timeout=120),
    Command("python-compile", f"{PYTHON} -m compileall -q p && {PYTHON} -m zipapp p -o p.pyz && {PYTHON} p.pyz", setup="mkdir p && echo 'print(\"zipped\")' > p/__main__.py", tree="names"),
    # ---- Node ----
    Command("node-files", f"node {HERE}/node_workload.js files", needs=("node",)),
    Command("node-workers", f"node {HERE}/node_workload.js workers", needs=("node",), timeout=90),
    Command("node-processes", f"node {HERE}/node_workload.js processes", needs=("node",), timeout=90),
    Command("node-crypto", f"node {HERE}/node_workload.js crypto", needs=("node",), timeout=90),
    Command("node-http", f"node {HERE}/node_workload.js http", needs=("node",), timeout=90),
    Command("node-evaluate", "node -e 'setTimeout(() => console.log(\"later\"), 20); console.log([3,1,2].sort().join())' && echo 'console.log(await Promise.resolve(7))' > m.mjs && node m.mjs; node -e 'throw new Error(\"thrown\")' 2>&1 | grep '^Error'; node -e 'process.exit(5)'", needs=("node",)),
    Command("npm-test", "npm test --silent; npm run --silent fails; echo $?", setup=f"cp -r {HERE}/node_project/. .", needs=("npm", "node"), tree="none", timeout=120),
    # ---- other languages and tools ----
    Command("go", "$GO_WORKLOAD", needs=("go",), timeout=120),
    Command("java", "java Main.java", setup=f"cp {HERE}/Main.java .", needs=("java", "javac"), optional=True, timeout=180),
    Command("perl", "perl -e '$|=1; pipe(R,W); if (my $p = fork) { close W; print while <R>; waitpid $p, 0; print $?>>8, \"\\n\" } else { close R; print W \"child $_\\n\" for 1..3; exit 5 }' && perl -MSocket -e 'socketpair(A,B,AF_UNIX,SOCK_STREAM,0); syswrite A,\"ping\"; sysread B,$x,4; print \"$x\\n\"' && perl -ne 'print if /a.*o/' tree/words", setup=FILES, needs=("perl",)),
    Command("ssh-keygen", "ssh-keygen -q -t ed25519 -N '' -C me -f key && ssh-keygen -lf key.pub && ssh-keygen -yf key | cut -d' ' -f1 && echo text > m && ssh-keygen -q -Y sign -f key -n file m && ls", needs=("ssh-keygen",), normalise=((r"SHA256:\S+", "SHA256:X"),), tree="names"),
    Command("openssl", "echo secret | openssl enc -aes-256-cbc -pbkdf2 -pass pass:x -S 0011223344556677 | xxd -p; openssl genpkey -algorithm ed25519 -out k.pem && openssl pkey -in k.pem -pubout | head -1; openssl dgst -sha256 tree/words; openssl rand -hex 8 | wc -c", setup=FILES, needs=("openssl", "xxd"), tree="names"),
    Command("sqlite", "sqlite3 b.db 'create table t(a,b); insert into t values (1,\"x\"),(2,\"y\"); select * from t order by a desc; pragma integrity_check;' && echo 'select sum(a) from t;' | sqlite3 b.db; sqlite3 b.db 'select * from absent'", needs=("sqlite3",)),
    Command("script", "script -qec 'test -t 0 && echo terminal; stty -a | grep -o isig; echo $(tput cols)' /dev/null < /dev/null", needs=("script",)),
    Command("python-pty", f"{PYTHON} -c 'import pty, sys; sys.exit(pty.spawn([\"sh\", \"-c\", \"tty > /dev/null && echo yes a terminal; exit 6\"]) >> 8)'"),
    Command("tmux", "export TMUX_TMPDIR=$PWD; tmux -f /dev/null new-session -d -x 40 -y 10 'sh -c \"echo inside; read x; echo got $x; read y\"'; sleep 0.3; tmux send-keys word Enter; sleep 0.3; tmux capture-pane -p | grep -v '^$'; tmux kill-server", needs=("tmux",), tree="none"),
    Command("procps", "ps -o args= -p $$ | cut -c1-4; pgrep -x no-such-name; kill -0 $$ && echo alive; sleep 30 & pkill -P $$ sleep; wait 2>/dev/null; echo $?", needs=("ps", "pgrep")),
]  # fmt: skip
