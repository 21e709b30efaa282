"""What a setting may be is said once, and holds from Python, YAML and the command line alike."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import pytest

from facelesion.arguments import help_text, read_arguments
from facelesion.errors import Error
from facelesion.ranges import Device, Label, Name, OnlyWhen, PathText, Prose, Range, Readable, Seed, Size
from facelesion.settings import SettingError, build, check, refuse_idle
from facelesion.yaml_files import COMMAND_LINE, Node, parse_yaml


def _even(value: Any) -> None:
    if int(value) % 2:
        raise ValueError(f"{value} is odd")


@dataclass(frozen=True)
class Lamp:
    """A lamp.

    Attributes:
        watts: how bright; more is brighter.
        colour: of its light.
    """

    watts: Annotated[int, Range(1, 100)] = 40
    colour: Literal["white", "red"] = "white"

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class House:
    """A house, with lamps.

    Attributes:
        name: on its door.
        rooms: how many rooms
            there are, cellars counted.
        height: in metres.
        hall: the lamp in the hall.
        lamps: the others.
        by_name: lamps that have a name.
        size: width and depth.
        colours: of its walls.
        garden: trees in it.
        trees: how tall they are.
        guests: how many, or `none`.
        even: a number.
    """

    name: Name
    rooms: Annotated[int, Range(1, 50, seconds_each=86_400)] = 3
    height: Annotated[float, Range(0, 100, above=True)] = 6.0
    hall: Lamp = field(default_factory=Lamp)
    lamps: tuple[Lamp, ...] = ()
    by_name: dict[Label, Lamp | str] = field(default_factory=dict)
    size: tuple[int, int] = (8, 10)
    colours: Annotated[Sequence[str], Size(1, 3, twice=False)] = ("white",)
    garden: bool = False
    trees: Annotated[float | None, Range(0, 200), OnlyWhen("garden", True)] = None
    guests: Annotated[int, Range(0, 9)] | Literal["none"] = "none"
    even: Annotated[int, Readable(_even)] = 2
    place: PathText | None = None
    notes: Prose = ""
    device: Device = "auto"
    seed: Seed = 0
    anything: Any = None

    OLD_KEYS: ClassVar[Mapping[str, str]] = {"storeys": "write `height: METRES`"}

    def __post_init__(self) -> None:
        check(self)
        if self.height < self.rooms / 10:
            raise SettingError("height", f"is too low for {self.rooms} rooms")


def house(text: str, **over: str) -> House:
    words = {key.replace("__", "."): word for key, word in over.items()}
    return build(House, parse_yaml(text, "house.yaml"), words)


def test_a_whole_tree_is_built() -> None:
    found = house(
        "name: No. 5\nrooms: 1_0\nheight: 1e1\nhall: {watts: 60}\nlamps:\n  - {watts: 5}\n  - {colour: red}\n"
        "by_name: {sun: {watts: 100}, moon: none}\nsize: [3, 4]\ncolours: [red, '5', 6]\ngarden: yes\ntrees: 12\n"
        "guests: 3\nplace: a/b\nnotes: 2024\nanything: {a: [1, no]}\n"
    )
    assert found == House(
        name="No. 5", rooms=10, height=10.0, hall=Lamp(60), lamps=(Lamp(5), Lamp(colour="red")),
        by_name={"sun": Lamp(100), "moon": "none"}, size=(3, 4), colours=("red", "5", "6"), garden=True, trees=12.0,
        guests=3, place="a/b", notes="2024", anything={"a": [1, "no"]},
    )  # fmt: skip


@pytest.mark.parametrize("word", ["true", "yes", "on", "True", "Y"])
def test_what_is_meant_as_true_is_true(word: str) -> None:
    assert house(f"{{name: x, garden: {word}}}").garden and house("name: x", garden=word).garden


@pytest.mark.parametrize("name", ["no", "on", "2024", "1e3", "true", "007"])
def test_a_text_is_what_was_written_whatever_it_looks_like(name: str) -> None:
    assert house(f"name: {name}").name == name and house("{}", name=name).name == name


def test_the_command_line_goes_over_the_file() -> None:
    text = "name: x\nhall: {watts: 5, colour: red}\nlamps: [{watts: 1}, {watts: 2}]\nrooms: 7\n"
    words = {"colours": "[a, b]", "guests": "none", "place": "what #1: a"}
    found = house(text, hall__watts="9", lamps__1__watts="3", **words)
    assert (found.hall, found.lamps[1].watts, found.rooms) == (Lamp(9, "red"), 3, 7)
    assert tuple(found.colours) == ("a", "b") and found.place == "what #1: a"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("rooms: 3", "house.yaml, line 1: name is missing: it must be text, 1 to 100 letters (on its door)"),
        ("name: x\nrooms: 0",
         "house.yaml, line 2: rooms is 0: it must be 1 to 50 (how many rooms there are, cellars counted)"),
        ("name: x\nrooms: 36525", "line 2: rooms is 36525: it must be 1 to 50; so many take 100 years"),
        ("name: x\nhall:\n  watts: 500", "line 3: hall.watts is 500: it must be 1 to 100 (how bright)"),
        ("name: x\nhall: {watt: 5}", "line 2: hall.watt is no setting: did you mean watts?"),
        ("name: x\nlamps:\n  - {watts: 5}\n  - {watts: x}",
         "line 4: lamps.1.watts is 'x': it must be a whole number, 1 to 100"),
        ("name: x\nlamps: {watts: 5}", "line 2: lamps is {'watts': 5}: it must be a list (the others)"),
        ("name: x\nby_name: {a: {watts: 0}}", "line 2: by_name.a.watts is 0: it must be 1 to 100"),
        ("name: x\nby_name: {a: [1]}", "line 2: by_name.a is [1]: it must be settings, each as key: value or text"),
        ("name: x\nsize: [1]", "line 2: size is [1]: it must be a list of 2 (width and depth)"),
        ("name: x\nsize: [1, two]", "line 2: size.1 is 'two': it must be a whole number"),
        ("name: x\ncolours: []", "line 2: colours is []: it must name at least one (of its walls)"),
        ("name: x\ncolours: [a, b, c, d]", "it must name at most 3, and names 4"),
        ("name: x\ncolours: [a, b, a]", "'a' stands there twice"),
        ("name: x\ntrees: 5", "line 2: trees does nothing with garden false: leave it out, or set garden to true"),
        ("name: x\ngarden: on\ntrees: -1", "line 3: trees is -1: it must be 0 to 200 (how tall they are)"),
        ("name: x\nguests: 10", "line 2: guests is 10: it must be a whole number, 0 to 9 or none"),
        ("name: x\neven: 3", "line 2: even is 3: 3 is odd"),
        ("name: x\nheight: 0.1", "line 2: height is too low for 3 rooms"),
        ("name: x\nstoreys: 2", "line 2: storeys is no setting any more: write `height: METRES`"),
        ("name: x\ndevice: meta", "line 2: device is 'meta': it must be auto, cpu, cuda, cuda:0 or mps"),
        ("name: x\nnotes: [a]", "line 2: notes is ['a']: it must be text"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_line(text: str, told: str) -> None:
    with pytest.raises(Error) as error:
        house(text)
    assert told in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (lambda: House("x", rooms=0), "rooms is 0: it must be 1 to 50 (how many rooms there are, cellars counted)"),
        (lambda: House("x", rooms=True), "rooms is true: it must be a whole number, 1 to 50"),
        (lambda: House("x", rooms=10**5000), "rooms is a number of thousands of digits: it must be 1 to 50"),
        (lambda: House("x", rooms="3"), "rooms is '3': it must be a whole number"),
        (lambda: House("x", rooms=None), "rooms is null: it must be a whole number"),
        (lambda: House("x", rooms=np.nan), "rooms is nan: it must be a whole number"),
        (lambda: House("x", height=math.inf), "height is inf: it must be a number"),
        (lambda: House("x", height=10**400), "it must be a number, above 0 and at most 100"),
        (lambda: House("x", height=1j), "height is 1j: it must be a number"),
        (lambda: House("x", hall=5), "hall is 5: it must be settings"),
        (lambda: House("x", hall={"watts": 0}), "hall.watts is 0: it must be 1 to 100"),
        (lambda: House("x", lamps=[{"watts": 0}]), "lamps.0.watts is 0: it must be 1 to 100"),
        (lambda: House("x", colours="white"), "colours is 'white': it must be a list"),
        (lambda: House(5), "name is 5: it must be text"),
        (lambda: House("a\udc00"), "name is 'a\\udc00': it must be text"),
        (lambda: House("x", trees=5), "trees does nothing with garden false"),
        (lambda: replace(House("x"), seed=-1), "seed is -1: it must be 0 to 4,294,967,295"),
        (lambda: House("x", garden=1), "garden is 1: it must be true or false"),
        (lambda: House("x", guests="some"), "guests is 'some': it must be a whole number, 0 to 9 or none"),
    ],
)  # fmt: skip
def test_a_mistake_in_python_is_told_alike(made: Any, told: str) -> None:
    with pytest.raises(SettingError) as error:
        made()
    assert told in str(error.value)


def test_what_python_gives_becomes_what_was_declared() -> None:
    given: dict[str, Any] = {"rooms": np.int64(4), "height": 5, "hall": {"watts": 7}, "lamps": [Lamp()]}
    found = House("x", size=[1, 2], place=Path("a") / "b", **given)  # type: ignore[arg-type]
    assert type(found.rooms) is int and type(found.height) is float and found.hall == Lamp(7)
    assert found.lamps == (Lamp(),) and found.size == (1, 2) and found.place == "a/b"


@pytest.mark.parametrize(
    ("name", "told"),
    [("", "blank"), (" \t", "blank"), ("x" * 101, "at most 100 letters"), ("a\nb", "character '\\n'"),
     ("a\x1bb", "character"),
     ("a\u200bb", "character"), ("a/b", "hold /"), ("a\\b", "hold \\"), (".a", "dot"), ("..", "dot"), (" a", "blank"),
     ("é" * 101, "at most"), ("\U0001f600" * 80, "too long")],
)  # fmt: skip
def test_what_no_folder_can_be_called_is_no_name(name: str, told: str) -> None:
    with pytest.raises(SettingError, match="name is") as error:
        House(name)
    assert told in str(error.value)


@pytest.mark.parametrize("name", ["faces", "No. 5", "Größe", "顔", "a-b_c", "$\\foo$".replace("\\", ""), "x" * 100])
def test_ordinary_names_are_names(name: str) -> None:
    assert House(name).name == name


@pytest.mark.parametrize("path", ["", "  ", "~/x", "a\nb", "a\0b", "x" * 256, "d/" * 2500])
def test_what_no_path_can_be_is_no_path(path: str) -> None:
    with pytest.raises(SettingError, match="place is"):
        House("x", place=path)


def test_a_setting_that_does_nothing_in_this_use_is_refused() -> None:
    idle = {"hall.watts": "there is no current", "rooms": "there are none"}
    refuse_idle(House("x", hall=Lamp(colour="red")), idle)
    with pytest.raises(SettingError, match=r"hall\.watts does nothing here \(there is no current\): leave it out"):
        refuse_idle(House("x", hall=Lamp(5)), idle)


class TestTheCommandLine:
    def words(self, *words: str) -> dict[str, Any]:
        return read_arguments(House, words, "build", config=True)

    def test_a_file_and_what_goes_over_it(self, tmp_path: Path) -> None:
        path = tmp_path / "house.yaml"
        path.write_text("name: x\nrooms: 4\ngarden: true\n")
        for first in ([str(path)], ["--config", str(path)], [f"--config={path}"]):
            found = self.words(*first, "--rooms=5", "--rooms", "6", "--hall.watts", "7", "--by-name", "{a: b}")
            assert (found["name"], found["rooms"], found["hall"], found["by_name"]) == ("x", 6, Lamp(7), {"a": "b"})
        with pytest.raises(Error, match="two configs"):
            self.words(str(path), "--config", str(path))

    def test_a_switch_alone_is_true(self) -> None:
        assert self.words("--name", "x", "--garden")["garden"] and self.words("--garden", "--name", "x")["garden"]

    def test_a_number_below_nothing_is_a_value(self) -> None:
        with pytest.raises(SettingError, match="--rooms is -1"):
            self.words("--name", "x", "--rooms", "-1")

    def test_a_functions_first_argument_needs_no_name(self) -> None:
        def fetch(name: Label, to: PathText | None = None, loud: bool = False) -> None:
            """Fetch something.

            Args:
                name: what.
                to: where.
                loud: say so.
            """

        assert read_arguments(fetch, ["5", "--loud"], "fetch") == {"name": "5", "to": None, "loud": True}
        with pytest.raises(SettingError, match=r"--name is missing: it must be text, 1 to 100 letters \(what\)"):
            read_arguments(fetch, ["--loud"], "fetch")

    def test_what_a_plain_word_gave_is_not_given_again(self) -> None:
        def command(pictures: PathText = "facespace", each: int = 4) -> None: ...

        with pytest.raises(Error, match="pictures is given twice, as people and with --pictures 2"):
            read_arguments(command, ["people", "--pictures", "2"], "command")
        assert read_arguments(command, ["--each", "1", "--each", "2"], "command")["each"] == 2

    def test_help_tells_every_setting_with_its_kind_default_and_purpose(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(SystemExit) as left:
            self.words("--rooms", "3", "--help")
        assert left.value.code == 0
        said = capsys.readouterr().out
        assert said == help_text(House, "build", config=True)
        assert "usage: build [CONFIG] [--key value ...]" in said and "A house, with lamps." in said
        flat = " ".join(said.split())
        assert "--rooms How many rooms there are" not in flat
        assert "--rooms how many rooms there are, cellars counted. A whole number, 1 to 50; 3 when left out." in flat
        assert "--hall.watts how bright; more is brighter. A whole number, 1 to 100; 40 when left out." in flat
        assert "--name on its door. Text, 1 to 100 letters; required." in flat
        assert max(map(len, said.splitlines())) <= 110


def test_settings_without_a_file_have_no_line() -> None:
    with pytest.raises(SettingError, match="^--name is missing"):
        build(House, Node({}, COMMAND_LINE))


def test_a_list_takes_all_the_words_up_to_the_next_key():
    def look(photographs: Sequence[str], stimuli: Sequence[Any] | None = None, size: int = 3) -> None: ...

    def read(*words: str) -> dict[str, Any]:
        return read_arguments(look, words, "look")

    assert read("a.jpg", "b c.jpg", "--size", "4") == {"photographs": ("a.jpg", "b c.jpg"), "stimuli": None, "size": 4}
    assert read("7")["photographs"] == ("7",)
    assert read("Zoë.jpg", "🙂.jpg")["photographs"] == ("Zoë.jpg", "🙂.jpg")
    assert read("a", "--stimuli", "mask eyes", "{kind: mask, region: nose}", "--size=5")["stimuli"] == (
        "mask eyes", {"kind": "mask", "region": "nose"},
    )  # fmt: skip
    assert read("a", "--stimuli", "[intact, invert]")["stimuli"] == ("intact", "invert")
    with pytest.raises(Error, match="needs a value"):
        read("a", "--stimuli", "--size", "4")


def test_a_plain_word_is_the_first_argument_wherever_it_stands():
    def look(photographs: Sequence[str], out: PathText = "out", size: int = 3) -> None: ...

    def cut(photograph: str, out: PathText = "out") -> None: ...

    asked = {"photographs": ("a.jpg", "b.jpg"), "out": "here", "size": 4}
    assert read_arguments(look, ["--out", "here", "a.jpg", "--size=4", "b.jpg"], "look") == asked
    assert read_arguments(look, ["a.jpg", "--out", "here", "b.jpg", "--size", "4"], "look") == asked
    assert read_arguments(cut, ["--out", "here", "a.jpg"], "cut") == {"photograph": "a.jpg", "out": "here"}
    with pytest.raises(Error, match="photographs is given twice, as"):
        read_arguments(look, ["--photographs", "a.jpg", "--size", "4", "b.jpg"], "look")
    for words in (["a.jpg", "b.jpg"], ["--out", "here", "a.jpg", "b.jpg"], ["a.jpg", "-o", "here"]):
        with pytest.raises(Error, match=f"{words[-2 if '-o' in words else -1]!r} stands there alone"):
            read_arguments(cut, words, "cut")
