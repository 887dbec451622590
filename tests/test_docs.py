"""The documentation says what the program does: every command and option is described, every command shows an
example.
"""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from sentra_sandbox.cli.app import app

ROOT = Path(__file__).resolve().parent.parent
CONTEXT = click.Context(app)
COMMANDS = {name: app.get_command(CONTEXT, name) for name in app.list_commands(CONTEXT)}
CLI_DOC = (ROOT / "docs" / "cli.md").read_text()
SECTIONS = {part.split("\n", 1)[0].strip(): part for part in re.split(r"^## ", CLI_DOC, flags=re.MULTILINE)[1:]}
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])


def options_of(command: click.Command) -> list[str]:
    return [
        flag
        for option in command.params
        if isinstance(option, click.Option)
        for flag in (*option.opts, *option.secondary_opts)
    ]


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_an_example(name: str) -> None:
    command = COMMANDS[name]
    assert command is not None and command.help
    examples = command.help.partition("Examples:")[2]
    assert f"sentra-sandbox {name}" in examples
    assert command.short_help


@pytest.mark.parametrize("name", COMMANDS)
def test_examples_in_help_parse(name: str) -> None:
    """What help tells people to type is accepted (the part before a pipe or '--' of exec)."""
    import shlex

    command = COMMANDS[name]
    assert command is not None and command.help
    lines = [
        line.strip()
        for line in command.help.partition("Examples:")[2].splitlines()
        if line.strip().startswith("sentra-sandbox")
    ]
    assert lines
    for line in lines:
        words = shlex.split(line.partition(" | ")[0])
        assert words[1] == name
        command.make_context(name, words[2:])


@pytest.mark.parametrize("name", COMMANDS)
def test_command_is_in_the_reference_and_the_readme(name: str) -> None:
    assert name in SECTIONS
    assert f"sentra-sandbox {name}" in SECTIONS[name]
    assert f"sentra-sandbox {name}" in (ROOT / "README.md").read_text()


@pytest.mark.parametrize("name", COMMANDS)
def test_options_are_in_the_reference_and_nothing_else_is(name: str) -> None:
    command = COMMANDS[name]
    assert command is not None
    documented = set(
        re.findall(
            r"(?<![\w-])(--?[a-zA-Z][\w-]*)", "\n".join(re.findall(r"^\| `.*?\|", SECTIONS[name], flags=re.MULTILINE))
        )
    )
    assert documented == set(options_of(command))


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_between_documents_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", path.read_text()):
        assert (path.parent / target).exists(), target


def test_readme_session_is_filled_in() -> None:
    assert "@SESSION@" not in (ROOT / "README.md").read_text()


def test_readme_python_example_names_what_exists() -> None:
    import sentra_sandbox

    block = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
    assert block
    compile(block[1], "README.md", "exec")
    imported = re.search(r"from sentra_sandbox import (.*)", block[1])
    assert imported
    for name in imported[1].split(", "):
        assert name in sentra_sandbox.__all__
