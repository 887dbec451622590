"""Which request counts as the same, what is nearest, and how a difference reads."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from sentra_sandbox.errors import UsageError
from sentra_sandbox.network.match_body import body_differences, body_key, pruned, read_body
from sentra_sandbox.network.match_rules import ANY, DEEP, parse_path, rules_of

JSON, FORM = "application/json", "application/x-www-form-urlencoded"
PATHS = [
    ("$.a", ("a",)),
    ("$..id", (DEEP, "id")),
    ("$.a.b[0].c", ("a", "b", 0, "c")),
    ("$.a[*].b", ("a", ANY, "b")),
    ("$.*", (ANY,)),
    ("$['x y'][\"z.\"]", ("x y", "z.")),
    ("$[3]", (3,)),
    ("$..messages[*]..time", (DEEP, "messages", ANY, DEEP, "time")),
]


@pytest.mark.parametrize(("text", "steps"), PATHS)
def test_paths_are_read(text: str, steps: tuple[Any, ...]) -> None:
    assert parse_path(text) == steps


@pytest.mark.parametrize("text", ["", "a", "$", "$.", "$.a[", "$.a[?(@.b)]", "$[1:2]", "$a", "$.a b", "$..", "$.a[x]"])
def test_other_paths_are_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_path(text)


@pytest.mark.parametrize(
    "rules",
    [{"order": "random"}, {"ignore": "$.a"}, {"ignore": [1]}, {"ignore": ["a"]}, {"queryOrder": "sorted"}, {"timing": 1}, {"matchh": 1}],
)
def test_bad_rules_are_named(rules: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=str(next(iter(rules))) if "ignore" not in rules or rules["ignore"] != ["a"] else "JSON"):
        rules_of(rules)


PRUNED = [
    (["$.metadata"], {"metadata": {"x": 1}, "a": {"metadata": 2}}, {"a": {"metadata": 2}}),
    (["$..id"], {"id": 1, "a": [{"id": 2, "b": 3}, {"c": {"id": 4}}]}, {"a": [{"b": 3}, {"c": {}}]}),
    (["$.a[0]"], {"a": [1, 2]}, {"a": ["\x00ignored", 2]}),
    (["$.a[*].t"], {"a": [{"t": 1, "u": 2}, {"t": 3}]}, {"a": [{"u": 2}, {}]}),
    (["$..a..b"], {"a": {"x": {"b": 1, "c": 2}}, "b": 3}, {"a": {"x": {"c": 2}}, "b": 3}),
    (["$.a", "$..b"], {"a": 1, "c": {"b": 2, "d": 3}}, {"c": {"d": 3}}),
    (["$.a.b"], {"a": 5}, {"a": 5}),
    (["$[0]"], {"0": 5}, {"0": 5}),
]


@pytest.mark.parametrize(("paths", "value", "left"), PRUNED)
def test_ignored_parts_are_taken_out(paths: list[str], value: Any, left: Any) -> None:
    assert pruned(value, [parse_path(path) for path in paths]) == left


SAME = [
    (JSON, b'{"a": 1, "b": [true, null]}', JSON, b'{"b":[true,null],"a":1.0}'),
    ("text/plain", b'{"a":1}', JSON, b'{ "a":1}'),
    (FORM, b'{"a":1}', "", b'{"a": 1}'),
    (FORM, b"a=1&b=2&a=3", FORM + "; charset=utf-8", b"b=2&a=1&a=3"),
    (FORM, b"a=x+y", FORM, b"a=x%20y"),
    ('multipart/form-data; boundary="aB1"', b"--aB1\r\nx\r\n--aB1--", "multipart/form-data; boundary=zz", b"--zz\r\nx\r\n--zz--"),
    ("", b"", JSON, b""),
]
OTHER = [
    (JSON, b'{"a": 1}', JSON, b'{"a": true}'),
    (JSON, b'{"a": 1}', JSON, b'{"a": "1"}'),
    (JSON, b"[1, 2]", JSON, b"[2, 1]"),
    (FORM, b"a=1&a=2", FORM, b"a=2&a=1"),
    ("text/plain", b"a", "text/plain", b"b"),
    (JSON, b"{", JSON, b"{ "),
    ("", b"", "", b"{}"),
    (JSON, b'{"a": null}', JSON, b"{}"),
]


@pytest.mark.parametrize(("type_a", "a", "type_b", "b", "same"), [(*case, True) for case in SAME] + [(*case, False) for case in OTHER])
def test_bodies_that_mean_the_same(type_a: str, a: bytes, type_b: str, b: bytes, same: bool) -> None:
    ours, theirs = read_body(type_a, a), read_body(type_b, b)
    assert (body_key(ours, ()) == body_key(theirs, ())) == same
    assert (body_differences(ours, theirs, ()) == []) == same


DIFFERENCES = [
    ({"m": [{"c": "hello"}]}, {"m": [{"c": "bye"}]}, ['body $.m[0].c: sent "hello", recorded "bye"']),
    ({"a": 1, "x": 2}, {"b": None, "x": 2}, ["body $.a: sent 1, recorded nothing", "body $.b: sent nothing, recorded null"]),
    ([1], [1, {"k": 2}], ['body $[1]: sent nothing, recorded {"k": 2}']),
    ({"odd name": 1}, {"odd name": True}, ["body $['odd name']: sent 1, recorded true"]),
    ({"a": "x" * 100 + "1"}, {"a": "x" * 100 + "2"}, [f'body $.a (from character 85): sent "…{"x" * 15}1", recorded "…{"x" * 15}2"']),
]


@pytest.mark.parametrize(("sent", "recorded", "lines"), DIFFERENCES)
def test_differences_name_their_place(sent: Any, recorded: Any, lines: list[str]) -> None:
    assert body_differences(read_body(JSON, json.dumps(sent).encode()), read_body(JSON, json.dumps(recorded).encode()), ()) == lines


def test_other_differences() -> None:
    assert body_differences(read_body(FORM, b"a=1&b=2"), read_body(FORM, b"a=2&b=2"), ()) == ['body field a: sent ["1"], recorded ["2"]']
    assert "from byte 2 on" in body_differences(read_body("", b"abc"), read_body("", b"abd"), ())[0]
    assert body_differences(read_body(JSON, b"{}"), read_body("", b""), ()) == ["body: sent JSON, recorded none"]


def test_hostile_bodies_are_bytes_or_values() -> None:
    deep = b"[" * 100_000
    assert read_body(JSON, deep).kind == "bytes"
    nearly = b"[" * 900 + b"]" * 900
    body = read_body(JSON, nearly)
    body_key(body, (parse_path("$..a"),))
    body_differences(body, read_body(JSON, b"[" * 901 + b"1" + b"]" * 901), (parse_path("$..a"),))
    read_body(JSON, b"1" * 10_000)
    read_body(JSON, b"[1e999, NaN]")
    chance = random.Random(5)
    for _ in range(300):
        data = bytes(chance.choice(b'{}[]",:0123456789eE.-\\u truefalsn\xff') for _ in range(chance.randrange(30)))
        for kind in (JSON, FORM, "multipart/x; boundary=a", ""):
            body_key(read_body(kind, data), (parse_path("$..a"),))
