"""Tables that scripts write into a page: each stands between two marks of its own, and the rest of the page stays."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from facelesion.errors import Error
from facelesion.files import write_bytes


def table_of(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = ["| " + " | ".join(cells) + " |" for cells in (headings, *rows)]
    return "\n".join([lines[0], "|" + "---|" * len(headings), *lines[1:]])


def write_table(page: Path, name: str, table: str) -> None:
    """Put a table between the marks `<!-- name: … -->` and `<!-- name end -->`, in the place of what stood there.

    Args:
        page: a file in Markdown.
        name: of the marks; the first may say more, such as where the table comes from.
        table: its lines.

    Raises:
        Error: a page without these marks, which stays as it is.
    """
    text = page.read_text(encoding="utf-8")
    between = re.compile(rf"(<!-- {re.escape(name)}:[^\n]*-->\n).*?(<!-- {re.escape(name)} end -->)", re.S)
    written, found = between.subn(lambda marks: f"{marks[1]}\n{table}\n\n{marks[2]}", text)
    if not found:
        raise Error(f"{page} has no place for the table: put in the lines <!-- {name}: --> and <!-- {name} end -->")
    write_bytes(page, written.encode())
