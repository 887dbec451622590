"""The options of ``exec``, written once: this list makes the quick parser here and the click command in
``exec_command``.

The quick parser knows the plain forms (``-o DIR``, ``--output DIR``, ``--output=DIR``, ``--``) and gives up on
everything else; then click parses the same line and produces help, errors and the rarer forms (``-oDIR``, ``-qC
DIR``). So a line means the same whichever parser reads it, and no message exists twice. Rule of this file: import
nothing that costs time.
"""

from __future__ import annotations

from sentra_sandbox.cli.durations import parse_duration

Values = dict[str, object]
"""One value for each option by name (``None``, ``False`` or ``()`` when not given), and ``command``: a tuple of str."""


class ExecOption:
    """One option. ``kind``: ``text``, ``choice``, ``duration``, ``flag``, or ``texts`` (may be given more than
    once).
    """

    __slots__ = ("choices", "default", "flags", "help", "kind", "metavar", "name")

    def __init__(
        self, flags: str, kind: str, metavar: str, help: str, *, choices: tuple[str, ...] = (), default: object = None
    ) -> None:
        self.flags = tuple(flags.split())
        self.name = self.flags[-1].lstrip("-").replace("-", "_")
        self.kind = kind
        self.metavar = metavar
        self.help = help
        self.choices = choices
        self.default = {"flag": False, "texts": ()}.get(kind, default)


EXEC_OPTIONS = (
    ExecOption("-o --output", "text", "DIR", "Put the run into this new directory instead of the store of all runs."),
    ExecOption("--name", "text", "NAME", "Give the run a name; RUN arguments of other commands accept it."),
    ExecOption(
        "--net", "text", "MODE",
        "Network of the program: open (its own; we carry what is allowed), none but loopback, host (this machine's: not a wall), "
        "or recorded:RUN (answered from that run only).",
        default="open",
    ),
    ExecOption(
        "--allow-net", "texts", "HOST[:PORT]",
        "With --net open, also let it reach this: localhost:11434, db.internal:5432, 10.0.0.0/8, unix:/run/x.sock.",
    ),
    ExecOption("--map", "texts", "NAME[:PORT]=HOST:PORT", "Send connections to this name elsewhere: api.openai.com=127.0.0.1:8443."),
    ExecOption("--policy", "text", "FILE", "What may be reached and how TLS is treated: the network and tls keys of a policy file."),
    ExecOption("--match", "text", "FILE", "With --net recorded:RUN, rules that say which requests count as the same (YAML)."),
    ExecOption(
        "--match-order", "choice", "",
        "Recorded answers are given in the order of the whole run, in order among equal requests, or again and again.",
        choices=("strict", "per_key_fifo", "any"),
    ),
    ExecOption("--match-ignore", "texts", "PATH", "Leave this part of JSON bodies out when requests are compared: '$.metadata', '$..id'."),
    ExecOption("-C --chdir", "text", "DIR", "Start the program in this directory."),
    ExecOption("-e --env", "texts", "K=V", "Set an environment variable; '-e K' passes on the one that is set here."),
    ExecOption("--clean-env", "flag", "", "Start from PATH, HOME, TERM and LANG only, then apply -e."),
    ExecOption("--timeout", "duration", "DURATION", "End the program after this time (5s, 2m, 1h); exit status 124."),
    ExecOption(
        "--profile", "text", "NAME|FILE", "Seccomp profile: a name or an OCI/Docker JSON file.", default="default"
    ),
    ExecOption("--verify", "flag", "", "Afterwards replay the run without its output, and compare; exit status 122 if it differs."),
    ExecOption("-q --quiet", "flag", "", "Print nothing of our own but errors."),
)  # fmt: skip

_BY_FLAG = {flag: option for option in EXEC_OPTIONS for flag in option.flags}


def parse(arguments: list[str]) -> Values | None:
    """The values of a plain command line, or ``None``: let click read it (help, a mistake, a rarer form)."""
    values: Values = {option.name: option.default for option in EXEC_OPTIONS}
    position = 0
    while position < len(arguments) and arguments[position].startswith("-") and arguments[position] != "-":
        word = arguments[position]
        position += 1
        if word == "--":
            break
        flag, equals, attached = word.partition("=")
        option = _BY_FLAG.get(flag)
        if option is None or (equals and (option.kind == "flag" or not flag.startswith("--"))):
            return None
        if option.kind == "flag":
            values[option.name] = True
            continue
        if not equals:
            if position == len(arguments):
                return None
            attached = arguments[position]
            position += 1
        if not _store(values, option, attached):
            return None
    values["command"] = tuple(arguments[position:])
    return values if values["command"] else None


def _store(values: Values, option: ExecOption, text: str) -> bool:
    """Put one converted value in its place; False when it is not valid."""
    value: object = text
    if option.kind == "choice" and text not in option.choices:
        return False
    if option.kind == "duration":
        try:
            value = parse_duration(text)
        except ValueError:
            return False
    if option.kind == "texts":
        before = values[option.name]
        assert isinstance(before, tuple)
        value = (*before, text)
    values[option.name] = value
    return True
