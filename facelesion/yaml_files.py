"""YAML read with care: plain values that know their line, and limits that no file gets past.

PyYAML splits the text into events; the tree is built here from those, so that depth, size and anchors are checked as
they come, and a key given twice is told. Words are read as YAML 1.2 means them: `no` and `on` are words until a setting
wants true or false, `1e-4` and `1_000` are numbers, `0777` is 777.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from facelesion.errors import Error

MOST_BYTES = 1_000_000
MOST_VALUES = 100_000  # with every alias written out
MOST_LEVELS = 40
COMMAND_LINE = "the command line"

Scalar = str | int | float | bool | None
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the quick one where PyYAML was built with it
_TEXT_TAGS = (None, "!", "tag:yaml.org,2002:str")
_WORDS: dict[str, Scalar] = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
}  # fmt: skip
_WHOLE = re.compile(r"[-+]?[0-9][0-9_]*|0x[0-9a-fA-F_]+|0o[0-7_]+|0b[01_]+")
_REAL = re.compile(r"[-+]?(\.[0-9][0-9_]*|[0-9][0-9_]*(\.[0-9_]*)?)([eE][-+]?[0-9]+)?")
_ENDLESS = re.compile(r"([-+]?)\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_STRANGE = re.compile("[\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\\x7f\\ud800-\\udfff]")
_LONGEST_NUMBER = 100  # digits; what is longer is text


@dataclass(frozen=True)
class Where:
    """Where a setting was written: its file or the command line, its key, its line.

    Example:
        >>> print(Where("study.yaml", "data.people", 7))
        study.yaml, line 7: data.people
        >>> print(Where(COMMAND_LINE, "data.people"))
        --data.people
    """

    source: str = ""
    key: str = ""
    line: int | None = None

    def __str__(self) -> str:
        if self.source == COMMAND_LINE:
            return f"--{self.key}" if self.key else self.source
        line = f", line {self.line}" if self.line is not None else ""
        place = f"{self.source}{line}"
        return f"{place}: {self.key}" if place and self.key else place or self.key


@dataclass(eq=False)
class Node:
    """A value as it was read, with its place.

    Attributes:
        value: a scalar, a list of nodes, or a dict of nodes.
        source: the file, or `COMMAND_LINE`.
        line: where it begins, counted from 1; None on the command line.
        text: the scalar as it was written, without quotes; None in quotes, and for lists and mappings.
        key_lines: the line of every key of a mapping.
        size: how many values it holds, itself counted.
        levels: how deep it goes.
    """

    value: Scalar | list[Node] | dict[str, Node]
    source: str
    line: int | None = None
    text: str | None = None
    key_lines: dict[str, int | None] = field(default_factory=dict)
    size: int = 1
    levels: int = 1

    def plain(self) -> Any:
        """The value alone, as lists, dicts and scalars."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value

    def where(self, key: str = "") -> Where:
        """Where a key such as `data.people` or `lesions.0.site` was written; the nearest place above if it was not."""
        node, line = self, self.line
        for part in key.split(".") if key else ():
            if isinstance(node.value, dict) and part in node.value:
                line, node = node.key_lines.get(part), node.value[part]
            elif isinstance(node.value, list) and part.isdecimal() and int(part) < len(node.value):
                node = node.value[int(part)]
                line = node.line
            else:
                break
        return Where(node.source, key, line)


def read_yaml(path: str | Path) -> Node:
    """Read a YAML file.

    Raises:
        Error: it is missing, empty, no UTF-8 text, no YAML, too large, too deep, or says a key twice.
    """
    place = Path(path)
    try:
        if not place.is_file():
            raise Error(f"{place}: {'not a plain file' if place.exists() else 'no such file'}")
        with place.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:  # a name that is too long, or holds a NUL
        raise Error(f"{str(place)[:200]!r}: cannot be read ({_reason(error)})") from None
    if len(content) > MOST_BYTES:
        raise Error(f"{place}: more than {MOST_BYTES:,} bytes: that is no file of settings")
    return parse_yaml(_decoded(content, str(place)), str(place))


def parse_yaml(text: str, source: str) -> Node:
    """Read YAML text; `source` is what errors call it.

    Raises:
        Error: as `read_yaml`.

    Example:
        >>> node = parse_yaml("rate: 1e-4\\npeople: 1_000\\ncountry: no\\n", "example.yaml")
        >>> node.plain(), str(node.where("people"))
        ({'rate': 0.0001, 'people': 1000, 'country': 'no'}, 'example.yaml, line 2: people')
    """
    strange = _STRANGE.search(text)
    if strange is not None:
        where = Where(source, line=text[: strange.start()].count("\n") + 1)
        raise Error(f"{where}: holds a character that no text has ({strange[0]!r})")
    try:
        return _Builder(source).build(yaml.parse(text, Loader=_LOADER))
    except yaml.YAMLError as error:
        raise _not_yaml(error, text, source) from None


