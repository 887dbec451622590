"""Falco's condition grammar: text to a tree. Recursive descent; each token is looked for where the grammar expects it, because the same
letters are a field, a macro, an operator or a bare string depending on the place (``evt.type=open`` and ``proc.name contains not``).

    or       = and ("or" and)*
    and      = not ("and" not)*
    not      = "not"* ( "(" or ")" | check | macro )
    check    = left ( "exists" | operator right | list-operator list )
    left     = field | function "(" left ")"
    field    = name.name... [ "[" argument "]" ]
    right    = string | "val(" left ")" | function "(" left ")"
    list     = "(" [ string ("," string)* ] ")" | list name

Pure. What is wrong raises ``ConditionError`` with line and column; nothing else is raised, however hostile the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

FUNCTIONS = ("tolower", "toupper", "b64", "basename", "len")
UNARY = ("exists",)
LIST_OPERATORS = ("in", "intersects", "pmatch")
ORDER_OPERATORS = ("<=", ">=", "<", ">")
TEXT_OPERATORS = (
    "==", "!=", "=", "contains", "icontains", "bcontains", "startswith", "bstartswith", "endswith",
    "glob", "iglob", "regex",
)  # fmt: skip
OPERATORS = (*UNARY, *LIST_OPERATORS, *ORDER_OPERATORS, *TEXT_OPERATORS)
DEEPEST = 100  # parentheses and negations; keeps hostile text from exhausting the stack

_BLANK = re.compile(r"[ \t\r\n\b]*")
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_FIELD = re.compile(r"[A-Za-z][A-Za-z0-9_]*(?:\.[A-Za-z0-9_]+)+")
_ARGUMENT = re.compile(r"[^\s\[\]\"']+")
_BARE = re.compile(r"[^()\"'\s=,][^()\"'\s,]*")
_NUMBER = re.compile(r"[-+]?(?:0[xX][0-9a-fA-F]+|[0-9]+(?:\.[0-9]+)?)(?![^\s),])")
_WORD_OPERATOR = re.compile(r"[a-z]+(?=[\s(\"']|$)")
_SIGN_OPERATOR = re.compile(r"==|!=|<=|>=|=|<|>")
_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


class ConditionError(ValueError):
    """``line`` and ``column`` count from 1, ``offset`` from 0."""

    def __init__(self, message: str, text: str, offset: int) -> None:
        self.message = message
        self.offset = offset
        self.line = text.count("\n", 0, offset) + 1
        self.column = offset - (text.rfind("\n", 0, offset) + 1) + 1
        super().__init__(f"line {self.line}, column {self.column}: {message}")


@dataclass(frozen=True, slots=True)
class Field:
    """``proc.aname[2]``; ``functions`` are applied to its value, the innermost first."""

    name: str
    argument: str | None = None
    functions: tuple[str, ...] = ()
    offset: int = 0

    def __str__(self) -> str:
        """As in a rule."""
        text = self.name if self.argument is None else f"{self.name}[{self.argument}]"
        for function in self.functions:
            text = f"{function}({text})"
        return text


@dataclass(frozen=True, slots=True)
class Word:
    """A string on the right side. An unquoted one in a list may name a list."""

    text: str
    quoted: bool = False
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Check:
    """One comparison. ``exists`` has no values, list operators any number, the others one, which may be a field."""

    field: Field
    operator: str
    values: tuple[Word | Field, ...]
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Macro:
    """The name of another condition."""

    name: str
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Not:
    item: Expression


@dataclass(frozen=True, slots=True)
class And:
    items: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Or:
    items: tuple[Expression, ...]


Expression = Check | Macro | Not | And | Or


def parse(text: str) -> Expression:
    """The tree of a condition. Raises ``ConditionError``."""
    parser = _Parser(text)
    found = parser.alternatives()
    parser.skip_blank()
    if parser.at < len(text):
        raise parser.error(f"expected 'and', 'or' or the end of the condition, found {parser.shown()}")
    return found


def leaves(expression: Expression) -> Iterator[Check | Macro]:
    """Its checks and macro names, from left to right."""
    waiting: list[Expression] = [expression]
    while waiting:
        item = waiting.pop()
        if isinstance(item, (And, Or)):
            waiting.extend(reversed(item.items))
        elif isinstance(item, Not):
            waiting.append(item.item)
        else:
            yield item


class _Parser:
    """``at`` is the place of the next character. Methods named for a rule of the grammar consume it or raise."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.depth = 0

    # ---- lexing

    def error(self, message: str, offset: int | None = None) -> ConditionError:
        return ConditionError(message, self.text, self.at if offset is None else offset)

    def shown(self) -> str:
        """What stands here, for a message."""
        rest = self.text[self.at : self.at + 20].split("\n")[0]
        return f"'{rest}'" if rest.strip() else "the end"

    def skip_blank(self) -> None:
        found = _BLANK.match(self.text, self.at)
        self.at = found.end() if found else self.at

    def take(self, pattern: re.Pattern[str]) -> str | None:
        self.skip_blank()
        found = pattern.match(self.text, self.at)
        if found is None:
            return None
        self.at = found.end()
        return found.group()

    def sign(self, character: str) -> bool:
        self.skip_blank()
        if not self.text.startswith(character, self.at):
            return False
        self.at += len(character)
        return True

    def keyword(self, word: str) -> bool:
        """A word that blanks or a parenthesis end."""
        self.skip_blank()
        end = self.at + len(word)
        if not self.text.startswith(word, self.at) or not (end == len(self.text) or self.text[end] in " \t\r\n\b("):
            return False
        self.at = end
        return True

    # ---- grammar

    def alternatives(self) -> Expression:
        self.depth += 1
        if self.depth > DEEPEST:
            raise self.error(f"nested deeper than {DEEPEST}")
        items = [self.conjunction()]
        while self.keyword("or"):
            items.append(self.conjunction())
        self.depth -= 1
        return items[0] if len(items) == 1 else Or(tuple(items))

    def conjunction(self) -> Expression:
        items = [self.negation()]
        while self.keyword("and"):
            items.append(self.negation())
        return items[0] if len(items) == 1 else And(tuple(items))

    def negation(self) -> Expression:
        negated = False
        while self.keyword("not"):
            negated = not negated
        item = self.item()
        return Not(item) if negated else item

    def item(self) -> Expression:
        if self.sign("("):
            opened = self.at - 1
            found = self.alternatives()
            if not self.sign(")"):
                raise self.error(f"expected ')' for the '(' at column {self._column(opened)}, found {self.shown()}")
            return found
        self.skip_blank()
        start = self.at
        if (left := self.left()) is not None:
            return self.check(left, start)
        name = self.take(_IDENTIFIER)
        if name is None:
            raise self.error(f"expected a field, a macro or '(', found {self.shown()}")
        if name in ("and", "or", "not"):
            raise self.error(f"expected a field, a macro or '(', found '{name}'", start)
        return Macro(name, start)

    def _column(self, offset: int) -> int:
        return offset - self.text.rfind("\n", 0, offset)

    def left(self) -> Field | None:
        """A field with its functions; None if something else stands here, and then nothing is consumed."""
        self.skip_blank()
        start = self.at
        functions: list[str] = []
        while True:
            word = self.take(_IDENTIFIER)
            if word is None or not self.sign("("):
                break
            if word not in (*FUNCTIONS, "val"):
                raise self.error(f"unknown function '{word}'; there are {', '.join(FUNCTIONS)}", start)
            functions.append(word)
            if len(functions) > DEEPEST:
                raise self.error("too many functions")
            self.skip_blank()
            name_start = self.at
        if not functions:
            self.at = start
            return self.field(())
        self.at = name_start
        field = self.field(tuple(function for function in reversed(functions) if function != "val"))
        if field is None:
            raise self.error(f"expected a field, found {self.shown()}")
        for _ in functions:
            if not self.sign(")"):
                raise self.error(f"expected ')', found {self.shown()}")
        return field

    def field(self, functions: tuple[str, ...]) -> Field | None:
        self.skip_blank()
        start = self.at
        name = self.take(_FIELD)
        if name is None:
            return None
        if not self.text.startswith("[", self.at):
            return Field(name, None, functions, start)
        self.at += 1
        self.skip_blank()
        quoted = self.quoted()
        argument = quoted if quoted is not None else self.take(_ARGUMENT)
        if not argument:
            raise self.error(f"expected an argument in brackets, found {self.shown()}")
        if not self.sign("]"):
            raise self.error(f"expected ']', found {self.shown()}")
        return Field(name, argument, functions, start)

    def check(self, left: Field, start: int) -> Check:
        operator = self.operator()
        if operator in UNARY:
            return Check(left, operator, (), start)
        if operator in LIST_OPERATORS:
            return Check(left, operator, self.values(), start)
        if operator in ORDER_OPERATORS:
            self.skip_blank()
            here = self.at
            if (number := self.take(_NUMBER)) is not None:
                return Check(left, operator, (Word(number, False, here),), start)
            if (field := self.right_field()) is not None:
                return Check(left, operator, (field,), start)
            if (quoted := self.quoted()) is not None and _NUMBER.fullmatch(quoted):
                return Check(left, operator, (Word(quoted, True, here),), start)
            raise self.error(f"'{operator}' needs a number", here)
        return Check(left, operator, (self.right_field() or self.word(),), start)

    def operator(self) -> str:
        self.skip_blank()
        start = self.at
        found = self.take(_SIGN_OPERATOR) or self.take(_WORD_OPERATOR)
        if found in OPERATORS or (found is None and self._exists_here()):
            return found or "exists"
        self.at = start
        raise self.error(f"expected an operator, found {self.shown()}")

    def _exists_here(self) -> bool:
        """``exists`` may stand right before a closing parenthesis."""
        return self.take(re.compile(r"exists(?=\))")) is not None

    def right_field(self) -> Field | None:
        """``val(field)`` or a function of a field; a bare string that only looks like one stays a string."""
        self.skip_blank()
        if re.compile(rf"(?:val|{'|'.join(FUNCTIONS)})\s*\(").match(self.text, self.at):
            return self.left()
        return None

    def values(self) -> tuple[Word | Field, ...]:
        if not self.sign("("):
            self.skip_blank()
            start = self.at
            if (name := self.take(_IDENTIFIER)) is not None:
                return (Word(name, False, start),)
            if (field := self.right_field()) is not None:
                return (field,)
            raise self.error(f"expected '(' or the name of a list, found {self.shown()}")
        found: list[Word | Field] = []
        if self.sign(")"):
            return ()
        while True:
            found.append(self.word())
            if self.sign(")"):
                return tuple(found)
            if not self.sign(","):
                raise self.error(f"expected ',' or ')' in a list, found {self.shown()}")

    def word(self) -> Word:
        self.skip_blank()
        start = self.at
        if (quoted := self.quoted()) is not None:
            return Word(quoted, True, start)
        bare = self.take(_BARE)
        if bare is None:
            raise self.error(f"expected a value, found {self.shown()}")
        return Word(bare, False, start)

    def quoted(self) -> str | None:
        """A string in quotes, without them and with its escapes taken off; None if none stands here."""
        self.skip_blank()
        if self.at >= len(self.text) or self.text[self.at] not in "\"'":
            return None
        quote, start = self.text[self.at], self.at
        parts: list[str] = []
        at = start + 1
        while at < len(self.text):
            character = self.text[at]
            if character == quote:
                self.at = at + 1
                return "".join(parts)
            if character == "\\" and at + 1 < len(self.text):
                at += 1
                following = self.text[at]
                # An unknown escape keeps its backslash: rules write regular expressions in quotes.
                parts.append(_ESCAPES.get(following, following if following in "\\\"'/" else f"\\{following}"))
            else:
                parts.append(character)
            at += 1
        raise self.error(f"the string that begins here has no closing {quote}", start)
