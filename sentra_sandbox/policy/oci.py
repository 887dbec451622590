"""Reads seccomp profiles in the OCI/Docker JSON format, as they are, into the types of rules.py.

Rules of this file: it only reads and judges the text; what a profile means for each call number is decided in
decision.py. Every key, action, operator and name must be known: a misspelt rule that is skipped silently is a hole in a
wall. Each error is a ``PolicyError`` that names the file, the place in it and what to write instead.
Sources: OCI runtime specification (config-linux.md, "Seccomp"), Docker's documentation of seccomp profiles (includes
and excludes), containers-common (``errno`` and ``defaultErrno`` by name).
"""

from __future__ import annotations

import difflib
import errno
import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from sentra_sandbox.errors import PolicyError
from sentra_sandbox.policy.foreign_calls import FOREIGN_CALLS
from sentra_sandbox.policy.rules import CAPABILITIES, Action, Comparison, Condition, Profile, Rule, Scope

MAX_PROFILE_BYTES = 4 << 20
MAX_ERRNO = 4095  # larger values are no errors to a libc
_MAX_U64 = (1 << 64) - 1


_PROFILE_KEYS = {
    "defaultAction", "defaultErrnoRet", "defaultErrno", "archMap", "architectures", "syscalls", "flags", "listenerPath",
    "listenerMetadata", "comment",
}  # fmt: skip
_RULE_KEYS = {
    "names", "name", "action", "args", "includes", "excludes", "errnoRet", "errno", "comment",
}  # fmt: skip
_ARG_KEYS = {"index", "value", "valueTwo", "op"}
_SCOPE_KEYS = {"caps", "arches", "minKernel"}
_FLAGS = {f"SECCOMP_FILTER_FLAG_{name}" for name in ("TSYNC", "LOG", "SPEC_ALLOW", "WAIT_KILLABLE_RECV")}
_SCMP_NAMES = """
    X86 X86_64 X32 ARM AARCH64 MIPS MIPS64 MIPS64N32 MIPSEL MIPSEL64 MIPSEL64N32 PPC PPC64 PPC64LE S390 S390X PARISC
    PARISC64 RISCV64 LOONGARCH64 M68K SH SHEB
"""
_SCMP_ARCHES = {f"SCMP_ARCH_{name}" for name in _SCMP_NAMES.split()}
_GO_NAMES = """
    386 amd64 x86 x32 arm arm64 loong64 loongarch64 mips mips64 mips64n32 mips64p32 mips64p32le mips64le mipsel mipsle
    mipsel64 mipsel64n32 ppc ppc64 ppc64le riscv64 s390 s390x parisc parisc64 sparc64 m68k sh sheb
"""
_GO_ARCHES = set(_GO_NAMES.split())


