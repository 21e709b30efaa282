"""A reader of Torch7's binary files that reads numbers and tables, and runs nothing.

Written from the published description of the format: each value is a 32-bit type tag and its content; tables and
objects of Torch classes carry an index and are written out once; tensors are sizes, strides and an offset into a
storage, which is a length and raw numbers. Everything is little-endian. Lengths are longs of 64 bits, or of
32 where the file was written on such a machine; it does not say which, but only one of them makes sense.

Functions are compiled Lua: their bytes are stepped over and never looked at. Every length is compared with what is
left of the file before anything is made of it, nesting and the number of values are bounded, and storages are views of
the file, so that a small file cannot ask for large memory.
"""

from __future__ import annotations

import mmap
import re
import struct
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from facelesion.errors import Error

_NIL, _NUMBER, _STRING, _TABLE, _TORCH, _BOOLEAN = range(6)
_FUNCTION, _LEGACY_FUNCTION, _RECURSIVE_FUNCTION = 6, 7, 8
_KINDS = {
    "Double": "<f8", "Float": "<f4", "Cuda": "<f4", "CudaDouble": "<f8", "Half": "<f2", "CudaHalf": "<f2",
    "Long": "<i8", "Int": "<i4", "Short": "<i2", "Char": "<i1", "Byte": "<u1",
    "CudaLong": "<i8", "CudaInt": "<i4", "CudaShort": "<i2", "CudaChar": "<i1", "CudaByte": "<u1",
}  # fmt: skip
_DEEPEST = 100
_MOST_VALUES = 200_000
_LONGEST_NAME = 200
_MOST_AXES = 16

Value = Any  # None, float, bool, str, Table, Object, Function or a numpy array


class Table(dict[Any, Value]):
    """A Lua table; entries whose key is neither text, number nor truth value are left out."""


@dataclass(eq=False)
class Object:
    """An object of a Torch class that is no tensor, as the table of its fields."""

    kind: str
    fields: Table = field(default_factory=Table, repr=False)


@dataclass(frozen=True)
class Function:
    """A Lua function that was stepped over."""


def read_t7(source: Path) -> Value:
    """The value that a Torch7 file holds; tensors are read-only arrays over the file.

    Raises:
        Error: not a binary Torch7 file, cut short, lengths that the file cannot hold, tensors that reach
            outside their storage, deeper nesting or more values than any network has.
    """
    try:
        with source.open("rb") as file:
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:  # an empty file cannot be mapped
        raise Error(f"{source}: not a file that can be read ({error}): get it again") from None
    view = memoryview(content)
    _refuse_other_modes(bytes(view[:16]), source)
    try:
        return _Reader(view, source, 8).value(0)
    except Error as error:
        try:
            return _Reader(view, source, 4).whole()
        except Error:
            raise error from None


def _refuse_other_modes(head: bytes, source: Path) -> None:
    """Torch7 also writes text, and the other order of bytes: getting such a file again would not help."""
    if re.match(rb"\s*\d+\s*\n", head):
        raise Error(
            f"{source}: a Torch7 file saved as text: get it again as a binary one (torch.save(name, net, 'binary'))"
        )
    little, big = (int.from_bytes(head[:4], order) for order in ("little", "big"))
    if little > _RECURSIVE_FUNCTION >= big:
        raise Error(
            f"{source}: a Torch7 file of a big-endian machine: load it there and save it as little-endian"
        )


