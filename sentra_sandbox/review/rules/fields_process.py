"""Fields of the process, its ancestors, its user and the container, which is the sandbox."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sentra_sandbox.review.rules.fields import FieldSpec, plain
from sentra_sandbox.review.rules.moment import Moment
from sentra_sandbox.review.rules.state import ProcessState

_Of = Callable[[ProcessState], Any]
_ENV_MAX = 256 * 1024


def _own(name: str, kind: Any, meaning: str, get: _Of) -> FieldSpec:
    return plain(name, kind, meaning, lambda moment: get(moment.process) if moment.process else None)


def _parent(name: str, kind: Any, meaning: str, get: _Of) -> FieldSpec:
    def value(moment: Moment) -> Any:
        parent = moment.process.parent if moment.process else None
        return get(parent) if parent else None

    return plain(name, kind, meaning, value)


def _ancestor(name: str, kind: Any, meaning: str, get: _Of) -> FieldSpec:
    """With [n] of the n-th ancestor (0 is the process itself), without of all of them."""

    def value(moment: Moment, argument: str | None) -> Any:
        if moment.process is None:
            return None
        if argument is None:
            return tuple(found for process in moment.process.ancestors() if (found := get(process)) is not None) or None
        ancestor = moment.process.ancestor(int(argument))
        return get(ancestor) if ancestor else None

    return FieldSpec(name, kind, meaning, value, "number?", "one-differs")


def _session(name: str, kind: Any, meaning: str, get: _Of) -> FieldSpec:
    """Of the process that leads the session, as far as it is an ancestor."""

    def value(moment: Moment) -> Any:
        process = moment.process
        if process is None:
            return None
        leader = next((p for p in (process, *process.ancestors()) if p.pid == process.sid), None)
        return get(leader) if leader else None

    return plain(name, kind, meaning, value)


def _args(process: ProcessState) -> str | None:
    return " ".join(process.argv[1:]) if process.argv else None


def _exe(process: ProcessState) -> str | None:
    return process.argv[0] if process.argv else process.path or None


def _env(moment: Moment, argument: str | None) -> str | None:
    if moment.process is None:
        return None
    if argument is None:
        return " ".join(moment.process.env)[:_ENV_MAX] or None
    return next((entry.partition("=")[2] for entry in moment.process.env if entry.partition("=")[0] == argument), None)


def _user_name(process: ProcessState) -> str | None:
    """Only root's name is the same everywhere; others are known by number."""
    return None if process.uid is None else "root" if process.uid == 0 else str(process.uid)


def _group_name(process: ProcessState) -> str | None:
    return None if process.gid is None else "root" if process.gid == 0 else str(process.gid)


def _tty(moment: Moment) -> int | None:
    """34816 is the first pseudo terminal's device number; which one it is, is not recorded."""
    if moment.process is None:
        return None
    names = (moment.state.descriptors.describe(moment.task, fd) or "" for fd in (0, 1, 2))
    return 34816 if any(name.startswith(("/dev/pts/", "/dev/tty", "pty")) for name in names) else 0


def _level(process: ProcessState) -> int:
    return len(process.ancestors()) + 1


def _of_run(name: str) -> Callable[[Moment], Any]:
    return lambda moment: getattr(moment.facts.run, name) if moment.facts.run else None


def _created(moment: Moment) -> int | None:
    """Nanoseconds since 1970, from the run's UTC time."""
    from datetime import datetime

    try:
        created = datetime.fromisoformat(moment.facts.run.created.replace("Z", "+00:00")) if moment.facts.run else None
    except ValueError:
        return None
    return int(created.timestamp() * 1e9) if created else None


