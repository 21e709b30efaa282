"""Torch7's files are read as numbers, and a bad one is refused in one line, quickly and in little memory."""

import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from facelesion.errors import Error
from facelesion.models.formats.t7 import Function, Object, read_t7


def i(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}i", *values)


def q(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}q", *values)


def text(value: str) -> bytes:
    return i(2, len(value)) + value.encode()


def number(value: float) -> bytes:
    return i(1) + struct.pack("<d", value)


def torch_class(index: int, kind: str) -> bytes:
    return i(4, index, 3) + b"V 1" + i(len(kind)) + kind.encode()


def floats(index: int, count: int, content: bytes) -> bytes:
    return torch_class(index, "torch.FloatStorage") + q(count) + content


def tensor(sizes: tuple[int, ...], strides: tuple[int, ...], offset: int, storage: bytes) -> bytes:
    return torch_class(1, "torch.FloatTensor") + i(len(sizes)) + q(*sizes, *strides, offset) + storage


NUMBERS = np.arange(8, dtype=np.float32)
STORED = floats(2, 8, NUMBERS.tobytes())


def read(content: bytes, folder: Path) -> object:
    (folder / "x.t7").write_bytes(content)
    return read_t7(folder / "x.t7")


def test_plain_values_and_tables_are_read(tmp_path: Path) -> None:
    content = (
        i(3, 1, 4)
        + text("a")
        + number(1.5)
        + number(1)
        + text("one")
        + text("yes")
        + i(5, 1)
        + text("no")
        + i(0)
    )
    assert read(content, tmp_path) == {"a": 1.5, 1: "one", "yes": True, "no": None}


def test_a_tensor_is_sizes_strides_and_offset_over_its_storage(tmp_path: Path) -> None:
    transposed = read(tensor((3, 2), (1, 3), 2, STORED), tmp_path)
    np.testing.assert_array_equal(transposed, NUMBERS[1:7].reshape(2, 3).T)


def test_a_storage_written_once_serves_many_tensors(tmp_path: Path) -> None:
    second = torch_class(3, "torch.FloatTensor") + i(1) + q(2, 1, 7) + i(4, 2)
    both = i(3, 9, 2) + number(1) + tensor((8,), (1,), 1, STORED) + number(2) + second
    value = read(both, tmp_path)
    assert isinstance(value, dict)
    np.testing.assert_array_equal(value[2], [6, 7])


def test_files_of_the_oldest_version_have_no_version(tmp_path: Path) -> None:
    kind = "torch.DoubleStorage"
    content = i(4, 1, len(kind)) + kind.encode() + q(2) + np.float64([1, 2]).tobytes()
    np.testing.assert_array_equal(read(content, tmp_path), [1, 2])


def test_functions_are_stepped_over(tmp_path: Path) -> None:
    content = i(3, 1, 2) + text("f") + i(8, 2, 5) + b"\x1bLua!" + i(3, 3, 0) + text("after") + number(2)
    assert read(content, tmp_path) == {"f": Function(), "after": 2.0}


def test_a_table_may_hold_itself(tmp_path: Path) -> None:
    value = read(
        torch_class(1, "nn.Module") + i(3, 2, 2) + text("me") + i(4, 1) + text("mine") + i(3, 2), tmp_path
    )
    assert isinstance(value, Object) and value.fields["me"] is value and value.fields["mine"] is value.fields


