"""Files were written that others' tools run or obey later: git hooks, CI pipelines, instructions of agents, MCP servers, editor tasks.

Evidence: the write with its path and an excerpt of what was written. Whether it is bad is judged by content and place: an agent that edits
the CI file of its own project does its work; one whose text there fetches and runs something, sends secrets, or tells the next agent to
hide things does not. Outside the workspace none of them is the agent's business.
"""

from __future__ import annotations

from collections.abc import Iterable

from sentra_sandbox.review.content.search import Sightings
from sentra_sandbox.review.detectors import instructions, places
from sentra_sandbox.review.detectors.evidence import of_exec, of_file, ordered, shown, who, written_bytes
from sentra_sandbox.review.detectors.programs import executions, family, installer_above
from sentra_sandbox.review.facts import Facts, FileAccess
from sentra_sandbox.review.findings import Confidence, Detector, Evidence, Finding, FindingClass, Severity

_REMEDY = (
    "Read what was written before the next commit, build or agent session. Deny writing there (filesystem.denyWrite) when the task "
    "does not need it."
)


def _kind(
    id: str, title: str, explanation: str, attack: tuple[str, ...], owasp: tuple[str, ...], traps: str, severity: Severity = Severity.HIGH
) -> FindingClass:
    return FindingClass(id, title, "persistence", severity, explanation, _REMEDY, attack, owasp, traps)


HOOK = _kind(
    "SEN-030",
    "A git hook was written",
    "Git runs hooks with the rights of whoever commits, pulls or checks out next, outside of any sandbox. So does a changed "
    "core.hooksPath or fsmonitor.",
    ("T1546",),
    ("ASI05", "ASI10"),
    "'git init' and 'git clone' write samples, which never run. Tools that manage hooks (pre-commit, husky, lefthook) install theirs "
    "on request. Existing hooks that run do not count.",
)
CI = _kind(
    "SEN-031",
    "A CI pipeline was changed",
    "A pipeline runs with the secrets of the project on machines that deploy it. A change takes effect at the next push.",
    ("T1546", "T1195.002"),
    ("ASI04",),
    "Tasks that edit CI do this on purpose: inside the workspace it has a low severity unless what is written fetches and runs code "
    "or sends secrets.",
)
AGENT = _kind(
    "SEN-032",
    "Instructions or settings of agents were changed",
    "Files such as AGENTS.md, CLAUDE.md or .cursorrules are obeyed by every later agent session in that place. Instructions planted "
    "there survive the run and reach agents with other rights.",
    ("T1546", "T1565.001"),
    ("ASI06", "ASI01", "LLM01:2025"),
    "Agents write these files for their own project on request: low severity in the workspace unless the text gives orders behind the "
    "user's back, hides characters or holds dangerous commands.",
)
MCP = _kind(
    "SEN-033",
    "MCP configuration was changed",
    "The configuration names the programs that every later agent session starts as tool servers. Another command there is code that "
    "runs with the user's rights.",
    ("T1546", "T1554"),
    ("ASI04", "ASI06"),
    "Tools that add a server on request. In the workspace the severity depends on the commands that are written.",
)
EDITOR = _kind(
    "SEN-034",
    "A task of an editor or a directory was changed",
    "Editors, dev containers and direnv run these when somebody opens the folder.",
    ("T1546",),
    ("ASI05",),
    "Settings of the project's own editor configuration: low severity in the workspace unless a task fetches and runs code or starts "
    "when the folder is opened.",
)
_PLACES = (
    (places.GIT_HOOK, HOOK),
    (places.CI_FILE, CI),
    (places.MCP_CONFIG, MCP),
    (places.AGENT_INSTRUCTIONS, AGENT),
    (places.EDITOR_TASK, EDITOR),
)
_HOOK_TOOLS = {"git", "pre-commit", "husky", "lefthook", "overcommit", "npm", "yarn", "pnpm", "git-lfs"}
_DATA_MAX = 1 << 18


def _detect(facts: Facts, sightings: Sightings) -> Iterable[Finding]:
    groups: dict[str, tuple[FindingClass, list[FileAccess]]] = {}
    for access, path in places.written(facts):
        for pattern, kind in _PLACES:
            if pattern.search(path):
                groups.setdefault(path, (kind, []))[1].append(access)
                break
    for path, (kind, found) in groups.items():
        finding = _judge(facts, path, kind, found)
        if finding is not None:
            yield finding
    yield from _hook_settings(facts)


