"""The checks that every format of files passes."""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import errno
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from facelesion.errors import Error

from .tester import Tester


@dataclasses.dataclass(frozen=True)
class Format:
    """A format of files.

    Attributes:
        name: of a file or folder of this format.
        write: puts one at a path, anew, and gives what is to be read there.
        read: what stands there.
        uses: the package's readers and writers that do it.
        ours: whether the package writes it; other formats are only read.
        unread: how a reader without errors says that nothing is there that can be read.
    """

    name: str
    write: Callable[[Path], Any]
    read: Callable[[Path], Any]
    uses: tuple[Callable[..., Any], ...]
    ours: bool = True
    unread: Callable[[Any], bool] = lambda found: False


# Half of such a file may be a whole one.
_OPEN_ENDED = (".csv", ".tsv", ".txt", ".yaml", ".bin")
DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "cut short": lambda data: data[: len(data) // 2],
    "empty": lambda data: b"",
    "something else": lambda data: b"{: \x00 not this\n" * 9,
}


class FormatTester(Tester):
    """What is written is read back, appears whole or not at all, and what is damaged is told. Rows are of `Format`."""

    rows: ClassVar[Mapping[str, Format]] = {}

    @pytest.fixture(scope="class")
    def made(self, row: Format, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
        """A path with one of them, and what is to be read there."""
        path = tmp_path_factory.mktemp("made") / row.name
        return path, row.write(path)

    def test_what_is_written_is_read_back(self, row: Format, made: tuple[Path, Any]) -> None:
        path, wanted = made
        same(row.read(path), wanted)

    def test_it_is_done_by_the_functions_that_are_said_to_do_it(self, row: Format, tmp_path: Path) -> None:
        with called() as codes:
            row.write(tmp_path / row.name)
            row.read(tmp_path / row.name)
        assert [each.__qualname__ for each in row.uses if each.__code__ not in codes] == []

    def test_the_same_content_gives_the_same_files_and_nothing_beside_them(
        self, row: Format, made: tuple[Path, Any], tmp_path: Path
    ) -> None:
        row.write(tmp_path / row.name)
        one, other = contents(made[0]), contents(tmp_path / row.name)
        assert one == other or not row.ours
        assert not [name for name in one if Path(name).name.startswith(".") or name.endswith(".part")]

    @pytest.mark.parametrize("damage", DAMAGES)
    def test_what_is_damaged_is_told_in_one_line(
        self, row: Format, made: tuple[Path, Any], damage: str, tmp_path: Path
    ) -> None:
        whole, wanted = made
        for name, data in contents(whole).items():
            path = tmp_path / f"{len(list(tmp_path.iterdir()))}" / row.name
            path.parent.mkdir()
            (shutil.copytree if whole.is_dir() else shutil.copy)(whole, path)
            file = path / name if whole.is_dir() else path
            file.write_bytes(DAMAGES[damage](data))
            try:
                found = row.read(path)
            except Error as told:
                assert "\n" not in str(told) and (file.name in str(told) or str(path) in str(told)), told
                continue
            if not row.unread(found) and file.suffix not in _OPEN_ENDED:
                same(found, wanted)  # a file that is not asked for

    def test_what_is_not_there_is_told_in_one_line(self, row: Format, tmp_path: Path) -> None:
        try:
            found = row.read(tmp_path / row.name)
        except Error as told:
            assert "\n" not in str(told) and str(tmp_path) in str(told)
        else:
            assert row.unread(found)

    def test_on_a_full_disk_what_was_there_stays_and_nothing_is_beside_it(
        self, row: Format, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        if not row.ours:
            pytest.skip("the package does not write it")
        (tmp_path / "another").mkdir()
        row.write(tmp_path / row.name)
        before = contents(tmp_path)

        def full(*given: Any, **settings: Any) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patch:
            for name in ("replace", "rename", "link"):
                patch.setattr(os, name, full)
            with pytest.raises((Error, OSError)):
                row.write(tmp_path / "another" / row.name)
            with contextlib.suppress(Error, OSError):  # what is there already need not be written again
                row.write(tmp_path / row.name)
        assert contents(tmp_path) == before


def contents(path: Path) -> dict[str, bytes]:
    """The files at a path, or below it, by name. Locks that are held for a while are none of them."""
    if path.is_file():
        return {path.name: path.read_bytes()}
    files = sorted(each for each in path.rglob("*") if each.is_file() and each.parent.name != "locks")
    return {str(each.relative_to(path)): each.read_bytes() for each in files}


class called:
    """A context that notes which functions were called, by their code."""

    def __enter__(self) -> set[Any]:
        self.codes: set[Any] = set()
        self.before = sys.getprofile()
        sys.setprofile(lambda frame, event, arg: self.codes.add(frame.f_code))
        return self.codes

    def __exit__(self, *problem: object) -> None:
        sys.setprofile(self.before)


def same(one: Any, other: Any) -> None:
    """Asserts that two values are the same: tensors, arrays and tables among them."""
    import pandas

    if isinstance(one, torch.Tensor):
        assert torch.equal(one, torch.as_tensor(other)) and one.dtype == other.dtype
    elif isinstance(one, np.ndarray):
        np.testing.assert_array_equal(one, other)
    elif isinstance(one, pandas.DataFrame):
        pandas.testing.assert_frame_equal(one, other)
    elif dataclasses.is_dataclass(one) and not isinstance(one, type):
        assert type(one) is type(other)
        for field in dataclasses.fields(one):
            same(getattr(one, field.name), getattr(other, field.name))
    elif isinstance(one, Mapping):
        assert set(one) == set(other)
        for key in one:
            same(one[key], other[key])
    elif isinstance(one, list | tuple):
        for left, right in zip(one, other, strict=True):
            same(left, right)
    else:
        assert one == other


def every(kind: Callable[[str], bool], root: Path) -> Iterator[str]:
    """Dotted names of the public functions and methods of a package whose own name is of a kind."""
    for path in sorted(root.rglob("*.py")):
        module = ".".join(path.relative_to(root.parent).with_suffix("").parts)
        tree = ast.parse(path.read_text(encoding="utf-8"))
        holders: list[tuple[str, ast.AST]] = [(module, tree)]
        while holders:
            above, node = holders.pop()
            for each in ast.iter_child_nodes(node):
                if isinstance(each, ast.ClassDef) and not each.name.startswith("_"):
                    holders.append((f"{above}.{each.name}", each))
                elif isinstance(each, ast.FunctionDef) and not each.name.startswith("_") and kind(each.name):
                    yield f"{above}.{each.name}"