HUGE = 2**62
BAD = {
    "empty": b"",
    "no tag": b"\x04\x00",
    "unknown kind": i(99),
    "text mode": b"4\n1\n3\nV 1\n13\nnn.Sequential\n",
    "a text longer than the file": i(2, 2**31 - 1) + b"x",
    "a text of negative length": i(2, -5) + b"xxxxxxxx",
    "a table larger than the file": i(3, 1, 2**31 - 1),
    "a table of negative size": i(3, 1, -1),
    "a class without a name": i(4, 1, 0),
    "a class with an endless name": i(4, 1, 2**30),
    "a storage larger than the file": floats(1, HUGE, b""),
    "a storage of negative size": floats(1, -1, b""),
    "a tensor of a million axes": torch_class(1, "torch.FloatTensor") + i(10**6),
    "a tensor beyond its storage": tensor((3, 3), (3, 1), 1, STORED),
    "a tensor far beyond its storage": tensor((HUGE, HUGE), (HUGE, 1), 1, STORED),
    "a tensor larger than its storage by strides of nothing": tensor((HUGE, 2), (0, 1), 1, STORED),
    "a tensor that runs backwards": tensor((2, 2), (-1, 1), 4, STORED),
    "a tensor before its storage": tensor((2,), (1,), 0, STORED),
    "a tensor over another kind of numbers": tensor(
        (1,), (1,), 1, torch_class(2, "torch.LongStorage") + q(1) + q(7)
    ),
    "a tensor over a text": tensor((1,), (1,), 1, text("no storage")),
    "endless nesting": b"".join(i(3, index, 1) + number(1) for index in range(10_000)),
    "endless nesting of functions": b"".join(i(8, index, 0) for index in range(10_000)),
    "endless nesting of tensors": b"".join(
        torch_class(index, "torch.FloatTensor") + i(1) + q(1, 1, 1) for index in range(2_000)
    ),
    "endless values": i(3, 1, 150_000) + (i(5, 1) + i(0)) * 150_000,
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_refused_in_one_line(name: str, tmp_path: Path) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(Error) as told:
            read(BAD[name], tmp_path)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert "x.t7" in str(told.value) and "\n" not in str(told.value) and "get it again" in str(told.value)
    assert most < 2**20 + len(BAD[name])


def test_every_cut_of_a_good_file_is_refused(tmp_path: Path) -> None:
    whole = i(3, 9, 2) + text("w") + tensor((2, 4), (4, 1), 1, STORED) + text("f") + i(8, 5, 1) + b"x" + i(0)
    assert isinstance(read(whole, tmp_path), dict)
    for length in range(len(whole)):
        with pytest.raises(Error):
            read(whole[:length], tmp_path)


def test_no_byte_can_be_changed_so_that_anything_but_a_refusal_comes(tmp_path: Path) -> None:
    whole = i(3, 9, 2) + text("w") + tensor((2, 4), (4, 1), 1, STORED) + text("f") + i(8, 5, 1) + b"x" + i(0)
    random = np.random.default_rng(0)
    refused = 0
    for _ in range(1000):
        changed = bytearray(whole)
        for place in random.integers(0, len(whole), 2):
            changed[place] = random.integers(0, 256)
        try:
            read(bytes(changed), tmp_path)
        except Error:
            refused += 1
    assert refused > 100


def long_tensor(long: str) -> bytes:
    numbers = struct.pack(f"<3{long}", 5, 6, 7)
    storage = torch_class(2, "torch.LongStorage") + struct.pack(f"<{long}", 3) + numbers
    return torch_class(1, "torch.LongTensor") + i(1) + struct.pack(f"<3{long}", 3, 1, 1) + storage


def float_tensor(long: str) -> bytes:
    storage = torch_class(2, "torch.FloatStorage") + struct.pack(f"<{long}", 8) + NUMBERS.tobytes()
    return torch_class(1, "torch.FloatTensor") + i(2) + struct.pack(f"<5{long}", 2, 4, 4, 1, 1) + storage


@pytest.mark.parametrize("long", ["q", "i"])
def test_longs_of_64_and_of_32_bits_are_read_alike(tmp_path: Path, long: str) -> None:
    np.testing.assert_array_equal(read(float_tensor(long), tmp_path), NUMBERS.reshape(2, 4))
    np.testing.assert_array_equal(read(long_tensor(long), tmp_path), [5, 6, 7])
    both = i(3, 9, 2) + text("w") + float_tensor(long) + text("name") + text("yes")
    value = read(both, tmp_path)
    assert isinstance(value, dict) and value["name"] == "yes"


@pytest.mark.parametrize("make", [float_tensor, long_tensor])
def test_a_cut_file_is_not_taken_for_one_of_shorter_longs(
    tmp_path: Path, make: Callable[[str], bytes]
) -> None:
    for long in ("q", "i"):
        whole = make(long)
        for length in range(len(whole)):
            with pytest.raises(Error, match="get it again"):
                read(whole[:length], tmp_path)


def test_a_file_of_the_other_order_of_bytes_says_so(tmp_path: Path) -> None:
    with pytest.raises(Error, match="big-endian"):
        read(struct.pack(">iii", 4, 1, 3) + b"V 1" + struct.pack(">i", 17) + b"torch.FloatTensor", tmp_path)
    with pytest.raises(Error, match="saved as text.*binary"):
        read(b"4\n1\n3\nV 1\n17\ntorch.FloatTensor\n", tmp_path)
