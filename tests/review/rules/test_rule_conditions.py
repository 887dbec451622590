"""The condition grammar: what is a condition, what is none, and where the error is."""

from __future__ import annotations

import pytest

from sentra_sandbox.review.rules.conditions import And, Check, ConditionError, Macro, Not, Or, Word, leaves, parse

GOOD = [
    "evt.type=open", "evt.type = open", "evt.type == open", "evt.type!=open", "evt.num>=0", "evt.num > 0", "evt.num<0x10", "evt.num <= -1",
    "proc.duration <= 5000000000", "fd.num=-1", "proc.name in (a)", "proc.name in (a,b)", "proc.name in ( a , b )", "proc.name in ()",
    "proc.name in shell_binaries", "proc.name intersects (a, b)", "fd.name pmatch (/etc, /usr)", "fd.name pmatch paths",
    "proc.name exists", "(proc.name exists)", "not proc.name exists", "proc.args contains -e", "proc.args contains \"a b\"",
    "proc.args contains 'it\"s'", "proc.args contains \"it's\"", 'proc.args contains "a \\"b\\""', "proc.args icontains Foo",
    "evt.buffer bcontains cafebabe", "evt.buffer bstartswith cafe", "fd.name startswith /etc/", "fd.name endswith .py",
    "fd.name glob '/home/*/.ssh/*'", "fd.name iglob *.PEM", "fd.name regex '[a-z]*/proc/[0-9]+/cmdline'", "spawned_process",
    "not spawned_process", "not(spawned_process)", "not not a", "not not not a", "(a)", "((a))", "( a )", "a and b", "a or b",
    "a and b or c", "a or b and c", "(a or b) and (c or d)", "a and (b)", "(a)and(b)", "(a)or(b)", "a and not b", "a and not (b or c)",
    "proc.aname[2]=sshd", "proc.aname[2] = sshd", "proc.env[HOME] exists", "proc.env['A B'] exists", 'proc.env["x"] = 1',
    "container.mount.dest[/proc*] exists", "container.mount.dest[/etc/kubernetes] != \"N/A\"", "evt.arg.flags contains O_CREAT",
    "evt.arg[0] = 1", "tolower(proc.name) = bash", "toupper(fd.name) contains SECRET", "b64(proc.args) contains curl",
    "tolower(b64(proc.args)) contains curl", "len(proc.args) > 100", "basename(proc.exepath) = ls", "proc.name = val(proc.pname)",
    "proc.name != tolower(proc.pname)", "proc.name=and", "proc.name = not", "proc.name in (and, or, not)", "proc.name contains in",
    "proc.name=exists", "fd.sport=\"443\"", "fd.ip != \"0.0.0.0\"", "fd.net = \"127.0.0.0/8\"", "fd.snet in (\"10.0.0.0/8\")",
    "a\n  and\n\tb", "  a  ", "evt.type in (open,openat,openat2) and evt.is_open_read=true and fd.typechar='f' and fd.num>=0",
    "proc.cmdline=\"runc:[1:CHILD] init\"", "proc.name in (\"<NA>\",\"N/A\")", "k8s.ns.name = \"kube-system\"", "proc.args contains --a=b",
    "proc.args contains a=b", "evt.num>=val(proc.pid)", "http.request.header[x-api-key] exists", "fd.name=/a/b-c_d.e:f%20",
    "proc.name startswith *", "proc.cmdline contains \"\\\\d\"", "evt.num = 0", "user.loginuid = -1", "android and b", "order or notary",
    "proc.name in (a)and b", "evt.res startswith E", "proc.pname in (x) or proc.aname in (y, z)",
]  # fmt: skip