class _Reader:
    def __init__(self, content: memoryview, source: Path, long: int) -> None:
        self.long = long  # bytes
        self.sure = False
        self.content = content
        self.source = source
        self.position = 0
        self.values = 0
        self.known: dict[int, Value] = {}

    def wrong(self, what: str) -> Error:
        return Error(
            f"{self.source}: not a whole binary Torch7 file ({what} at byte {self.position}): get it again"
        )

    def take(self, length: int) -> memoryview:
        left = len(self.content) - self.position
        if not 0 <= length <= left:
            raise self.wrong(f"{length} bytes wanted and {left} left")
        start, self.position = self.position, self.position + length
        return self.content[start : self.position]

    def integer(self) -> int:
        return int(struct.unpack("<i", self.take(4))[0])

    def longs(self, count: int) -> tuple[int, ...]:
        return struct.unpack(f"<{count}{'q' if self.long == 8 else 'i'}", self.take(self.long * count))

    def numbers(self, kind: str) -> np.dtype[Any]:
        """How numbers of a tensor's or storage's kind are written."""
        return np.dtype(f"<i{self.long}" if kind.endswith("Long") else _KINDS[kind])

    def whole(self) -> Value:
        """The value, if it is all that the file holds and its tensors make sense: else the length was a wrong guess."""
        value = self.value(0)
        if self.position != len(self.content) or not self.sure:
            raise self.wrong("nothing that shows longs of 32 bits")
        return value

    def text(self) -> str:
        return bytes(self.take(self.integer())).decode("latin-1")

    def name(self) -> str:
        length = self.integer()
        if not 0 < length <= _LONGEST_NAME:
            raise self.wrong(f"a class's name of {length} letters")
        return bytes(self.take(length)).decode("latin-1")

    def value(self, depth: int) -> Value:
        self.values += 1
        if depth > _DEEPEST:
            raise self.wrong(f"values nested more than {_DEEPEST} deep")
        if self.values > _MOST_VALUES:
            raise self.wrong(f"more than {_MOST_VALUES} values")
        tag = self.integer()
        if tag == _NIL:
            return None
        if tag == _NUMBER:
            return struct.unpack("<d", self.take(8))[0]
        if tag == _STRING:
            return self.text()
        if tag == _BOOLEAN:
            return self.integer() == 1
        if tag == _FUNCTION:
            return self.function(depth)
        if tag not in (_TABLE, _TORCH, _LEGACY_FUNCTION, _RECURSIVE_FUNCTION):
            raise self.wrong(f"a value of the unknown kind {tag}")
        index = self.integer()
        if index in self.known:
            return self.known[index]
        if tag == _TABLE:
            # Known before it is filled: a table may hold itself.
            table = self.known[index] = Table()
            return self.fill(table, depth)
        if tag == _TORCH:
            return self.object(index, depth)
        self.known[index] = Function()
        return self.function(depth)

    def function(self, depth: int) -> Function:
        self.take(self.integer())  # compiled Lua
        self.value(depth + 1)  # what the function closes over
        return Function()

    def fill(self, table: Table, depth: int) -> Table:
        count = self.integer()
        if not 0 <= count <= (len(self.content) - self.position) // 8:
            raise self.wrong(f"a table of {count} entries")
        for _ in range(count):
            key, value = self.value(depth + 1), self.value(depth + 1)
            if isinstance(key, float) and key.is_integer():
                key = int(key)
            if isinstance(key, str | int | float):
                table[key] = value
        return table

    def object(self, index: int, depth: int) -> Value:
        kind = self.name()
        if kind.startswith("V "):  # the version of the class; the oldest files begin with the class's name
            kind = self.name()
        family, _, rest = kind.partition(".")
        if family == "torch" and rest.endswith("Tensor") and rest[:-6] in _KINDS:
            self.known[index] = None
            value: Value = self.tensor(self.numbers(rest[:-6]), depth)
        elif family == "torch" and rest.endswith("Storage") and rest[:-7] in _KINDS:
            (count,) = self.longs(1)
            number = self.numbers(rest[:-7])
            if count < 0:
                raise self.wrong(f"a storage of {count} numbers")
            value = np.frombuffer(self.take(count * number.itemsize), number)
        else:
            made = Object(kind)
            self.known[index] = made
            content = self.value(depth + 1)
            if isinstance(content, Table):
                made.fields = content
            return made
        self.known[index] = value
        return value

    def tensor(self, number: np.dtype[Any], depth: int) -> npt.NDArray[np.generic]:
        axes = self.integer()
        if not 0 <= axes <= _MOST_AXES:
            raise self.wrong(f"a tensor of {axes} axes")
        sizes, strides = self.longs(axes), self.longs(axes)
        (offset,) = self.longs(1)
        if self.long == 4 and any(sizes):
            # Half of a long of 64 bits is zero, which no size, stride or offset of a tensor is.
            if 0 in (*sizes, *strides, offset):
                raise self.wrong("longs that are not of 32 bits")
            self.sure = True
        storage = self.value(depth + 1)
        if storage is None or axes == 0 or 0 in sizes:
            return np.empty(0, number)
        if not isinstance(storage, np.ndarray) or storage.ndim != 1 or storage.dtype != number:
            raise self.wrong("a tensor without a storage of its own kind")
        if min(sizes) < 0 or min(strides) < 0 or offset < 1:
            raise self.wrong("a tensor of negative size")
        last = offset - 1 + sum((size - 1) * stride for size, stride in zip(sizes, strides, strict=True))
        if last >= len(storage) or prod(sizes) > len(storage):
            raise self.wrong(f"a tensor of {sizes} in a storage of {len(storage)} numbers")
        return np.lib.stride_tricks.as_strided(
            storage[offset - 1 :], sizes, [stride * number.itemsize for stride in strides], writeable=False
        )