def parse_word(text: str) -> Node:
    """A value from the command line: YAML where it is some, and else the word as it stands."""
    try:
        node = parse_yaml(text, COMMAND_LINE)
    except Error:
        return Node(text, COMMAND_LINE, text=text)
    _without_lines(node)
    node.text = text
    return node


def _without_lines(node: Node) -> None:
    node.line, node.key_lines = None, {}
    children = node.value.values() if isinstance(node.value, dict) else node.value
    for child in children if not isinstance(children, Scalar) else ():
        _without_lines(child)


def overlay(root: Node, key: str, given: Node) -> Node:
    """The tree with a value put at `data.people`, or at a list's place, `lesions.0.site`; `root` stays as it is.

    Raises:
        Error: the key goes through a value that has no parts, or past the end of a list.
    """
    if not key:
        return given
    part, _, rest = key.partition(".")
    if isinstance(root.value, list):
        if not part.isdecimal() or int(part) >= len(root.value):
            raise Error(f"no place {part!r} in a list of {len(root.value)} (they count from 0)")
        items = list(root.value)
        items[int(part)] = overlay(items[int(part)], rest, given)
        return Node(items, root.source, root.line)
    if not isinstance(root.value, dict) and root.value is not None:
        raise Error(f"no part {part!r} in {str(root.value)[:60]!r}")
    entries = dict(root.value or {})
    below = entries.get(part, Node({}, given.source))
    entries[part] = overlay(below, rest, given)
    lines = {**root.key_lines, **({part: None} if not rest else {})}
    return Node(entries, root.source, root.line, key_lines=lines)


def scalar(text: str) -> Scalar:
    """What a word without quotes means.

    Example:
        >>> [scalar(word) for word in ("1e-4", "1_000", "no", "~", "0777", "12:30")]
        [0.0001, 1000, 'no', None, 777, '12:30']
    """
    if text in _WORDS:
        return _WORDS[text]
    if len(text) > _LONGEST_NUMBER:
        return text
    if _WHOLE.fullmatch(text):
        digits = text.replace("_", "")
        return int(digits, 0) if digits[:2] in ("0x", "0o", "0b") and len(digits) > 2 else _decimal(digits, text)
    if _REAL.fullmatch(text):
        return float(text.replace("_", ""))
    if found := _ENDLESS.fullmatch(text):
        return float((found[1] or "") + (found[2] or found[3]))
    return text


def _decimal(digits: str, text: str) -> Scalar:
    return int(digits) if digits.lstrip("+-").isdecimal() else text


@dataclass
class _Open:
    """A list or mapping whose end has not come yet."""

    node: Node
    anchor: str | None
    key: str | None = None
    merged: list[Node] = field(default_factory=list)