BAD = [
    ("", 1, "expected a field"), ("   ", 4, "expected a field"), ("and", 1, "found 'and'"), ("a and", 6, "expected a field"),
    ("a or", 5, "expected a field"), ("not", 4, "expected a field"), ("a b", 3, "expected 'and', 'or' or the end"), ("(a", 3, "expected ')'"),
    ("a)", 2, "expected 'and', 'or' or the end"), ("()", 2, "expected a field"), ("proc.name", 10, "expected an operator"),
    ("proc.name foo x", 11, "expected an operator"), ("proc.name =", 12, "expected a value"), ("proc.name = (a)", 13, "expected a value"),
    ("proc.name = ,", 13, "expected a value"), ("proc.name in", 13, "expected '('"), ("proc.name in (a", 16, "expected ',' or ')'"),
    ("proc.name in (a b)", 17, "expected ',' or ')'"), ("proc.name in (a,)", 17, "expected a value"),
    ("proc.name in (,a)", 15, "expected a value"), ("proc.name = \"a", 13, "no closing"), ("proc.name = 'a", 13, "no closing"),
    ("evt.num < a", 11, "needs a number"), ("evt.num >= 1x", 12, "needs a number"), ("proc.aname[ = a", 15, "expected ']'"),
    ("proc.aname[] = a", 12, "expected an argument"), ("proc.aname[2 = a", 14, "expected ']'"), ("foo(proc.name) = a", 1, "unknown function"),
    ("tolower(a) = b", 9, "expected a field"), ("tolower(proc.name = b", 19, "expected ')'"), ("a and and b", 7, "found 'and'"),
    ("a or or b", 6, "found 'or'"), ("not and", 5, "found 'and'"), ("proc.name = a b", 15, "expected 'and', 'or' or the end"),
    ("=a", 1, "expected a field"), ("a = b", 3, "expected 'and', 'or' or the end"), ("proc.name => b", 14, "expected 'and', 'or' or the end"),
    ("1.2 = 3", 1, "expected a field"), ("proc.name inn (a)", 11, "expected an operator"), ("(a and (b or c)", 16, "expected ')'"),
]  # fmt: skip


def test_there_are_enough() -> None:
    assert len(GOOD) + len(BAD) >= 100


@pytest.mark.parametrize("text", GOOD)
def test_good(text: str) -> None:
    parse(text)


@pytest.mark.parametrize(("text", "column", "message"), BAD)
def test_bad(text: str, column: int, message: str) -> None:
    with pytest.raises(ConditionError) as caught:
        parse(text)
    assert message in caught.value.message
    assert (caught.value.line, caught.value.column) == (1, column)


def test_errors_know_their_line() -> None:
    with pytest.raises(ConditionError) as caught:
        parse("a and\n  proc.name ?? b")
    assert (caught.value.line, caught.value.column) == (2, 13)


def test_and_binds_tighter_than_or() -> None:
    assert parse("a or b and not c") == Or((Macro("a", 0), And((Macro("b", 5), Not(Macro("c", 15))))))


def test_words_are_kept_as_written() -> None:
    found = parse("fd.name in (/a, \"b c\", 'd')")
    assert isinstance(found, Check)
    assert [(word.text, word.quoted) for word in found.values if isinstance(word, Word)] == [("/a", False), ("b c", True), ("d", True)]


def test_escapes() -> None:
    found = parse(r'proc.args = "a\"b\\c\nd\.e"')
    assert isinstance(found, Check) and found.values[0] == Word('a"b\\c\nd\\.e', True, 12)


def test_functions_apply_from_the_inside() -> None:
    found = parse("tolower(b64(proc.args)) = x")
    assert isinstance(found, Check) and found.field.functions == ("b64", "tolower")
    assert str(found.field) == "tolower(b64(proc.args))"


def test_leaves() -> None:
    assert [str(getattr(leaf, "name", "")) for leaf in leaves(parse("a and (not b or c)"))] == ["a", "b", "c"]


@pytest.mark.parametrize("text", ["(" * 100_000, "not(" * 5000 + "a", "tolower(" * 5000, "proc.name in (" + "a," * 100_000])
def test_deep_and_long_texts_are_errors_not_crashes(text: str) -> None:
    with pytest.raises(ConditionError):
        parse(text)
