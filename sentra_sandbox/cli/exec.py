"""``exec``: record one run of a program. A thin shell over ``record.session.record``.

Reached with values from the quick parser or from click (``exec_command``), which are the same. Rule of this file:
what only the end needs (the summary) is imported while the program runs.
"""

from __future__ import annotations

import os

from sentra_sandbox.cli.exec_options import Values
from sentra_sandbox.errors import UsageError

TYPE_CHECKING = False  # type checkers take it for true; loading typing takes 5 ms
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sentra_sandbox.record.options import RecordOptions, RunResult

TIMED_OUT = 124  # as timeout(1)
DIVERGED = 122
KEPT_BY_CLEAN_ENV = ("PATH", "HOME", "TERM", "LANG")


def execute(values: Values) -> int:
    """Run the command of ``values``, say what happened, and return the program's exit status (124 when our timeout
    ended it, 122 when ``--verify`` found a difference).
    """
    options = record_options(values)
    from sentra_sandbox.record.session import record

    result = record(options, None if values["quiet"] else _load_report)
    if not values["quiet"]:
        _report(result, options)
    if values["verify"] and not _verified(result, quiet=bool(values["quiet"])):
        return DIVERGED
    return TIMED_OUT if result.timed_out else result.exit_status


def record_options(values: Values) -> RecordOptions:
    """The library's options from the command line's."""
    from sentra_sandbox.record.options import RecordOptions

    assignments = values["env"]
    assert isinstance(assignments, tuple)
    env = None
    if assignments or values["clean_env"]:
        env = environment(os.environ, assignments, clean=bool(values["clean_env"]))
    fields: dict[str, object] = {
        "command": values["command"],
        "cwd": values["chdir"],
        "env": env,
        "net": values["net"],
        "allow_net": values["allow_net"],
        "maps": values["map"],
        "policy": values["policy"],
        "match": values["match"],
        "match_order": values["match_order"],
        "match_ignore": values["match_ignore"],
        "output": values["output"],
        "name": values["name"],
        "timeout_s": values["timeout"],
        "profile": values["profile"],
    }
    return RecordOptions(**fields, forward_signals=True)  # type: ignore[arg-type]


def environment(inherited: Mapping[str, str], assignments: Iterable[str], *, clean: bool) -> dict[str, str]:
    """The program's whole environment: ``inherited`` (or the few kept by ``--clean-env``), then each ``K=V`` or ``K``.

    Raises ``UsageError`` for ``K`` that is not set and for a name that cannot be one.
    """
    env = {name: inherited[name] for name in KEPT_BY_CLEAN_ENV if name in inherited} if clean else dict(inherited)
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not name or "\0" in assignment:
            raise UsageError(
                f"'-e {assignment}' does not name a variable.",
                "Write -e NAME=VALUE, or -e NAME to pass on the one set here.",
            )
        if not equals:
            if name not in inherited:
                raise UsageError(
                    f"'-e {name}' passes on a variable that is not set here.",
                    f"Set it, or give a value: -e {name}=VALUE.",
                )
            value = inherited[name]
        env[name] = value
    return env


def _load_report() -> None:
    """What the summary needs, 10 ms of modules: while the program runs nobody waits for them."""
    import json

    import sentra_sandbox.cli.exec_report

    _ = json, sentra_sandbox.cli.exec_report


def _verified(result: RunResult, *, quiet: bool) -> bool:
    """``--verify``: replay what was just recorded; False, with a report, when it was not the same."""
    from sentra_sandbox.cli.messages import say
    from sentra_sandbox.cli.replay import play, say_divergence
    from sentra_sandbox.cli.replay_report import verified_line
    from sentra_sandbox.trace.reader import Trace

    with Trace(result.path) as trace:
        replayed = play(trace, discard=True)
        if replayed.divergence is not None:
            say_divergence(trace, replayed)
        elif not quiet:
            say(verified_line(trace, replayed))
    return replayed.divergence is None


def _report(result: RunResult, options: RecordOptions) -> None:
    from sentra_sandbox.cli.messages import say

    try:
        from sentra_sandbox.cli.exec_report import report

        say(report(result, options))
    except Exception as error:  # whatever is wrong with our report, the program's exit status is what counts
        if os.environ.get("SENTRA_SANDBOX_DEBUG") == "1":
            raise
        say(f"run {result.run_id}; its summary could not be made ({type(error).__name__}: {error})")
