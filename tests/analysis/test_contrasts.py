"""Contrasts are values: read from YAML, refused where they compare nothing, written out in words and weights."""

from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from facelesion.analysis import Contrast, check_contrasts
from facelesion.settings import SettingError, build, check
from facelesion.yaml_files import parse_yaml

STUDY = {
    "tasks": ["identification", "exemplars", "memory"],
    "lesions": ["face units", "object units"],
    "stimuli": ["intact", "invert"],
    "participants": ["builtin", "untrained"],
}


@dataclass(frozen=True)
class Design:
    """What holds contrasts.

    Attributes:
        contrasts: what is compared.
    """

    contrasts: Sequence[Contrast] = ()

    def __post_init__(self) -> None:
        check(self)


def read(text: str) -> list[Contrast]:
    return list(build(Design, parse_yaml(text, "study.yaml")).contrasts)


def test_a_study_s_file_says_them_in_a_line_each():
    found = read(
        "contrasts:\n"
        "  - {name: inversion effect, task: identification, of: intact, less: invert}\n"
        "  - {name: against exemplars, lesion: face units, tasks: [identification, exemplars], primary: true}\n"
        "  - {name: new views, task: memory/novel views, lesion: face units, step: 2, participant: builtin}\n"
    )
    assert found[0] == Contrast("inversion effect", task="identification", of="intact", less="invert")
    assert found[1].primary and found[1].tasks == ("identification", "exemplars")
    assert found[2].step == 2
    check_contrasts(found, **STUDY)


def test_it_names_line_and_key_of_what_is_wrong():
    with pytest.raises(SettingError, match=r"study.yaml, line 2: contrasts.0.primay .*primary"):
        read("contrasts:\n  - {name: a, task: memory, lesion: face units, primay: true}\n")
    with pytest.raises(SettingError, match=r"study.yaml, line 3: contrasts.1.less is missing"):
        read("contrasts:\n  - {name: a, task: memory, lesion: b}\n  - {name: c, task: memory, of: intact}\n")
    with pytest.raises(SettingError, match=r"contrasts.0.scale is 'd': it must be one of choice, sensitivity"):
        read("contrasts:\n  - {name: a, task: memory, lesion: b, scale: d}\n")


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"lesion": "a"}, "task is missing"),
        ({"task": "who"}, "task alone compares nothing"),
        ({"task": "who", "stimulus": "invert"}, "alone compares nothing"),
        ({"task": "who", "tasks": ("who", "what")}, "exclude one another"),
        ({"task": "who", "lesion": "a", "lesions": ("a", "b")}, "exclude one another"),
        ({"tasks": ("who",), "lesion": "a"}, "tasks must name two"),
        ({"tasks": ("who", "who")}, "stands there twice"),
        ({"tasks": ("who", "what", "where")}, "at most 2"),
        ({"task": "who", "of": "intact"}, "less is missing"),
        ({"task": "who", "less": "intact"}, "of is missing"),
        ({"task": "who", "of": "intact", "less": "intact"}, "subtracted from"),
        ({"task": "who", "of": "intact", "less": "invert", "stimulus": "invert"}, "stimulus does nothing"),
        ({"tasks": ("who", "what"), "step": 2}, "step does nothing"),
        ({"task": "who", "lesion": "a", "step": 0}, "step is 0"),
        ({"task": "who", "lesion": "none"}, "intact network"),
        ({"task": "who", "lesions": ("a", "none")}, "intact network"),
        ({"task": "who", "participant": "a", "participants": ("a",)}, "alone"),
        ({"task": "who", "lesion": " "}, "lesion is ' '"),
        ({"task": "who", "lesion": "a", "scale": "own"}, "scale is 'own'"),
    ],
)
def test_what_compares_nothing_is_refused(settings, complaint):
    with pytest.raises(SettingError, match=complaint):
        Contrast("name", **settings)


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"task": "identificaton", "lesion": "face units"}, r"contrasts.0.task is .*did you mean 'identification'"),
        ({"tasks": ("memory", "objects")}, r"contrasts.0.tasks.1 is 'objects', no task"),
        ({"task": "memory", "lesion": "face unit"}, r"contrasts.0.lesion is .*did you mean 'face units'"),
        ({"task": "memory", "lesions": ("a", "face units")}, r"contrasts.0.lesions.0 is 'a', no series"),
        ({"task": "memory", "of": "intact", "less": "blur"}, r"contrasts.0.less is 'blur', no stimulus"),
        ({"task": "memory", "participant": "J"}, r"contrasts.0.participant is 'J', nobody"),
        ({"task": "memory", "lesion": "face units", "participants": ("J",)}, r"contrasts.0.participants.0 is 'J'"),
    ],
)
def test_what_a_study_does_not_have_is_refused(settings, key):
    with pytest.raises(SettingError, match=key):
        check_contrasts([Contrast("name", **settings)], **STUDY)


def test_one_contrast_is_primary_and_each_has_a_name_of_its_own():
    one = Contrast("one", task="memory", lesion="face units", primary=True)
    two = Contrast("two", task="memory", lesion="object units", primary=True)
    with pytest.raises(SettingError, match=r"contrasts.1.primary makes a second"):
        check_contrasts([one, two], **STUDY)
    with pytest.raises(SettingError, match=r"contrasts.1.name is 'one'"):
        check_contrasts([one, Contrast("one", task="memory", lesion="object units")], **STUDY)
    with pytest.raises(SettingError, match=r"nobody to be compared with"):
        alone = STUDY | {"participants": ["builtin"]}
        check_contrasts([Contrast("one", task="memory", participant="builtin")], **alone)


@pytest.mark.parametrize(
    ("settings", "weights"),
    [
        ({"tasks": ("who", "what")}, {("who", "none", "intact"): 1, ("what", "none", "intact"): -1}),
        ({"task": "who", "of": "a", "less": "b"}, {("who", "none", "a"): 1, ("who", "none", "b"): -1}),
        ({"task": "who", "lesions": ("x", "y")}, {("who", "y", "intact"): 1, ("who", "x", "intact"): -1}),
        ({"task": "who", "lesion": "x", "stimulus": "s"}, {("who", "none", "s"): 1, ("who", "x", "s"): -1}),
        (
            {"tasks": ("who", "what"), "lesions": ("x", "y")},
            {("who", "y", "intact"): 1, ("who", "x", "intact"): -1,
             ("what", "y", "intact"): -1, ("what", "x", "intact"): 1},
        ),
        (
            {"task": "who", "lesion": "x", "of": "a", "less": "b"},
            {("who", "none", "a"): 1, ("who", "none", "b"): -1, ("who", "x", "a"): -1, ("who", "x", "b"): 1},
        ),
    ],
)  # fmt: skip
def test_the_weights_are_the_differences_written_out(settings, weights):
    found = Contrast("name", **settings).weights()
    assert {tuple(cell): weight for cell, weight in found.items()} == weights


def test_words_say_what_is_subtracted_from_what():
    assert str(Contrast("a", task="who", lesion="x", of="control eyes", less="mask eyes")) == (
        "who: (taken by x) × (control eyes − mask eyes)"
    )
    upside_down = Contrast("a", task="who", lesion="x", step=2, stimulus="invert")
    assert str(upside_down) == "who: taken by x, under invert, step 2"
    assert str(Contrast("a", tasks=("who", "what"))) == "who − what"
    assert str(Contrast("a", tasks=("who", "what"), lesion="x", participant="J")) == (
        "(who − what) × (taken by x) × (J − others)"
    )
