"""The quick parser and click read the same list of options: a line that both accept means the same to both."""

from __future__ import annotations

import click
import pytest

from sentra_sandbox.cli import exec_command
from sentra_sandbox.cli.exec_options import EXEC_OPTIONS, parse

PLAIN = [
    ["true"],
    ["--", "true"],
    ["--", "-x", "--name", "inner"],
    ["ls", "-l", "--name", "inner"],
    ["-q", "--", "ls", "--", "-q"],
    [
        "-o",
        "/tmp/x",
        "--name",
        "n",
        "--net",
        "none",
        "-C",
        "/",
        "--timeout",
        "2m",
        "--profile",
        "p.json",
        "--quiet",
        "a",
        "b",
    ],
    ["--output=/tmp/x", "--name=n=m", "--net=host", "--chdir=/", "--timeout=1.5h", "a"],
    ["-e", "A=1", "-e", "B", "--env", "C=", "--env=D=x=y", "--clean-env", "env"],
    ["--name", "--", "--", "a"],
    ["--name", "-q", "a"],
    ["-", "a"],
    ["-q", "--name", "a", "--name", "b", "cmd"],
]
ONLY_CLICK = [
    [],
    ["--"],
    ["-q"],
    ["--help"],
    ["-h", "--", "true"],
    ["-qC", "/", "true"],
    ["-C/", "true"],
    ["-e=A", "true"],
    ["--quiet=1", "true"],
    ["--name"],
    ["--nonsense", "true"],
    ["--timeout", "soon", "true"],
    ["--timeout=0", "true"],
]


def by_click(arguments: list[str]) -> dict[str, object]:
    context = exec_command.command.make_context("exec", list(arguments))
    return dict(context.params)


@pytest.mark.parametrize("arguments", PLAIN, ids=" ".join)
def test_both_parsers_agree(arguments: list[str]) -> None:
    values = parse(arguments)
    assert values is not None
    assert values == by_click(arguments)


@pytest.mark.parametrize("arguments", ONLY_CLICK, ids=" ".join)
def test_the_quick_parser_leaves_the_rest_to_click(arguments: list[str]) -> None:
    assert parse(arguments) is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "CMD"),
        (["--nonsense", "true"], "--nonsense"),
        (["--timeout", "soon", "true"], "such as 5s"),
        (["--quiet=1", "true"], "--quiet"),
    ],
)
def test_mistakes_are_named(arguments: list[str], words: str) -> None:
    with pytest.raises(click.UsageError) as caught:
        by_click(arguments)
    assert words in caught.value.format_message()


def test_defaults_agree() -> None:
    values = by_click(["true"])
    assert values.pop("command") == ("true",)
    assert values == {option.name: option.default for option in EXEC_OPTIONS}
