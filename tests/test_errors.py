"""The tree of errors: everything that is the user's to mend is under one root, and drawn where the root is."""

from __future__ import annotations

import importlib
import inspect
import pickle
import pkgutil
import re

import pytest

import facelesion
from facelesion import errors

#: Said by one function to another and caught there: no user ever meets them.
SIGNALS = {"TrainingIsOver", "AddressRefused", "CannotTrace"}


def defined() -> dict[str, type[BaseException]]:
    """Every class of exception that a module of the package defines, by name."""
    found: dict[str, type[BaseException]] = {}
    for module in pkgutil.walk_packages(facelesion.__path__, "facelesion."):
        if module.name.endswith("__main__"):
            continue
        for name, each in vars(importlib.import_module(module.name)).items():
            if inspect.isclass(each) and issubclass(each, BaseException) and each.__module__ == module.name:
                assert name not in found, f"two exceptions are called {name}"
                found[name] = each
    return found


def drawn() -> dict[str, str]:
    """The tree as the docstring draws it: each name with its parent's."""
    parents: dict[str, str] = {}
    above: list[str] = []
    for bars, name in re.findall(r"^    ((?:\|   )*(?:\+-- )?)(\w+)  +\S", errors.__doc__ or "", re.M):
        level = len(bars) // 4
        parents[name] = above[level - 1] if level else ""
        above[level:] = [name]
    return parents


def test_every_exception_of_the_package_is_under_the_root_and_drawn_under_its_parent():
    tree = {name: each for name, each in defined().items() if name not in SIGNALS}
    assert len(tree) > 8
    assert drawn() == {
        name: "" if each is errors.Error else each.__bases__[0].__name__ for name, each in tree.items()
    }
    assert all(issubclass(each, errors.Error) for each in tree.values())


def test_a_signal_between_functions_is_no_error_of_the_user_s():
    known = defined()
    assert known.keys() >= SIGNALS
    assert not any(issubclass(known[name], errors.Error) for name in SIGNALS)


def test_the_root_is_a_value_error_and_the_package_s_own():
    assert issubclass(errors.Error, ValueError) and facelesion.Error is errors.Error


@pytest.mark.parametrize("each", [each for name, each in defined().items() if name not in SIGNALS])
def test_an_error_survives_the_way_out_of_a_worker_process(each):
    given = each("stimuli", "is wrong") if each.__name__ == "SettingError" else each("is wrong: mend it")
    back = pickle.loads(pickle.dumps(given))
    assert type(back) is each and str(back) == str(given) and vars(back) == vars(given)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: facelesion.Ablate("conv", fraction=2),
        lambda: facelesion.get("no such network"),
        lambda: facelesion.Stimulus.from_dict("no such stimulus"),
        lambda: importlib.import_module("facelesion.study").Study(tasks=["no such task"]),
        lambda: importlib.import_module("facelesion.sweep").Options(batch_size=0),
        lambda: importlib.import_module("facelesion.sweep").read_sweep("no such folder"),
        lambda: importlib.import_module("facelesion.weights").read_weights("no such file"),
        lambda: importlib.import_module("facelesion.data").open_lfw("no such folder"),
        lambda: importlib.import_module("facelesion.data").load_prepared("x" * 300),
        lambda: importlib.import_module("facelesion.report").read_run("x" * 300),
    ],
)
def test_one_except_clause_catches_the_mistakes_of_every_room(wrong):
    with pytest.raises(facelesion.Error, match=r"\w"):
        wrong()