def _judge(facts: Facts, path: str, kind: FindingClass, found: list[FileAccess]) -> Finding | None:
    access = found[0]
    fact = facts.processes.get(access.process)
    program = family(fact.images[-1].path) if fact and fact.images else ""
    if program == "git" or (places.is_cache(path) and kind is not HOOK) or places.is_temporary(path, facts.home):
        return None  # a checkout brings what the repository holds; dependencies bring their own
    if kind is HOOK and (program in _HOOK_TOOLS or _hook_tool_runs(facts, access.process)):
        severity, why = Severity.LOW, "a tool that manages hooks"
    else:
        severity, why = _by_content(facts, path, kind, found)
    evidence: list[Evidence] = []
    for one in found:
        item = of_file(facts, one)
        data = written_bytes(facts, one, 4096)
        evidence.append(Evidence(item.seq, item.text, item.task, item.time_ns, size=one.size or None, excerpt=shown(data) if data else ""))
    name = places.home_relative(facts, path)
    summary = f"{who(facts, access.process)} wrote {shown(name)}{f': {why}' if why else ''}."
    return Finding(
        kind,
        severity,
        Confidence.HIGH if severity >= Severity.HIGH else Confidence.MEDIUM,
        summary,
        shown(name),
        ordered(evidence),
        access.process,
    )


def _hook_tool_runs(facts: Facts, process: int) -> bool:
    """pre-commit and husky are scripts: they are in the arguments of their interpreter."""
    for fact in facts.lineage(process):
        for image in fact.images:
            if any(family(word) in _HOOK_TOOLS - {"git"} for word in image.argv[:4]):
                return True
    return False


def _by_content(facts: Facts, path: str, kind: FindingClass, found: list[FileAccess]) -> tuple[Severity, str]:
    text = b"\n".join(written_bytes(facts, access, _DATA_MAX) for access in found)[:_DATA_MAX].decode("utf-8", "replace")
    own = places.in_workspace(facts, path)
    if bad := instructions.dangerous(text):
        return Severity.HIGH, f"it holds the command {shown(bad, 80)}"
    if kind is AGENT or kind is MCP:
        if bad := instructions.hidden(text):
            return Severity.HIGH, f"it hides text by {bad}"
        if bad := instructions.overriding(text):
            return Severity.HIGH, f"it gives orders: {shown(bad, 80)}"
        if bad := instructions.sensitive(text):
            return Severity.MEDIUM, f"it names {shown(bad, 40)}"
    if kind is HOOK:
        reaches = instructions.reaches_out(text) or instructions.sensitive(text)
        return Severity.HIGH, "it talks to the network or names credentials" if reaches else ""
    if kind is EDITOR and own and "folderOpen" in text:
        return Severity.HIGH, "a task of it starts when the folder is opened"
    return (Severity.LOW, "in its own project") if own else (Severity.HIGH, "outside of the workspace")


def _hook_settings(facts: Facts) -> Iterable[Finding]:
    """``git config core.hooksPath`` and its likes: settings that name programs."""
    for fact, image in executions(facts):
        if family(image.path) != "git" or "config" not in image.argv[1:6]:
            continue
        setting = next(
            (
                word
                for word in image.argv
                if word.lower().split("=")[0] in ("core.hookspath", "core.fsmonitor", "core.sshcommand", "core.pager", "core.editor")
            ),
            "",
        )
        at = image.argv.index(setting) if setting else -1
        writes = at >= 0 and (len(image.argv) > at + 1) and not {"--get", "--unset", "--get-all"} & set(image.argv)
        if writes and not installer_above(facts, fact.number) and not (_hook_tool_runs(facts, fact.parent)):
            severity = Severity.HIGH if setting.lower() in ("core.hookspath", "core.fsmonitor", "core.sshcommand") else Severity.LOW
            summary = f"{who(facts, fact.number)} set {shown(setting)}, which names programs that git runs."
            yield Finding(
                HOOK, severity, Confidence.HIGH, summary, f"git {shown(setting.lower())}", (of_exec(facts, fact, image),), fact.number
            )


DETECTOR = Detector("code_path_persistence", (HOOK, CI, AGENT, MCP, EDITOR), _detect)