FIELDS: tuple[FieldSpec, ...] = (
    _own("proc.name", "text", "the task's name (comm): 15 bytes, of the file that was executed, or as prctl set it",
         lambda p: p.comm or None),
    _own("proc.exe", "text", "the first argument (argv[0])", _exe),
    _own("proc.exepath", "text", "the executable as the kernel ran it, links resolved", lambda p: p.path or None),
    _own("proc.args", "text", "the arguments after the first, joined by spaces", _args),
    FieldSpec("proc.env", "text", "the environment joined by spaces; with [name] the value of one variable", _env, "text?"),
    _own("proc.cmdline", "text", "name and arguments, joined by spaces", lambda p: p.cmdline or None),
    _own("proc.exeline", "text", "argv[0] and arguments, joined by spaces", lambda p: " ".join(p.argv) or None),
    _own("proc.cmdnargs", "number", "number of arguments after the first", lambda p: max(len(p.argv) - 1, 0)),
    _own("proc.cmdlenargs", "number", "characters of the arguments after the first", lambda p: sum(map(len, p.argv[1:]))),
    plain("proc.cwd", "text", "working directory, with a slash at its end",
          lambda m: f"{(m.state.descriptors.describe(m.task, -100) or m.process.cwd).rstrip('/')}/" if m.process else None),
    plain("proc.tty", "number", "0 without a terminal on descriptors 0 to 2 that the run itself opened, else 34816", _tty),
    _own("proc.pid", "number", "process id inside the sandbox", lambda p: p.pid),
    _own("proc.vpid", "number", "the same: the sandbox has its own process ids", lambda p: p.pid),
    _parent("proc.ppid", "number", "process id of the parent", lambda p: p.pid),
    _parent("proc.pvpid", "number", "the same", lambda p: p.pid),
    _parent("proc.pname", "text", "name of the parent", lambda p: p.comm or None),
    _parent("proc.pexe", "text", "first argument of the parent", _exe),
    _parent("proc.pexepath", "text", "executable of the parent", lambda p: p.path or None),
    _parent("proc.pcmdline", "text", "name and arguments of the parent", lambda p: p.cmdline or None),
    _ancestor("proc.aname", "text", "name of the n-th ancestor (1 is the parent); without [n] of any ancestor", lambda p: p.comm or None),
    _ancestor("proc.apid", "number", "process id of an ancestor", lambda p: p.pid),
    _ancestor("proc.aexe", "text", "first argument of an ancestor", _exe),
    _ancestor("proc.aexepath", "text", "executable of an ancestor", lambda p: p.path or None),
    _ancestor("proc.acmdline", "text", "name and arguments of an ancestor", lambda p: p.cmdline or None),
    _own("proc.sid", "number", "session id", lambda p: p.sid),
    _session("proc.sname", "text", "name of the session's leader", lambda p: p.comm or None),
    _session("proc.sid.exe", "text", "first argument of the session's leader", _exe),
    _session("proc.sid.exepath", "text", "executable of the session's leader", lambda p: p.path or None),
    _own("proc.is_sid_leader", "truth", "whether it leads its session", lambda p: p.sid == p.pid),
    _own("proc.is_vpgid_leader", "truth", "whether it leads its session (process groups are taken as sessions)", lambda p: p.sid == p.pid),
    _session("proc.vpgid.name", "text", "name of the session's leader (process groups are taken as sessions)", lambda p: p.comm or None),
    _session("proc.vpgid.exe", "text", "first argument of the session's leader", _exe),
    _own("proc.is_container_healthcheck", "truth", "always false", lambda p: False),
    _own("proc.is_container_liveness_probe", "truth", "always false", lambda p: False),
    _own("proc.is_container_readiness_probe", "truth", "always false", lambda p: False),
    _own("proc.is_exe_from_memfd", "truth", "whether the executable is a file without a name (memfd)",
         lambda p: p.path.startswith("/memfd:")),
    _own("proc.is_exe_upper_layer", "truth", "whether the run itself wrote the executable", lambda p: p.fresh_executable),
    _own("proc.is_exe_writable", "truth", "whether the run itself wrote the executable", lambda p: p.fresh_executable),
    plain("proc.duration", "number", "nanoseconds since the process began",
          lambda m: max(m.time_ns - m.process.started_ns, 0) if m.process else None),
    plain("proc.ppid.duration", "number", "nanoseconds since the parent began",
          lambda m: max(m.time_ns - m.process.parent.started_ns, 0) if m.process and m.process.parent else None),
    _own("proc.level", "number", "1 for the first process, 2 for its children, and so on", _level),
    plain("thread.tid", "number", "thread id inside the sandbox", lambda m: m.task or None),
    plain("thread.ismain", "truth", "whether it is the process's first thread", lambda m: m.task == m.process.pid if m.process else None),
    plain("thread.vtid", "number", "the same as thread.tid", lambda m: m.task or None),
    _own("user.uid", "number", "user id, where the run tells it", lambda p: p.uid),
    _own("user.name", "text", "root, else the user id as text: names are not recorded", _user_name),
    _own("user.loginuid", "number", "-1: nobody logs in inside a sandbox", lambda p: -1),
    _own("user.loginname", "text", "<NA>: nobody logs in inside a sandbox", lambda p: "<NA>"),
    _own("group.gid", "number", "group id, where the run tells it", lambda p: p.gid),
    _own("group.name", "text", "root, else the group id as text", _group_name),
    plain("container.id", "text", "the run's id: the sandbox is the container", _of_run("id")),
    plain("container.full_id", "text", "the run's id", _of_run("id")),
    plain("container.name", "text", "the run's name, else its id", lambda m: (m.facts.run.name or m.facts.run.id) if m.facts.run else None),
    plain("container.type", "text", "always sentra-sandbox", lambda m: "sentra-sandbox"),
    plain("container.image", "text", "always sentra-sandbox: there is no image", lambda m: "sentra-sandbox"),
    plain("container.image.repository", "text", "always sentra-sandbox: there is no image", lambda m: "sentra-sandbox"),
    plain("container.privileged", "truth", "always false: a sandboxed root keeps few capabilities", lambda m: False),
    FieldSpec("container.mount.dest", "text", "always N/A, as Falco says of a path that is no mount", lambda moment, _: "N/A", "text"),
    plain("container.mounts", "text", "always empty: there are no volumes", lambda m: ""),
    plain("container.start_ts", "number", "when the run began, nanoseconds since 1970", _created),
    plain("container.duration", "number", "nanoseconds since the run began", lambda m: m.time_ns),
)  # fmt: skip
