"""YAML is read as plain values that know their place, and no file hangs or breaks its reader."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facelesion.errors import Error
from facelesion.yaml_files import COMMAND_LINE, Node, overlay, parse_word, parse_yaml, read_yaml


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("1e-4", 1e-4), ("1_000", 1000), ("1_000.5", 1000.5), ("+5", 5), ("-3", -3), (".5", 0.5), ("5.", 5.0),
        ("0777", 777), ("0o17", 15), ("0x1F", 31), ("0b101", 5), (".inf", float("inf")), ("-.inf", -float("inf")),
        ("yes", "yes"), ("no", "no"), ("on", "on"), ("off", "off"), ("NO", "NO"), ("true", True), ("False", False),
        ("~", None), ("null", None), ("", None), ("12:30", "12:30"), ("2024-01-01", "2024-01-01"), ("1.2.3", "1.2.3"),
        ("'5'", "5"), ('"true"', "true"), ("!!str 5", "5"), ("inf", "inf"), ("nan", "nan"), ("0x", "0x"), ("_1", "_1"),
        ("1e5", 1e5), ("1E+5", 1e5), ("9" * 200, "9" * 200), ("[a, 1, [b]]", ["a", 1, ["b"]]),
        ("{a: {b: 1}}", {"a": {"b": 1}}),
    ],
)  # fmt: skip
def test_words_mean_what_who_writes_them_means(written: str, meant: object) -> None:
    node = parse_yaml(f"key: {written}\n", "x.yaml")
    assert isinstance(node.value, dict)
    found = node.value["key"].plain()
    assert found == meant and type(found) is type(meant)


def test_every_value_knows_its_line() -> None:
    node = parse_yaml("a: 1\nb:\n  c: [1,\n      2]\n  d:\n    - x\n    - {e: 5}\n", "x.yaml")
    places = {"a": 1, "b": 2, "b.c": 3, "b.c.1": 4, "b.d.0": 6, "b.d.1.e": 7}
    assert {key: node.where(key).line for key in places} == places
    assert str(node.where("b.d.1.e")) == "x.yaml, line 7: b.d.1.e"
    assert node.where("b.d.9.f").line == 5  # the nearest that is there


def test_anchors_and_defaults_are_kept_where_they_are_modest() -> None:
    text = "base: &base {people: 5, pictures: 3}\nown:\n  <<: *base\n  people: 7\nboth: [*base, *base]\n"
    base = {"people": 5, "pictures": 3}
    assert parse_yaml(text, "x").plain() == {"base": base, "own": base | {"people": 7}, "both": [base, base]}


def test_keys_are_text_as_it_was_written() -> None:
    assert parse_yaml("1: a\non: b\n2.50: c\n'': d\nnull_: e\n", "x").plain() == {
        "1": "a", "on": "b", "2.50": "c", "": "d", "null_": "e",
    }  # fmt: skip


@pytest.mark.parametrize("raw", [b"\xef\xbb\xbfa: \xc3\xa9\n", "a: é\n".encode("utf-16"), "a: é\r\n".encode()])
def test_marks_and_line_ends_of_other_systems_are_understood(raw: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes(raw)
    assert read_yaml(path).plain() == {"a": "é"}


def chain(count: int, step: str) -> str:
    """Lines of which each names the one before it."""
    return "k0: &k0 {x: 1}\n" + "".join(f"k{n}: &k{n} {step.format(n - 1, n)}\n" for n in range(1, count))


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000, "{a: " * 100_000, "- " * 100_000, "? " * 100_000, "&a " * 1000, "*a " * 1000, "!" * 10_000,
        "'" * 9_999, "a:\n" * 50_000, "a: &a [*a, *a]\n", chain(30, "[*k{0}, *k{0}, *k{0}, *k{0}, *k{0}]"),
        chain(9000, "{{<<: *k{0}, a{1}: 1}}"), chain(5000, "[*k{0}]"), chain(5000, "{{a: *k{0}}}"),
    ],
    ids=lambda text: repr(text[:40]),
)  # fmt: skip
def test_a_file_made_to_break_its_reader_is_refused_at_once(text: str) -> None:
    before = time.process_time()
    with pytest.raises(Error, match="x.yaml"):
        parse_yaml(text, "x.yaml")
    assert time.process_time() - before < 5


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Error, match="no such file"):
        read_yaml(tmp_path / "absent.yaml")
    with pytest.raises(Error, match="not a plain file"):
        read_yaml(tmp_path)
    with pytest.raises(Error, match="cannot be read"):
        read_yaml("n" * 300)
    with pytest.raises(Error, match="cannot be read"):
        read_yaml("a\0b")


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet=st.sampled_from(list("ab:-[]{}&*!|>'\"%@`#,?~<= \n\t1.0_\\eé\0\x07")), max_size=40))
def test_no_text_at_all_raises_anything_else(text: str) -> None:
    try:
        parse_yaml(text, "x.yaml").plain()
    except Error as error:
        assert str(error).startswith("x.yaml") and "\n" not in str(error)


@settings(max_examples=200, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters(codec="ascii")),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abcd"), inner, max_size=3),
        max_leaves=8,
    )
)  # fmt: skip
def test_what_pyyaml_writes_is_read_back(value: object) -> None:
    import yaml

    try:
        found = parse_yaml(yaml.safe_dump({"key": value}), "x").plain()["key"]
    except Error as error:
        assert "no text has" in str(error)
        return
    assert found == value


def test_words_of_the_command_line_go_over_a_file() -> None:
    root = parse_yaml("a: {b: 1, c: 2}\nl: [{x: 1}, {x: 2}]\n", "x.yaml")
    over = overlay(overlay(overlay(root, "a.b", parse_word("5")), "l.1.x", parse_word("[y]")), "n.m", parse_word("z"))
    assert over.plain() == {"a": {"b": 5, "c": 2}, "l": [{"x": 1}, {"x": ["y"]}], "n": {"m": "z"}}
    assert root.plain() == {"a": {"b": 1, "c": 2}, "l": [{"x": 1}, {"x": 2}]}
    assert over.where("a.c").line == 1 and over.where("l.0.x").line == 2
    inner = over.value
    assert isinstance(inner, dict) and isinstance(inner["n"], Node)
    changed = inner["n"].value
    assert isinstance(changed, dict) and changed["m"].source == COMMAND_LINE


@pytest.mark.parametrize("word", ["a: b: c", "what #1?", "@x", "[unclosed", "C:\\photos", "100%", "- a", "*x", "'"])
def test_a_word_of_the_command_line_keeps_how_it_was_written(word: str) -> None:
    assert parse_word(word).text == word