class _Builder:
    """From PyYAML's events to nodes, one event after the other, so that depth costs no recursion."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.open: list[_Open] = []
        self.anchors: dict[str, Node] = {}
        self.root: Node | None = None

    def build(self, events: Iterator[yaml.Event]) -> Node:
        documents = 0
        for event in events:
            line = event.start_mark.line + 1 if event.start_mark else 0
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise self.wrong(line, "a second document begins here (---): keep one in a file")
            elif isinstance(event, yaml.AliasEvent):
                self.place(self.meant(event.anchor or "", line), line, alias=True)
            elif isinstance(event, yaml.ScalarEvent):
                self.word(event, line)
            elif isinstance(event, yaml.SequenceStartEvent | yaml.MappingStartEvent):
                self.begin(event, line)
            elif isinstance(event, yaml.SequenceEndEvent | yaml.MappingEndEvent):
                self.end(line)
        if self.root is None:
            raise Error(f"{self.source}: empty: there is nothing to read in it")
        return self.root

    def wrong(self, line: int | None, what: str) -> Error:
        return Error(f"{Where(self.source, line=line)}: {what}")

    def tagged(self, tag: str, line: int) -> Error:
        written = tag.replace("tag:yaml.org,2002:", "!!")
        return self.wrong(line, f"{written[:60]} says what kind of value follows: leave it out, plain values only")

    def word(self, event: yaml.ScalarEvent, line: int) -> None:
        if event.tag not in _TEXT_TAGS:
            raise self.tagged(event.tag, line)
        is_plain = event.implicit[0] and event.tag is None
        node = Node(scalar(event.value) if is_plain else event.value, self.source, line)
        node.text = event.value if is_plain else None
        self.remember(event.anchor, node)
        self.place(node, line)

    def begin(self, event: yaml.CollectionStartEvent, line: int) -> None:
        if event.tag is not None:
            raise self.tagged(event.tag, line)
        self.not_deeper(len(self.open) + 1, line)
        is_list = isinstance(event, yaml.SequenceStartEvent)
        self.open.append(_Open(Node([] if is_list else {}, self.source, line), event.anchor))

    def end(self, line: int) -> None:
        closed = self.open.pop()
        entries = closed.node.value
        for merged in closed.merged:  # `<<: *defaults`: what the mapping does not say itself
            assert isinstance(entries, dict) and isinstance(merged.value, dict)
            for key, value in merged.value.items():
                if key not in entries:
                    entries[key] = value
                    closed.node.key_lines[key] = merged.key_lines.get(key)
        self.remember(closed.anchor, closed.node)
        self.place(closed.node, closed.node.line or line)

    def remember(self, anchor: str | None, node: Node) -> None:
        if anchor is not None:
            self.anchors[anchor] = node

    def meant(self, anchor: str, line: int) -> Node:
        if any(opened.anchor == anchor for opened in self.open):
            raise self.wrong(line, f"*{anchor} stands inside &{anchor} itself: it would never end")
        if anchor not in self.anchors:
            raise self.wrong(line, f"*{anchor}: nothing above it is marked &{anchor}")
        return self.anchors[anchor]

    def place(self, node: Node, line: int, alias: bool = False) -> None:
        """Put a value that is complete where it belongs."""
        if not self.open:
            self.root = node
            return
        top = self.open[-1]
        if isinstance(top.node.value, list):
            top.node.value.append(node)
        elif top.key is None:
            top.key = self.key(node, line, top.node)
            return
        elif top.key == "<<":
            top.merged.extend(self.mappings(node, line))
            top.key = None
        else:
            assert isinstance(top.node.value, dict)
            top.node.value[top.key] = node
            top.key = None
        top.node.size += node.size
        top.node.levels = max(top.node.levels, node.levels + 1)
        if top.node.size > MOST_VALUES:
            raise self.wrong(line, f"more than {MOST_VALUES:,} values with every *alias written out: too many")
        self.not_deeper(len(self.open) + node.levels if alias else 0, line)

    def key(self, node: Node, line: int, mapping: Node) -> str:
        if isinstance(node.value, list | dict):
            raise self.wrong(line, "a list or mapping stands where a key belongs: keys are words")
        if node.value is None:
            raise self.wrong(line, "a key is missing before the colon")
        word = node.text if node.text is not None else str(node.value)
        if word != "<<" and word in mapping.key_lines:
            raise self.wrong(line, f"{word!r} stands here again, after line {mapping.key_lines[word]}: keep one")
        if word != "<<":
            mapping.key_lines[word] = line
        return word

    def mappings(self, node: Node, line: int) -> list[Node]:
        found = node.value if isinstance(node.value, list) else [node]
        if not all(isinstance(each.value, dict) for each in found):
            raise self.wrong(line, "<<: takes a mapping, such as *defaults, or a list of them")
        return found

    def not_deeper(self, levels: int, line: int) -> None:
        if levels > MOST_LEVELS:
            raise self.wrong(line, f"more than {MOST_LEVELS} levels deep: that is no file of settings")


def _decoded(content: bytes, source: str) -> str:
    """The text of a file in UTF-8, or in UTF-16 that says so by its mark."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16"
    else:
        encoding = "utf-8-sig"
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise Error(
            f"{source}, line {line}: not UTF-8 text (byte 0x{content[error.start]:02x}): save the file as UTF-8"
        ) from None


def _not_yaml(error: yaml.YAMLError, text: str, source: str) -> Error:
    """PyYAML's complaint as one line, with what most often mends it."""
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error).split("\n")[0]
    line = mark.line + 1 if mark is not None else None
    lines = text.splitlines()
    written = lines[mark.line] if mark is not None and mark.line < len(lines) else ""
    hint = ""
    if "\t" in written[: len(written) - len(written.lstrip())]:
        hint = ": a tab stands at the line's beginning, use spaces"
    elif "mapping values" in problem:
        hint = ": a text with ': ' in it needs quotes"
    return Error(f"{Where(source, line=line)}: not YAML ({problem}){hint}")


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)