def load_profile(path: Path, *, known_calls: Iterable[str] | None = None) -> Profile:
    """Read and check the profile at ``path``.

    ``known_calls`` are the names of x86-64 calls (by default those of the system call table). Raises ``PolicyError``.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_PROFILE_BYTES + 1)
    except OSError as error:
        raise PolicyError(
            f"Seccomp profile {path} cannot be read: {error.strerror}.", "Check the path and its permissions."
        ) from error
    return decode_profile(data, str(path), known_calls=known_calls)


def decode_profile(data: bytes, source: str, *, known_calls: Iterable[str] | None = None) -> Profile:
    """The profile in the bytes of a file; ``source`` names it in messages. Raises ``PolicyError``."""
    if len(data) > MAX_PROFILE_BYTES:
        raise PolicyError(
            f"Seccomp profile {source} is larger than {MAX_PROFILE_BYTES} bytes.", "Give a profile in Docker's format."
        )
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise PolicyError(f"Seccomp profile {source} is not UTF-8 text ({error}).", "Give a JSON file.") from error
    return parse_profile(text, source, known_calls=known_calls)


def parse_profile(text: str, source: str, *, known_calls: Iterable[str] | None = None) -> Profile:
    """The profile in ``text``; ``source`` names it in messages. Raises ``PolicyError``."""
    if known_calls is None:
        from sentra_sandbox.policy.calls import call_names

        known_calls = call_names()
    reader = _Reader(source, frozenset(known_calls))
    try:
        document = json.loads(text, object_pairs_hook=reader.unique_keys)
    except json.JSONDecodeError as error:
        raise PolicyError(
            f"Seccomp profile {source} is not valid JSON: {error.msg} at line {error.lineno}, column {error.colno}.",
            "Correct the file there.",
        ) from error
    except RecursionError as error:
        raise PolicyError(f"Seccomp profile {source} is nested too deeply.", "Give a seccomp profile.") from error
    return reader.profile(document)


class _Reader:
    """Turns decoded JSON into a ``Profile``; ``where`` is the place in the document, for messages."""

    def __init__(self, source: str, known_calls: frozenset[str]) -> None:
        self._source = source
        self._known_calls = known_calls

    def fail(self, where: str, what: str, remedy: str) -> PolicyError:
        place = f", {where}" if where else ""
        return PolicyError(f"Seccomp profile {self._source}{place}: {what}.", remedy)

    def unique_keys(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key, value in pairs:
            if key in result:
                raise self.fail("", f"the key {key!r} appears twice in one object", "Keep one of them.")
            result[key] = value
        return result

    def profile(self, document: Any) -> Profile:
        top = self._object(document, "top level", _PROFILE_KEYS)
        if "defaultAction" not in top:
            raise self.fail("", "defaultAction is missing", "Add it, for example SCMP_ACT_ERRNO.")
        if top.get("listenerPath") or top.get("listenerMetadata"):
            raise self.fail("listenerPath", "no listener is run here", "Remove listenerPath and listenerMetadata.")
        self._architectures(top)
        default_errno = self._errno(top, "defaultErrnoRet", "defaultErrno", "", errno.EPERM)
        rules = [
            self._rule(entry, f"syscalls[{index}]", default_errno)
            for index, entry in enumerate(self._list(top.get("syscalls"), "syscalls"))
        ]
        return Profile(
            source=self._source,
            default_action=self._member(Action, top["defaultAction"], "defaultAction"),
            default_errno=default_errno,
            rules=tuple(rules),
            flags=self._words(top.get("flags"), "flags", _FLAGS),
        )

    def _rule(self, entry: Any, where: str, default_errno: int) -> Rule:
        rule = self._object(entry, where, _RULE_KEYS)
        if "action" not in rule:
            raise self.fail(where, "action is missing", "Add it, for example SCMP_ACT_ALLOW.")
        args = self._list(rule.get("args"), f"{where}.args")
        conditions = tuple(self._condition(one, f"{where}.args[{i}]") for i, one in enumerate(args))
        if len({one.index for one in conditions}) < len(conditions):
            raise self.fail(
                f"{where}.args",
                "one argument is tested twice in one rule, which container runtimes understand differently",
                "Write one rule for each test.",
            )
        return Rule(
            names=self._names(rule, where),
            action=self._member(Action, rule["action"], f"{where}.action"),
            errno=self._errno(rule, "errnoRet", "errno", where, default_errno),
            conditions=conditions,
            includes=self._scope(rule.get("includes"), f"{where}.includes"),
            excludes=self._scope(rule.get("excludes"), f"{where}.excludes"),
            comment=self._text(rule.get("comment"), f"{where}.comment"),
        )

    def _names(self, rule: dict[str, Any], where: str) -> tuple[str, ...]:
        if "name" in rule and "names" in rule:
            raise self.fail(where, "both name and names are given", "Use names only.")
        key = "name" if "name" in rule else "names"
        values = [rule[key]] if key == "name" else self._list(rule.get("names"), f"{where}.names")
        if not values:
            raise self.fail(where, "no system call is named", "Add names.")
        names = []
        for index, name in enumerate(values):
            place = f"{where}.names[{index}]" if key == "names" else f"{where}.name"
            if not isinstance(name, str):
                raise self.fail(place, f"{name!r} is not a string", "Write the name of a system call.")
            if name in self._known_calls:
                names.append(name)
            elif name not in FOREIGN_CALLS:
                raise self.fail(place, f"there is no system call {name!r}", self._did_you_mean(name, self._known_calls))
        return tuple(dict.fromkeys(names))

    def _condition(self, entry: Any, where: str) -> Condition:
        arg = self._object(entry, where, _ARG_KEYS)
        for key in ("index", "value", "op"):
            if key not in arg:
                raise self.fail(where, f"{key} is missing", "Each test needs index, value and op.")
        condition = Condition(
            index=self._number(arg["index"], f"{where}.index", 5),
            op=self._member(Comparison, arg["op"], f"{where}.op"),
            value=self._number(arg["value"], f"{where}.value", _MAX_U64),
            value_two=self._number(arg.get("valueTwo", 0), f"{where}.valueTwo", _MAX_U64),
        )
        if condition.op is Comparison.MASKED_EQ:
            if condition.value_two & ~condition.value:
                raise self.fail(
                    where,
                    f"valueTwo {condition.value_two:#x} has bits outside the mask {condition.value:#x}, it never holds",
                    "In SCMP_CMP_MASKED_EQ value is the mask and valueTwo what the masked argument must equal.",
                )
        elif condition.value_two:
            raise self.fail(f"{where}.valueTwo", "only SCMP_CMP_MASKED_EQ uses it", "Remove valueTwo or change op.")
        return condition

    def _scope(self, entry: Any, where: str) -> Scope:
        if entry is None:
            return Scope()
        scope = self._object(entry, where, _SCOPE_KEYS)
        return Scope(
            caps=self._words(scope.get("caps"), f"{where}.caps", set(CAPABILITIES)),
            arches=self._words(scope.get("arches"), f"{where}.arches", _GO_ARCHES),
            min_kernel=self._kernel(scope.get("minKernel"), f"{where}.minKernel"),
        )

    def _kernel(self, value: Any, where: str) -> tuple[int, int] | None:
        if value is None or value == "":
            return None
        match = re.fullmatch(r"(\d{1,4})\.(\d{1,4})", value) if isinstance(value, str) else None
        if match is None:
            raise self.fail(where, f"{value!r} is not a kernel version", 'Write it as "4.8".')
        return int(match[1]), int(match[2])

    def _architectures(self, top: dict[str, Any]) -> None:
        """Check the names. What they say has no effect: calls of other architectures are always refused here."""
        names = self._list(top.get("architectures"), "architectures")
        entries = self._list(top.get("archMap"), "archMap")
        if names and entries:
            raise self.fail("", "both architectures and archMap are given", "Keep one of them.")
        self._words(names, "architectures", _SCMP_ARCHES)
        for index, entry in enumerate(entries):
            where = f"archMap[{index}]"
            one = self._object(entry, where, {"architecture", "subArchitectures"})
            self._words([one.get("architecture")], f"{where}.architecture", _SCMP_ARCHES)
            self._words(one.get("subArchitectures"), f"{where}.subArchitectures", _SCMP_ARCHES)

    def _errno(self, entry: dict[str, Any], number_key: str, name_key: str, where: str, default: int) -> int:
        prefix = f"{where}." if where else ""
        number: int | None = None
        if entry.get(number_key) is not None:
            number = self._number(entry[number_key], prefix + number_key, MAX_ERRNO)
        name = entry.get(name_key)
        if name is None or name == "":
            return default if number is None else number
        value = getattr(errno, name, None) if isinstance(name, str) and name.startswith("E") else None
        if not isinstance(value, int):
            raise self.fail(prefix + name_key, f"{name!r} is not the name of an error", "Write EPERM, for example.")
        if number is not None and number != value:
            raise self.fail(
                prefix + name_key, f"{name} is {value} and {number_key} says {number}", "Make them agree or keep one."
            )
        return value

    # ---- single values

    def _object(self, value: Any, where: str, keys: set[str]) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise self.fail(where, f"a JSON object is needed, not {_kind(value)}", "Compare with Docker's format.")
        for key in value:
            if key not in keys:
                raise self.fail(where, f"unknown key {key!r}", self._did_you_mean(key, keys))
        return value

    def _list(self, value: Any, where: str) -> list[Any]:
        if value is None:
            return []
        if not isinstance(value, list):
            raise self.fail(where, f"a list is needed, not {_kind(value)}", "Put it into [ ].")
        return value

    def _text(self, value: Any, where: str) -> str:
        if value is not None and not isinstance(value, str):
            raise self.fail(where, f"a string is needed, not {_kind(value)}", "Put it into quotes.")
        return value or ""

    def _words(self, value: Any, where: str, known: set[str]) -> tuple[str, ...]:
        words = self._list(value, where)
        for word in words:
            if not isinstance(word, str) or word not in known:
                raise self.fail(where, f"{word!r} is not known", self._did_you_mean(str(word), known))
        return tuple(words)

    def _number(self, value: Any, where: str, maximum: int) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= maximum:
            raise self.fail(where, f"{value!r} is not a whole number from 0 to {maximum}", "Correct the number.")
        return value

    def _member(self, kind: Callable[[Any], Any], value: Any, where: str) -> Any:
        try:
            return kind(value)
        except ValueError:
            known = [one.value for one in kind]  # type: ignore[attr-defined]
            raise self.fail(where, f"{value!r} is not known", f"Use one of {', '.join(known)}.") from None

    @staticmethod
    def _did_you_mean(word: str, known: Iterable[str]) -> str:
        names = sorted(known)
        close = difflib.get_close_matches(word, names, n=3, cutoff=0.6)
        if close:
            return f"Did you mean {' or '.join(close)}?"
        return f"Use {', '.join(names)}." if len(names) <= 12 else "Remove it or correct the spelling."


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")
