"""Strict YAML: every value keeps its place (file, line, column), and ambiguous text is refused."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from dlrun.config.file_kinds import NAME_ANOTHER, refused_kind
from dlrun.errors import UserError, excerpt, shortened
from dlrun.system.bounds import CONFIG
from dlrun.system.files import NotAFile, TooLarge, read_bounded
from dlrun.system.pipes import received

if TYPE_CHECKING:
    from dlrun.config.syntax import Cause

MOST_VALUES = 10_000
DEEPEST = 50

# The numbers of YAML 1.2. PyYAML by default reads 1e-3 as text, 010 as 8 and 1:30 as 90.
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]{0,18})$")
_NUMBER = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$")
_BEHIND_COMMA = re.compile(r"[0-9]+([eE][-+]?[0-9]+)?\Z")
_ESCAPE = re.compile("escape|hexdecimal")  # in the words of LibYAML and of PyYAML
_NO_SPACE = re.compile(r"(\w+):([^\s:/]\S*)\Z")
_EQUALS = re.compile(r"(\w+) *= *(\S+)\Z")
_DRIVE = re.compile(r'"[A-Za-z]:\\[^\\/\r\n]')  # "C:\new": \n would be the end of a line
_BACKSLASH = r"in double quotes a backslash begins an escape: write C:\data\x in single quotes, or C:/data/x"
_CONSTANTS: dict[str, Any] = {
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys(("null", "Null", "NULL", "~", ""), None),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf"), float("inf")),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), float("-inf")),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
}
if hasattr(yaml, "CSafeLoader"):
    _Loader: Any = yaml.CSafeLoader
else:
    _Loader = yaml.SafeLoader


@dataclass(frozen=True)
class Place:
    """The place of a value: a file (or the command line), and line and column, counted from 1."""

    source: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.source}:{self.line}:{self.column}" if self.line else self.source


@dataclass(frozen=True)
class Located:
    """A value with its place and the place of its key (the same if it has no key).

    `value` is a dict of `Located`, a list of `Located`, or a str, int, float, bool or None.
    """

    value: Any
    place: Place
    key_place: Place

    def plain(self) -> Any:
        """The value without places."""
        if isinstance(self.value, dict):
            return {key: item.plain() for key, item in self.value.items()}
        if isinstance(self.value, list):
            return [item.plain() for item in self.value]
        return self.value

    def at(self, path: tuple[str | int, ...]) -> Located:
        """The value at `path`, or its nearest existing ancestor."""
        found = self
        for key in path:
            try:
                inside = found.value[key]
            except (KeyError, IndexError, TypeError):
                break
            if not isinstance(inside, Located):  # a character of a string
                break
            found = inside
        return found


def read_file(path: Path) -> Located:
    """Read a YAML file as a located tree.

    Raises UserError, with line and column if they are known.
    """
    try:
        raw = received(path)
        if raw is None:
            raw = read_bounded(path, CONFIG)
        elif len(raw) > CONFIG:
            raise UserError(f"{path} gives too much for a config (more than {CONFIG:,} bytes)")
    except NotAFile:
        raise UserError(f"{path} is not a file") from None
    except TooLarge as error:
        raise UserError(f"{path} is too large for a config ({error.size:,} bytes)") from None
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
    if refused := refused_kind(raw, path):
        raise UserError(refused[0], where=str(path), fix=refused[1])
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _not_utf8(raw, error.start, path) from None
    return parse(text, str(path))


def no_mapping(tree: Located) -> UserError:
    """The error for a config that is a list or a single value, with the remedy."""
    from dlrun.config.syntax import is_python  # whose patterns take milliseconds to compile

    what, fix = "a config must be a mapping of keys to values", "write a line KEY: VALUE for each key"
    if isinstance(tree.value, list):
        what, fix = f"{what}, not a list", "leave out the dashes in front of the keys"
    elif isinstance(tree.value, str) and (found := _NO_SPACE.match(tree.value)):
        what, fix = f"{what}: a space is missing behind the colon", f"write {found[1]}: {found[2]}"
    elif isinstance(tree.value, str) and is_python(tree.value):
        what, fix = f"{what}, not Python code", NAME_ANOTHER
    return UserError(what, where=str(tree.place), fix=fix)


def _not_utf8(raw: bytes, start: int, path: Path) -> UserError:
    """The error for the first byte of a file that is not UTF-8."""
    above = raw[:start].decode(errors="replace").splitlines(keepends=True) or [""]
    line = raw.count(b"\n", 0, start)
    column = 0 if above[-1].endswith("\n") else len(above[-1])
    letter = raw[start : start + 1].decode("cp1252", "replace")
    shown = raw.decode("cp1252", "replace").split("\n")[line]
    return UserError(
        f"the file is not UTF-8 text: byte 0x{raw[start]:02X}, which elsewhere means {letter}",
        where=f"{path}:{line + 1}:{column + 1}",
        fix="save the file as UTF-8",
        excerpt=excerpt(shown, 0, column),
    )


def parse(text: str, source: str, *, has_lines: bool = True) -> Located:
    """Parse YAML text as a located tree; an empty text is an empty mapping.

    `has_lines` is False for a value on the command line, whose place is only `source`. Raises UserError for
    invalid YAML and for text that YAML would silently misread.
    """

    def place(mark: yaml.Mark | Cause) -> Place:
        return Place(source, mark.line + 1, mark.column + 1) if has_lines else Place(source)

    def refuse(what: str, mark: yaml.Mark | Cause, fix: str = "") -> UserError:
        shown = excerpt(text, mark.line, mark.column) if has_lines else ()
        return UserError(what, where=str(place(mark)), fix=fix, excerpt=shown)

    try:
        text.encode()  # a command line may hold surrogates; refuse them here, with our own message
        _refuse_what_would_not_end(text, refuse)
        node = yaml.compose(text, Loader=_Loader)
    except UnicodeEncodeError:
        raise UserError("this is not YAML: it has bytes that are no text", where=source) from None
    except yaml.YAMLError as error:
        from dlrun.config.syntax import cause_of  # whose patterns take milliseconds to compile

        cause = cause_of(text, error, _Loader)
        fix = _BACKSLASH if _ESCAPE.search(cause.what) else cause.fix
        raise refuse(f"this is not YAML: {cause.what}", cause, fix) from None
    if node is None:
        start = Place(source, 1, 1) if has_lines else Place(source)
        return Located({}, start, start)

    def locate(node: yaml.Node, key_mark: yaml.Mark) -> Located:
        here, key_place = place(node.start_mark), place(key_mark)
        if isinstance(node, yaml.MappingNode):
            return Located(dict(entries(node)), here, key_place)
        if isinstance(node, yaml.SequenceNode):
            items = [locate(item, item.start_mark) for item in node.value]
            return Located(items, here, key_place)
        assert isinstance(node, yaml.ScalarNode)
        if node.style == '"' and _DRIVE.match(text, node.start_mark.index):
            raise refuse("a backslash of this path would be read as an escape", node.start_mark, _BACKSLASH)
        return Located(_scalar(node, refuse), here, key_place)

    def entries(node: yaml.MappingNode) -> Iterator[tuple[str, Located]]:
        first, before = dict[str, Place](), ("", node)
        for key_node, value_node in node.value:
            mark = key_node.start_mark
            if node.flow_style and first and (fix := _with_point(*before, key_node, value_node)):
                raise refuse("a comma parts a number in two", mark, fix)
            key = _scalar(key_node, refuse) if isinstance(key_node, yaml.ScalarNode) else None
            if not isinstance(key, str):
                fix = "put a list in brackets, and a text with a comma or bracket in it in quotes"
                fix = fix if node.flow_style else ""
                has_value = not isinstance(value_node, yaml.ScalarNode) or value_node.value
                if key is not None and has_value:  # a number, such as a class that is called so
                    fix = f'write it in quotes: "{key_node.value}"'
                raise refuse("a key must be plain text", mark, fix)
            if not key_node.style and key != key.strip():
                raise refuse("an unusual space in front of a key or behind it", mark, "use plain spaces")
            is_bare = not key_node.style and isinstance(value_node, yaml.ScalarNode) and not value_node.value
            if node.flow_style and is_bare and (found := _NO_SPACE.match(key)):
                fix = f"write {found[1]}: {found[2]}"
                raise refuse("a space is missing behind the colon", mark, fix)
            if node.flow_style and is_bare and (found := _EQUALS.match(key)):
                raise refuse("a = where a colon belongs", mark, f"write {found[1]}: {found[2]}")
            if key == "<<" and not key_node.style:
                raise refuse("merge keys (<<) are not read; use `base: other.yaml`", mark)
            if key in first:
                raise refuse(
                    f"{key!r} is given a second time (first at {first[key]})", mark, "keep one of the two"
                )
            first[key], before = place(mark), (key, value_node)
            yield key, locate(value_node, mark)

    return locate(node, node.start_mark)


def _with_point(key: str, value: yaml.Node, after: yaml.Node, bare: yaml.Node) -> str:
    """The remedy for `lr: 0,02` in braces, which is 0 and a key 02 without a value; "" for anything else."""
    if not (isinstance(value, yaml.ScalarNode) and isinstance(after, yaml.ScalarNode)):
        return ""
    if not isinstance(bare, yaml.ScalarNode) or bare.value or value.style or after.style or bare.style:
        return ""
    whole, rest = value.value, after.value
    if not (_INTEGER.match(whole) and _BEHIND_COMMA.match(rest)):
        return ""
    is_thousands = len(rest) == 3 and rest.isdecimal() and whole.lstrip("+-") != "0"
    return f"write {key}: {f'{whole}{rest}, or ' * is_thousands}{whole}.{rest}"


def _refuse_what_would_not_end(text: str, refuse: Any) -> None:
    """Refuse aliases (a few hundred bytes can expand without end), deep nesting and too many values."""
    depth = values = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise refuse(
                "anchors and aliases (& and *) are not read",
                event.start_mark,
                "put a text that begins with & or * in quotes",
            )
        if tag := getattr(event, "tag", None):
            raise refuse(f"tags ({tag[:40]}) are not read", event.start_mark)
        values += isinstance(event, yaml.NodeEvent)
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise refuse(f"this is nested too deeply, in more than {DEEPEST} levels", event.start_mark)
        if values > MOST_VALUES:
            fix = "a pattern such as 'x*' names many columns of a table at once"
            raise refuse(f"a config holds at most {MOST_VALUES:,} keys and values", event.start_mark, fix)


def _scalar(node: yaml.ScalarNode, refuse: Any) -> Any:
    """Convert a scalar to str, int, float, bool or None; quoted text is always a str."""
    text: str = node.value
    if node.style in ("'", '"', "|", ">"):
        return text
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if _INTEGER.match(text):
        return int(text)
    if re.match(r"[-+]?(0[0-9]+|[1-9][0-9]{19,})$", text):
        number = text.lstrip("+-0") or "0"
        fix = f"write {shortened(number)}, or in quotes if it is a text" if len(number) < 20 else ""
        raise refuse(f"{text[:40]!r} is not a plain number", node.start_mark, fix)
    if _NUMBER.match(text):
        return float(text)
    return text
