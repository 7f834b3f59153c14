"""The search language of files.list: `'ID' in parents and trashed = false and name contains 'x'`.

https://developers.google.com/workspace/drive/api/guides/ref-search-terms. As in the service, names are compared without regard
to case (rclone compares again for that reason), `name contains` finds beginnings of words only, `and` and `or` are taken from
left to right, and inside a string a backslash protects a quote or a backslash.
"""

from __future__ import annotations

import operator
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.fakes.drive.errors import DriveError, invalid
from tests.fakes.drive.resources import milliseconds

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.fakes.drive.store import File, Store

    Test = Callable[[File], bool]

_TOKEN = re.compile(
    r"\s*(?:(?P<string>'(?:[^'\\]|\\.)*')|(?P<word>[A-Za-z][\w.]*)|(?P<sign><=|>=|!=|=|<|>|\(|\)|\{|\})|(?P<end>$))", re.DOTALL
)
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_EQUAL = frozenset({"=", "!="})
_PEOPLE = frozenset({"owners", "writers", "readers"})


class Token(NamedTuple):
    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Query:
    """`folder` is set when every match must be directly in that one folder, so that nothing else need be looked at."""

    test: Test
    folder: str | None = None
    folders: tuple[str, ...] = ()
    """Those that it asks for, in the order in which it names them."""


def parse(text: str, store: Store, user: str) -> Query:
    """Raises DriveError 400 for what is not of the language."""
    return _Parser(text, store, user).query()


class _Parser:
    def __init__(self, text: str, store: Store, user: str) -> None:
        self._tokens = list(_tokens(text))
        self._at = 0
        self._store = store
        self._user = user
        self._folders: list[str] = []
        self._narrow = True

    def query(self) -> Query:
        test = self._or_and()
        self._expect("end")
        narrow = self._narrow and len(self._folders) == 1
        return Query(test, self._folders[0] if narrow else None, tuple(self._folders))

    def _or_and(self) -> Test:
        left = self._not()
        while self._peek() in {"and", "or"}:
            both = self._next().text == "and"
            right = self._not()
            self._narrow = self._narrow and both
            left = _both(left, right) if both else _either(left, right)
        return left

    def _not(self) -> Test:
        if self._peek() == "not":
            self._next()
            self._narrow = False
            inner = self._not()
            return lambda file: not inner(file)
        if self._peek() == "(":
            self._next()
            inner = self._or_and()
            self._expect("sign", ")")
            return inner
        return self._term()

    def _term(self) -> Test:
        token = self._next()
        if token.kind == "string":
            self._expect("word", "in")
            return self._membership(token.text, self._expect("word"))
        if token.kind != "word":
            raise _bad()
        name = token.text
        if name == "sharedWithMe":
            return self._shared()
        if name in {"properties", "appProperties"}:
            self._expect("word", "has")
            return self._has(name)
        sign = self._next().text
        if name in {"trashed", "starred"}:
            return self._flag(name, sign, self._expect("word"))
        return self._comparison(name, sign, self._expect("string"))

    def _membership(self, value: str, collection: str) -> Test:
        if collection == "parents":
            folder = self._store.root(self._user).id if value == "root" else value
            if folder not in self._store.files:
                raise DriveError(404, "notFound", f"File not found: {value}.", location="fileId")
            self._folders.append(folder)
            return lambda file: file.parent == folder
        if collection in _PEOPLE:
            person = self._user if value == "me" else value
            return lambda file: person == file.owner or person in file.access
        raise _bad()

    def _shared(self) -> Test:
        wanted = True
        if self._peek() in _EQUAL:
            wanted = (self._next().text == "=") == _truth(self._expect("word"))
        return lambda file: (file.drive is None and file.owner != self._user) == wanted

    def _has(self, name: str) -> Test:
        self._expect("sign", "{")
        self._expect("word", "key")
        self._expect("sign", "=")
        key = self._expect("string")
        self._expect("word", "and")
        self._expect("word", "value")
        self._expect("sign", "=")
        value = self._expect("string")
        self._expect("sign", "}")
        return lambda file: file.fields.get(name, {}).get(key) == value

    def _flag(self, name: str, sign: str, text: str) -> Test:
        if sign not in _EQUAL:
            raise _bad()
        wanted = _truth(text) == (sign == "=")
        if name == "starred":
            return lambda file: bool(file.fields.get("starred")) == wanted
        return lambda file: self._store.in_trash(file) == wanted

    def _comparison(self, name: str, sign: str, value: str) -> Test:
        match name, sign:
            case "name", "contains":
                return lambda file: _begins_a_word(file.name, value)
            case "fullText", "contains":
                return lambda file: value.strip('"').casefold() in f"{file.name}\n{file.fields.get('description', '')}".casefold()
            case "mimeType", "contains":
                return lambda file: file.mime_type.startswith(value)
        if sign not in _COMPARE:
            raise _bad()
        compare = _COMPARE[sign]
        match name:
            case "name" if sign in _EQUAL:
                return lambda file: compare(file.name.casefold(), value.casefold())
            case "mimeType" if sign in _EQUAL:
                return lambda file: compare(file.mime_type, value)
            case "modifiedTime" | "createdTime":
                moment = milliseconds(value, "q")
                return lambda file: compare(file.modified if name == "modifiedTime" else file.created, moment)
            case "shortcutDetails.targetId" if sign in _EQUAL:
                return lambda file: compare(file.fields.get("shortcutDetails", {}).get("targetId"), value)
        raise _bad()

    def _peek(self) -> str:
        token = self._tokens[self._at]
        return "" if token.kind == "string" else token.text

    def _next(self) -> Token:
        token = self._tokens[self._at]
        if token.kind != "end":
            self._at += 1
        return token

    def _expect(self, kind: str, text: str | None = None) -> str:
        token = self._next()
        if token.kind != kind or (text is not None and token.text != text):
            raise _bad()
        return token.text


def _tokens(text: str) -> list[Token]:
    found: list[Token] = []
    at = 0
    while not found or found[-1].kind != "end":
        match = _TOKEN.match(text, at)
        if match is None or match.lastgroup is None:
            raise _bad()
        at = match.end()
        word = match[match.lastgroup]
        if match.lastgroup == "string":
            word = re.sub(r"\\(.)", r"\1", word[1:-1], flags=re.DOTALL)
        found.append(Token(match.lastgroup, word))
    return found


def _both(left: Test, right: Test) -> Test:
    return lambda file: left(file) and right(file)


def _either(left: Test, right: Test) -> Test:
    return lambda file: left(file) or right(file)


def _truth(word: str) -> bool:
    if word not in {"true", "false"}:
        raise _bad()
    return word == "true"


def _begins_a_word(name: str, value: str) -> bool:
    name, value = name.casefold(), value.casefold()
    return any(name.startswith(value, match.start()) for match in re.finditer(r"\b\w|^", name))


def _bad() -> DriveError:
    return invalid("q")
